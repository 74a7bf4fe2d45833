//! [`CdnPublisher`] on a bucket.

use std::{
    fmt,
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
#[cfg(feature = "cloudfront")]
use ecolaura_deploy_core::cdn::{diff, invalidation_paths};
use ecolaura_deploy_core::{
    Context, Error, Result,
    backend::{Activation, CdnCapabilities, CdnPublisher, Invalidation, SiteHistory, SiteManifest, UploadRequest},
    cdn::Prices,
    vocabulary::{Digest, Name},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{
    bucket::{Bucket, Within},
    cost::{self, Known as Estimated},
    reader::Buffers,
    state::{Found, Live, of},
    stored::Known,
};
use crate::Account;

/// How many objects are asked at a time.
pub(super) const ASKED_AT_ONCE: usize = 32;
/// How many files are sent at a time unless something else is said. Each waits for its answer most of the time.
const UPLOADS: NonZeroUsize = NonZeroUsize::new(64).unwrap();
/// What is sent in one request; larger files go in parts of this size.
const PART: u64 = 8 * 1024 * 1024;
/// How much of files is in memory at a time, in KiB.
const MEMORY: u32 = 32 * 1024;
/// How many paths one invalidation may name before it is `/*`: each costs, `/*` costs as one.
const INVALIDATION_PATHS: usize = 100;

/// A site in a bucket. The bucket has to be there; the first publish makes everything in it.
///
/// ```no_run
/// # async fn example(cx: &ecolaura_deploy_core::Context) -> ecolaura_deploy_core::Result<()> {
/// use ecolaura_deploy_aws::{Connect, S3Cdn};
/// use ecolaura_deploy_core::cdn::{PublishOptions, SiteSource, publish};
///
/// let account = Connect::new().region("eu-central-1").connect(cx).await?;
/// let cdn = S3Cdn::new("web".parse()?, account, "ecolaura-web").prefix("site");
/// let site = SiteSource::new("web/dist").prepare(cx).await?;
/// publish(cx, &cdn, &site, &PublishOptions::default()).await?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct S3Cdn {
    pub(super) name: Name,
    pub(super) bucket: Bucket,
    pub(super) prefix: String,
    pub(super) state: String,
    pub(super) part: u64,
    pub(super) grace: std::time::Duration,
    pub(super) known: Arc<Known>,
    pub(super) contents: Arc<Known>,
    pub(super) live: Arc<Live>,
    pub(super) uploads: NonZeroUsize,
    /// What the last switch of ours left, until caches were told of it.
    pub(super) switched: Arc<Mutex<Option<Found>>>,
    memory: Arc<Semaphore>,
    pub(super) buffers: Arc<Buffers>,
    pub(super) prices: Option<Prices>,
    /// Whether what is served lies in a folder for each release.
    pub(super) folders: bool,
    #[cfg(feature = "cloudfront")]
    pub(super) distribution: Option<super::invalidate::Distribution>,
}

impl S3Cdn {
    /// The site `name` in `bucket`, served from its root, with its state under `.ecolaura-deploy/NAME/`.
    pub fn new(name: Name, account: Account, bucket: impl Into<String>) -> Self {
        Self {
            state: format!(".ecolaura-deploy/{name}/"),
            name,
            // Other stores have other prices.
            prices: account.endpoint().is_none().then(Prices::us_east_1),
            bucket: Bucket::new(account, bucket.into()),
            prefix: String::new(),
            part: PART,
            grace: super::leftovers::GRACE,
            known: Arc::default(),
            contents: Arc::default(),
            live: Arc::default(),
            uploads: UPLOADS,
            switched: Arc::default(),
            memory: Arc::new(Semaphore::new(MEMORY as usize)),
            buffers: Arc::default(),
            folders: false,
            #[cfg(feature = "cloudfront")]
            distribution: None,
        }
    }

    #[cfg(feature = "key-value-store")]
    pub(super) fn in_folders(self) -> Self {
        Self { folders: true, ..self }
    }

    /// Served from below `prefix`. This should be the path of the origin, so that nobody is served the state.
    pub fn prefix(self, prefix: impl AsRef<str>) -> Self {
        Self { prefix: folder(prefix.as_ref()), ..self.elsewhere() }
    }

    /// With the state below another `prefix`. No two sites share one, nor a name where one lies below the other: what
    /// carries the name of a site and is named by none of its releases is left over.
    pub fn state(self, prefix: impl AsRef<str>) -> Self {
        Self { state: folder(prefix.as_ref()), ..self.elsewhere() }
    }

    /// Without what was seen at another place.
    fn elsewhere(self) -> Self {
        let (known, contents) = (Arc::default(), Arc::default());
        Self { known, contents, live: Arc::default(), switched: Arc::default(), ..self }
    }

    /// Sends files larger than `bytes` in parts of that size, at least 5 MiB (default 8 MiB).
    pub fn part_size(self, bytes: u64) -> Self {
        Self { part: bytes.max(5 * 1024 * 1024), ..self }
    }

    /// Sends `at_once` files at a time (default 64), of which never more than 32 MiB are in memory. Fewer for a store that
    /// is near, or says that it is asked too much; more for many small files and a store that is far away.
    pub fn uploads(self, at_once: NonZeroUsize) -> Self {
        Self { uploads: at_once, ..self }
    }

    /// With the prices that plans estimate by, instead of those of `us-east-1`. Stores at an endpoint of their own have
    /// none unless they are given.
    pub fn prices(self, prices: Prices) -> Self {
        Self { prices: Some(prices), ..self }
    }

    /// The bucket.
    pub fn bucket(&self) -> &str {
        &self.bucket.name
    }

    /// Where `key` is served from.
    pub(super) fn served_key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// Where the content of a mutable key is.
    pub(super) fn content_key(&self, digest: Digest) -> String {
        format!("{}{}", self.contents_prefix(), digest.to_hex())
    }

    /// What the keys of those contents begin with.
    pub(super) fn contents_prefix(&self) -> String {
        format!("{}objects/", self.state)
    }

    /// Waits until `bytes` of files may be in memory.
    pub(super) async fn hold(&self, (cx, operation): Within<'_>, bytes: u64) -> Result<OwnedSemaphorePermit> {
        let amount = u32::try_from(bytes.div_ceil(1024)).unwrap_or(MEMORY).clamp(1, MEMORY);
        let permit = cx.bounded(operation, Arc::clone(&self.memory).acquire_many_owned(amount)).await?;
        permit.map_err(|error| Error::internal(operation, "the bound on memory is gone").with_source(error))
    }
}

/// `prefix` with `/` after it and none before; nothing stays nothing.
fn folder(prefix: &str) -> String {
    match prefix.trim_matches('/') {
        "" => String::new(),
        prefix => format!("{prefix}/"),
    }
}

impl fmt::Debug for S3Cdn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Cdn")
            .field("name", &self.name)
            .field("bucket", &self.bucket.name)
            .field("prefix", &self.prefix)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl CdnPublisher for S3Cdn {
    fn name(&self) -> &Name {
        &self.name
    }

    fn capabilities(&self) -> CdnCapabilities {
        CdnCapabilities::new(false, INVALIDATION_PATHS).fences().uploads(self.uploads).in_place()
    }

    fn cost(&self, history: &SiteHistory, site: &SiteManifest, missing: &[String]) -> Vec<String> {
        let known = Estimated { history, site, missing, part: self.part };
        cost::in_place(&known, self.forgotten_paths(history, site)).lines(self.prices.as_ref())
    }

    async fn history(&self, cx: &Context) -> Result<SiteHistory> {
        const OPERATION: &str = "cdn.history";
        cx.check(OPERATION)?;
        self.read_history((cx, OPERATION)).await
    }

    async fn upload(&self, cx: &Context, request: &UploadRequest) -> Result<bool> {
        const OPERATION: &str = "cdn.upload";
        cx.check(OPERATION)?;
        self.store((cx, OPERATION), request).await
    }

    async fn missing(&self, cx: &Context, manifest: &SiteManifest) -> Result<Vec<String>> {
        const OPERATION: &str = "cdn.missing";
        cx.check(OPERATION)?;
        self.lacking((cx, OPERATION), manifest).await
    }

    async fn activate(&self, cx: &Context, activation: &Activation) -> Result<()> {
        const OPERATION: &str = "cdn.activate";
        cx.check(OPERATION)?;
        self.switch((cx, OPERATION), activation).await
    }

    async fn invalidate(&self, cx: &Context, invalidation: &Invalidation) -> Result<()> {
        const OPERATION: &str = "cdn.invalidate";
        cx.check(OPERATION)?;
        let owing = self.owing((cx, OPERATION), invalidation).await?;
        #[cfg(feature = "cloudfront")]
        if let Some(distribution) = &self.distribution {
            distribution.invalidate((cx, OPERATION), invalidation).await?;
        }
        match owing {
            Some(found) => self.told((cx, OPERATION), &found).await,
            None => Ok(()),
        }
    }

    async fn prune(&self, cx: &Context, keep: usize) -> Result<Vec<String>> {
        const OPERATION: &str = "cdn.prune";
        cx.check(OPERATION)?;
        self.forget((cx, OPERATION), keep).await
    }
}

impl S3Cdn {
    /// The state, if it says that caches have to forget something, and `invalidation` makes them forget all of that.
    async fn owing(&self, within: Within<'_>, invalidation: &Invalidation) -> Result<Option<Found>> {
        let ours = self.switched.lock().unwrap_or_else(PoisonError::into_inner).take();
        let (found, ours) = match ours {
            Some(found) => (found, true),
            None => (self.pointer(within).await?, false),
        };
        let everything = invalidation.paths.iter().any(|path| path == "/*");
        let enough = match (found.pointer.mixed, found.pointer.owed) {
            (false, false) => false,
            (true, _) => everything,
            (false, true) => everything || ours || self.covers(within, &found, invalidation).await?,
        };
        Ok(enough.then_some(found))
    }

    /// Whether `invalidation` has all paths that the switch to the live release changed.
    async fn covers(&self, within: Within<'_>, found: &Found, invalidation: &Invalidation) -> Result<bool> {
        let Some(live) = found.pointer.live else { return Ok(false) };
        let before = found.pointer.releases.iter().rev().copied().find(|id| *id != live);
        let read: Vec<Digest> = before.into_iter().chain([live]).collect();
        let read = self.manifests(within, &read).await?;
        let Some(wanted) = of(&read, Some(live)) else { return Ok(false) };
        let stale = self.stale(of(&read, before), wanted);
        Ok(stale.iter().all(|path| invalidation.paths.contains(path)))
    }

    /// Notes that caches have forgotten, unless somebody switched meanwhile: they may hold more since.
    async fn told(&self, within: Within<'_>, found: &Found) -> Result<()> {
        self.replace(within, found, found.pointer.forgotten()).await?;
        Ok(())
    }

    /// The paths that caches hold in an old form after a switch from `before` to `wanted`; everything if nobody knows what
    /// they took before.
    #[cfg_attr(
        not(feature = "cloudfront"),
        expect(unused_variables, clippy::unused_self, reason = "there are no caches")
    )]
    pub(super) fn stale(&self, before: Option<&SiteManifest>, wanted: &SiteManifest) -> Vec<String> {
        #[cfg(feature = "cloudfront")]
        if self.distribution.is_some() {
            return match before {
                Some(before) => invalidation_paths(&diff(Some(before), wanted), INVALIDATION_PATHS),
                None => vec!["/*".to_owned()],
            };
        }
        Vec::new()
    }

    /// How many paths caches will be told to forget.
    #[cfg_attr(
        not(feature = "cloudfront"),
        expect(unused_variables, clippy::unused_self, reason = "there are no caches")
    )]
    fn forgotten_paths(&self, history: &SiteHistory, site: &SiteManifest) -> usize {
        #[cfg(feature = "cloudfront")]
        if self.distribution.is_some() {
            let older = history.owed && history.live != Some(site.id());
            let stale = || self.stale(history.live_manifest(), site).len();
            return if history.unfinished || older { 1 } else { stale() };
        }
        0
    }

    /// What is not stored. Of the release that is served, or switched to, also what is not served as it should be: so
    /// that publishing it again completes it.
    async fn lacking(&self, within: Within<'_>, manifest: &SiteManifest) -> Result<Vec<String>> {
        let found = self.pointer(within).await?.pointer;
        let live = match found.live {
            Some(live) => self.manifests(within, &[live]).await?,
            None => Vec::new(),
        };
        let served = of(&live, found.live);
        self.fits(within.1, manifest, |key, object| {
            served.and_then(|served| served.0.get(key)).is_some_and(|served| served != object)
        })?;
        let survey = self.survey(within, &live, found.live).await?;
        let mut missing = self.unstored(within, manifest, &survey, served).await?;
        if found.live == Some(manifest.id()) {
            let unserved = manifest.0.iter().filter(|(key, object)| {
                let served = survey.served.get(*key);
                !object.is_immutable() && (found.unfinished || served.is_none_or(|served| served.size != object.size))
            });
            missing.extend(unserved.map(|(key, _)| key.clone()));
            missing.sort();
            missing.dedup();
        }
        Ok(missing)
    }
}
