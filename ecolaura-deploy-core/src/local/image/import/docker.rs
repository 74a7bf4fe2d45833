//! What `docker save` writes: `manifest.json`, configurations, and layers as they are unpacked.

use std::io::Read;

use flate2::read::MultiGzDecoder;
use serde::Deserialize;

use super::{
    super::{
        gzip::{BLOCK, Room},
        pack::Writer,
    },
    ImageArchive, Imported, OPERATION,
    archive::{Archive, is_gzip},
    choice::{Candidate, choose, first, together},
};
use crate::{
    Context, Error, ErrorKind, Result,
    local::{
        files::measure,
        oci::{
            CONFIG, Configuration, Descriptor, INDEX, Index, LAYER, Layout, MANIFEST, Manifest, UNPACKED, parse, write,
        },
    },
    vocabulary::{Digest, Digester, Platform},
};

/// An image of `manifest.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

pub(super) fn import(cx: &Context, archive: &Archive, wanted: &ImageArchive, layout: &Layout) -> Result<Imported> {
    let what = |name: &str| format!("`{}`: the entry `{name}`", archive.path().display());
    let saved: Vec<Saved> = parse(OPERATION, &what("manifest.json"), &archive.document("manifest.json")?)?;
    let mut candidates = Vec::new();
    for mut image in saved {
        let bytes = archive.document(&image.config)?;
        let config: Configuration = parse(OPERATION, &what(&image.config), &bytes)?;
        let names = image.repo_tags.take().unwrap_or_default();
        let platform = Platform::new(&config.os, &config.architecture);
        candidates.push(Candidate { names, platform, image: (image, bytes, config.rootfs.diff_ids) });
    }
    let named_alike =
        |all: &Vec<&Candidate<Loaded>>| all.iter().all(|one| !one.names.is_empty() && one.names == all[0].names);
    if let Some(all) = together(wanted, &candidates).filter(named_alike) {
        return index(cx, archive, &all, layout);
    }
    let Candidate { platform, image, .. } = choose(archive, wanted, candidates)?;
    let (image, size) = store(cx, archive, &image, layout)?;
    Ok(Imported { entries: vec![image.clone().on(&platform)], image, platform, size })
}

/// An image with its configuration and the digests of its layers, as they are unpacked.
type Loaded = (Saved, Vec<u8>, Vec<Digest>);

/// Makes an index of images that have one name.
fn index(cx: &Context, archive: &Archive, all: &[&Candidate<Loaded>], layout: &Layout) -> Result<Imported> {
    let (mut index, mut size) = (Index::default(), 0);
    for one in all {
        let (image, bytes) = store(cx, archive, &one.image, layout)?;
        index.manifests.push(image.on(&one.platform));
        size += bytes;
    }
    let image = layout.store(OPERATION, INDEX, &write(OPERATION, &index)?)?;
    let (size, platform) = (size + image.size, first(all.iter().map(|one| &one.platform)));
    Ok(Imported { entries: vec![image.clone()], image, platform, size })
}

/// Brings an image into `layout`; answers also with the bytes of all its blobs.
fn store(
    cx: &Context,
    archive: &Archive,
    (image, config, diff_ids): &Loaded,
    layout: &Layout,
) -> Result<(Descriptor, u64)> {
    let names = image.layers.as_deref().unwrap_or_default();
    if names.len() != diff_ids.len() {
        let message = format!("has {} layers, and `manifest.json` names {}", diff_ids.len(), names.len());
        return Err(archive.bad(ErrorKind::Corrupt, &image.config, &message));
    }
    let mut layers = Vec::with_capacity(names.len());
    for (done, (name, diff_id)) in names.iter().zip(diff_ids).enumerate() {
        cx.progress("layers", done as u64, Some(names.len() as u64));
        layers.push(layer(cx, archive, (name, *diff_id), layout)?);
    }
    let manifest = Manifest::new(layout.store(OPERATION, CONFIG, config)?, layers);
    let image = layout.store(OPERATION, MANIFEST, &write(OPERATION, &manifest)?)?;
    let size = image.size + manifest.size();
    Ok((image, size))
}

fn layer(cx: &Context, archive: &Archive, (name, diff_id): (&str, Digest), layout: &Layout) -> Result<Descriptor> {
    let mut start = Vec::new();
    let begun = archive.read(name)?.0.take(2).read_to_end(&mut start);
    begun.map_err(|error| Error::io(OPERATION, archive.path(), error))?;
    let (found, blob) = match is_gzip(&start) {
        true => keep(cx, archive, name, layout)?,
        false => compress(cx, archive, name, layout)?,
    };
    if found == diff_id { Ok(blob) } else { Err(archive.mismatch(name, diff_id, found)) }
}

/// Stores a layer that is compressed already. Answers also with the digest of what is in it.
fn keep(cx: &Context, archive: &Archive, name: &str, layout: &Layout) -> Result<(Digest, Descriptor)> {
    let mut content = MultiGzDecoder::new(archive.read(name)?.0).take(UNPACKED + 1);
    let unpacked = measure(cx, OPERATION, &mut content, archive.path());
    let (diff_id, unpacked) = unpacked.map_err(|error| match error.kind() {
        ErrorKind::Internal => archive.bad(ErrorKind::Corrupt, name, "cannot be unpacked").with_source(error),
        _ => error,
    })?;
    if unpacked > UNPACKED {
        let message = format!("unpacks to more than {} GiB", UNPACKED >> 30);
        return Err(archive.bad(ErrorKind::LimitExceeded, name, &message));
    }
    let mut temporary = layout.temporary(OPERATION)?;
    let (digest, size) = temporary.copy(cx, OPERATION, &mut archive.read(name)?.0, archive.path())?;
    temporary.rename(OPERATION, &layout.blob(digest))?;
    Ok((diff_id, Descriptor::new(LAYER, digest, size)))
}

/// Stores a layer as the builder would.
fn compress(cx: &Context, archive: &Archive, name: &str, layout: &Layout) -> Result<(Digest, Descriptor)> {
    let (mut content, _) = archive.read(name)?;
    let (mut writer, mut room, mut digester) = (Writer::new(OPERATION, layout)?, Room::new(), Digester::new());
    loop {
        cx.check(OPERATION)?;
        room.input.clear();
        let read = (&mut content).take(BLOCK as u64).read_to_end(&mut room.input);
        read.map_err(|error| Error::io(OPERATION, archive.path(), error))?;
        if room.input.is_empty() {
            return Ok((digester.finish(), writer.finish(layout)?));
        }
        digester.update(&room.input);
        room.compress(OPERATION)?;
        (writer, room) = writer.add(room)?;
    }
}
