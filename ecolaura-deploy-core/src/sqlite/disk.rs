//! Files that are whole or not there.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use crate::{
    Context, Error, Result,
    vocabulary::{Digest, Digester},
};

/// The size of a piece in which a file is read; between two of them a cancel is heard.
const PIECE: usize = 1 << 20;

/// A file under a name that is never taken for the real one; removed on drop unless it was put in place.
#[derive(Debug)]
pub(super) struct Partial(Option<PathBuf>);

impl Partial {
    /// Clears `path`, which a killed process may have left behind.
    pub(super) fn new(operation: &'static str, path: PathBuf) -> Result<Self> {
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::io(operation, path, error)),
            _ => Ok(Self(Some(path))),
        }
    }

    pub(super) fn path(&self) -> &Path {
        self.0.as_deref().unwrap_or(Path::new(""))
    }

    /// Puts it in the place of `target`, in one rename that survives a power cut.
    pub(super) fn place(mut self, operation: &'static str, target: &Path) -> Result<()> {
        fs::rename(self.path(), target).map_err(|error| Error::io(operation, target, error))?;
        self.0 = None;
        sync_folder(operation, target)
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            // What stays is swept by the next one of the same name.
            _ = fs::remove_file(path);
        }
    }
}

/// Makes renames into `path`'s folder durable.
pub(super) fn sync_folder(operation: &'static str, path: &Path) -> Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| Error::io(operation, folder, error))
}

/// Makes `path`'s content durable; its digest and size.
pub(super) fn seal(cx: &Context, operation: &'static str, path: &Path) -> Result<(Digest, u64)> {
    let file = File::options().read(true).write(true).open(path);
    file.and_then(|file| file.sync_all()).map_err(|error| Error::io(operation, path, error))?;
    digest(cx, operation, path)
}

/// The digest and size of `path`.
pub(super) fn digest(cx: &Context, operation: &'static str, path: &Path) -> Result<(Digest, u64)> {
    copy(cx, operation, path, None)
}

/// Reads `source`, into `target` if there is one; the digest and size of what was read.
pub(super) fn copy(
    cx: &Context,
    operation: &'static str,
    source: &Path,
    target: Option<&Path>,
) -> Result<(Digest, u64)> {
    let mut input = File::open(source).map_err(|error| Error::io(operation, source, error))?;
    let mut output =
        target.map(|path| File::create(path).map_err(|error| Error::io(operation, path, error))).transpose()?;
    let (mut digester, mut size, mut piece) = (Digester::new(), 0, vec![0; PIECE]);
    loop {
        cx.check(operation)?;
        let read = input.read(&mut piece).map_err(|error| Error::io(operation, source, error))?;
        if read == 0 {
            break;
        }
        digester.update(&piece[..read]);
        size += read as u64;
        if let (Some(output), Some(path)) = (&mut output, target) {
            output.write_all(&piece[..read]).map_err(|error| Error::io(operation, path, error))?;
        }
    }
    if let (Some(output), Some(path)) = (&output, target) {
        output.sync_all().map_err(|error| Error::io(operation, path, error))?;
    }
    Ok((digester.finish(), size))
}

/// Puts `content` in the place of `path`.
pub(super) fn write(operation: &'static str, path: &Path, content: &[u8]) -> Result<()> {
    let partial = Partial::new(operation, super::lock::beside(path, ".tmp"))?;
    let mut file = File::create(partial.path()).map_err(|error| Error::io(operation, partial.path(), error))?;
    file.write_all(content)
        .and_then(|()| file.sync_all())
        .map_err(|error| Error::io(operation, partial.path(), error))?;
    partial.place(operation, path)
}

/// The content of `path`; `None` if it is not there.
pub(super) fn read(operation: &'static str, path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(operation, path, error)),
    }
}
