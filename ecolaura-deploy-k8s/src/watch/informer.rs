//! What a namespace holds now, kept up to date by watches.

use std::{
    collections::{BTreeMap, BTreeSet},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use ecolaura_deploy_core::{ErrorKind, Result};
use futures_util::{
    Stream, StreamExt as _,
    stream::{self, SelectAll},
};
use k8s_openapi::api::{
    apps::v1::ReplicaSet,
    core::v1::{Event, Pod},
    discovery::v1::EndpointSlice,
};
use kube::{
    Api,
    core::{ApiResource, DynamicObject, TypeMeta},
    runtime::{
        WatchStreamExt as _,
        reflector::{ObjectRef, Store, store::Writer},
        utils::Backoff,
        watcher,
    },
};

use super::Awaited;
use crate::{
    error::Call,
    names::{PART, SERVICE},
    object::Key,
    reconcile::Server,
    render::services_of,
};

/// The numbers of the streams beside those of the objects that are waited for.
const REPLICA_SETS: usize = usize::MAX;
const PODS: usize = usize::MAX - 1;
const EVENTS: usize = usize::MAX - 2;

/// How many changes that have come already are taken in before the next look.
const AT_ONCE: usize = 256;

/// How many services are named when pods are asked for. With more, those of all services are.
const SELECTED: usize = 50;

/// The reasons of events of pods with which all is well.
const ORDINARY: [&str; 7] =
    ["Scheduled", "Pulling", "Pulled", "Created", "Started", "SuccessfulCreate", "ScalingReplicaSet"];

enum Change {
    Object(usize, Box<watcher::Event<DynamicObject>>),
    ReplicaSet(Box<watcher::Event<ReplicaSet>>),
    Pod(Box<watcher::Event<Pod>>),
    Event(Box<watcher::Event<Event>>),
    Failed(Call, watcher::Error),
}

type Changes = Pin<Box<dyn Stream<Item = Change> + Send>>;

/// Watches over what is waited for and what belongs to it.
pub(super) struct Informers<'a> {
    server: &'a Server<'a>,
    changes: stream::ReadyChunks<SelectAll<Changes>>,
    kinds: BTreeMap<(String, String), usize>,
    objects: Vec<(ApiResource, Writer<DynamicObject>)>,
    replica_sets: Writer<ReplicaSet>,
    pods: Writer<Pod>,
    events: Writer<Event>,
    /// The streams whose first list is not complete yet.
    unsynced: BTreeSet<usize>,
}

impl std::fmt::Debug for Informers<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Informers")
            .field("kinds", &self.kinds)
            .field("unsynced", &self.unsynced)
            .finish_non_exhaustive()
    }
}

impl<'a> Informers<'a> {
    /// Begins to watch the kinds of `awaited`, and `ReplicaSet`s, pods and events where there are pods.
    pub(super) async fn start(server: &'a Server<'a>, namespace: &str, awaited: &[&Awaited]) -> Result<Self> {
        let client = server.connection.client();
        let mut streams = SelectAll::<Changes>::new();
        let mut kinds = BTreeMap::new();
        let mut objects = Vec::new();
        for awaited in awaited {
            let index = objects.len();
            let of = (awaited.key.group().to_owned(), awaited.key.kind.clone());
            if kinds.contains_key(&of) {
                continue;
            }
            let Some(kind) = server.kind(&awaited.key).await? else { continue };
            let api = kind.api(client.clone(), awaited.key.namespace.as_deref());
            let config = watcher::Config::default().labels(PART);
            let what = Call::reads("cluster.wait", format!("{}s of {namespace}", awaited.key.kind));
            // Of what is in a list the server does not say the kind.
            let types = TypeMeta { api_version: kind.resource.api_version.clone(), kind: kind.resource.kind.clone() };
            streams.push(watched(api, config, what, move |event| {
                let event =
                    event.modify(|object: &mut DynamicObject| _ = object.types.get_or_insert_with(|| types.clone()));
                Change::Object(index, Box::new(event))
            }));
            objects.push((kind.resource.clone(), Writer::new(kind.resource)));
            kinds.insert(of, index);
        }
        let mut unsynced: BTreeSet<usize> = (0..objects.len()).collect();
        if awaited.iter().any(|awaited| has_pods(&awaited.key)) {
            // The pods of other kinds than Deployments do not carry our label.
            let ours = awaited.iter().all(|awaited| awaited.is_deployment() || !has_pods(&awaited.key));
            let config = || match ours {
                true => watcher::Config::default().labels(&of_services(awaited)),
                false => watcher::Config::default(),
            };
            let what = |what: &str| Call::reads("cluster.wait", format!("{what} of {namespace}"));
            let api = Api::<ReplicaSet>::namespaced(client.clone(), namespace);
            streams.push(watched(api, config(), what("ReplicaSets"), |event| Change::ReplicaSet(Box::new(event))));
            let api = Api::<Pod>::namespaced(client.clone(), namespace);
            streams.push(watched(api, config(), what("pods"), |event| Change::Pod(Box::new(event.modify(trim)))));
            let api = Api::<Event>::namespaced(client, namespace);
            let telling = watcher::Config::default().fields(&telling());
            streams.push(watched(api, telling, what("events"), |event| Change::Event(Box::new(event))));
            unsynced.extend([REPLICA_SETS, PODS, EVENTS]);
        }
        Ok(Self {
            server,
            changes: streams.ready_chunks(AT_ONCE),
            kinds,
            objects,
            replica_sets: Writer::default(),
            pods: Writer::default(),
            events: Writer::default(),
            unsynced,
        })
    }

