//! Watching a cluster until something is so. Nothing is polled: each change is judged when it comes, and a grace that
//! ends without a change is waited for to the moment.

mod going;
mod informer;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc};

use ecolaura_deploy_core::{
    Context, ErrorKind, Result,
    backend::{FailureCause, RolloutState},
};
use futures_util::StreamExt as _;
use k8s_openapi::{
    api::{
        apps::v1::ReplicaSet,
        core::v1::{Event, Pod},
    },
    jiff::Timestamp,
};
use kube::{Api, api::LogParams, core::DynamicObject, runtime::watcher};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::Instant;

pub(crate) use self::informer::anew;
use self::{going::Going, informer::Informers};
use crate::{
    error::Call,
    names::{REVISION, SERVICE, TRACK},
    object::{Key, Kind},
    reconcile::Server,
    time,
    verdict::{Graces, Judgement, Mode, Scene, Verdict, Written, judge},
};

/// How many of a log's last lines a failure shows.
const LOG_LINES: i64 = 10;

/// An object that is waited for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Awaited {
    pub(crate) key: Key,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) uid: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) generation: Option<i64>,
    /// The revision of its pods, of a Deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) revision: Option<u64>,
}

impl Awaited {
    /// As the server answered when it was applied.
    pub(crate) fn of(object: &DynamicObject) -> Self {
        let json = serde_json::to_value(object).unwrap_or_default();
        let key = Key::of(&json);
        let revision = if key.is("apps", "Deployment") { revision(&json) } else { None };
        // The generation of a Deployment also moves when it is scaled; its pods' revision says whether it is ours.
        let generation = if revision.is_some() { None } else { object.metadata.generation };
        Self { key, uid: object.metadata.uid.clone(), generation, revision }
    }

    fn is_deployment(&self) -> bool {
        self.key.is("apps", "Deployment")
    }
}

/// The revision that this crate gave a Deployment's pods.
pub(crate) fn revision(deployment: &Value) -> Option<u64> {
    let annotations = deployment.pointer("/spec/template/metadata/annotations")?;
    annotations.get(REVISION)?.as_str()?.parse().ok()
}

/// Kinds that are as they were written: nobody has to wait for them.
pub(crate) fn is_waited_for(key: &Key) -> bool {
    match key.group() {
        "" => matches!(key.kind.as_str(), "Namespace" | "PersistentVolumeClaim" | "Pod" | "Service"),
        "batch" => key.kind == "Job",
        "networking.k8s.io" => key.kind == "Ingress",
        "admissionregistration.k8s.io"
        | "policy"
        | "rbac.authorization.k8s.io"
        | "scheduling.k8s.io"
        | "storage.k8s.io" => false,
        _ => true,
    }
}

/// How objects are judged.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Judging {
    pub(crate) mode: Mode,
    pub(crate) graces: Graces,
}

/// Waits until all of `awaited` are ready or one cannot become so. Never answers `Progressing`.
pub(crate) async fn until_ready(
    server: &Server<'_>,
    namespace: &str,
    awaited: &[Awaited],
    judging: Judging,
) -> Result<RolloutState> {
    let awaited: Vec<&Awaited> = awaited.iter().filter(|awaited| is_waited_for(&awaited.key)).collect();
    if awaited.is_empty() {
        return Ok(RolloutState::Ready);
    }
    server.cx.check("cluster.wait")?;
    let mut informers = Informers::start(server, namespace, &awaited).await?;
    let mut going = Going::watch(server, namespace, &awaited);
    let mut told = Told::default();
    loop {
        let (state, until) = if informers.are_synced() {
            look(&informers, &awaited, judging, &mut told, server.cx)
        } else {
            (RolloutState::Progressing { message: "reading what is there".to_owned() }, None)
        };
        match state {
            RolloutState::Progressing { .. } => {}
            RolloutState::Failed { cause, chain } => {
                let chain = with_logs(server, namespace, chain).await;
                return Ok(RolloutState::Failed { cause, chain });
            }
            state => return Ok(state),
        }
        let next = async {
            tokio::select! {
                changed = informers.next() => changed.map(|()| None),
                gone = going.next() => Ok(Some(gone)),
                () = sleep_until(until) => Ok(None),
            }
        };
        match server.cx.bounded("cluster.wait", next).await {
            Ok(Ok(Some(going))) => return Ok(namespace_goes(&awaited, &going)),
            Ok(changed) => _ = changed?,
            Err(error) if error.kind() == ErrorKind::Timeout => {
                return Ok(RolloutState::Failed { cause: FailureCause::DeadlineExceeded, chain: told.missing() });
            }
            Err(error) => return Err(error),
        }
    }
}

async fn sleep_until(until: Option<Instant>) {
    match until {
        Some(until) => tokio::time::sleep_until(until).await,
        None => std::future::pending().await,
    }
}

