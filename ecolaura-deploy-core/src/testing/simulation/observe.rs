//! What a world looks like, past all faults.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::FutureExt;

use super::world::{Fakes, State};
use crate::{
    Context, Result,
    backend::{CdnPublisher, ClusterStatus, ClusterTarget, FeatureFlags, Migrator, Registry, Track},
    store::StoredReleases,
    testing::inject::{Disk, Entry, Process},
    vocabulary::{EnvironmentName, Name, ServiceName},
};

/// The names of what calls were about. Fakes do not list what they hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Subjects(BTreeSet<(&'static str, String)>);

impl Subjects {
    pub(super) fn extend(&mut self, ledger: &[Entry]) {
        let known = |entry: &&Entry| ["registry.set_tag", "flags.set", "cluster.apply"].contains(&entry.call);
        self.0.extend(ledger.iter().filter(known).map(|entry| (entry.call, entry.subject.clone())));
    }

    fn of(&self, call: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(of, _)| *of == call).map(|(_, subject)| subject.as_str())
    }

    pub(super) fn namespaces(&self) -> Vec<Name> {
        self.of("cluster.apply").filter_map(|namespace| namespace.parse().ok()).collect()
    }
}

/// The answer of a fake, all of which answer reads at once.
fn at_once<T>(call: impl Future<Output = Result<T>>) -> Option<T> {
    call.now_or_never()?.ok()
}

pub(super) fn context(environment: &EnvironmentName) -> Context {
    Context::new(environment.clone())
}

pub(super) fn cluster_status(fakes: &Fakes, cx: &Context, namespace: &Name) -> Option<ClusterStatus> {
    at_once(fakes.cluster.status(cx, namespace))
}

/// How many pods of each service are ready.
pub(super) fn ready(fakes: &Fakes, cx: &Context, namespaces: &[Name]) -> BTreeMap<(Name, ServiceName), usize> {
    let mut ready = BTreeMap::new();
    for namespace in namespaces {
        for pod in cluster_status(fakes, cx, namespace).into_iter().flat_map(|status| status.pods) {
            *ready.entry((namespace.clone(), pod.service)).or_default() += usize::from(pod.ready);
        }
    }
    ready
}

/// Keys of the live site whose content is not there.
pub(super) fn missing_assets(fakes: &Fakes, cx: &Context) -> Vec<String> {
    let history = at_once(fakes.cdn.history(cx)).unwrap_or_default();
    let live = history.live_manifest().into_iter().flat_map(|manifest| manifest.0.keys());
    live.filter(|key| fakes.cdn.get(key).is_none()).cloned().collect()
}

/// Everything that a release changes, as text by name.
pub(super) async fn state(fakes: &Fakes, disk: &Disk, cx: &Context, subjects: &Subjects) -> State {
    let mut state = State::new();
    for namespace in subjects.namespaces() {
        services(fakes, cx, &namespace, &mut state);
    }
    let live = at_once(fakes.cdn.history(cx)).and_then(|history| history.live);
    state.insert("site".to_owned(), live.map_or_else(|| "nothing".to_owned(), |live| live.to_string()));
    let schema = match at_once(fakes.migrator.plan(cx)) {
        Some(plan) => plan.applied.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
        None => "cannot be read".to_owned(),
    };
    state.insert("schema".to_owned(), schema);
    for flag in subjects.of("flags.set") {
        let found = at_once(fakes.flags.get(cx, flag));
        state.insert(format!("flag {flag}"), found.map_or_else(|| "none".to_owned(), |state| state.to_string()));
    }
    for reference in subjects.of("registry.set_tag") {
        let Some((repository, tag)) = reference.rsplit_once(':') else { continue };
        let (Ok(repository), Ok(tag)) = (repository.parse(), tag.parse()) else { continue };
        let found = at_once(fakes.registry.resolve(cx, &repository, &tag)).flatten();
        state.insert(format!("tag {reference}"), found.map_or_else(|| "none".to_owned(), |image| image.to_string()));
    }
    let store = disk.store(&Process::new(0));
    let last = StoredReleases::new(&store, cx.environment()).last().await;
    let release = match last {
        Ok(last) => last.map_or_else(|| "none".to_owned(), |release| release.sequence.to_string()),
        Err(error) => error.report(),
    };
    state.insert("release".to_owned(), release);
    state
}

fn services(fakes: &Fakes, cx: &Context, namespace: &Name, state: &mut State) {
    let Some(status) = cluster_status(fakes, cx, namespace) else { return };
    for (service, address) in &status.addresses {
        let image = fakes.cluster.answer(address).map_or_else(|| "nothing".to_owned(), |image| image.to_string());
        state.insert(format!("address {namespace}/{service}"), image);
    }
    let mut pods: BTreeMap<String, usize> = BTreeMap::new();
    for pod in status.pods {
        let beside = if pod.track == Track::Candidate { ", beside the stable ones" } else { "" };
        *pods.entry(format!("pods {namespace}/{}{beside}", pod.service)).or_default() += 1;
    }
    state.extend(pods.into_iter().map(|(name, count)| (name, count.to_string())));
}
