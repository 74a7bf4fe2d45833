//! Publishing: what changed goes up, assets before pages, and caches forget what they hold in an old form.

use std::collections::BTreeSet;

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::{Deserialize, Serialize};

use super::{
    PreparedSite, SiteDiff, diff,
    diff::rewritten,
    invalidation::{EVERYTHING, invalidation, invalidation_paths},
};
use crate::{
    Context, Effect, Error, ErrorKind, Result,
    backend::{Activation, CdnPublisher, SiteHistory, SiteManifest, UploadRequest},
    vocabulary::{Digest, Name},
};

const OPERATION: &str = "cdn.publish";

/// How to publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct PublishOptions {
    /// How many releases stay, the new one among them; at least 2, so that the last publish can be undone.
    pub keep: usize,
    /// Prune as the last thing. Otherwise somebody calls [`CdnPublisher::prune`] later.
    pub prune_now: bool,
    /// An earlier attempt may have stopped between the switch and the invalidation: invalidate even if the release is
    /// served already. A second and later attempt of a step does so by itself, and so does any publish where the backend
    /// knows that it is owed ([`SiteHistory::owed`]).
    pub resuming: bool,
}

impl Default for PublishOptions {
    fn default() -> Self {
        Self { keep: 5, prune_now: true, resuming: false }
    }
}

impl PublishOptions {
    /// With another number of releases that stay.
    pub fn keep(mut self, keep: usize) -> Self {
        self.keep = keep;
        self
    }

    /// With pruning now, or later.
    pub fn prune_now(mut self, prune_now: bool) -> Self {
        self.prune_now = prune_now;
        self
    }

    /// With an earlier attempt to finish, or not.
    pub fn resuming(mut self, resuming: bool) -> Self {
        self.resuming = resuming;
        self
    }
}

/// What a publish did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PublishReport {
    /// The site.
    pub site: Name,
    /// The release that is served now.
    pub release: Digest,
    /// The release that was served before; what [`super::switch_back`] undoes to.
    pub previous: Option<Digest>,
    /// How many files were sent.
    pub uploaded: u64,
    /// How many bytes they have.
    pub bytes: u64,
    /// The paths that caches were told to forget.
    pub invalidated: Vec<String>,
    /// The keys that were deleted with the releases that are no longer kept.
    pub pruned: Vec<String>,
}

impl PublishReport {
    fn new(site: &Name, release: Digest, previous: Option<Digest>) -> Self {
        let (invalidated, pruned) = (Vec::new(), Vec::new());
        Self { site: site.clone(), release, previous, uploaded: 0, bytes: 0, invalidated, pruned }
    }
}

/// Serves `site`: immutable assets are stored, checked to be there, then pages are stored and switched, then caches
/// forget the mutable paths that changed, then releases that are not kept are pruned. Idempotent: nothing is sent
/// twice, and a site that is served already causes reads only.
///
/// A cancel or a failure before the switch leaves what is served as it was; more objects may be stored, and nothing
/// is deleted. After the switch it leaves the new release served, with caches that may hold old pages: repeat, with
/// [`PublishOptions::resuming`] where the backend does not know what is owed, or undo with [`super::switch_back`]. A
/// failure to prune is a warning.
///
/// Fails as the publisher does, and with `InvalidInput` (a key that is immutable, or was in a kept release,
/// would change its content), `NotFound` (an
/// asset is missing at the barrier), `Conflict` (another release was published meanwhile).
pub async fn publish(
    cx: &Context,
    publisher: &dyn CdnPublisher,
    site: &PreparedSite,
    options: &PublishOptions,
) -> Result<PublishReport> {
    cx.check(OPERATION)?;
    let history = publisher.history(cx).await?;
    refuse_rewritten(publisher, &history, site.manifest())?;
    let release = site.release();
    let mut report = PublishReport::new(publisher.name(), release, history.live);
    let changes = diff(history.live_manifest(), site.manifest());
    let pending = Pending::new(site, &changes, publisher.missing(cx, site.manifest()).await?)?;
    let served = history.live == Some(release);
    if !served || !pending.is_empty() {
        pending.store(cx, publisher, &mut report).await?;
        let activation = Activation::new(site.manifest().clone(), history.live);
        publisher.activate(cx, &activation).await.map_err(|error| {
            let error = error.with("phase", "switching the pages");
            if report.uploaded == 0 { error } else { partial(error) }
        })?;
    }
    let resuming = options.resuming || history.unfinished || history.owed || cx.attempt() > 1;
    report.invalidated = match (served, resuming) {
        (false, _) => forget(cx, publisher, (release, &history), &changes).await?,
        (true, true) => forget(cx, publisher, (release, &history), &last_change(&history)).await?,
        (true, false) => Vec::new(),
    };
    if !served && options.prune_now {
        report.pruned = prune(cx, publisher, options.keep.max(2)).await;
    }
    Ok(report)
}

/// Refuses a site in which a name that promises one content for ever, now or in a release that is kept, has two.
pub(super) fn refuse_rewritten(publisher: &dyn CdnPublisher, history: &SiteHistory, site: &SiteManifest) -> Result<()> {
    let kept = history.releases.iter().map(|(_, manifest)| manifest);
    let keys = rewritten(kept, site, publisher.capabilities().in_place);
    if keys.is_empty() {
        return Ok(());
    }
    let message =
        format!("immutable, now or in a kept release, and published before with other content: {}", named(&keys));
    Err(Error::invalid(OPERATION, message)
        .advice("give each of these files another name, best with a hash of its content"))
}

