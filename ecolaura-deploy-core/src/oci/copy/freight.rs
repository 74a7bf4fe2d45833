//! What belongs to an image in another registry.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::Source;
use crate::{
    Context, Error, ErrorKind, Result,
    image::{DOCUMENT, Descriptor, INDEX, MANIFEST, Manifest, parse},
    vocabulary::{Digest, PinnedImage},
};

type Whom<'a> = (&'a Context, &'static str);

/// What there is to bring.
#[derive(Debug)]
pub(super) struct Freight {
    /// Configurations, layers and the like.
    pub(super) blobs: Vec<Descriptor>,
    /// Manifests, each after those that it names and those that are attached to it: the image's own is the last.
    pub(super) manifests: Vec<Read>,
}

/// A manifest that was read.
#[derive(Debug)]
pub(super) struct Read {
    pub(super) digest: Digest,
    /// What it is called if it does not say itself.
    pub(super) media_type: String,
    pub(super) bytes: Vec<u8>,
    children: Vec<Descriptor>,
    attached: Vec<Digest>,
}

/// A manifest that is to be read: by whom it is named decides what it means that it is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Wanted {
    Named(Digest),
    Attached(Digest),
}

impl Freight {
    /// Everything that belongs to `image`, whatever is attached to it or a part of it included.
    pub(super) async fn of(whom: Whom<'_>, source: Source<'_>, image: Digest) -> Result<Self> {
        let mut found = BTreeMap::new();
        let (mut known, mut open, mut size) = (BTreeSet::from([image]), vec![Wanted::Named(image)], 0);
        while !open.is_empty() {
            let reads: Vec<_> = open.drain(..).map(|wanted| read(whom, source, wanted)).collect();
            let mut reads = stream::iter(reads).buffered(whom.0.limits().parallel_transfers.get());
            while let Some(read) = reads.try_next().await? {
                let Some(read) = read else { continue };
                size += read.bytes.len() as u64;
                if size > DOCUMENT {
                    return Err(too_large(whom.1, source, image));
                }
                open.extend(read.leads_to().filter(|wanted| known.insert(wanted.digest())));
                found.insert(read.digest, read);
            }
        }
        let mut seen = BTreeSet::new();
        let blobs = found.values().flat_map(|read| &read.children).filter(|child| !child.is_document());
        let blobs = blobs.filter(|blob| seen.insert(blob.digest)).cloned().collect();
        let mut manifests = Vec::with_capacity(found.len());
        unload(&mut found, image, &mut manifests);
        Ok(Self { blobs, manifests })
    }
}

impl Wanted {
    fn digest(self) -> Digest {
        match self {
            Self::Named(digest) | Self::Attached(digest) => digest,
        }
    }
}

impl Read {
    fn leads_to(&self) -> impl Iterator<Item = Wanted> {
        let named = self.children.iter().filter(|child| child.is_document());
        let attached = self.attached.iter().map(|digest| Wanted::Attached(*digest));
        named.map(|child| Wanted::Named(child.digest)).chain(attached)
    }
}

/// `None` if it is attached to something and gone: lists of what is attached may lag behind.
async fn read((cx, operation): Whom<'_>, source: Source<'_>, wanted: Wanted) -> Result<Option<Read>> {
    let digest = wanted.digest();
    let image = PinnedImage::new(source.repository.clone(), digest);
    let bytes = match (source.registry.manifest(cx, &image).await, wanted) {
        (Err(error), Wanted::Attached(_)) if error.kind() == ErrorKind::NotFound => {
            cx.warn(format!("{digest} of {} is listed as attached and not there: not copied", source.place()));
            return Ok(None);
        }
        (read, _) => read.map_err(|error| source.blame(error))?,
    };
    if Digest::of(&bytes) != digest {
        let message = format!("the manifest {digest} does not match its digest");
        return Err(source.blame(Error::new(ErrorKind::Corrupt, operation, message)));
    }
    let parsed: Manifest =
        parse(operation, &format!("the manifest {digest}"), &bytes).map_err(|error| source.blame(error))?;
    let attached = source.registry.referrers(cx, &image).await.map_err(|error| source.blame(error))?;
    let media_type = if parsed.manifests.is_empty() { MANIFEST } else { INDEX };
    Ok(Some(Read {
        digest,
        media_type: media_type.to_owned(),
        bytes,
        children: parsed.children().cloned().collect(),
        attached: attached.into_iter().map(|(_, digest)| digest).collect(),
    }))
}

/// Moves `digest` to the end of `manifests`, after all that it leads to.
fn unload(found: &mut BTreeMap<Digest, Read>, digest: Digest, manifests: &mut Vec<Read>) {
    let Some(read) = found.remove(&digest) else { return };
    for next in read.leads_to() {
        unload(found, next.digest(), manifests);
    }
    manifests.push(read);
}

fn too_large(operation: &'static str, source: Source<'_>, image: Digest) -> Error {
    let message = format!("the manifests of {image} hold together more than {} MiB", DOCUMENT >> 20);
    source.blame(Error::new(ErrorKind::LimitExceeded, operation, message))
}
