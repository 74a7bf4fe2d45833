//! What the layers of an image in a layout change, one entry after the other.

use std::io::{self, Read};

use flate2::read::MultiGzDecoder;
use tar::EntryType;

use crate::{
    Context, Error, ErrorKind, Result,
    local::oci::{Descriptor, Layout, Packing, UNPACKED, corrupt, open_blob},
    vocabulary::Digester,
};

/// Paths are without a leading `/`, and without `.` and empty parts.
pub(super) enum Change<'a> {
    /// What layers below have in this folder is gone.
    Emptied(&'a str),
    /// What layers below have here is gone.
    Removed(&'a str),
    /// This is here now.
    Put {
        path: &'a str,
        kind: EntryType,
        link: Option<String>,
        #[cfg_attr(not(feature = "docker"), expect(dead_code, reason = "bills of images are made of it"))]
        content: &'a mut dyn Read,
    },
}

struct Hashing<R>(R, Digester);

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.0.read(buffer)?;
        self.1.update(&buffer[..count]);
        Ok(count)
    }
}

/// Tells `each` what `layers` change, bottom first. They are verified on the way and read as a stream. Blocks.
pub(super) fn read(
    (cx, operation): (&Context, &'static str),
    layout: &Layout,
    layers: &[Descriptor],
    each: &mut dyn FnMut(Change<'_>) -> io::Result<()>,
) -> Result<()> {
    for layer in layers {
        let path = layout.blob(layer.digest);
        let mut blob = Hashing(open_blob(operation, &path, layer.digest)?, Digester::new());
        let read = match layer.packing() {
            Some(Packing::Gzip) => read_one((cx, operation), &mut MultiGzDecoder::new(&mut blob), each),
            _ => read_one((cx, operation), &mut blob, each),
        };
        let drained = io::copy(&mut blob, &mut io::sink());
        match blob.1.finish() {
            found if found != layer.digest => return Err(corrupt(operation, &path, layer.digest, found)),
            _ => read.and(drained.map_err(|error| Error::io(operation, &path, error)))?,
        };
    }
    Ok(())
}

fn read_one(
    (cx, operation): (&Context, &'static str),
    layer: &mut dyn Read,
    each: &mut dyn FnMut(Change<'_>) -> io::Result<()>,
) -> Result<u64> {
    let failed = |error: io::Error| {
        Error::new(ErrorKind::Corrupt, operation, format!("a layer of the image cannot be read: {error}"))
    };
    let mut archive = tar::Archive::new(layer.take(UNPACKED));
    for entry in archive.entries().map_err(failed)? {
        cx.check(operation)?;
        let mut entry = entry.map_err(failed)?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let path = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect::<Vec<_>>().join("/");
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
        let told = match name.strip_prefix(".wh.") {
            _ if path.is_empty() => Ok(()),
            Some(".wh..opq") => each(Change::Emptied(folder)),
            Some(hidden) if folder.is_empty() => each(Change::Removed(hidden)),
            Some(hidden) => each(Change::Removed(&format!("{folder}/{hidden}"))),
            None => {
                let kind = entry.header().entry_type();
                let link = entry.link_name_bytes().map(|target| String::from_utf8_lossy(&target).into_owned());
                each(Change::Put { path: &path, kind, link, content: &mut entry })
            }
        };
        told.map_err(failed)?;
    }
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(failed)
}
