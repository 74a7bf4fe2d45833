//! Which releases there are: `live.json` and the manifests.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use ecolaura_deploy_core::{
    Error, ErrorKind, Result,
    backend::{SiteHistory, SiteManifest},
    fence::Epochs,
    nonce::{NonceSource as _, RandomNonces},
    vocabulary::Digest,
};
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, future::BoxFuture, stream};
use serde::{Deserialize, Serialize};

use super::{
    bucket::{COLLISIONS, Condition, Within, pass},
    headers::Headers,
    listing::Listed,
    publisher::{ASKED_AT_ONCE, S3Cdn},
};
use crate::account::PATIENCE;

/// The content of `live.json`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Pointer {
    /// Where the served keys begin.
    pub(super) prefix: String,
    /// The release that is served, or switched to.
    pub(super) live: Option<Digest>,
    /// Whether the switch to it has not ended: what is served is then a mixture.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) unfinished: bool,
    /// Whether a switch before it had not ended, or caches were not told of it, or somebody else may have served the site
    /// before, and caches were not told yet to forget everything.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) mixed: bool,
    /// Whether caches were not told yet to forget what the switch to it changed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) owed: bool,
    /// The releases that are kept, in the order in which they were last switched to.
    pub(super) releases: Vec<Digest>,
    /// Of those who changed it.
    #[serde(default, skip_serializing_if = "Epochs::is_empty")]
    pub(super) epochs: Epochs,
    /// Drawn for each write, so that its writer recognizes it when no answer came.
    pub(super) nonce: String,
}

/// `live.json`, perhaps of a program that knows more.
#[derive(Debug, Deserialize)]
struct Read {
    #[serde(flatten)]
    pointer: Pointer,
    #[serde(flatten)]
    unknown: BTreeMap<String, serde_json::Value>,
}

impl Pointer {
    /// On the way to `release`, which becomes the newest; `owed` if caches have to forget what that changes.
    pub(super) fn switching(&self, release: Digest, owed: bool) -> Self {
        let others = self.releases.iter().copied().filter(|id| *id != release);
        let releases = others.chain([release]).collect();
        let again = self.live == Some(release);
        let mixed = self.mixed || self.unfinished || (self.owed && !again) || (owed && self.live.is_none());
        Self { live: Some(release), unfinished: true, mixed, owed: owed || self.owed, releases, ..self.clone() }
    }

    /// Arrived.
    pub(super) fn switched(&self) -> Self {
        Self { unfinished: false, ..self.clone() }
    }

    /// After caches forgot everything.
    pub(super) fn forgotten(&self) -> Self {
        Self { mixed: false, owed: false, ..self.clone() }
    }

    /// Without all but the newest `keep` and the live one.
    pub(super) fn pruned(&self, keep: usize) -> Self {
        let first = self.releases.len().saturating_sub(keep);
        let kept = self.releases.iter().enumerate().filter(|(index, id)| *index >= first || Some(**id) == self.live);
        let releases: Vec<Digest> = kept.map(|(_, id)| *id).collect();
        // What the switch changed is not known any more without the release before it.
        let mixed = self.mixed || (self.owed && releases.len() < 2);
        Self { mixed, releases, ..self.clone() }
    }
}

/// `live.json` as it was read or written.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) pointer: Pointer,
    /// `None` if it is not there yet.
    tag: Option<String>,
}

impl S3Cdn {
    fn live_key(&self) -> String {
        format!("{}live.json", self.state)
    }

    pub(super) fn manifest_key(&self, release: Digest) -> String {
        format!("{}releases/{}.json", self.state, release.to_hex())
    }

    /// What `live.json` says.
    pub(super) async fn pointer(&self, within: Within<'_>) -> Result<Found> {
        let key = self.live_key();
        let Some((bytes, tag)) = self.bucket.get(within, &key).await? else {
            let pointer = Pointer { prefix: self.prefix.clone(), ..Pointer::default() };
            return Ok(Found { pointer, tag: None });
        };
        let Read { pointer, unknown } = serde_json::from_slice(&bytes).map_err(|error| match error.is_data() {
            // It is whole, and says something else.
            true => self.newer(within.1, &key, &error.to_string()),
            false => self.corrupt(within.1, &key, &error.to_string()),
        })?;
        if let Some(field) = unknown.keys().next() {
            return Err(self.newer(within.1, &key, &format!("it has a field `{field}`")));
        }
        if pointer.prefix != self.prefix {
            let message = format!("`{}` tells of a site under `{}`", self.bucket.url(&key), pointer.prefix);
            return Err(Error::invalid(within.1, message)
                .with("expected prefix", &self.prefix)
                .advice("give each site of a bucket its own name"));
        }
        Ok(Found { pointer, tag: Some(tag) })
    }

