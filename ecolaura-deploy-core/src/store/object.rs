//! A run store over `object_store`: local files with fsync, memory, and whatever else a caller brings.

mod staged;
mod walk;

use std::{
    fs::File,
    io,
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

/// How often a create is tried that neither succeeds nor fails.
const ATTEMPTS: usize = 8;
/// How long it waits after the first of them. Whoever is in its way over a network takes a while.
const PAUSE: Duration = Duration::from_millis(10);

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
        let dir = Some(dir.canonicalize().map_err(|error| Error::io("store.open", dir, error))?);
        // Without the clean-up every pruned epoch would leave an empty folder, and every listing would walk it.
        let files = files.with_fsync(true).with_automatic_cleanup(true);
        Ok(Self { store: Arc::new(files), place, dir, grace: leftovers::GRACE })
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
        let (kind, advice) = kind_of(&error);
        let error = Error::new(kind, operation, format!("record `{key}` in `{}`", self.place))
            .with_effect(Effect::Unknown)
            .with_source(error);
        match advice {
            Some(advice) => error.advice(advice),
            None => error,
        }
    }

    /// Makes an object durable that somebody put there who may have died before it was, or whose flushing failed.
    /// Answers whether it is there: whoever put it there may have removed it again.
    async fn flush(&self, key: &str) -> Result<bool> {
        let Some(dir) = self.dir.clone() else { return Ok(true) };
        let path = key.to_owned();
        let flushed = tokio::task::spawn_blocking(move || flush(&dir, &path)).await;
        let failed = |error: io::Error| {
            Error::io("store.create", Path::new(&self.place).join(key), error).with_effect(Effect::Unknown)
        };
        match flushed {
            Ok(Err(error)) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Ok(flushed) => flushed.map(|()| true).map_err(failed),
            Err(error) => Err(Error::internal("store.create", "the flushing broke off").with_source(error)),
        }
    }

    /// One attempt. `None` asks for another one: the store says that the object exists and does not have it, which is
    /// how it refuses two creates at the same time; or the folder was cleaned up between its making and its use.
    async fn try_create(&self, key: &str, body: &Bytes) -> Result<Option<Created>> {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let put = self.store.put_opts(&path::Path::from(key), body.clone().into(), options).await;
        let Err(error) = put else { return Ok(Some(Created::Yes)) };
        let exists = matches!(error, object_store::Error::AlreadyExists { .. });
        match (self.get(key).await, exists) {
            // A create that was retried below us, or whose answer was lost, sees its own object.
            (Ok(Some(present)), _) if present == body => Ok(self.flush(key).await?.then_some(Created::Yes)),
            (Ok(Some(_)), true) => Ok(self.flush(key).await?.then_some(Created::Exists)),
            (Ok(None), true) => Ok(None),
            (Ok(None), false) if io_kind(&error) == Some(io::ErrorKind::NotFound) => Ok(None),
            (Err(unread), true) => Err(unread),
            (read, false) => {
                let error = self.error("store.create", key, error);
                // What was refused for good and is not there did not happen.
                let refused = matches!(error.kind(), ErrorKind::LimitExceeded | ErrorKind::PermissionDenied);
                Err(if refused && matches!(read, Ok(None)) { error.with_effect(Effect::None) } else { error })
            }
        }
    }
}

/// Flushes the file at `key` below `dir`, and the folders above it.
fn flush(dir: &Path, key: &str) -> io::Result<()> {
    let file = dir.join(key);
    File::open(&file)?.sync_all()?;
    file.ancestors()
        .skip(1)
        .take_while(|folder| folder.starts_with(dir))
        .try_for_each(|folder| File::open(folder)?.sync_all())
}

/// Refuses what is no key, or no beginning of one: with files it would lead out of their folder. Fails with
/// [`ErrorKind::InvalidInput`].
pub fn check_key(operation: &'static str, key: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let good = |part: &str| !matches!(part, "" | "." | "..") && part.bytes().all(plain);
    if key.split('/').all(good) {
        return Ok(());
    }
    let expected = "expected letters, digits, `-`, `_` and `.` in parts with `/` between them";
    Err(Error::invalid(operation, format!("`{}` is no key of a record: {expected}", key.escape_debug())))
}

/// Lists files on a thread that may wait.
async fn in_files<F>(dir: &Path, prefix: &str, list: F) -> Result<Vec<String>>
where
    F: FnOnce(&Path, &str) -> Result<Vec<String>> + Send + 'static,
{
    let (dir, prefix) = (dir.to_owned(), prefix.to_owned());
    let listing = tokio::task::spawn_blocking(move || list(&dir, &prefix));
    listing.await.unwrap_or_else(|error| Err(Error::internal("store.list", "the listing broke off").with_source(error)))
}

/// The cause in the file system, which may lie several errors deep.
fn io_kind(error: &object_store::Error) -> Option<io::ErrorKind> {
    let chain = std::iter::successors(std::error::Error::source(error), |error| error.source());
    chain.filter_map(|cause| cause.downcast_ref::<io::Error>()).last().map(io::Error::kind)
}

/// What kind of failure it is, and what to do about it.
fn kind_of(error: &object_store::Error) -> (ErrorKind, Option<&'static str>) {
    use io::ErrorKind as Io;
    use object_store::Error as Store;
    match (error, io_kind(error)) {
        (_, Some(Io::ReadOnlyFilesystem)) => (ErrorKind::PermissionDenied, Some("the file system is read-only")),
        (Store::PermissionDenied { .. }, _) | (_, Some(Io::PermissionDenied)) => {
            (ErrorKind::PermissionDenied, Some("check who may write there"))
        }
        (Store::Unauthenticated { .. }, _) => (ErrorKind::Unauthenticated, None),
        (_, Some(Io::StorageFull | Io::QuotaExceeded | Io::FileTooLarge)) => {
            (ErrorKind::LimitExceeded, Some("free some space and run again"))
        }
        _ => (ErrorKind::Unavailable, None),
    }
}

#[async_trait]
impl RunStore for ObjectRunStore {
    async fn create(&self, key: &str, body: Bytes) -> Result<Created> {
        check_key("store.create", key)?;
        let mut pause = PAUSE;
        for _ in 0..ATTEMPTS {
            if let Some(created) = self.try_create(key, &body).await? {
                return Ok(created);
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        let message = format!("record `{key}` in `{}`: it is said to exist, and is not there", self.place);
        Err(Error::new(ErrorKind::Unavailable, "store.create", message).with_effect(Effect::Unknown))
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        check_key("store.get", key)?;
        match self.store.get(&path::Path::from(key)).await {
            Ok(found) => found.bytes().await.map(Some).map_err(|error| self.error("store.get", key, error)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.error("store.get", key, error)),
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>> {
        check_key("store.list", prefix)?;
        if let Some(dir) = &self.dir {
            return in_files(dir, prefix, |dir, prefix| walk::keys(dir, prefix, "")).await;
        }
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
        check_key("store.list", prefix)?;
        if let Some(dir) = &self.dir {
            let after = after.to_owned();
            return in_files(dir, prefix, move |dir, prefix| walk::keys(dir, prefix, &after)).await;
        }
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
        check_key("store.list", prefix)?;
        if let Some(dir) = &self.dir {
            return in_files(dir, prefix, walk::names).await;
        }
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
        check_key("store.remove", key)?;
        match self.store.delete(&path::Path::from(key)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.error("store.remove", key, error)),
        }
    }
}

#[cfg(test)]
mod tests;