fn namespace_goes(awaited: &[&Awaited], going: &Key) -> RolloutState {
    let inside = awaited.iter().find(|awaited| awaited.key.namespace.as_ref() == Some(&going.name));
    let title = inside.map(|awaited| awaited.key.to_string());
    let chain = title.into_iter().chain([going.to_string(), "somebody else deletes it".to_owned()]).collect();
    RolloutState::Failed { cause: FailureCause::Superseded, chain }
}

/// The state of an object as it is now.
pub(crate) async fn look_once(
    server: &Server<'_>,
    namespace: &str,
    awaited: &Awaited,
    judging: Judging,
) -> Result<RolloutState> {
    let mut informers = Informers::start(server, namespace, &[awaited]).await?;
    while !informers.are_synced() {
        server.cx.bounded("cluster.wait", informers.next()).await??;
    }
    let (replica_sets, pods, events) = (informers.replica_sets(), informers.pods(), informers.events());
    let judgement = one(&informers, awaited, judging, time::now(server.cx), (&replica_sets, &pods, &events));
    Ok(judgement.verdict.into())
}

/// What was told of each object last, so that nothing is told twice.
#[derive(Debug, Default)]
struct Told(BTreeMap<String, String>);

impl Told {
    fn tell(&mut self, cx: &Context, object: &Key, message: &str) {
        let title = object.to_string();
        if self.0.get(&title).is_none_or(|before| before != message) {
            cx.status(format!("{title}: {message}"));
            self.0.insert(title, message.to_owned());
        }
    }

    fn ready(&mut self, object: &Key) {
        self.0.remove(&object.to_string());
    }

    fn missing(&self) -> Vec<String> {
        if self.0.is_empty() {
            return vec!["the deadline passed before the cluster was read".to_owned()];
        }
        self.0.iter().map(|(title, message)| format!("{title}: {message}")).collect()
    }
}

/// The state of all, and when it may be another without a change.
fn look(
    informers: &Informers<'_>,
    awaited: &[&Awaited],
    judging: Judging,
    told: &mut Told,
    cx: &Context,
) -> (RolloutState, Option<Instant>) {
    let now = time::now(cx);
    let (replica_sets, pods, events) = (informers.replica_sets(), informers.pods(), informers.events());
    let mut state = RolloutState::Ready;
    let mut until: Option<Timestamp> = None;
    for awaited in awaited {
        let judgement = one(informers, awaited, judging, now, (&replica_sets, &pods, &events));
        match judgement.verdict {
            Verdict::Ready => told.ready(&awaited.key),
            Verdict::Failed { cause, chain } => return (RolloutState::Failed { cause, chain }, None),
            Verdict::Progressing { message } | Verdict::Unknown { why: message } => {
                told.tell(cx, &awaited.key, &message);
                state = RolloutState::Progressing { message };
            }
        }
        until = until.into_iter().chain(judgement.until).min();
    }
    let until = until.map(|until| {
        let left = until.duration_since(now);
        Instant::now() + left.try_into().unwrap_or_default()
    });
    (state, until)
}

type Belongings<'a> = (&'a [Arc<ReplicaSet>], &'a [Arc<Pod>], &'a [Arc<Event>]);

fn one(
    informers: &Informers<'_>,
    awaited: &Awaited,
    judging: Judging,
    now: Timestamp,
    (replica_sets, pods, events): Belongings<'_>,
) -> Judgement {
    let Some(object) = informers.object(&awaited.key) else {
        return superseded(awaited, "it is gone: somebody else deleted it");
    };
    if let Some(wanted) = awaited.revision {
        let found = serde_json::to_value(&*object).ok().and_then(|json| revision(&json));
        if found != Some(wanted) {
            let found = found.map_or("pods that somebody else made".to_owned(), |found| format!("revision {found}"));
            return superseded(
                awaited,
                &format!("somebody else changed it: it runs {found}, this roll-out made {wanted}"),
            );
        }
    }
    let written = Written::recorded(awaited.uid.clone(), awaited.generation);
    let mut scene = Scene::new(&object, now);
    scene.written = Some(&written);
    (scene.replica_sets, scene.pods, scene.events) = (replica_sets, pods, events);
    (scene.mode, scene.graces) = (judging.mode, judging.graces);
    let judgement = judge(&scene);
    if judgement.verdict != Verdict::Ready || judging.mode == Mode::Kstatus {
        return judgement;
    }
    match awaited.revision.map_or(0, |revision| leaving(&object, revision, pods)) {
        0 => judgement,
        1 => Verdict::Progressing { message: "1 old pod is ending".to_owned() }.into(),
        count => Verdict::Progressing { message: format!("{count} old pods are ending") }.into(),
    }
}

