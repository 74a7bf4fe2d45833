//! A store that panics is a store that fails.

use std::{panic::AssertUnwindSafe, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt;

use super::{Created, RunStore};
use crate::{Effect, Error, Result};

/// Somebody's store, whose panics are errors.
#[derive(Debug)]
pub(crate) struct Guarded(pub(crate) Arc<dyn RunStore>);

async fn guarded<T>(operation: &'static str, call: impl Future<Output = Result<T>>) -> Result<T> {
    let panicked = |_| Err(Error::internal(operation, "the run store panicked").with_effect(Effect::Unknown));
    AssertUnwindSafe(call).catch_unwind().await.unwrap_or_else(panicked)
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl RunStore for Guarded {
    async fn create(&self, key: &str, body: Bytes) -> Result<Created> {
        guarded("store.create", self.0.create(key, body)).await
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        guarded("store.get", self.0.get(key)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>> {
        guarded("store.list", self.0.list(prefix)).await
    }

    async fn list_after(&self, prefix: &str, after: &str) -> Result<Vec<String>> {
        guarded("store.list", self.0.list_after(prefix, after)).await
    }

    async fn names(&self, prefix: &str) -> Result<Vec<String>> {
        guarded("store.list", self.0.names(prefix)).await
    }

    async fn remove(&self, key: &str) -> Result<()> {
        guarded("store.remove", self.0.remove(key)).await
    }
}