    /// What `live.json` says, and the same with the caller's epoch in it; nothing is written yet.
    pub(super) async fn admitted(&self, within: Within<'_>) -> Result<(Found, Pointer)> {
        let found = self.pointer(within).await?;
        let mut pointer = found.pointer.clone();
        pointer.epochs.admit(within.1, within.0)?;
        Ok((found, pointer))
    }

    /// Replaces `live.json` if it is still as it was found; `None` if it moved meanwhile. An answer that is lost is
    /// looked for in what is there.
    pub(super) async fn replace(&self, within: Within<'_>, found: &Found, pointer: Pointer) -> Result<Option<Found>> {
        let pointer = Pointer { nonce: format!("{:016x}", RandomNonces.next()), ..pointer };
        let content = Bytes::from(json(within.1, &pointer)?);
        let condition = found.tag.clone().map_or(Condition::New, Condition::Is);
        let key = self.live_key();
        let headers = Headers::record(&self.name, &content);
        for met in 0..COLLISIONS {
            pass(within, met).await?;
            let answer = self.bucket.put(within, &key, content.clone(), (&condition, &headers), PATIENCE).await;
            if let Ok(Some(tag)) = &answer {
                return Ok(Some(Found { pointer, tag: Some(tag.clone()) }));
            }
            match (self.pointer(within).await, answer) {
                (Ok(now), _) if now.pointer.nonce == pointer.nonce => return Ok(Some(now)),
                (_, Err(error)) | (Err(error), _) => return Err(error),
                // Refused and as it was: another write is on its way, or came to nothing.
                (Ok(now), Ok(_)) if now.tag == found.tag => {}
                (Ok(_), Ok(_)) => return Ok(None),
            }
        }
        Err(self.restless(within))
    }

    /// Fails unless `live.json` is still what `found` says: with `Fenced` where a newer epoch took over, else with
    /// `Conflict`.
    pub(super) async fn still(&self, within: Within<'_>, found: &Found) -> Result<()> {
        let (now, _) = self.admitted(within).await?;
        if now.pointer.nonce == found.pointer.nonce {
            return Ok(());
        }
        Err(self.conflict(within.1, found.pointer.live, now.pointer.live))
    }

    /// The error where another release is served than the caller knows.
    pub(super) fn conflict(&self, operation: &'static str, expected: Option<Digest>, found: Option<Digest>) -> Error {
        let name = |id: Option<Digest>| id.map_or_else(|| "none".to_owned(), |id| id.to_string());
        let message = format!("release {} is served, expected was {}", name(found), name(expected));
        Error::new(ErrorKind::Conflict, operation, message)
            .with("site", self.bucket.url(&self.prefix))
            .advice("somebody else published meanwhile; plan again and see whether yours is still wanted")
    }

    /// A release's manifest, verified against its id. That of the live release is not asked for twice: it never changes.
    pub(super) async fn manifest(&self, within: Within<'_>, release: Digest) -> Result<SiteManifest> {
        if let Some(manifest) = self.live.recall(release) {
            return Ok(manifest);
        }
        let key = self.manifest_key(release);
        let Some((bytes, _)) = self.bucket.get(within, &key).await? else {
            return Err(self.corrupt(within.1, &key, "it is gone"));
        };
        if Digest::of(&bytes) != release {
            return Err(self.corrupt(within.1, &key, "its digest differs from its name"));
        }
        // It is as it was written. If it does not say the same to us, it was not written for us.
        let manifest: SiteManifest =
            serde_json::from_slice(&bytes).map_err(|error| self.newer(within.1, &key, &error.to_string()))?;
        match manifest.id() == release {
            true => Ok(manifest),
            false => Err(self.newer(within.1, &key, "it has fields that are not known here")),
        }
    }

