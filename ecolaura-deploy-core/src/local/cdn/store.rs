//! The directory's files: contents by digest, durable replacement, locks.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{Read, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::{
    Context, Error, ErrorKind, Result,
    vocabulary::{Digest, Digester},
};

/// How long to wait before asking for a lock again.
const LOCK_PAUSE: Duration = Duration::from_millis(10);

static NEXT: AtomicU64 = AtomicU64::new(0);

/// Where things are in the directory.
#[derive(Debug, Clone)]
pub(super) struct Store {
    dir: PathBuf,
}

impl Store {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub(super) fn object(&self, digest: Digest) -> PathBuf {
        let hex = digest.to_hex();
        self.dir.join("objects").join(&hex[..2]).join(hex)
    }

    pub(super) fn manifest(&self, release: Digest) -> PathBuf {
        self.dir.join("releases").join(release.to_hex() + ".json")
    }

    /// Whether the content is stored. Its size is compared; a file with the name and the size was complete when it
    /// was renamed to it.
    pub(super) fn holds(&self, digest: Digest, size: u64) -> bool {
        fs::metadata(self.object(digest)).is_ok_and(|found| found.is_file() && found.len() == size)
    }

    /// Stores the file at `source` as `digest`, verifying it on the way.
    pub(super) fn put(&self, cx: &Context, source: &Path, digest: Digest, size: u64) -> Result<()> {
        const OPERATION: &str = "cdn.upload";
        let mut input = File::open(source).map_err(|error| Error::io(OPERATION, source, error))?;
        let folder = self.path("incoming");
        create_folder(OPERATION, &folder)?;
        let _uploading = self.uploading()?;
        let temporary = Temporary::new(OPERATION, &folder)?;
        let found = temporary.copy(cx, OPERATION, &mut input, source)?;
        if found != (digest, size) {
            let message = format!("`{}` changed after the site was read", source.display());
            return Err(Error::new(ErrorKind::Corrupt, OPERATION, message)
                .with("expected", format!("{digest}, {size} bytes"))
                .with("found", format!("{}, {} bytes", found.0, found.1))
                .advice("let the build finish before publishing, then publish again"));
        }
        temporary.rename(OPERATION, &self.object(digest))
    }

    fn uploading(&self) -> Result<File> {
        let lock = open_lock(&self.path("incoming.lock"))?;
        lock.lock_shared().map_err(|error| Error::io("cdn.lock", self.path("incoming.lock"), error))?;
        Ok(lock)
    }

    /// Removes what killed uploads left, unless one is under way.
    pub(super) fn sweep(&self) -> Result<()> {
        let lock = open_lock(&self.path("incoming.lock"))?;
        if lock.try_lock().is_err() {
            return Ok(());
        }
        for entry in fs::read_dir(self.path("incoming")).into_iter().flatten().flatten() {
            remove("cdn.prune", &entry.path())?;
        }
        Ok(())
    }

    /// Waits for the right to change what is served. It ends with the file, also if the process is killed.
    pub(super) async fn lock(&self, cx: &Context) -> Result<File> {
        const OPERATION: &str = "cdn.lock";
        let (dir, path) = (self.dir.clone(), self.path("lock"));
        let open = move || create_folder(OPERATION, &dir).and_then(|()| open_lock(&path));
        let file = blocking(open).await?;
        loop {
            cx.check(OPERATION)?;
            match file.try_lock() {
                Ok(()) => return Ok(file),
                Err(TryLockError::WouldBlock) => cx.sleep(OPERATION, LOCK_PAUSE).await?,
                Err(TryLockError::Error(error)) => return Err(Error::io(OPERATION, self.path("lock"), error)),
            }
        }
    }
}

fn open_lock(path: &Path) -> Result<File> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path);
    file.map_err(|error| Error::io("cdn.lock", path, error))
}

/// Runs one whole unit of file work off the runtime's threads. It runs to its end also if nobody waits any more.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let join = tokio::task::spawn_blocking(work).await;
    join.map_err(|error| Error::internal("cdn.files", "file work panicked").with_source(error))?
}

/// Writes `content` to `path` so that a reader, or a power failure, sees the former file or the new one.
pub(super) fn replace(operation: &'static str, path: &Path, content: &[u8]) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    create_folder(operation, folder)?;
    let temporary = Temporary::new(operation, folder)?;
    (&temporary.file).write_all(content).map_err(|error| Error::io(operation, &temporary.path, error))?;
    temporary.rename(operation, path)
}

/// Removes a file; one that is gone is success.
pub(super) fn remove(operation: &'static str, path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Error::io(operation, path, error)),
        _ => Ok(()),
    }
}

fn create_folder(operation: &'static str, path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|error| Error::io(operation, path, error))
}

/// A file that goes away unless it is renamed.
struct Temporary {
    path: PathBuf,
    file: File,
}

impl Temporary {
    fn new(operation: &'static str, folder: &Path) -> Result<Self> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = folder.join(format!(".{}-{number}.partial", std::process::id()));
        let file = File::create(&path).map_err(|error| Error::io(operation, &path, error))?;
        Ok(Self { path, file })
    }

    fn copy(&self, cx: &Context, operation: &'static str, input: &mut File, source: &Path) -> Result<(Digest, u64)> {
        let (mut digester, mut size, mut buffer) = (Digester::new(), 0, vec![0; 64 * 1024]);
        loop {
            cx.check(operation)?;
            let count = input.read(&mut buffer).map_err(|error| Error::io(operation, source, error))?;
            if count == 0 {
                return Ok((digester.finish(), size));
            }
            digester.update(&buffer[..count]);
            size += count as u64;
            (&self.file).write_all(&buffer[..count]).map_err(|error| Error::io(operation, &self.path, error))?;
        }
    }

    fn rename(self, operation: &'static str, path: &Path) -> Result<()> {
        let folder = path.parent().unwrap_or(Path::new("."));
        create_folder(operation, folder)?;
        self.file.sync_all().map_err(|error| Error::io(operation, &self.path, error))?;
        fs::rename(&self.path, path).map_err(|error| Error::io(operation, path, error))?;
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(|error| Error::io(operation, folder, error))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // After the rename there is nothing left under this name.
        _ = fs::remove_file(&self.path);
    }
}
