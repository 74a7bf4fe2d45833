//! The folder that becomes an image's root. Nothing in it is followed out of it.

use std::{
    collections::{BTreeMap, HashSet},
    ffi::{OsStr, OsString},
    fs::{self, File, Metadata, Permissions},
    io,
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _},
    path::{Component, Path, PathBuf},
};

use super::OPERATION;
use crate::{Error, ErrorKind, Result, local::oci::UNPACKED};

const HOPS: usize = 40;
/// The most entries of an image.
const ENTRIES: usize = 4_000_000;

/// Removed on drop unless it is renamed.
#[derive(Debug)]
pub(super) struct Root {
    dir: PathBuf,
    /// How many bytes may still be unpacked.
    pub(super) left: u64,
    entries: usize,
    /// The modes of folders, which are set at the end: one without the right to write must still be filled.
    modes: BTreeMap<PathBuf, u32>,
    /// What this layer brought. An opaque folder hides only what is of layers below.
    fresh: HashSet<PathBuf>,
}

impl Root {
    pub(super) fn create(dir: PathBuf) -> Result<Self> {
        fs::create_dir(&dir).map_err(|error| Error::io(OPERATION, &dir, error))?;
        Ok(Self { dir, left: UNPACKED, entries: 0, modes: BTreeMap::new(), fresh: HashSet::new() })
    }

    pub(super) fn end_layer(&mut self) {
        self.fresh.clear();
    }

    pub(super) fn folder(&mut self, path: &Path, mode: u32) -> Result<()> {
        let Some(at) = self.place(path)? else { return Ok(()) };
        if !look(&at)?.is_some_and(|found| found.is_dir()) {
            self.remove(&at)?;
            fs::create_dir(&at).map_err(|error| Error::io(OPERATION, &at, error))?;
        }
        self.modes.insert(at, (mode & 0o777) | 0o700);
        Ok(())
    }

    /// Creates a file, to be filled; `None` for a whiteout, which is done.
    pub(super) fn file(&mut self, path: &Path, mode: u32) -> Result<Option<(File, PathBuf)>> {
        let Some(at) = self.place(path)? else { return Ok(None) };
        self.remove(&at)?;
        let failed = |error| Error::io(OPERATION, &at, error);
        let file = File::create_new(&at).map_err(failed)?;
        file.set_permissions(Permissions::from_mode((mode & 0o777) | 0o400)).map_err(failed)?;
        Ok(Some((file, at)))
    }

    pub(super) fn link(&mut self, path: &Path, target: &Path) -> Result<()> {
        let Some(at) = self.place(path)? else { return Ok(()) };
        self.remove(&at)?;
        std::os::unix::fs::symlink(target, &at).map_err(|error| Error::io(OPERATION, &at, error))
    }

    pub(super) fn hard_link(&mut self, path: &Path, target: &Path) -> Result<()> {
        let from = self.resolve(target, false)?;
        if !look(&from)?.is_some_and(|found| found.is_file()) {
            return Err(refused(path, &format!("is a hard link to `{}`, which is no file of it", target.display())));
        }
        let Some(at) = self.place(path)? else { return Ok(()) };
        if at == from {
            return Ok(());
        }
        self.remove(&at)?;
        fs::hard_link(&from, &at).map_err(|error| Error::io(OPERATION, &at, error))
    }

    /// Where an entry goes, its folder made; `None` if there is nothing to make: the top itself, or a whiteout, which
    /// is done here.
    fn place(&mut self, path: &Path) -> Result<Option<PathBuf>> {
        self.entries += 1;
        if self.entries > ENTRIES {
            let message = format!("the image has more than {ENTRIES} entries");
            return Err(Error::new(ErrorKind::LimitExceeded, OPERATION, message));
        }
        let Some(name) = path.file_name().map(OsStr::to_owned) else {
            return if parts(path)?.is_empty() { Ok(None) } else { Err(refused(path, "has no name")) };
        };
        let parent = self.resolve(path.parent().unwrap_or(Path::new("")), true);
        let parent = parent.map_err(|error| error.with("entry", path.display()))?;
        if let Some(hidden) = name.as_bytes().strip_prefix(b".wh.") {
            self.hide(&parent, hidden)?;
            return Ok(None);
        }
        let at = parent.join(name);
        self.fresh.insert(at.clone());
        Ok(Some(at))
    }

    fn hide(&mut self, parent: &Path, hidden: &[u8]) -> Result<()> {
        match hidden {
            b".wh..opq" => self.hide_all(parent).map(|_| ()),
            // Other marks of the file system that this format comes from mean nothing.
            _ if hidden.starts_with(b".wh.") => Ok(()),
            b"" | b"." | b".." => Err(refused(parent, "has a whiteout without a name")),
            _ => {
                let at = parent.join(OsStr::from_bytes(hidden));
                if self.fresh.contains(&at) { Ok(()) } else { self.remove(&at) }
            }
        }
    }

