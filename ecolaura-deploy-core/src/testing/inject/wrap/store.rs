//! The run store.

use async_trait::async_trait;
use bytes::Bytes;

use super::Injected;
use crate::{
    Result,
    store::{Created, RunStore},
};

impl<T: RunStore + ?Sized> Injected<T> {
    async fn store<R>(&self, name: &'static str, key: &str, work: impl Future<Output = Result<R>>) -> Result<R> {
        self.injector.call(name, None, key.to_owned(), work).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<T: RunStore + ?Sized> RunStore for Injected<T> {
    async fn create(&self, key: &str, body: Bytes) -> Result<Created> {
        self.store("store.create", key, self.inner.create(key, body)).await
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        self.store("store.get", key, self.inner.get(key)).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>> {
        self.store("store.list", prefix, self.inner.list(prefix)).await
    }

    async fn list_after(&self, prefix: &str, after: &str) -> Result<Vec<String>> {
        self.store("store.list_after", prefix, self.inner.list_after(prefix, after)).await
    }

    async fn names(&self, prefix: &str) -> Result<Vec<String>> {
        self.store("store.names", prefix, self.inner.names(prefix)).await
    }

    async fn remove(&self, key: &str) -> Result<()> {
        self.store("store.remove", key, self.inner.remove(key)).await
    }
}
