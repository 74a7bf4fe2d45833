//! One layer: its bytes verified, its entries brought into the root.

use std::{
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use flate2::read::MultiGzDecoder;

use super::{OPERATION, root::Root};
use crate::{
    Context, Error, ErrorKind, Result,
    local::oci::{Descriptor, Packing},
    vocabulary::{Digest, Digester},
};

/// Applies the layer that `blob` holds, packed. It is read to its end, so that its digest is verified. Blocks.
pub(super) fn apply(
    cx: &Context,
    root: &mut Root,
    mut blob: impl Read,
    layer: &Descriptor,
    diff_id: Digest,
) -> Result<()> {
    let place = format!("the layer {}", layer.digest.short());
    let found = match layer.packing() {
        Some(Packing::Gzip) => read(cx, root, MultiGzDecoder::new(&mut blob), &place),
        _ => read(cx, root, &mut blob, &place),
    };
    // The digest of the blob tells more than what its damage made of the tar in it.
    let drained = io::copy(&mut blob, &mut io::sink()).map_err(|error| unreadable(&place, error));
    let found = match found {
        Err(error) if error.kind() == ErrorKind::Corrupt => return Err(drained.err().unwrap_or(error)),
        found => found?,
    };
    drained?;
    if found == diff_id {
        return Ok(());
    }
    Err(Error::new(ErrorKind::Corrupt, OPERATION, format!("{place} does not unpack to what the image names"))
        .with("expected", diff_id)
        .with("found", found))
}

fn unreadable(place: &str, error: io::Error) -> Error {
    Error::new(ErrorKind::Corrupt, OPERATION, format!("{place} cannot be read: {error}"))
        .advice("build and push the image again")
        .with_source(error)
}

/// Reads a tar, and answers with its digest.
fn read(cx: &Context, root: &mut Root, layer: impl Read, place: &str) -> Result<Digest> {
    let fail = |error| unreadable(place, error);
    let mut archive = tar::Archive::new(Counted { inner: layer, digester: Digester::new(), left: root.left });
    for entry in archive.entries().map_err(fail)? {
        cx.check(OPERATION)?;
        let mut entry = entry.map_err(fail)?;
        add(cx, root, &mut entry, place)?;
    }
    root.end_layer();
    let mut rest = archive.into_inner();
    io::copy(&mut rest, &mut io::sink()).map_err(fail)?;
    root.left = rest.left;
    if rest.left == 0 {
        let message = format!("{place} and those below it unpack to more than 64 GiB");
        return Err(Error::new(ErrorKind::LimitExceeded, OPERATION, message));
    }
    Ok(rest.digester.finish())
}

fn add(cx: &Context, root: &mut Root, entry: &mut tar::Entry<'_, impl Read>, place: &str) -> Result<()> {
    use tar::EntryType as Kind;
    let path = entry.path().map_err(|error| unreadable(place, error))?.into_owned();
    let mode = entry.header().mode().map_err(|error| unreadable(place, error))?;
    match entry.header().entry_type() {
        Kind::Directory => root.folder(&path, mode),
        Kind::Symlink => root.link(&path, &target(entry, place)?),
        Kind::Link => root.hard_link(&path, &target(entry, place)?),
        Kind::Regular | Kind::Continuous | Kind::GNUSparse => {
            let Some((mut file, at)) = root.file(&path, mode)? else { return Ok(()) };
            copy(cx, entry, &mut file, &at, place)
        }
        Kind::Char | Kind::Block | Kind::Fifo => {
            cx.warn(format!("`{}` of {place} is a device or a pipe and is left out", path.display()));
            Ok(())
        }
        _ => Ok(()),
    }
}

fn target(entry: &tar::Entry<'_, impl Read>, place: &str) -> Result<PathBuf> {
    let target = entry.link_name().map_err(|error| unreadable(place, error))?;
    let missing = || Error::new(ErrorKind::Corrupt, OPERATION, format!("a link in {place} has no target"));
    Ok(target.ok_or_else(missing)?.into_owned())
}

/// Copies, and tells whose fault it is if that fails.
fn copy(cx: &Context, from: &mut impl Read, to: &mut File, at: &Path, place: &str) -> Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        cx.check(OPERATION)?;
        let count = from.read(&mut buffer).map_err(|error| unreadable(place, error))?;
        if count == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..count]).map_err(|error| Error::io(OPERATION, at, error))?;
    }
}

/// A reader that digests what it reads, up to a bound at which it ends.
struct Counted<R> {
    inner: R,
    digester: Digester,
    left: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let count = self.inner.read(&mut buffer[..most])?;
        self.left -= count as u64;
        self.digester.update(&buffer[..count]);
        Ok(count)
    }
}