/// How many pods of other revisions of this Deployment still end: they are no replicas any more, and may have requests.
fn leaving(deployment: &DynamicObject, revision: u64, pods: &[Arc<Pod>]) -> usize {
    let labels = deployment.data.pointer("/spec/template/metadata/labels");
    let own = |key: &str| labels.and_then(|labels| labels.get(key)).and_then(Value::as_str);
    let revision = revision.to_string();
    let is_old = |pod: &&Arc<Pod>| {
        let of = |key: &str| pod.metadata.labels.as_ref().and_then(|labels| labels.get(key)).map(String::as_str);
        let found = pod.metadata.annotations.as_ref().and_then(|annotations| annotations.get(REVISION));
        own(SERVICE).is_some() && of(SERVICE) == own(SERVICE) && of(TRACK) == own(TRACK) && found != Some(&revision)
    };
    pods.iter().filter(is_old).count()
}

fn superseded(awaited: &Awaited, why: &str) -> Judgement {
    let chain = vec![awaited.key.to_string(), why.to_owned()];
    Verdict::Failed { cause: FailureCause::Superseded, chain }.into()
}

/// The chain with the last lines that the container printed which it ends in.
async fn with_logs(server: &Server<'_>, namespace: &str, mut chain: Vec<String>) -> Vec<String> {
    let prefix = format!("Pod {namespace}/");
    let pod = chain.iter().rev().find_map(|line| line.strip_prefix(&prefix)).map(str::to_owned);
    let container = chain.iter().rev().find_map(|line| {
        let name = line.strip_prefix("container ")?;
        Some(name.split_once(' ').map_or(name, |(name, _)| name).to_owned())
    });
    let (Some(pod), Some(container)) = (pod, container) else { return chain };
    for previous in [true, false] {
        let params = LogParams {
            container: Some(container.clone()),
            previous,
            tail_lines: Some(LOG_LINES),
            limit_bytes: Some(64 * 1024),
            ..LogParams::default()
        };
        let client = server.connection.client();
        let read = async { Api::<Pod>::namespaced(client, namespace).logs(&pod, &params).await };
        // A verdict without the log is better than none.
        let Ok(Ok(text)) = tokio::time::timeout(std::time::Duration::from_secs(5), read).await else { continue };
        if !text.trim().is_empty() {
            let redactor = server.cx.redactor();
            chain.extend(text.lines().map(|line| format!("log: {}", redactor.redact(line))));
            break;
        }
    }
    chain
}

/// Waits until the object is gone, or is another one than that with `uid`.
pub(crate) async fn until_gone(server: &Server<'_>, kind: &Kind, key: &Key, uid: Option<String>) -> Result<()> {
    let is_gone = |found: Option<&DynamicObject>| found.is_none_or(|found| uid.is_some() && found.metadata.uid != uid);
    until(server, kind, key, "cluster.delete", is_gone).await.map_err(|error| {
        if error.kind() == ErrorKind::Timeout {
            return error.advice("look for a finalizer that nobody clears, or a pod that does not end");
        }
        error
    })
}

/// Waits until `is_so` of an object; `None` is that it is not there.
pub(crate) async fn until(
    server: &Server<'_>,
    kind: &Kind,
    key: &Key,
    operation: &'static str,
    is_so: impl Fn(Option<&DynamicObject>) -> bool,
) -> Result<()> {
    let api = kind.api(server.connection.client(), key.namespace.as_deref());
    let mut seen = std::pin::pin!(informer::anew(|| watcher::watch_object(api.clone(), &key.name)));
    let wait = async {
        while let Some(found) = seen.next().await {
            match found {
                Ok(found) if is_so(found.as_ref()) => return Ok(()),
                Ok(_) => {}
                Err(error) => informer::fatal(server, &Call::reads(operation, key), error)?,
            }
        }
        Ok(())
    };
    server.cx.bounded(operation, wait).await.map_err(|error| error.with("object", key))?
}

/// Waits until no pod of a service is left, of one track or of any.
pub(crate) async fn pods_gone(server: &Server<'_>, namespace: &str, service: &str, track: Option<&str>) -> Result<()> {
    let selector = match track {
        Some(track) => format!("{SERVICE}={service},{TRACK}={track}"),
        None => format!("{SERVICE}={service}"),
    };
    let call = Call::reads("cluster.wait", format!("pods of {service} in {namespace}"));
    let api = Api::<Pod>::namespaced(server.connection.client(), namespace);
    informer::until(server, call, api, &selector, <[_]>::is_empty).await
}

/// Waits until the endpoints of a Service are the ready pods that it selects. Whether they were others at first.
pub(crate) async fn endpoints(server: &Server<'_>, namespace: &str, service: &str, selector: &str) -> Result<bool> {
    informer::until_endpoints(server, namespace, service, selector).await
}
