//! Replacing a file whole, one writer at a time.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{Context, Effect, Error, ErrorKind, Result};

/// How long another writer is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Takes the lock on `FILE.lock`; it ends with the returned file, also when the process is killed.
pub(super) fn lock(cx: &Context, path: &Path) -> Result<File> {
    let lock = beside(path, "", ".lock");
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(&lock)
        .map_err(|error| Error::io("flags.set", &lock, error))?;
    let began = Instant::now();
    loop {
        cx.check("flags.set")?;
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(Error::io("flags.set", &lock, error)),
            Err(TryLockError::WouldBlock) if began.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(10));
            }
            Err(TryLockError::WouldBlock) => {
                return Err(Error::new(ErrorKind::Conflict, "flags.set", "another process is changing the flags")
                    .with("lock", lock.display())
                    .advice("wait for it to end and run again"));
            }
        }
    }
}

/// Puts `content` in the place of `path`: temporary file, fsync, rename, fsync of the folder. The mode is kept where there is one.
pub(super) fn replace(path: &Path, content: &[u8]) -> Result<()> {
    let temporary = beside(path, ".", ".tmp");
    write(path, &temporary, content).map_err(|error| {
        let _ = fs::remove_file(&temporary);
        Error::io("flags.set", &temporary, error)
    })?;
    fs::rename(&temporary, path).map_err(|error| Error::io("flags.set", path, error))?;
    let folder = path.parent().unwrap_or(Path::new("/"));
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| Error::io("flags.set", folder, error).with_effect(Effect::Complete))
}

fn write(path: &Path, temporary: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = File::create(temporary)?;
    match fs::metadata(path) {
        Ok(replaced) => file.set_permissions(replaced.permissions())?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    file.write_all(content)?;
    file.sync_all()
}

pub(super) fn beside(path: &Path, before: &str, after: &str) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{before}{name}{after}"))
}
