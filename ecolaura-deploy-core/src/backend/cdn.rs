//! Serving static sites. The publish protocol (assets, barrier, pages, invalidation, pruning later) is in
//! [`crate::cdn`]; a backend only stores, switches and invalidates.

use std::{collections::BTreeMap, fmt, num::NonZeroUsize, path::PathBuf};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    Context, Result,
    vocabulary::{CacheControl, Digest, Name},
};

/// What a CDN can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CdnCapabilities {
    /// [`CdnPublisher::activate`] switches all pages at one moment.
    pub atomic_switch: bool,
    /// How many paths one invalidation may name before it should be `/*`.
    pub invalidation_paths: usize,
    /// [`CdnPublisher::activate`] and [`CdnPublisher::prune`] refuse older epochs.
    pub fences: bool,
    /// How many uploads are best under way at a time, where that is not the run's own number
    /// ([`Limits::parallel_transfers`](crate::Limits::parallel_transfers)): small files over a long way want many.
    pub uploads: Option<NonZeroUsize>,
    /// The content of an immutable key lies under the key itself and nowhere else. So no key that is immutable in any
    /// release that is kept can have two contents: the older one would be gone.
    pub in_place: bool,
}

impl CdnCapabilities {
    /// What is given, with contents that are stored apart from their keys, and not able to tell an older epoch.
    pub fn new(atomic_switch: bool, invalidation_paths: usize) -> Self {
        Self { atomic_switch, invalidation_paths, fences: false, uploads: None, in_place: false }
    }

    /// With this many uploads at a time.
    pub fn uploads(mut self, at_once: NonZeroUsize) -> Self {
        self.uploads = Some(at_once);
        self
    }

    /// The same, with immutable keys that have one content.
    pub fn in_place(mut self) -> Self {
        self.in_place = true;
        self
    }

    /// The same, refusing older epochs.
    pub fn fences(mut self) -> Self {
        self.fences = true;
        self
    }
}

/// One published object: its content and its headers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SiteObject {
    /// The digest of the content.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// `Content-Type`.
    pub content_type: String,
    /// `Cache-Control`.
    pub cache_control: CacheControl,
    /// Other headers, by lower-case name.
    pub headers: BTreeMap<String, String>,
}

impl SiteObject {
    /// An object with these headers.
    pub fn new(digest: Digest, size: u64, content_type: impl Into<String>, cache_control: CacheControl) -> Self {
        Self { digest, size, content_type: content_type.into(), cache_control, headers: BTreeMap::new() }
    }

    /// Whether the name may hold this content for ever.
    pub fn is_immutable(&self) -> bool {
        self.cache_control == CacheControl::Immutable
    }
}

/// Everything a release of a site consists of, by key (a path without `/` before it). Its id is the digest over it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SiteManifest(pub BTreeMap<String, SiteObject>);

impl SiteManifest {
    /// The digest over keys, contents and headers.
    pub fn id(&self) -> Digest {
        Digest::of(serde_json::to_vec(self).unwrap_or_default())
    }
}

/// What was published to a site, newest last.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SiteHistory {
    /// The id of the release that is served; `None` before the first.
    pub live: Option<Digest>,
    /// The releases whose manifests are kept, oldest first.
    pub releases: Vec<(Digest, SiteManifest)>,
    /// Whether the switch to the live release was stopped, or one before it was and caches have not forgotten yet: what
    /// is served, or cached, is then a mixture.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unfinished: bool,
    /// Whether the switch to the live release ended, and caches were not told yet to forget what it changed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub owed: bool,
}

impl SiteHistory {
    /// A history.
    pub fn new(live: Option<Digest>, releases: Vec<(Digest, SiteManifest)>) -> Self {
        Self { live, releases, unfinished: false, owed: false }
    }

    /// The same, of a switch that was stopped or that was not.
    pub fn unfinished(self, unfinished: bool) -> Self {
        Self { unfinished, ..self }
    }

    /// The same, of a switch that caches have not forgotten the former release after, or that they have.
    pub fn owed(self, owed: bool) -> Self {
        Self { owed, ..self }
    }

    /// The manifest of the release that is served.
    pub fn live_manifest(&self) -> Option<&SiteManifest> {
        let live = self.live?;
        self.releases.iter().find(|(id, _)| *id == live).map(|(_, manifest)| manifest)
    }
}