    /// Whether everything that was there at the start is known.
    pub(super) fn are_synced(&self) -> bool {
        self.unsynced.is_empty()
    }

    /// Waits for the next changes. Fails where watching again cannot help.
    pub(super) async fn next(&mut self) -> Result<()> {
        let Some(changes) = self.changes.next().await else {
            return std::future::pending().await;
        };
        for change in changes {
            self.take(change)?;
        }
        Ok(())
    }

    fn take(&mut self, change: Change) -> Result<()> {
        let (stream, done) = match change {
            Change::Object(index, event) => (index, apply(&mut self.objects[index].1, &event)),
            Change::ReplicaSet(event) => (REPLICA_SETS, apply(&mut self.replica_sets, &event)),
            Change::Pod(event) => (PODS, apply(&mut self.pods, &event)),
            Change::Event(event) => (EVENTS, apply(&mut self.events, &event)),
            Change::Failed(call, error) => return fatal(self.server, &call, error),
        };
        if done {
            self.unsynced.remove(&stream);
        }
        Ok(())
    }

    pub(super) fn object(&self, key: &Key) -> Option<Arc<DynamicObject>> {
        let index = self.kinds.get(&(key.group().to_owned(), key.kind.clone()))?;
        let (resource, writer) = self.objects.get(*index)?;
        let mut reference = ObjectRef::new_with(&key.name, resource.clone());
        if let Some(namespace) = &key.namespace {
            reference = reference.within(namespace);
        }
        writer.as_reader().get(&reference)
    }

    pub(super) fn replica_sets(&self) -> Vec<Arc<ReplicaSet>> {
        state(&self.replica_sets)
    }

    pub(super) fn pods(&self) -> Vec<Arc<Pod>> {
        state(&self.pods)
    }

    pub(super) fn events(&self) -> Vec<Arc<Event>> {
        state(&self.events)
    }
}

/// The label of the pods of some Deployments, and of their candidates.
fn of_services(awaited: &[&Awaited]) -> String {
    let deployments = awaited.iter().filter(|awaited| awaited.is_deployment());
    let names: BTreeSet<&str> = deployments.flat_map(|awaited| services_of(&awaited.key.name)).collect();
    if names.len() > SELECTED {
        return SERVICE.to_owned();
    }
    format!("{SERVICE} in ({})", names.into_iter().collect::<Vec<_>>().join(","))
}

/// Takes away what no verdict looks at, so that thousands of pods can be watched.
fn trim(pod: &mut Pod) {
    let Some(spec) = &mut pod.spec else { return };
    spec.containers.clear();
    (spec.init_containers, spec.volumes, spec.affinity, spec.tolerations) = (None, None, None, None);
}

/// Selects the events that may tell why something is not ready: those of each ordinary pod are most of all events.
fn telling() -> String {
    ORDINARY.map(|reason| format!("reason!={reason}")).join(",")
}

fn state<K>(writer: &Writer<K>) -> Vec<Arc<K>>
where
    K: kube::runtime::reflector::Lookup + Clone + 'static,
    K::DynamicType: Eq + std::hash::Hash + Clone,
{
    let store: Store<K> = writer.as_reader();
    store.state()
}