    /// The manifests of `releases`, in their order.
    pub(super) async fn manifests(
        &self,
        within: Within<'_>,
        releases: &[Digest],
    ) -> Result<Vec<(Digest, SiteManifest)>> {
        let mut reads: Vec<BoxFuture<'_, Result<_>>> = Vec::with_capacity(releases.len());
        for id in releases.iter().copied() {
            reads.push(async move { Ok((id, self.manifest(within, id).await?)) }.boxed());
        }
        stream::iter(reads).buffered(ASKED_AT_ONCE).try_collect().await
    }

    pub(super) async fn write_manifest(&self, within: Within<'_>, manifest: &SiteManifest) -> Result<()> {
        let content = Bytes::from(json(within.1, manifest)?);
        let headers = Headers::record(&self.name, &content);
        let key = self.manifest_key(manifest.id());
        // The same content under the same name, whoever writes it.
        self.bucket.put(within, &key, content, (&Condition::Any, &headers), PATIENCE).await?;
        Ok(())
    }

    /// What was published. Read without a lock: if `live.json` moved meanwhile, what failed is read again.
    pub(super) async fn read_history(&self, within: Within<'_>) -> Result<SiteHistory> {
        loop {
            let found = self.pointer(within).await?;
            match self.manifests(within, &found.pointer.releases).await {
                Ok(manifests) => {
                    self.live.keep(found.pointer.live, of(&manifests, found.pointer.live));
                    let history = SiteHistory::new(found.pointer.live, manifests);
                    let history = history.unfinished(found.pointer.unfinished || found.pointer.mixed);
                    return Ok(history.owed(found.pointer.owed));
                }
                Err(_) if self.pointer(within).await?.tag != found.tag => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The releases that have a manifest and are not kept: forgotten ones, and those of a prune or a switch that was cut
    /// short. With when they were written, in seconds since 1970, and their sizes.
    pub(super) async fn forgotten(&self, within: Within<'_>, pointer: &Pointer) -> Result<Vec<(Digest, Listed)>> {
        let listed = self.bucket.list(within, &format!("{}releases/", self.state)).await?;
        let releases = listed.into_iter().filter_map(|(name, listed)| {
            let hex = name.strip_suffix(".json")?;
            Some((format!("sha256:{hex}").parse::<Digest>().ok()?, listed))
        });
        Ok(releases.filter(|(id, _)| !pointer.releases.contains(id)).collect())
    }

    fn corrupt(&self, operation: &'static str, key: &str, why: &str) -> Error {
        let message = format!("`{}` is not as it was written: {why}", self.bucket.url(key));
        Error::new(ErrorKind::Corrupt, operation, message)
            .advice("restore the object, from a former version if the bucket has them, or remove the site's state, which forgets its releases, and publish again")
    }

    fn newer(&self, operation: &'static str, key: &str, why: &str) -> Error {
        let message = format!("`{}` was written by a newer program: {why}", self.bucket.url(key));
        Error::new(ErrorKind::Unsupported, operation, message)
            .advice("go on with that program or a later one; nothing is wrong with the site")
    }
}

/// The manifest of the release that was live when the site was last looked at.
#[derive(Debug, Default)]
pub(super) struct Live(Mutex<Option<(Digest, SiteManifest)>>);

impl Live {
    fn recall(&self, release: Digest) -> Option<SiteManifest> {
        self.lock().as_ref().filter(|(id, _)| *id == release).map(|(_, manifest)| manifest.clone())
    }

    fn keep(&self, release: Option<Digest>, manifest: Option<&SiteManifest>) {
        *self.lock() = release.zip(manifest.cloned());
    }

    fn lock(&self) -> MutexGuard<'_, Option<(Digest, SiteManifest)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The manifest of `release` among those that were read.
pub(super) fn of(manifests: &[(Digest, SiteManifest)], release: Option<Digest>) -> Option<&SiteManifest> {
    manifests.iter().find(|(id, _)| Some(*id) == release).map(|(_, manifest)| manifest)
}

/// All keys that any of `manifests` names, with whether one of them serves it as a page.
pub(super) fn pages<'a>(manifests: impl Iterator<Item = &'a SiteManifest>) -> BTreeMap<&'a str, bool> {
    let mut pages = BTreeMap::new();
    for (key, object) in manifests.flat_map(|manifest| &manifest.0) {
        *pages.entry(key.as_str()).or_insert(false) |= super::switch::is_page(object);
    }
    pages
}

fn json<T: Serialize>(operation: &'static str, value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(value)
        .map_err(|error| Error::internal(operation, "could not be written as JSON").with_source(error))
}
