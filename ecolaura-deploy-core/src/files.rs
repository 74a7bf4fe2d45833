//! Files that appear whole or not at all, and locks between processes.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use crate::{
    Context, Error, Result,
    vocabulary::{Digest, Digester},
};

/// How long to wait before asking for a lock again.
const LOCK_PAUSE: Duration = Duration::from_millis(10);
const BUFFER: usize = 128 * 1024;

static NEXT: AtomicU64 = AtomicU64::new(0);

/// Runs one whole unit of file work off the runtime's threads. It runs to its end also if nobody waits any more.
pub(crate) async fn blocking<T: Send + 'static>(
    operation: &'static str,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let join = tokio::task::spawn_blocking(work).await;
    join.map_err(|error| Error::internal(operation, "file work panicked").with_source(error))?
}

/// Writes `content` to `path` so that a reader, or a power failure, sees the former file or the new one.
pub(crate) fn replace(operation: &'static str, path: &Path, content: &[u8]) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    create_folder(operation, folder)?;
    let mut temporary = Temporary::new(operation, folder)?;
    temporary.write(operation, content)?;
    temporary.rename(operation, path)
}

/// Removes a file; one that is gone is success.
pub(crate) fn remove(operation: &'static str, path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io(operation, path, error)),
        _ => Ok(()),
    }
}

/// The file's bytes; `None` if it is not there.
pub(crate) fn read_if_there(operation: &'static str, path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(operation, path, error)),
    }
}

pub(crate) fn create_folder(operation: &'static str, path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(|error| Error::io(operation, path, error))
}

/// How a lock is held.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Hold {
    Alone,
    Shared,
}

/// Opens the file that stands for a lock. It is never removed: whoever waits for it has it open.
pub(crate) fn open_lock(operation: &'static str, path: &Path) -> Result<File> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path);
    file.map_err(|error| Error::io(operation, path, error))
}

/// Waits for the lock at `path`, whose folder is made. It ends with the file, also if the process is killed.
pub(crate) async fn lock(cx: &Context, operation: &'static str, path: PathBuf, hold: Hold) -> Result<File> {
    let at = path.clone();
    let open = move || {
        create_folder(operation, at.parent().unwrap_or(Path::new(".")))?;
        open_lock(operation, &at)
    };
    let file = blocking(operation, open).await?;
    loop {
        cx.check(operation)?;
        let taken = match hold {
            Hold::Alone => file.try_lock(),
            Hold::Shared => file.try_lock_shared(),
        };
        match taken {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => cx.sleep(operation, LOCK_PAUSE).await?,
            Err(TryLockError::Error(error)) => return Err(Error::io(operation, path, error)),
        }
    }
}

/// The digest and the length of what `input` holds.
pub(crate) fn measure(
    cx: &Context,
    operation: &'static str,
    input: &mut impl Read,
    source: &Path,
) -> Result<(Digest, u64)> {
    each_piece(cx, operation, input, source, |_| Ok(()))
}

fn each_piece(
    cx: &Context,
    operation: &'static str,
    input: &mut impl Read,
    source: &Path,
    mut take: impl FnMut(&[u8]) -> Result<()>,
) -> Result<(Digest, u64)> {
    let (mut digester, mut size, mut buffer) = (Digester::new(), 0, vec![0; BUFFER]);
    loop {
        cx.check(operation)?;
        let count = input.read(&mut buffer).map_err(|error| Error::io(operation, source, error))?;
        if count == 0 {
            return Ok((digester.finish(), size));
        }
        digester.update(&buffer[..count]);
        size += count as u64;
        take(&buffer[..count])?;
    }
}

/// A file that goes away unless it is renamed.
#[derive(Debug)]
pub(crate) struct Temporary {
    path: PathBuf,
    file: File,
}

impl Temporary {
    pub(crate) fn new(operation: &'static str, folder: &Path) -> Result<Self> {
        let path = folder.join(partial_name(""));
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path);
        let file = open.map_err(|error| Error::io(operation, &path, error))?;
        Ok(Self { path, file })
    }

    #[cfg(feature = "docker")]
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn file(&mut self) -> &mut File {
        &mut self.file
    }

    pub(crate) fn write(&mut self, operation: &'static str, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|error| Error::io(operation, &self.path, error))
    }

    /// Appends what `input` holds, and measures it.
    pub(crate) fn copy(
        &mut self,
        cx: &Context,
        operation: &'static str,
        input: &mut impl Read,
        source: &Path,
    ) -> Result<(Digest, u64)> {
        each_piece(cx, operation, input, source, |piece| self.write(operation, piece))
    }

    /// Makes it durable and gives it its name, whose folder is made.
    pub(crate) fn rename(self, operation: &'static str, path: &Path) -> Result<()> {
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

/// A name that no other process or thread uses, for what is not whole yet.
pub(crate) fn partial_name(prefix: &str) -> String {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!(".{prefix}{}-{number}.partial", std::process::id())
}