/// Takes `event` in; whether a list is complete by it.
fn apply<K>(writer: &mut Writer<K>, event: &watcher::Event<K>) -> bool
where
    K: kube::runtime::reflector::Lookup + Clone + 'static,
    K::DynamicType: Eq + std::hash::Hash + Clone,
{
    writer.apply_watcher_event(event);
    matches!(event, watcher::Event::InitDone)
}

fn watched<K>(
    api: Api<K>,
    config: watcher::Config,
    call: Call,
    change: impl Fn(watcher::Event<K>) -> Change + Send + 'static,
) -> Changes
where
    K: kube::Resource + Clone + serde::de::DeserializeOwned + std::fmt::Debug + Send + 'static,
    K::DynamicType: Clone,
{
    let events = anew(move || watcher(api.clone(), config.clone())).map(move |event| match event {
        Ok(event) => change(event.modify(|object| object.meta_mut().managed_fields = None)),
        Err(error) => Change::Failed(call.clone(), error),
    });
    Box::pin(events)
}

/// Watches as `begin` does, and after an error a while later again. Where the server has forgotten the version, from the
/// start: one that says so before the watch stands is asked for the same version for ever by the watcher itself.
pub(crate) fn anew<S, T>(begin: impl Fn() -> S + Send) -> impl Stream<Item = Result<T, watcher::Error>> + Send
where
    S: Stream<Item = Result<T, watcher::Error>> + Send,
    T: Send,
{
    let first = Box::pin(begin());
    let watching = stream::unfold((first, begin), async |(mut watch, begin)| {
        let event = watch.next().await?;
        if matches!(&event, Err(watcher::Error::WatchStartFailed(kube::Error::Api(status))) if status.code == 410) {
            watch = Box::pin(begin());
        }
        Some((event, (watch, begin)))
    });
    watching.backoff(Soon::default())
}

/// How long until a watch is begun again: never so long that a person waits for it. What `kube` brings goes up to half a
/// minute, and stays there for two minutes after the server is back.
#[derive(Debug, Default)]
struct Soon(Duration);

impl Soon {
    const FIRST: Duration = Duration::from_millis(200);
    const LONGEST: Duration = Duration::from_secs(2);
}

impl Iterator for Soon {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let pause = self.0.max(Self::FIRST);
        self.0 = (pause * 2).min(Self::LONGEST);
        Some(pause)
    }
}

impl Backoff for Soon {
    fn reset(&mut self) {
        self.0 = Duration::ZERO;
    }
}

/// Fails where watching again cannot help: without the right, or with credentials that are not taken. Anything else is
/// told and passes.
pub(super) fn fatal(server: &Server<'_>, call: &Call, error: watcher::Error) -> Result<()> {
    let error = match error {
        watcher::Error::InitialListFailed(error)
        | watcher::Error::WatchStartFailed(error)
        | watcher::Error::WatchFailed(error) => error,
        watcher::Error::WatchError(status) => kube::Error::Api(status),
        watcher::Error::NoResourceVersion => return Ok(()),
    };
    let error = call.failed(server.connection.server(), &error);
    if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::Unauthenticated | ErrorKind::InvalidInput) {
        return Err(error);
    }
    tracing::debug!(error = %error, "watching again");
    if error.kind() == ErrorKind::Unavailable {
        server.cx.status(format!("the API server is away: {}", error.message()));
    }
    Ok(())
}

fn has_pods(key: &Key) -> bool {
    key.group() == "apps" || key.is("batch", "Job") || key.is("", "Pod")
}

/// Watches what `selector` names until `is_so` of all of it.
pub(super) async fn until<K>(
    server: &Server<'_>,
    call: Call,
    api: Api<K>,
    selector: &str,
    is_so: impl Fn(&[Arc<K>]) -> bool,
) -> Result<()>
where
    K: kube::Resource<DynamicType = ()> + Clone + serde::de::DeserializeOwned + std::fmt::Debug + Send + Sync + 'static,
{
    let mut writer = Writer::<K>::default();
    let config = watcher::Config::default().labels(selector);
    let mut events = std::pin::pin!(anew(|| watcher(api.clone(), config.clone())));
    let mut synced = false;
    let wait = async {
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => {
                    synced |= apply(&mut writer, &event);
                    if synced && is_so(&writer.as_reader().state()) {
                        return Ok(());
                    }
                }
                Err(error) => fatal(server, &call, error)?,
            }
        }
        Ok(())
    };
    let operation = call.operation;
    server.cx.bounded(operation, wait).await.map_err(|error| error.with("object", &call.what))?
}