/// One file to store.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UploadRequest {
    /// The key.
    pub key: String,
    /// The file with the content.
    pub source: PathBuf,
    /// Content digest and headers; the backend verifies the digest while it reads.
    pub object: SiteObject,
}

impl UploadRequest {
    /// `source` as `key`.
    pub fn new(key: impl Into<String>, source: impl Into<PathBuf>, object: SiteObject) -> Self {
        Self { key: key.into(), source: source.into(), object }
    }
}

/// A wish to serve a release whose contents are all stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Activation {
    /// The release.
    pub manifest: SiteManifest,
    /// The release that must be served now; anything else, except the wanted one, is a conflict.
    pub expected: Option<Digest>,
}

impl Activation {
    /// `manifest` in place of `expected`.
    pub fn new(manifest: SiteManifest, expected: Option<Digest>) -> Self {
        Self { manifest, expected }
    }
}

/// A wish that caches forget.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Invalidation {
    /// The same for the same wish: repeating it has no further effect.
    pub reference: String,
    /// Paths with `/` before them, sorted; `*` only at the end.
    pub paths: Vec<String>,
}

impl Invalidation {
    /// `paths` under `reference`.
    pub fn new(reference: impl Into<String>, paths: Vec<String>) -> Self {
        Self { reference: reference.into(), paths }
    }
}

/// Stores and serves a site.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait CdnPublisher: fmt::Debug + Send + Sync + 'static {
    /// The backend's name, for plans and records.
    fn name(&self) -> &Name;

    /// What it can do.
    fn capabilities(&self) -> CdnCapabilities;

    /// What publishing `site` over `history` would be charged for, as lines for its plan; nothing where nobody charges.
    /// `missing` are the keys whose content is not stored. Asks nobody.
    fn cost(&self, history: &SiteHistory, site: &SiteManifest, missing: &[String]) -> Vec<String> {
        _ = (history, site, missing);
        Vec::new()
    }

    /// What was published. Reads only. Fails with `Corrupt` naming the manifest.
    async fn history(&self, cx: &Context) -> Result<SiteHistory>;

    /// Stores one object so that [`CdnPublisher::activate`] can serve it; what is served does not change, except that
    /// an immutable key that was not there appears. Idempotent. Content that is stored is not sent again: answers
    /// whether bytes were sent. A cancel leaves at most a partial upload that never becomes visible. No epoch is asked
    /// for: nothing that is served changes. Fails with `Corrupt` (the file changed while it was read), `NotFound`, `LimitExceeded`, `PermissionDenied`.
    async fn upload(&self, cx: &Context, request: &UploadRequest) -> Result<bool>;

    /// The keys of `manifest` whose content is not stored, or differs. The barrier before pages change. Reads only.
    /// Fails with `InvalidInput` naming every object that the store would not take.
    async fn missing(&self, cx: &Context, manifest: &SiteManifest) -> Result<Vec<String>>;

    /// Serves the release and records its manifest. Idempotent. A cancel leaves the former or the new release; where
    /// the switch is not atomic, a mixture that the same call completes. Objects of former releases stay. An older
    /// epoch than one that was let in is refused first, with `Fenced` ([`crate::fence`]), where
    /// [`CdnCapabilities::fences`]. Fails with `Conflict` naming both releases, `NotFound` (content missing).
    async fn activate(&self, cx: &Context, activation: &Activation) -> Result<()>;

    /// Makes caches forget. Idempotent by reference, and harmless at any time, so no epoch is asked for. Fails with `RateLimited`, `LimitExceeded`, `Timeout`.
    async fn invalidate(&self, cx: &Context, invalidation: &Invalidation) -> Result<()>;

    /// Forgets all but the newest `keep` releases and the live one, and deletes objects that no kept one names, as
    /// the manifests of the forgotten ones list them. Answers with the keys deleted. Idempotent; a cancel leaves
    /// fewer objects, never a served page without its assets. Older epochs are refused as by
    /// [`CdnPublisher::activate`].
    async fn prune(&self, cx: &Context, keep: usize) -> Result<Vec<String>>;
}

const _: fn(&dyn CdnPublisher) = |_| {};
