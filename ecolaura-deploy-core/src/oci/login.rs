//! What one registry is logged in to with.

use std::sync::Arc;

use super::{Credential, CredentialSource};
use crate::{Context, Result};

/// What a registry is logged in to with: one [`Credential`], or what a [`CredentialSource`] knows of its host.
#[derive(Debug, Clone)]
pub struct Login(Known);

#[derive(Debug, Clone)]
enum Known {
    Given(Credential),
    Asked(Arc<dyn CredentialSource>),
}

impl Login {
    /// What to log in with at `host`, which is the registry's own.
    pub(super) async fn credential(&self, cx: &Context, host: &str) -> Result<Credential> {
        match &self.0 {
            Known::Given(credential) => Ok(credential.clone()),
            Known::Asked(source) => source.credential(cx, host).await,
        }
    }
}

impl From<Credential> for Login {
    fn from(credential: Credential) -> Self {
        Self(Known::Given(credential))
    }
}

impl<S: CredentialSource> From<S> for Login {
    fn from(source: S) -> Self {
        Self(Known::Asked(Arc::new(source)))
    }
}
