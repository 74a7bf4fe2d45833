//! Reading secrets.

use std::fmt;

use async_trait::async_trait;

use crate::{
    Context, Result,
    secret::{Secret, SecretRef},
    vocabulary::Name,
};

/// Holds secrets.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait SecretStore: fmt::Debug + Send + Sync + 'static {
    /// The backend's name; the `store` of its references.
    fn name(&self) -> &Name;

    /// The reference to the present version of `name`. Reads only, reveals nothing. Fails with `NotFound`.
    async fn resolve(&self, cx: &Context, name: &str) -> Result<SecretRef>;

    /// The value behind a reference, registered with the [`Context::redactor`]. Fails with `NotFound`, and with `Conflict` if the version is gone.
    async fn get(&self, cx: &Context, reference: &SecretRef) -> Result<Secret<String>>;
}

const _: fn(&dyn SecretStore) = |_| {};
