//! How many requests a publish takes: counted by what [`super::S3Cdn`] does, from what is known before it.

use std::collections::{BTreeMap, BTreeSet};

use ecolaura_deploy_core::{
    backend::{SiteHistory, SiteManifest, SiteObject},
    cdn::{KeyChange, PublishCost, SiteDiff, diff},
};

#[cfg(feature = "key-value-store")]
use super::switch::is_page;
use super::{listing::PAGE, state::pages, switch::rank, upload::part_size};

/// What is known beforehand.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) history: &'a SiteHistory,
    pub(super) site: &'a SiteManifest,
    pub(super) missing: &'a [String],
    /// What is sent in one request.
    pub(super) part: u64,
}

impl<'a> Known<'a> {
    /// The objects that are sent: each content once, each immutable key once.
    fn sent(&self) -> Vec<&'a SiteObject> {
        let keys: BTreeSet<&str> = self.missing.iter().map(String::as_str).collect();
        let mut sent = BTreeMap::new();
        for (key, object) in self.site.0.iter().filter(|(key, _)| keys.contains(key.as_str())) {
            let place = if object.is_immutable() { key.clone() } else { object.digest.to_hex() };
            sent.insert(place, object);
        }
        sent.into_values().collect()
    }

    /// Keys whose headers alone differ: they are offered, and found to be there.
    fn offered(&self, changes: &SiteDiff) -> usize {
        let missing: BTreeSet<&str> = self.missing.iter().map(String::as_str).collect();
        let stored = |key: &str| !missing.contains(key);
        changes.changed().filter(|key| key.change != KeyChange::Removed && stored(&key.key)).count()
    }

    /// The pages that listing what is served, and the contents, takes before and after.
    fn pages(&self) -> (usize, usize) {
        let kept = || self.history.releases.iter().map(|(_, manifest)| manifest);
        let count = |manifests: Vec<&SiteManifest>| {
            let contents: BTreeSet<_> = manifests
                .iter()
                .flat_map(|manifest| manifest.0.values())
                .filter(|object| !object.is_immutable())
                .map(|object| object.digest)
                .collect();
            let served = pages(manifests.into_iter()).len();
            served.div_ceil(PAGE).max(1) + contents.len().div_ceil(PAGE).max(1)
        };
        (count(kept().collect()), count(kept().chain([self.site]).collect()))
    }
}

/// What a publish takes that switches in place, with pruning. `paths` are those that caches are told to forget.
pub(super) fn in_place(known: &Known<'_>, paths: usize) -> PublishCost {
    let Known { history, site, .. } = *known;
    let changes = diff(history.live_manifest(), site);
    let sent = known.sent();
    let offered = known.offered(&changes);
    let mut cost = PublishCost::default();
    let mut ranks = BTreeSet::new();
    let mut copies = 0;
    for (key, object) in &site.0 {
        let served = history.live_manifest().filter(|_| !history.unfinished).and_then(|live| live.0.get(key));
        let copied = match object.is_immutable() {
            true => served.is_some_and(|served| served.digest == object.digest && served != object),
            false => served != Some(object),
        };
        if copied {
            copies += 1;
            ranks.insert(rank(key, object));
        }
    }
    let kept = history.releases.iter().map(|(_, manifest)| manifest);
    let goes = pages(kept).into_iter().any(|(key, is_page)| is_page && !site.0.contains_key(key));
    let (before, after) = known.pages();
    let requests: u64 = sent.iter().map(|object| requests(object.size, known.part)).sum();
    let large = sent.iter().filter(|object| object.size > known.part).count();
    let releases = history.releases.len();
    // Once before, once at the barrier, once by the switch; then the releases, to prune.
    let lists = before + 2 * after + 1;
    // The manifest, and the state before, after, and once caches were told.
    let state = 3 + usize::from(paths > 0);
    cost.writes = requests + (offered + copies + lists + state) as u64;
    // The state: for the history, before, at the barrier, by the switch and its groups, to prune. Manifests for the history,
    // and by the switch and to prune those that were not live.
    let manifests = (3 * releases).saturating_sub(1).max(1);
    let state = 5 + manifests + ranks.len() + usize::from(goes);
    cost.reads = (state + offered + large) as u64;
    cost.bytes = sent.iter().map(|object| object.size).sum::<u64>()
        + site
            .0
            .iter()
            .filter(|(_, object)| !object.is_immutable())
            .filter(|(key, _)| history.live_manifest().is_none_or(|live| !live.0.contains_key(*key)))
            .map(|(_, object)| object.size)
            .sum::<u64>();
    cost.paths = paths as u64;
    cost
}

/// What a publish takes that switches by an entry, with pruning: each content is sent once and copied to its place.
#[cfg(feature = "key-value-store")]
pub(super) fn by_pointer(known: &Known<'_>) -> PublishCost {
    let Known { history, site, missing, .. } = *known;
    let missing: BTreeSet<&str> = missing.iter().map(String::as_str).collect();
    let lacked = site.0.iter().filter(|(key, _)| missing.contains(key.as_str()));
    let sent: BTreeMap<_, _> = lacked.map(|(_, object)| (object.digest, object.size)).collect();
    let mut assets = pages(history.releases.iter().map(|(_, manifest)| manifest));
    assets.retain(|key, is_page| !*is_page && !site.0.contains_key(*key));
    let live = history.live_manifest();
    let carried =
        site.0.iter().filter(|(key, object)| !is_page(object) && live.is_some_and(|live| !live.0.contains_key(*key)));
    let copied: Vec<u64> = site.0.values().map(|object| object.size).collect();
    let requests: u64 = sent.values().map(|size| requests(*size, known.part)).sum();
    let offered = known.offered(&diff(live, site));
    let mut cost = PublishCost::default();
    let copies = copied.len() + assets.len() + carried.count();
    // The manifest, and the state before and after.
    let state = 3;
    cost.writes = requests + (offered + copies + pointer_lists(history, site) + state) as u64;
    cost.reads = (4 + 3 * history.releases.len() + offered) as u64;
    cost.bytes = sent.values().sum::<u64>() + copied.iter().sum::<u64>();
    cost
}

/// The pages that a switch by an entry lists: the contents, before, at the barrier and by the switch; its own folder,
/// which is new, and the one that is left; and to prune, the releases and the folder of each.
#[cfg(feature = "key-value-store")]
fn pointer_lists(history: &SiteHistory, site: &SiteManifest) -> usize {
    let kept = || history.releases.iter().map(|(_, manifest)| manifest);
    let contents = |manifests: Vec<&SiteManifest>| {
        let objects = manifests.into_iter().flat_map(|manifest| manifest.0.values());
        objects.map(|object| object.digest).collect::<BTreeSet<_>>().len().div_ceil(PAGE).max(1)
    };
    let with_site: Vec<_> = kept().chain([site]).collect();
    let folder = pages(with_site.iter().copied()).len().div_ceil(PAGE).max(1);
    let is_new = !history.releases.iter().any(|(id, _)| *id == site.id());
    let folders = usize::from(history.live.is_some()) + history.releases.len() + usize::from(is_new);
    contents(kept().collect()) + 2 * contents(with_site) + 1 + 1 + folders * folder
}

/// How many requests it takes to send `size` bytes.
fn requests(size: u64, part: u64) -> u64 {
    if size > part { size.div_ceil(part_size(size, part)) + 2 } else { 1 }
}
