//! The directory's files: contents by digest, locks.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use rustix::fs::{Timespec, Timestamps, UTIME_NOW, futimens};

use crate::{
    Context, Error, ErrorKind, Result,
    local::files::{self, Hold, Temporary, create_folder, open_lock, remove},
    vocabulary::Digest,
};

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

    /// Whether the content is stored. It then counts as new, so that it is not cleaned up before its publish ends.
    pub(super) fn renew(&self, digest: Digest, size: u64) -> Result<bool> {
        if !self.holds(digest, size) {
            return Ok(false);
        }
        let _uploading = self.uploading()?;
        let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
        let now = Timestamps { last_access: now, last_modification: now };
        // What cannot be renewed is sent again.
        Ok(File::open(self.object(digest)).is_ok_and(|file| futimens(file, &now).is_ok()))
    }

    /// Stores the file at `source` as `digest`, verifying it on the way.
    pub(super) fn put(&self, cx: &Context, source: &Path, digest: Digest, size: u64) -> Result<()> {
        const OPERATION: &str = "cdn.upload";
        let mut input = File::open(source).map_err(|error| Error::io(OPERATION, source, error))?;
        let folder = self.path("incoming");
        create_folder(OPERATION, &folder)?;
        let _uploading = self.uploading()?;
        let mut temporary = Temporary::new(OPERATION, &folder)?;
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
        let lock = open_lock("cdn.lock", &self.path("incoming.lock"))?;
        lock.lock_shared().map_err(|error| Error::io("cdn.lock", self.path("incoming.lock"), error))?;
        Ok(lock)
    }

    /// Removes what killed uploads left, unless one is under way.
    pub(super) fn sweep(&self) -> Result<()> {
        let lock = open_lock("cdn.lock", &self.path("incoming.lock"))?;
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
        files::lock(cx, "cdn.lock", self.path("lock"), Hold::Alone).await
    }
}

/// Runs one whole unit of file work off the runtime's threads. It runs to its end also if nobody waits any more.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    files::blocking("cdn.files", work).await
}
