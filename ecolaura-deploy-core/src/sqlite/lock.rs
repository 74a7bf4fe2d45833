//! One changer of a database at a time, over all processes of the machine.

use std::{
    ffi::OsString,
    fs::{self, File, OpenOptions, TryLockError},
    io::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::time::Instant;

use super::connection::Work;
use crate::{Error, ErrorKind, Result};

/// How long to wait before asking again.
pub(super) const PAUSE: Duration = Duration::from_millis(20);

/// `path` with `suffix` at the end of its name.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

/// Takes the lock of the database, which ends with the returned file, also when the process is killed. Waits for another
/// holder until patience is over.
pub(super) async fn take(work: Work<'_>) -> Result<File> {
    let Work { cx, operation, patience, .. } = work;
    let path = beside(work.database, ".lock");
    let mut file = open(operation, &path)?;
    let began = Instant::now();
    loop {
        cx.check(operation)?;
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::Error(error)) => return Err(Error::io(operation, &path, error)),
            Err(TryLockError::WouldBlock) if began.elapsed() < patience => cx.sleep(operation, PAUSE).await?,
            Err(TryLockError::WouldBlock) => return Err(held(operation, &path, patience)),
        }
    }
    // Only for whoever waits; the lock itself does not need it.
    _ = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
    Ok(file)
}

fn open(operation: &'static str, path: &Path) -> Result<File> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(|error| Error::io(operation, folder, error))?;
    }
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path);
    file.map_err(|error| Error::io(operation, path, error))
}

fn held(operation: &'static str, path: &Path, patience: Duration) -> Error {
    let holder = fs::read_to_string(path).unwrap_or_default();
    let holder = if holder.is_empty() { "unknown".to_owned() } else { holder };
    let message = format!("another process is changing the database; waited {patience:?} for it");
    Error::new(ErrorKind::Conflict, operation, message)
        .with("lock", path.display())
        .with("process", holder)
        .advice("wait for it to end and run again; the lock ends with the process that holds it")
}
