//! A store that panics, or never answers, is a store that fails.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt;

use super::{Created, RunStore};
use crate::{Effect, Error, ErrorKind, Result};

/// How long a call may take: longer than a client's own retries, so that it only ends what would never end.
const PATIENCE: Duration = Duration::from_mins(5);

/// Somebody's store, whose panics and silence are errors.
#[derive(Debug)]
pub(crate) struct Guarded(pub(crate) Arc<dyn RunStore>);

async fn guarded<T>(operation: &'static str, call: impl Future<Output = Result<T>>) -> Result<T> {
    let panicked = |_| Err(Error::internal(operation, "the run store panicked").with_effect(Effect::Unknown));
    let call = AssertUnwindSafe(call).catch_unwind();
    match tokio::time::timeout(PATIENCE, call).await {
        Ok(ended) => ended.unwrap_or_else(panicked),
        Err(_) => {
            let message = format!("the run store does not answer within {PATIENCE:?}");
            Err(Error::new(ErrorKind::Timeout, operation, message).with_effect(Effect::Unknown))
        }
    }
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

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    #[derive(Debug)]
    struct Silent;

    #[async_trait]
    impl RunStore for Silent {
        async fn create(&self, _: &str, _: Bytes) -> Result<Created> {
            pending().await
        }

        async fn get(&self, _: &str) -> Result<Option<Bytes>> {
            pending().await
        }

        async fn list(&self, _: &str) -> Result<Vec<String>> {
            pending().await
        }

        async fn remove(&self, _: &str) -> Result<()> {
            pending().await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_never_answers_has_failed() {
        let store = Guarded(Arc::new(Silent));
        let error = store.create("a", "b".into()).await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Timeout, Effect::Unknown));
        assert!(error.report().contains("the run store does not answer within 300s"), "{}", error.report());
        assert_eq!(store.names("a").await.unwrap_err().kind(), ErrorKind::Timeout);
    }
}
