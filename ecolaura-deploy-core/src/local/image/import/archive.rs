//! A tar archive whose entries are read by name, in any order.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{BufReader, Read, Seek as _, SeekFrom, Take},
    path::{Path, PathBuf},
};

use flate2::read::MultiGzDecoder;
use tar::EntryType;

use super::OPERATION;
use crate::{
    Context, Error, ErrorKind, Result,
    local::{
        files::{Temporary, measure},
        oci::{DOCUMENT, Descriptor, Layout, UNPACKED},
    },
    vocabulary::Digest,
};

/// The most entries that an archive may have.
const ENTRIES: usize = 100_000;
/// How gzip begins.
const GZIP: [u8; 2] = [0x1f, 0x8b];

#[derive(Debug)]
pub(super) struct Archive {
    path: PathBuf,
    file: File,
    entries: BTreeMap<String, Entry>,
    /// What was unpacked goes away with it.
    _unpacked: Option<Temporary>,
}

#[derive(Debug)]
enum Entry {
    File {
        offset: u64,
        size: u64,
    },
    /// To another entry; `None` if it leads out of the archive.
    Link(Option<String>),
    Other(EntryType),
}

impl Archive {
    /// Opens the archive at `path`. A compressed one is unpacked into the folder of `layout` first.
    pub(super) fn open(cx: &Context, path: &Path, layout: &Layout) -> Result<Self> {
        let failed = |error| Error::io(OPERATION, path, error);
        let (mut file, mut unpacked) = (File::open(path).map_err(failed)?, None);
        if begins_as_gzip(&mut file).map_err(failed)? {
            let mut temporary = unpack(cx, path, &file, layout)?;
            file = temporary.file().try_clone().map_err(failed)?;
            unpacked = Some(temporary);
        }
        let entries = list(cx, path, &file)?;
        Ok(Self { path: path.to_owned(), file, entries, _unpacked: unpacked })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// The content of the file `name`, through links, and its size.
    pub(super) fn read(&self, name: &str) -> Result<(Take<&File>, u64)> {
        let (offset, size) = self.find(name)?;
        let mut file = &self.file;
        file.seek(SeekFrom::Start(offset)).map_err(|error| Error::io(OPERATION, &self.path, error))?;
        Ok((file.take(size), size))
    }

    /// The whole of a document.
    pub(super) fn document(&self, name: &str) -> Result<Vec<u8>> {
        let (mut content, size) = self.read(name)?;
        if size > DOCUMENT {
            let message = format!("is no document: it holds {size} bytes, more than {} MiB", DOCUMENT >> 20);
            return Err(self.bad(ErrorKind::LimitExceeded, name, &message));
        }
        let mut bytes = Vec::new();
        content.read_to_end(&mut bytes).map_err(|error| Error::io(OPERATION, &self.path, error))?;
        Ok(bytes)
    }

    /// The document of this digest, verified.
    pub(super) fn verified(&self, digest: Digest) -> Result<Vec<u8>> {
        let name = blob(digest);
        let bytes = self.document(&name)?;
        match Digest::of(&bytes) {
            found if found == digest => Ok(bytes),
            found => Err(self.mismatch(&name, digest, found)),
        }
    }

    /// Brings a blob of a layout into another one. A good one that is there stays.
    pub(super) fn store(&self, cx: &Context, wanted: &Descriptor, layout: &Layout) -> Result<()> {
        let (name, target) = (blob(wanted.digest), layout.blob(wanted.digest));
        if let Ok(mut present) = File::open(&target)
            && measure(cx, OPERATION, &mut present, &target)?.0 == wanted.digest
        {
            return Ok(());
        }
        let (mut content, size) = self.read(&name)?;
        if size != wanted.size {
            let message = format!("has {size} bytes, and its manifest says {}", wanted.size);
            return Err(self.bad(ErrorKind::Corrupt, &name, &message));
        }
        let mut temporary = layout.temporary(OPERATION)?;
        let found = temporary.copy(cx, OPERATION, &mut content, &self.path)?.0;
        if found != wanted.digest {
            return Err(self.mismatch(&name, wanted.digest, found));
        }
        temporary.rename(OPERATION, &target)
    }

    fn find(&self, name: &str) -> Result<(u64, u64)> {
        let (mut at, mut seen) = (name, BTreeSet::new());
        loop {
            if !seen.insert(at) {
                return Err(self.bad(ErrorKind::Corrupt, name, "is a link that leads to itself"));
            }
            match self.entries.get(at) {
                Some(Entry::File { offset, size }) => return Ok((*offset, *size)),
                Some(Entry::Link(Some(target))) => at = target,
                Some(Entry::Link(None)) => {
                    return Err(self.bad(ErrorKind::Corrupt, at, "is a link that leads out of the archive"));
                }
                Some(Entry::Other(kind)) => {
                    let message = format!("is no file that is read here, but of the kind {kind:?}");
                    return Err(self.bad(ErrorKind::Unsupported, at, &message));
                }
                None => return Err(self.bad(ErrorKind::Corrupt, at, "is named and not there")),
            }
        }
    }

    /// That something is wrong with the entry `name`.
    pub(super) fn bad(&self, kind: ErrorKind, name: &str, what: &str) -> Error {
        bad(kind, &self.path, name, what)
    }

    pub(super) fn mismatch(&self, name: &str, expected: Digest, found: Digest) -> Error {
        self.bad(ErrorKind::Corrupt, name, "does not match its digest").with("expected", expected).with("found", found)
    }
}

fn bad(kind: ErrorKind, path: &Path, name: &str, what: &str) -> Error {
    Error::new(kind, OPERATION, format!("`{}`: the entry `{name}` {what}", path.display()))
        .advice("save the image again")
}

/// Where a layout has this blob.
pub(super) fn blob(digest: Digest) -> String {
    format!("blobs/sha256/{}", digest.to_hex())
}

/// Whether `input` begins as gzip does; it is at its start again.
fn begins_as_gzip(input: &mut File) -> std::io::Result<bool> {
    let mut start = Vec::new();
    input.take(GZIP.len() as u64).read_to_end(&mut start)?;
    input.rewind()?;
    Ok(start == GZIP)
}

/// Whether these bytes are gzip's.
pub(super) fn is_gzip(start: &[u8]) -> bool {
    start.starts_with(&GZIP)
}

fn unpack(cx: &Context, path: &Path, file: &File, layout: &Layout) -> Result<Temporary> {
    let mut content = MultiGzDecoder::new(BufReader::new(file)).take(UNPACKED + 1);
    let mut temporary = layout.temporary(OPERATION)?;
    let copied = temporary.copy(cx, OPERATION, &mut content, path);
    let (_, size) = copied.map_err(|error| match error.kind() {
        ErrorKind::Internal => {
            let message = format!("`{}` is gzip that cannot be unpacked", path.display());
            Error::new(ErrorKind::Corrupt, OPERATION, message).with_source(error).advice("save the image again")
        }
        _ => error,
    })?;
    if size > UNPACKED {
        let message = format!("`{}` unpacks to more than {} GiB", path.display(), UNPACKED >> 30);
        return Err(Error::new(ErrorKind::LimitExceeded, OPERATION, message));
    }
    Ok(temporary)
}

/// The entries; of several with one name the last, as tar has it.
fn list(cx: &Context, path: &Path, file: &File) -> Result<BTreeMap<String, Entry>> {
    let mut input = file;
    let failed = |error| Error::io(OPERATION, path, error);
    input.rewind().map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    let no_tar = |error: std::io::Error| {
        let message = format!("`{}` is no tar archive, or is damaged: {error}", path.display());
        Error::new(ErrorKind::Corrupt, OPERATION, message).with_source(error).advice("save the image again")
    };
    let (mut archive, mut entries) = (tar::Archive::new(input), BTreeMap::new());
    for entry in archive.entries_with_seek().map_err(no_tar)? {
        cx.check(OPERATION)?;
        let entry = entry.map_err(no_tar)?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let (offset, size, kind) = (entry.raw_file_position(), entry.size(), entry.header().entry_type());
        if kind.is_file() && offset.saturating_add(size) > length {
            let message =
                format!("is cut off: {size} bytes are announced, and {} are there", length.saturating_sub(offset));
            return Err(bad(ErrorKind::Corrupt, path, &name, &message));
        }
        let plain = below("", &name).ok_or_else(|| bad(ErrorKind::Corrupt, path, &name, "leads out of the archive"))?;
        let target = entry.link_name_bytes().map(|target| String::from_utf8_lossy(&target).into_owned());
        let found = match (kind, target) {
            (EntryType::Regular | EntryType::Continuous, _) => Entry::File { offset, size },
            (EntryType::Symlink, Some(target)) => {
                let folder = plain.rsplit_once('/').map_or("", |(folder, _)| folder);
                Entry::Link(below(folder, &target).filter(|_| !target.starts_with('/')))
            }
            (EntryType::Link, Some(target)) => Entry::Link(below("", &target)),
            (EntryType::Directory, _) => continue,
            (other, _) => Entry::Other(other),
        };
        entries.insert(plain, found);
        if entries.len() > ENTRIES {
            let message = format!("`{}` has more than {ENTRIES} entries", path.display());
            return Err(Error::new(ErrorKind::LimitExceeded, OPERATION, message));
        }
    }
    Ok(entries)
}

/// `name` as seen from `folder`; `None` if it leads out of the archive.
fn below(folder: &str, name: &str) -> Option<String> {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => _ = parts.pop()?,
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}
