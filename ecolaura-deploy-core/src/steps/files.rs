//! The files that steps read and make, and their digests.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use crate::{
    Error, Result,
    vocabulary::{Digest, Digester},
};

/// The digest of every file at or below `paths`, by path; links count by where they point.
pub(super) async fn digests(paths: Vec<PathBuf>, ignored: Vec<String>) -> Result<BTreeMap<String, Digest>> {
    blocking(move || {
        let mut found = BTreeMap::new();
        for path in &paths {
            walk(path, &ignored, &mut found)?;
        }
        Ok(found)
    })
    .await
}

/// The digest over the files below `folder`: their paths below it and their contents. Links are refused, for what they
/// point to could differ.
pub(super) async fn folder(folder: PathBuf) -> Result<Digest> {
    blocking(move || tree(&folder)).await
}

fn tree(folder: &Path) -> Result<Digest> {
    let mut found = BTreeMap::new();
    walk(folder, &[], &mut found)?;
    let mut digester = Digester::new();
    for (path, digest) in &found {
        let path = Path::new(path);
        if path.is_symlink() {
            let message = format!("`{}` is a symbolic link", path.display());
            return Err(Error::invalid("files.digest", message).advice("put the file itself there"));
        }
        let below = path.strip_prefix(folder).unwrap_or(path);
        digester.field(below.as_os_str().as_encoded_bytes()).field(digest.as_bytes());
    }
    Ok(digester.finish())
}

/// The digest of each of `paths`, all of which must be files or folders.
pub(super) async fn each(paths: Vec<PathBuf>) -> Result<BTreeMap<PathBuf, Digest>> {
    blocking(move || {
        paths
            .into_iter()
            .map(|path| {
                let digest = if path.is_dir() { tree(&path)? } else { digest(&path)? };
                Ok((path, digest))
            })
            .collect()
    })
    .await
}

/// Writes `content` to `path`, whose folder is made; a reader sees what was there before or all of it.
pub(super) async fn write(path: PathBuf, content: Vec<u8>) -> Result<()> {
    blocking(move || {
        let partial = path.with_added_extension("partial");
        let folder = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        folder
            .and_then(|()| std::fs::write(&partial, content))
            .and_then(|()| std::fs::rename(&partial, &path))
            .map_err(|error| Error::io("files.write", &path, error))
    })
    .await
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::internal("files.digest", "the digest task was lost").with_source(error))?
}

fn walk(path: &Path, ignored: &[String], found: &mut BTreeMap<String, Digest>) -> Result<()> {
    let failed = |error| Error::io("files.digest", path, error);
    let kind = std::fs::symlink_metadata(path).map_err(failed)?.file_type();
    if kind.is_symlink() {
        let target = std::fs::read_link(path).map_err(failed)?;
        found.insert(path.display().to_string(), Digest::of(target.as_os_str().as_encoded_bytes()));
    } else if kind.is_dir() {
        for entry in std::fs::read_dir(path).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            if !ignored.iter().any(|name| entry.file_name().to_str() == Some(name)) {
                walk(&entry.path(), ignored, found)?;
            }
        }
    } else {
        found.insert(path.display().to_string(), digest(path)?);
    }
    Ok(())
}

fn digest(path: &Path) -> Result<Digest> {
    let failed = |error| Error::io("files.digest", path, error);
    // To open a pipe, or to read a device to its end, may take for ever.
    if !std::fs::metadata(path).map_err(failed)?.is_file() {
        let message = format!("`{}` is neither a file nor a folder", path.display());
        return Err(Error::invalid("files.digest", message).advice("remove it, or name the files themselves"));
    }
    let mut file = File::open(path).map_err(failed)?;
    let mut digester = Digester::new();
    let mut buffer = vec![0; 128 * 1024];
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => return Ok(digester.finish()),
            read => digester.update(&buffer[..read]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn pipes_and_devices_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        for path in [dir.path(), &pipe, Path::new("/dev/zero")] {
            let error = digests(vec![path.to_owned()], Vec::new()).await.unwrap_err();
            assert!(error.report().contains("neither a file nor a folder"), "{}", error.report());
        }
    }
}
