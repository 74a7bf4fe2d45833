//! A run store over `object_store`: local files with fsync, memory, and whatever else a caller brings.

mod staged;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, local::LocalFileSystem, memory::InMemory, path};

use super::{Created, RunStore};
use crate::{Effect, Error, ErrorKind, Result, leftovers};

/// Records as objects of an [`object_store`] backend, which stays behind this type.
#[derive(Debug, Clone)]
pub struct ObjectRunStore {
    store: Arc<dyn ObjectStore>,
    place: String,
    /// Where its files are, if they are files of ours.
    dir: Option<PathBuf>,
    grace: Duration,
}

impl ObjectRunStore {
    /// Records in files below `dir`, which is created. Every record is flushed to the disk, with its folder, before
    /// [`RunStore::create`] returns.
    pub fn local(dir: impl AsRef<Path>) -> Result<Self> {
        let dir = dir.as_ref();
        let place = dir.display().to_string();
        std::fs::create_dir_all(dir).map_err(|error| Error::io("store.open", dir, error))?;
        let files = LocalFileSystem::new_with_prefix(dir)
            .map_err(|error| Error::internal("store.open", dir.display().to_string()).with_source(error))?;
        let dir = Some(dir.to_owned());
        Ok(Self { store: Arc::new(files.with_fsync(true)), place, dir, grace: leftovers::GRACE })
    }

    /// Records in memory, gone with the process.
    pub fn memory() -> Self {
        Self::new(Arc::new(InMemory::new()), "memory")
    }

    /// Any backend that can create an object only if it does not exist.
    pub fn new(store: Arc<dyn ObjectStore>, place: impl Into<String>) -> Self {
        Self { store, place: place.into(), dir: None, grace: leftovers::GRACE }
    }

    /// How old a file that is not whole must be to count as left over by a killed process (default 1 hour): no lock
    /// tells it from one that is being written. Only for [`ObjectRunStore::local`].
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    fn error(&self, operation: &'static str, key: &str, error: object_store::Error) -> Error {
        use object_store::Error as Store;
        let io = std::error::Error::source(&error)
            .and_then(|source| source.source().or(Some(source)))
            .and_then(|source| source.downcast_ref::<std::io::Error>())
            .map(std::io::Error::kind);
        let kind = match (&error, io) {
            (Store::PermissionDenied { .. }, _) | (_, Some(std::io::ErrorKind::ReadOnlyFilesystem)) => {
                ErrorKind::PermissionDenied
            }
            (Store::Unauthenticated { .. }, _) => ErrorKind::Unauthenticated,
            (_, Some(std::io::ErrorKind::PermissionDenied)) => ErrorKind::PermissionDenied,
            (_, Some(std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)) => ErrorKind::LimitExceeded,
            _ => ErrorKind::Unavailable,
        };
        Error::new(kind, operation, format!("record `{key}` in `{}`", self.place))
            .with_effect(Effect::Unknown)
            .with_source(error)
    }
}

#[async_trait]
impl RunStore for ObjectRunStore {
    async fn create(&self, key: &str, body: Bytes) -> Result<Created> {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.store.put_opts(&path::Path::from(key), body.clone().into(), options).await {
            Ok(_) => Ok(Created::Yes),
            Err(object_store::Error::AlreadyExists { .. }) => match self.get(key).await? {
                // A create that was retried below us sees its own object.
                Some(present) if present == body => Ok(Created::Yes),
                _ => Ok(Created::Exists),
            },
            Err(error) => match self.get(key).await {
                Ok(Some(present)) if present == body => Ok(Created::Yes),
                _ => Err(self.error("store.create", key, error)),
            },
        }
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        match self.store.get(&path::Path::from(key)).await {
            Ok(found) => found.bytes().await.map(Some).map_err(|error| self.error("store.get", key, error)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.error("store.get", key, error)),
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>> {
        let objects = self.store.list(Some(&path::Path::from(prefix)));
        let mut keys: Vec<String> = objects
            .map_ok(|object| object.location.to_string())
            .try_collect()
            .await
            .map_err(|error| self.error("store.list", prefix, error))?;
        keys.sort_unstable();
        Ok(keys)
    }

    async fn list_after(&self, prefix: &str, after: &str) -> Result<Vec<String>> {
        let objects = self.store.list_with_offset(Some(&path::Path::from(prefix)), &path::Path::from(after));
        let mut keys: Vec<String> = objects
            .map_ok(|object| object.location.to_string())
            .try_collect()
            .await
            .map_err(|error| self.error("store.list", prefix, error))?;
        keys.sort_unstable();
        Ok(keys)
    }

    async fn names(&self, prefix: &str) -> Result<Vec<String>> {
        let found = self
            .store
            .list_with_delimiter(Some(&path::Path::from(prefix)))
            .await
            .map_err(|error| self.error("store.list", prefix, error))?;
        let objects = found.objects.into_iter().map(|object| object.location);
        let mut names: Vec<String> = objects
            .chain(found.common_prefixes)
            .filter_map(|path| path.parts().next_back().map(|name| name.as_ref().to_owned()))
            .collect();
        names.sort_unstable();
        Ok(names)
    }

    async fn remove(&self, key: &str) -> Result<()> {
        match self.store.delete(&path::Path::from(key)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.error("store.remove", key, error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn behaves(store: &dyn RunStore) {
        let body = || Bytes::from_static(b"one");
        assert_eq!(store.create("a/b/1", body()).await.unwrap(), Created::Yes);
        assert_eq!(store.create("a/b/1", body()).await.unwrap(), Created::Yes, "the same body is our own");
        assert_eq!(store.create("a/b/1", Bytes::from_static(b"two")).await.unwrap(), Created::Exists);
        assert_eq!(store.create("a/b/2", body()).await.unwrap(), Created::Yes);
        assert_eq!(store.get("a/b/1").await.unwrap(), Some(body()));
        assert_eq!(store.get("a/b/3").await.unwrap(), None);
        assert_eq!(store.list("a/b").await.unwrap(), ["a/b/1", "a/b/2"]);
        store.remove("a/b/1").await.unwrap();
        store.remove("a/b/1").await.unwrap();
        assert_eq!(store.list("a").await.unwrap(), ["a/b/2"]);
        assert_eq!(store.create("a/c/d/1", body()).await.unwrap(), Created::Yes);
        assert_eq!(store.list_after("a", "a/b/2").await.unwrap(), ["a/c/d/1"]);
        assert_eq!(store.names("a").await.unwrap(), ["b", "c"]);
        assert_eq!(store.names("a/b").await.unwrap(), ["2"]);
        assert_eq!(store.names("z").await.unwrap(), [""; 0]);
    }

    #[tokio::test]
    async fn memory_and_files_behave_alike() {
        behaves(&ObjectRunStore::memory()).await;
        let dir = tempfile::tempdir().unwrap();
        behaves(&ObjectRunStore::local(dir.path()).unwrap()).await;
    }

    #[tokio::test]
    async fn one_of_many_contenders_creates() {
        let dir = tempfile::tempdir().unwrap();
        let store = ObjectRunStore::local(dir.path()).unwrap();
        let contenders = (0..16).map(|n| {
            let store = store.clone();
            async move { store.create("epoch", Bytes::from(n.to_string())).await.unwrap() }
        });
        let created = futures_util::future::join_all(contenders).await;
        assert_eq!(created.iter().filter(|created| **created == Created::Yes).count(), 1);
    }
}