/// Watches the pods that `selector` names, and the endpoints of `service`, until these are those of them that are ready.
/// Whether they were others at first.
pub(super) async fn until_endpoints(
    server: &Server<'_>,
    namespace: &str,
    service: &str,
    selector: &str,
) -> Result<bool> {
    let client = server.connection.client();
    let call = |what: &str| Call::reads("cluster.wait", format!("{what} of Service {namespace}/{service}"));
    let (mut pods, mut slices) = (Writer::<Pod>::default(), Writer::<EndpointSlice>::default());
    let mut events = SelectAll::<Pin<Box<dyn Stream<Item = Side> + Send>>>::new();
    let api = Api::<Pod>::namespaced(client.clone(), namespace);
    let config = watcher::Config::default().labels(selector);
    let pod = anew(move || watcher(api.clone(), config.clone()));
    events.push(Box::pin(pod.map(|event| Side::Pod(Box::new(event)))));
    let api = Api::<EndpointSlice>::namespaced(client, namespace);
    let config = watcher::Config::default().labels(&format!("kubernetes.io/service-name={service}"));
    let slice = anew(move || watcher(api.clone(), config.clone()));
    events.push(Box::pin(slice.map(|event| Side::Slice(Box::new(event)))));
    let (mut synced, mut others) = ((false, false), false);
    let wait = async {
        while let Some(event) = events.next().await {
            match event {
                Side::Pod(event) => match *event {
                    Ok(event) => synced.0 |= apply(&mut pods, &event),
                    Err(error) => fatal(server, &call("pods"), error)?,
                },
                Side::Slice(event) => match *event {
                    Ok(event) => synced.1 |= apply(&mut slices, &event),
                    Err(error) => fatal(server, &call("endpoints"), error)?,
                },
            }
            if synced == (true, true) {
                if ready_pods(&pods.as_reader().state()) == serving(&slices.as_reader().state()) {
                    return Ok(others);
                }
                others = true;
            }
        }
        Ok(others)
    };
    server
        .cx
        .bounded("cluster.wait", wait)
        .await
        .map_err(|error| error.with("object", format!("Service {namespace}/{service}")))?
}

enum Side {
    Pod(Box<Result<watcher::Event<Pod>, watcher::Error>>),
    Slice(Box<Result<watcher::Event<EndpointSlice>, watcher::Error>>),
}

/// The names of the pods that may have requests.
fn ready_pods(pods: &[Arc<Pod>]) -> BTreeSet<String> {
    let ready = |pod: &&Arc<Pod>| {
        let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
        pod.metadata.deletion_timestamp.is_none()
            && conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
    };
    pods.iter().filter(ready).filter_map(|pod| pod.metadata.name.clone()).collect()
}

/// The names of the pods that requests go to.
fn serving(slices: &[Arc<EndpointSlice>]) -> BTreeSet<String> {
    let slices =
        serde_json::to_value(slices.iter().map(|slice| slice.as_ref().clone()).collect::<Vec<_>>()).unwrap_or_default();
    let slices = slices.as_array().cloned().unwrap_or_default();
    let endpoints = slices
        .iter()
        .flat_map(|slice| slice.get("endpoints").and_then(serde_json::Value::as_array).into_iter().flatten());
    endpoints
        .filter(|endpoint| endpoint.pointer("/conditions/ready").and_then(serde_json::Value::as_bool) != Some(false))
        .filter_map(|endpoint| endpoint.pointer("/targetRef/name")?.as_str().map(str::to_owned))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_pods_of_what_is_waited_for_are_asked_for() {
        let awaited = |name: &str| Awaited {
            key: Key::new("apps/v1", "Deployment", Some("dev"), name),
            uid: None,
            generation: None,
            revision: None,
        };
        let selector = of_services(&[&awaited("web-candidate"), &awaited("api")]);
        assert_eq!(selector, "deploy.ecolaura.io/service in (api,web,web-candidate)");
        let many: Vec<Awaited> = (0..60).map(|number| awaited(&format!("service-{number}"))).collect();
        assert_eq!(of_services(&many.iter().collect::<Vec<_>>()), SERVICE, "an address has an end");
    }
}