    /// Removes what lies in `folder` from layers below; answers whether nothing stays.
    fn hide_all(&mut self, folder: &Path) -> Result<bool> {
        let mut empty = true;
        let listed = fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
        for entry in listed.map_err(|error| Error::io(OPERATION, folder, error))? {
            let at = entry.path();
            let fresh = self.fresh.contains(&at);
            let folder = look(&at)?.is_some_and(|found| found.is_dir());
            let hollow = if folder { self.hide_all(&at)? } else { true };
            if fresh || !hollow {
                empty = false;
            } else {
                self.remove(&at)?;
            }
        }
        Ok(empty)
    }

    /// Removes what is at `at`, whatever it is; links are not followed.
    fn remove(&mut self, at: &Path) -> Result<()> {
        let failed = |error| Error::io(OPERATION, at, error);
        match look(at)? {
            None => Ok(()),
            Some(found) if found.is_dir() => {
                self.modes.retain(|folder, _| !folder.starts_with(at));
                fs::remove_dir_all(at).map_err(failed)
            }
            Some(_) => fs::remove_file(at).map_err(failed),
        }
    }

    /// Where `path` leads within the root. With `folder`, all of it is a folder, made where it is missing, and a link
    /// at its end is followed; else only what is above its last part.
    fn resolve(&self, path: &Path, folder: bool) -> Result<PathBuf> {
        let mut left = parts(path)?;
        left.reverse();
        let (mut at, mut depth, mut hops) = (self.dir.clone(), 0_usize, 0);
        while let Some(part) = left.pop() {
            if part == ".." {
                depth = depth.checked_sub(1).ok_or_else(|| refused(path, "goes through a link out of the image"))?;
                at.pop();
                continue;
            }
            at.push(&part);
            depth += 1;
            if left.is_empty() && !folder {
                break;
            }
            match look(&at)? {
                Some(found) if found.is_symlink() => {
                    hops += 1;
                    if hops > HOPS {
                        return Err(refused(path, "goes through more than 40 links"));
                    }
                    let target = fs::read_link(&at).map_err(|error| Error::io(OPERATION, &at, error))?;
                    at.pop();
                    depth -= 1;
                    if target.is_absolute() {
                        (at, depth) = (self.dir.clone(), 0);
                    }
                    left.extend(link_parts(&target).rev());
                }
                Some(found) if found.is_dir() => {}
                Some(_) => return Err(refused(path, "lies in something that is no folder")),
                None => fs::create_dir(&at).map_err(|error| Error::io(OPERATION, &at, error))?,
            }
        }
        Ok(at)
    }

    /// Where a file of ours goes, whatever the image put there.
    pub(super) fn clear_way(&self, name: &str) -> Result<PathBuf> {
        let at = self.dir.join(name);
        match look(&at)? {
            Some(found) if found.is_dir() => Err(refused(Path::new(name), "is a name that is kept for this program")),
            Some(_) => fs::remove_file(&at).map(|()| at.clone()).map_err(|error| Error::io(OPERATION, &at, error)),
            None => Ok(at),
        }
    }

    /// Sets the modes of folders, and moves the whole to `dir`.
    pub(super) fn rename(self, dir: &Path) -> Result<()> {
        for (folder, mode) in self.modes.iter().rev() {
            if look(folder)?.is_some_and(|found| found.is_dir()) {
                let set = fs::set_permissions(folder, Permissions::from_mode(*mode));
                set.map_err(|error| Error::io(OPERATION, folder, error))?;
            }
        }
        fs::rename(&self.dir, dir).map_err(|error| Error::io(OPERATION, dir, error))
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        // After the rename there is nothing under this name; else the next call removes what cannot be removed now.
        _ = fs::remove_dir_all(&self.dir);
    }
}

fn look(path: &Path) -> Result<Option<Metadata>> {
    match fs::symlink_metadata(path) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io(OPERATION, path, error)),
    }
}

/// The names in the path of an entry, which must not climb.
fn parts(path: &Path) -> Result<Vec<OsString>> {
    if path.components().any(|part| part == Component::ParentDir) {
        return Err(refused(path, "holds `..`"));
    }
    Ok(link_parts(path).collect())
}

fn link_parts(path: &Path) -> impl DoubleEndedIterator<Item = OsString> {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    })
}

fn refused(path: &Path, why: &str) -> Error {
    Error::new(ErrorKind::Corrupt, OPERATION, format!("the entry `{}` {why}", path.display()))
        .advice("do not use this image; nothing was unpacked")
}
