//! What a push, a copy and an attachment have in common: blobs first, then manifests, those last that others lead to.

use std::sync::{
    Arc,
    atomic::{AtomicU8, Ordering},
};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{call::Call, documents::Document, origin::Origin, outflow::Meter, upload::upload};
use crate::{
    Effect, Error, ErrorKind, Result,
    image::{Descriptor, Manifest, parse},
    vocabulary::Digest,
};

/// How far it got, and so what is known of its effect.
#[derive(Debug, Default)]
pub(super) struct Reached(AtomicU8);

impl Reached {
    pub(super) const BLOBS: u8 = 1;
    /// The manifest by which all the others are found.
    pub(super) const MANIFEST: u8 = 2;

    pub(super) fn note(&self, stage: u8) {
        self.0.fetch_max(stage, Ordering::Relaxed);
    }

    /// Blobs without a manifest are nothing that anybody sees; the manifest itself may have been stored when no answer
    /// came.
    pub(super) fn judge(&self, error: Error) -> Error {
        let unanswered = matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::Cancelled);
        match self.0.load(Ordering::Relaxed) {
            Self::MANIFEST if unanswered => error.with_effect(Effect::Unknown),
            Self::BLOBS | Self::MANIFEST => error.with_effect(Effect::Partial),
            _ => error,
        }
    }
}

/// Brings those of `blobs` that are missing, several at a time.
pub(super) async fn blobs(call: &Call<'_>, origin: Origin<'_>, blobs: &[Descriptor], reached: &Reached) -> Result<()> {
    let meter = Arc::new(Meter::new(call.cx, blobs.iter().map(|blob| blob.size).sum()));
    let uploads: Vec<_> = blobs.iter().map(|blob| upload(call, origin, blob, (&meter, reached))).collect();
    stream::iter(uploads).buffer_unordered(call.cx.limits().parallel_transfers.get()).try_collect().await
}

/// Stores a manifest, and lists it where it is attached to another one. `media_type` is what it is called elsewhere, if it
/// does not say itself.
pub(super) async fn manifest(call: &Call<'_>, media_type: &str, bytes: Vec<u8>) -> Result<()> {
    let digest = Digest::of(&bytes);
    let parsed: Manifest = parse(call.operation, &format!("the manifest {digest}"), &bytes)?;
    let present = call.has(digest).await?;
    let subject = parsed.subject.as_ref().map(|subject| subject.digest);
    if present && listed(call, subject, digest).await? {
        return Ok(());
    }
    let media_type = parsed.media_type.clone().unwrap_or_else(|| media_type.to_owned());
    let entry = Descriptor::of(&media_type, &bytes).artifact(parsed.kind());
    let lists_subject = call.store(&Document { media_type, bytes }).await?;
    match subject.filter(|_| !lists_subject) {
        Some(subject) => call.attach(subject, entry).await,
        None => Ok(()),
    }
}

async fn listed(call: &Call<'_>, subject: Option<Digest>, digest: Digest) -> Result<bool> {
    let Some(subject) = subject else { return Ok(true) };
    Ok(call.attached(subject).await?.iter().any(|entry| entry.digest == digest))
}
