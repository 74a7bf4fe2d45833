//! A layout in an archive.

use super::{
    ImageArchive, Imported, OPERATION,
    archive::{Archive, blob},
    choice::{Candidate, choose},
};
use crate::{
    Context, Result,
    local::oci::{Configuration, Descriptor, Index, Layout, Manifest, REF_NAME, SUBJECT, parse},
    vocabulary::{Digest, Platform},
};

/// The annotation of an index's entry with the whole name of an image, where [`REF_NAME`] has the tag alone.
const NAME: &str = "io.containerd.image.name";
/// How deep indexes name indexes.
const DEPTH: usize = 4;

/// A document of the archive.
struct Read {
    entry: Descriptor,
    bytes: Vec<u8>,
    manifest: Manifest,
}

pub(super) fn import(cx: &Context, archive: &Archive, wanted: &ImageArchive, layout: &Layout) -> Result<Imported> {
    let what = format!("`{}`: the entry `index.json`", archive.path().display());
    let index: Index = parse(OPERATION, &what, &archive.document("index.json")?)?;
    let (mut candidates, mut artifacts) = (Vec::new(), Vec::new());
    for entry in &index.manifests {
        let names: Vec<_> =
            [NAME, REF_NAME].iter().filter_map(|key| entry.annotation(key)).map(str::to_owned).collect();
        collect(archive, (entry, &names), DEPTH, (&mut candidates, &mut artifacts))?;
    }
    let Candidate { platform, image, .. } = choose(archive, wanted, candidates)?;
    let digest = image.entry.digest;
    let entry = store(cx, archive, &image, layout)?;
    let mut entries = vec![entry.clone().on(&platform)];
    for artifact in artifacts.iter().filter(|artifact| subject(artifact) == Some(digest)) {
        let attached = store(cx, archive, artifact, layout)?.artifact(artifact.manifest.kind());
        entries.push(attached.annotated(SUBJECT, digest.to_string()));
    }
    let size = entry.size + image.manifest.size();
    Ok(Imported { image: entry, entries, platform, size })
}

fn subject(read: &Read) -> Option<Digest> {
    read.manifest.subject.as_ref().map(|subject| subject.digest)
}

/// Adds the images that `entry` leads to, and what is attached to images.
fn collect(
    archive: &Archive,
    (entry, names): (&Descriptor, &[String]),
    depth: usize,
    (candidates, artifacts): (&mut Vec<Candidate<Read>>, &mut Vec<Read>),
) -> Result<()> {
    // Of an image for many platforms, docker saves those that it has.
    if !archive.has(&blob(entry.digest)) && depth < DEPTH {
        return Ok(());
    }
    let bytes = archive.verified(entry.digest)?;
    let manifest: Manifest = parse(OPERATION, &what(archive, entry.digest), &bytes)?;
    if depth > 0 && !manifest.manifests.is_empty() {
        for child in &manifest.manifests {
            collect(archive, (child, names), depth - 1, (candidates, artifacts))?;
        }
        return Ok(());
    }
    let read = Read { entry: entry.plain(), bytes, manifest };
    if read.manifest.subject.is_some() {
        artifacts.push(read);
    } else if let Some(platform) = platform(archive, &read.manifest)? {
        match candidates.iter_mut().find(|known| known.image.entry.digest == entry.digest) {
            Some(known) => known.names.extend(names.iter().cloned()),
            None => candidates.push(Candidate { names: names.to_vec(), platform, image: read }),
        }
    }
    Ok(())
}

/// What an image is for; `None` of what is no image, such as how one was built.
fn platform(archive: &Archive, manifest: &Manifest) -> Result<Option<Platform>> {
    let Some(config) = manifest.config.as_ref().filter(|config| config.media_type.contains(".image.")) else {
        return Ok(None);
    };
    let config: Configuration = parse(OPERATION, &what(archive, config.digest), &archive.verified(config.digest)?)?;
    let platform = Platform::new(config.os, config.architecture);
    Ok(Some(platform).filter(|platform| !["", "unknown"].contains(&platform.os.as_str())))
}

fn what(archive: &Archive, digest: Digest) -> String {
    format!("`{}`: the entry `{}`", archive.path().display(), blob(digest))
}

/// Brings a manifest and what it names into `layout`.
fn store(cx: &Context, archive: &Archive, read: &Read, layout: &Layout) -> Result<Descriptor> {
    let children: Vec<_> = read.manifest.children().collect();
    for (done, child) in children.iter().enumerate() {
        cx.progress("blobs", done as u64, Some(children.len() as u64));
        archive.store(cx, child, layout)?;
    }
    layout.store(OPERATION, &read.entry.media_type, &read.bytes)
}
