//! A layout in an archive.

use std::collections::BTreeSet;

use super::{
    ImageArchive, Imported, OPERATION,
    archive::{Archive, blob},
    choice::{Candidate, choose, first, together},
};
use crate::{
    Context, Error, ErrorKind, Result,
    local::oci::{Configuration, Descriptor, INDEX, Index, Layout, Manifest, REF_NAME, SUBJECT, parse},
    vocabulary::{Digest, Platform},
};

/// The annotation of an index's entry with the whole name of an image, where [`REF_NAME`] has the tag alone.
const NAME: &str = "io.containerd.image.name";
/// How deep indexes name indexes.
const DEPTH: usize = 4;

/// A document of the archive.
#[derive(Clone)]
struct Read {
    entry: Descriptor,
    bytes: Vec<u8>,
    manifest: Manifest,
    /// The entry of the archive's index that leads to it.
    from: Digest,
}

pub(super) fn import(cx: &Context, archive: &Archive, wanted: &ImageArchive, layout: &Layout) -> Result<Imported> {
    let what = format!("`{}`: the entry `index.json`", archive.path().display());
    let index: Index = parse(OPERATION, &what, &archive.document("index.json")?)?;
    let (mut candidates, mut artifacts) = (Vec::new(), Vec::new());
    for entry in &index.manifests {
        let mut seen = BTreeSet::new();
        let names: Vec<_> =
            [NAME, REF_NAME].iter().filter_map(|key| entry.annotation(key)).map(str::to_owned).collect();
        collect(archive, (entry, &names, entry.digest), (DEPTH, &mut seen), (&mut candidates, &mut artifacts))?;
    }
    let all = together(wanted, &candidates).filter(|all| all.iter().all(|one| one.image.from == all[0].image.from));
    let (platform, image, listed) = match all {
        Some(all) => {
            let platform = first(all.iter().map(|one| &one.platform));
            let index = read(archive, &whole(archive, all[0].image.from)?, all[0].image.from)?;
            (platform, index, None)
        }
        None => {
            let Candidate { platform, image, .. } = choose(archive, wanted, candidates)?;
            (platform.clone(), image, Some(platform))
        }
    };
    let mut stored = Stored::default();
    let entry = store(cx, archive, &image, layout, (&mut stored, DEPTH))?;
    let mut entries = vec![listed.iter().fold(entry.clone(), Descriptor::on)];
    let (size, subjects) = (stored.size, stored.blobs);
    for artifact in &artifacts {
        let Some(digest) = subject(artifact).filter(|digest| subjects.contains(digest)) else { continue };
        let attached =
            store(cx, archive, artifact, layout, (&mut Stored::default(), DEPTH))?.artifact(artifact.manifest.kind());
        entries.push(attached.annotated(SUBJECT, digest.to_string()));
    }
    Ok(Imported { image: entry, entries, platform, size })
}

/// The index `digest`, if the archive has all that it names.
fn whole(archive: &Archive, digest: Digest) -> Result<Descriptor> {
    let bytes = archive.verified(digest)?;
    let index: Manifest = parse(OPERATION, &what(archive, digest), &bytes)?;
    let missing: Vec<_> = index.manifests.iter().filter(|child| !archive.has(&blob(child.digest))).collect();
    if missing.is_empty() {
        return Ok(Descriptor::of(index.media_type.as_deref().unwrap_or(INDEX), &bytes));
    }
    let names: Vec<_> = missing.iter().map(|child| child.digest.short()).collect();
    let (path, count, names) = (archive.path().display(), index.manifests.len(), names.join(", "));
    let message = format!("`{path}` has an image for several platforms, but of its {count} parts not {names}");
    Err(Error::invalid(OPERATION, message).advice("say which platform, or save the image with all of them"))
}

fn subject(read: &Read) -> Option<Digest> {
    read.manifest.subject.as_ref().map(|subject| subject.digest)
}

/// Adds the images that `entry` leads to, and what is attached to images.
fn collect(
    archive: &Archive,
    (entry, names, from): (&Descriptor, &[String], Digest),
    (depth, seen): (usize, &mut BTreeSet<(usize, Digest)>),
    (candidates, artifacts): (&mut Vec<Candidate<Read>>, &mut Vec<Read>),
) -> Result<()> {
    // Of an image for many platforms, docker saves those that it has. What is named twice is read once.
    if depth < DEPTH && (!archive.has(&blob(entry.digest)) || !seen.insert((depth, entry.digest))) {
        return Ok(());
    }
    let bytes = archive.verified(entry.digest)?;
    let manifest: Manifest = parse(OPERATION, &what(archive, entry.digest), &bytes)?;
    if depth > 0 && !manifest.manifests.is_empty() {
        for child in &manifest.manifests {
            collect(archive, (child, names, from), (depth - 1, seen), (candidates, artifacts))?;
        }
        return Ok(());
    }
    let read = Read { entry: entry.plain(), bytes, manifest, from };
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

/// What was brought into a layout.
#[derive(Default)]
struct Stored {
    blobs: BTreeSet<Digest>,
    /// Their bytes, each counted once.
    size: u64,
}

fn read(archive: &Archive, entry: &Descriptor, from: Digest) -> Result<Read> {
    let bytes = archive.verified(entry.digest)?;
    let manifest = parse(OPERATION, &what(archive, entry.digest), &bytes)?;
    Ok(Read { entry: entry.plain(), bytes, manifest, from })
}

/// Brings a manifest, or an index, and what it names into `layout`. A digest cannot be in a circle.
fn store(
    cx: &Context,
    archive: &Archive,
    of: &Read,
    layout: &Layout,
    (stored, depth): (&mut Stored, usize),
) -> Result<Descriptor> {
    let children: Vec<_> = of.manifest.children().collect();
    for (done, child) in children.iter().enumerate() {
        cx.progress("blobs", done as u64, Some(children.len() as u64));
        if !stored.blobs.insert(child.digest) {
            continue;
        }
        if !child.is_document() {
            archive.store(cx, child, layout)?;
            stored.size += child.size;
        } else if depth > 0 {
            store(cx, archive, &read(archive, child, of.from)?, layout, (stored, depth - 1))?;
        } else {
            let message = format!("is in an index in an index, more than {DEPTH} deep");
            return Err(archive.bad(ErrorKind::LimitExceeded, &blob(child.digest), &message));
        }
    }
    stored.blobs.insert(of.entry.digest);
    stored.size += of.entry.size;
    layout.store(OPERATION, &of.entry.media_type, &of.bytes)
}