/// Makes caches forget what `diff` changed since `before`, under the same reference for every attempt. Nobody knows what
/// they took from a mixture, or from whoever served the site before its first release, nor what they still hold of releases
/// before the one that was live.
pub(super) async fn forget(
    cx: &Context,
    publisher: &dyn CdnPublisher,
    (release, before): (Digest, &SiteHistory),
    diff: &SiteDiff,
) -> Result<Vec<String>> {
    let older = before.owed && before.live != Some(release);
    let paths = match before.unfinished || older || before.live.is_none() {
        true => vec![EVERYTHING.to_owned()],
        false => invalidation_paths(diff, publisher.capabilities().invalidation_paths),
    };
    if paths.is_empty() {
        return Ok(paths);
    }
    let wish = invalidation(cx, publisher.name(), release, paths);
    publisher.invalidate(cx, &wish).await.map_err(|error| {
        partial(error).with("release", release).with("phase", "invalidation; the release is served")
    })?;
    Ok(wish.paths)
}

/// What the switch to the live release changed.
pub(super) fn last_change(history: &SiteHistory) -> SiteDiff {
    let before = history.releases.iter().rev().find(|(id, _)| Some(*id) != history.live);
    match history.live_manifest() {
        Some(live) => diff(before.map(|(_, manifest)| manifest), live),
        None => SiteDiff::default(),
    }
}

/// The release is out and good; an unpruned store costs space only.
async fn prune(cx: &Context, publisher: &dyn CdnPublisher, keep: usize) -> Vec<String> {
    match publisher.prune(cx, keep).await {
        Ok(keys) => keys,
        Err(error) => {
            cx.warn(format!("old releases of `{}` were not pruned: {}", publisher.name(), error.report()));
            Vec::new()
        }
    }
}

/// What is to be stored, assets apart from pages.
struct Pending {
    assets: Vec<UploadRequest>,
    pages: Vec<UploadRequest>,
    immutable: SiteManifest,
}

impl Pending {
    /// Keys that changed in content or headers, and keys whose object is gone.
    fn new(site: &PreparedSite, diff: &SiteDiff, missing: Vec<String>) -> Result<Self> {
        let changed = diff.changed().map(|key| key.key.clone());
        let keys: BTreeSet<String> = changed.chain(missing).collect();
        let objects = || site.manifest().0.iter().filter(|(key, _)| keys.contains(*key));
        let mut requests = Vec::with_capacity(keys.len());
        for (key, object) in objects() {
            let source = site.files().get(key).ok_or_else(|| {
                let message = format!("there is no file for key `{key}`");
                Error::new(ErrorKind::NotFound, OPERATION, message).advice("give one for every key of the manifest")
            })?;
            requests.push(UploadRequest::new(key, source, object.clone()));
        }
        let (assets, pages) = requests.into_iter().partition(|request| request.object.is_immutable());
        let immutable = site.manifest().0.iter().filter(|(_, object)| object.is_immutable());
        let immutable = SiteManifest(immutable.map(|(key, object)| (key.clone(), object.clone())).collect());
        Ok(Self { assets, pages, immutable })
    }

    fn is_empty(&self) -> bool {
        self.assets.is_empty() && self.pages.is_empty()
    }

    /// Stores everything; what is served stays as it is.
    async fn store(self, cx: &Context, publisher: &dyn CdnPublisher, report: &mut PublishReport) -> Result<()> {
        upload(cx, publisher, self.assets, report).await.map_err(|error| unserved(error, "assets"))?;
        let missing = publisher.missing(cx, &self.immutable).await?;
        if !missing.is_empty() {
            let message = format!("stored assets are missing: {}", named(&missing));
            let error = Error::new(ErrorKind::NotFound, OPERATION, message)
                .advice("see whether somebody prunes or deletes at the same time, then publish again");
            return Err(unserved(error, "barrier"));
        }
        upload(cx, publisher, self.pages, report).await.map_err(|error| unserved(error, "pages"))
    }
}

/// The same after something else was done before it.
fn partial(error: Error) -> Error {
    if error.effect() == Effect::None { error.with_effect(Effect::Partial) } else { error }
}

/// Objects may have been added, none that is served.
fn unserved(error: Error, phase: &str) -> Error {
    partial(error).with("phase", format!("{phase}; what is served did not change"))
}

async fn upload(
    cx: &Context,
    publisher: &dyn CdnPublisher,
    requests: Vec<UploadRequest>,
    report: &mut PublishReport,
) -> Result<()> {
    let total = requests.len() as u64;
    let uploads = requests.into_iter().map(|request| async move {
        cx.check(OPERATION)?;
        let sent = publisher.upload(cx, &request).await.map_err(|error| error.with("key", &request.key))?;
        Ok::<_, Error>(sent.then_some(request.object.size))
    });
    let at_once = publisher.capabilities().uploads.unwrap_or(cx.limits().parallel_transfers);
    let mut uploads = stream::iter(uploads).buffer_unordered(at_once.get());
    let mut done = 0;
    while let Some(sent) =
        uploads.try_next().await.map_err(|error| error.with("stored before", format!("{done} of {total}")))?
    {
        done += 1;
        cx.progress("files", done, Some(total));
        if let Some(bytes) = sent {
            report.uploaded += 1;
            report.bytes += bytes;
        }
    }
    Ok(())
}

/// The first of many keys.
fn named(keys: &[String]) -> String {
    const SHOWN: usize = 10;
    let shown: Vec<String> = keys.iter().take(SHOWN).map(|key| format!("`{key}`")).collect();
    match keys.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
#[cfg(feature = "test-util")]
mod tests;
