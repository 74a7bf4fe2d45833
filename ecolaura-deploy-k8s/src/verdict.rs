//! Whether an object is as it was wished, and if not, why: a pure function over the object and what belongs to it.
//!
//! [`Mode::Strict`], the default, knows more than the conditions of the object itself: a Deployment is also judged by its
//! new `ReplicaSet`, that one's pods, their containers and events, so that a wrong image or a missing key is known at
//! once and not at the end of a deadline. [`Mode::Kstatus`] answers as the `kstatus` package of cli-utils does, for
//! teams that have built on it.
//!
//! Some causes can heal by themselves: a Secret that comes a moment later, a node that is being added. They get a
//! [`Graces`] of their own, and the verdict says when it will be another without anything having changed
//! ([`Judgement::until`]), so that nobody has to poll.

mod cluster;
mod conditions;
mod container;
mod job;
mod kstatus;
mod network;
mod pod;
mod scaling;
mod storage;
#[cfg(test)]
mod tests;
mod workload;

use std::{sync::Arc, time::Duration};

use ecolaura_deploy_core::backend::{FailureCause, RolloutState};
use k8s_openapi::{
    api::{
        apps::v1::ReplicaSet,
        core::v1::{Event, Pod},
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
    jiff::Timestamp,
};
use kube::core::DynamicObject;
use serde::de::DeserializeOwned;

/// How strictly objects are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Mode {
    /// Ready means ready: a Job has completed, a load balancer has an address, a failed pod has failed.
    #[default]
    Strict,
    /// As `kstatus` answers: a running Job is ready, a pod whose image cannot be pulled is on its way for ever.
    Kstatus,
}

/// How long each cause that may heal by itself is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Graces {
    /// No node fits, and nobody is adding one.
    pub unschedulable: Duration,
    /// No node fits, and the autoscaler is adding one.
    pub scale_up: Duration,
    /// An image cannot be pulled for a reason that may pass: a timeout, too many requests.
    pub image: Duration,
    /// A registry refuses, or a `ConfigMap` or `Secret` is not there: whoever makes it may be about to.
    pub missing: Duration,
    /// Pods cannot be made: quota, limits, admission.
    pub creation: Duration,
    /// A webhook does not answer.
    pub webhook: Duration,
}

impl Default for Graces {
    fn default() -> Self {
        Self {
            unschedulable: Duration::from_secs(15),
            scale_up: Duration::from_mins(5),
            image: Duration::from_mins(1),
            missing: Duration::from_secs(10),
            creation: Duration::from_secs(10),
            webhook: Duration::from_mins(1),
        }
    }
}

/// What the server answered when the object was written: the verdict is about this wish and no other.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Written {
    /// The object's identity. Another one means that it was deleted and made again.
    pub uid: Option<String>,
    /// The generation that the write made.
    pub generation: Option<i64>,
    /// Its pod template, if it has one.
    template: Option<serde_json::Value>,
}

impl Written {
    /// Only what a record keeps of it: then it is not seen when somebody else changes its pod template.
    pub(crate) fn recorded(uid: Option<String>, generation: Option<i64>) -> Self {
        Self { uid, generation, template: None }
    }

    /// Of the object that the server answered with.
    pub fn of(object: &DynamicObject) -> Self {
        Self {
            uid: object.metadata.uid.clone(),
            generation: object.metadata.generation,
            template: object.data.pointer("/spec/template").cloned(),
        }
    }
}

/// Everything that a verdict is made of.
#[derive(Debug, Clone)]
pub struct Scene<'a> {
    /// The object that is judged.
    pub object: &'a DynamicObject,
    /// What was written of it, if that is known.
    pub written: Option<&'a Written>,
    /// The `ReplicaSet`s of its namespace, or only its own.
    pub replica_sets: &'a [Arc<ReplicaSet>],
    /// The pods of its namespace, or only its own.
    pub pods: &'a [Arc<Pod>],
    /// The events of its namespace, or only those about it and what belongs to it.
    pub events: &'a [Arc<Event>],
    /// The present, by the clock of the cluster if that is known.
    pub now: Timestamp,
    /// How strictly it is judged.
    pub mode: Mode,
    /// How long causes that may heal are waited for.
    pub graces: Graces,
}

impl<'a> Scene<'a> {
    /// `object` alone, at `now`.
    pub fn new(object: &'a DynamicObject, now: Timestamp) -> Self {
        Self {
            object,
            written: None,
            replica_sets: &[],
            pods: &[],
            events: &[],
            now,
            mode: Mode::default(),
            graces: Graces::default(),
        }
    }
}

/// What is true of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It is on its way.
    Progressing {
        /// What is missing, in one line: `2 of 3 updated replicas are available`.
        message: String,
    },
    /// It is as it was wished.
    Ready,
    /// It cannot become so by itself.
    Failed {
        /// The cause.
        cause: FailureCause,
        /// From the object inwards, each a line.
        chain: Vec<String>,
    },
    /// It cannot be told.
    Unknown {
        /// Why not.
        why: String,
    },
}

/// A verdict, and how long it stands if nothing changes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Judgement {
    /// The verdict.
    pub verdict: Verdict,
    /// When it is to be judged again although nothing changed: a grace ends then.
    pub until: Option<Timestamp>,
}

impl From<Verdict> for Judgement {
    fn from(verdict: Verdict) -> Self {
        Self { verdict, until: None }
    }
}

impl From<Verdict> for RolloutState {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Progressing { message } => Self::Progressing { message },
            Verdict::Ready => Self::Ready,
            Verdict::Failed { cause, chain } => Self::Failed { cause, chain },
            Verdict::Unknown { why } => Self::Progressing { message: format!("cannot be told: {why}") },
        }
    }
}

/// Judges an object.
///
/// ```
/// # use k8s_openapi::jiff::Timestamp;
/// use ecolaura_deploy_k8s::verdict::{Scene, Verdict, judge};
/// let job = serde_json::from_value(serde_json::json!({
///     "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "migrate"},
///     "status": {"startTime": "2026-01-01T00:00:00Z", "active": 1},
/// }))?;
/// let judgement = judge(&Scene::new(&job, Timestamp::now()));
/// assert_eq!(judgement.verdict, Verdict::Progressing { message: "1 pod is running".to_owned() });
/// # Ok::<_, serde_json::Error>(())
/// ```
pub fn judge(scene: &Scene<'_>) -> Judgement {
    let judged = match scene.mode {
        Mode::Strict => strict(scene),
        Mode::Kstatus => kstatus::judge(scene),
    };
    judged.err().unwrap_or(Verdict::Ready.into())
}

/// A rule: it has nothing to say, or it is the verdict.
type Rule = Result<(), Judgement>;

fn strict(scene: &Scene<'_>) -> Rule {
    if scene.object.types.is_none() {
        return Err(Verdict::Unknown { why: "it does not say its kind".to_owned() }.into());
    }
    scene.is_not_being_deleted()?;
    scene.is_ours()?;
    match scene.kind() {
        ("apps", "Deployment") => workload::deployment(scene),
        ("apps", "StatefulSet") => workload::stateful_set(scene),
        ("apps", "DaemonSet") => workload::daemon_set(scene),
        ("apps", "ReplicaSet") => workload::replica_set(scene),
        ("", "Pod") => pod::alone(scene),
        ("batch", "Job") => job::job(scene),
        ("", "PersistentVolumeClaim") => storage::claim(scene),
        ("", "Service") => network::service(scene),
        ("networking.k8s.io", "Ingress") => network::ingress(scene),
        ("gateway.networking.k8s.io", "Gateway" | "GatewayClass") => network::gateway(scene),
        ("gateway.networking.k8s.io", _) => network::route(scene),
        ("autoscaling", "HorizontalPodAutoscaler") => scaling::autoscaler(scene),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => cluster::definition(scene),
        ("apiregistration.k8s.io", "APIService") => cluster::api_service(scene),
        ("", "Namespace") => cluster::namespace(scene),
        // They are as they were written, or nothing that a release waits for.
        ("" | "batch" | "policy" | "rbac.authorization.k8s.io", _) => Ok(()),
        _ => conditions::generic(scene),
    }
}

fn progressing(message: impl Into<String>) -> Judgement {
    Verdict::Progressing { message: message.into() }.into()
}

fn failed(cause: FailureCause, chain: Vec<String>) -> Judgement {
    Verdict::Failed { cause, chain }.into()
}

/// `1 pod is`, `2 pods are`.
fn are(count: i32, noun: &str) -> String {
    if count == 1 { format!("1 {noun} is") } else { format!("{count} {noun}s are") }
}

impl Scene<'_> {
    /// The API group and the kind.
    fn kind(&self) -> (&str, &str) {
        let Some(types) = &self.object.types else { return ("", "") };
        let group = types.api_version.split_once('/').map_or("", |(group, _)| group);
        (group, &types.kind)
    }

    /// `Deployment shop/web`.
    fn title(&self) -> String {
        title(self.kind().1, &self.object.metadata)
    }

    /// The object as `K`.
    fn typed<K: DeserializeOwned>(&self) -> Result<K, Judgement> {
        let json = serde_json::to_value(self.object);
        json.and_then(serde_json::from_value).map_err(|error| {
            let why = format!("{} is not as its kind has it: {error}", self.title());
            Verdict::Unknown { why }.into()
        })
    }

    fn is_not_being_deleted(&self) -> Rule {
        match self.object.metadata.deletion_timestamp {
            Some(_) => Err(self.superseded("it is being deleted")),
            None => Ok(()),
        }
    }

    /// Whether it still is what was written. Its generation also moves when an autoscaler scales it, which takes
    /// nothing away: only another pod template does.
    fn is_ours(&self) -> Rule {
        let Some(written) = self.written else { return Ok(()) };
        let metadata = &self.object.metadata;
        if written.uid.is_some() && metadata.uid != written.uid {
            return Err(self.superseded("it was deleted and made again by somebody else"));
        }
        let (Some(found), Some(ours)) = (metadata.generation, written.generation) else { return Ok(()) };
        if found < ours {
            return Err(progressing("what was written is not seen yet"));
        }
        let template = self.object.data.pointer("/spec/template");
        if found > ours && written.template.is_some() && template != written.template.as_ref() {
            let message = format!("somebody else changed it: it is at generation {found}, this roll-out made {ours}");
            return Err(self.superseded(message));
        }
        Ok(())
    }

    fn superseded(&self, why: impl Into<String>) -> Judgement {
        failed(FailureCause::Superseded, vec![self.title(), why.into()])
    }

    /// Whether its controller has seen the present wish.
    fn is_observed(&self, observed: Option<i64>) -> Rule {
        let generation = self.object.metadata.generation.unwrap_or_default();
        if observed.unwrap_or_default() < generation {
            return Err(progressing("waiting for the spec update to be observed"));
        }
        Ok(())
    }

    /// Whether a cause that began at `since` still may heal: then it is on its way for that long, and fails afterwards.
    fn graced(&self, since: Option<Timestamp>, grace: Duration, failure: Failure) -> Judgement {
        // Without a beginning there is nothing to wait from.
        let end = since.and_then(|since| since.checked_add(grace).ok()).unwrap_or(self.now);
        if self.now >= end {
            return failed(failure.cause, failure.chain);
        }
        let message = failure.chain.last().cloned().unwrap_or_default();
        Judgement { verdict: Verdict::Progressing { message }, until: Some(end) }
    }

    /// The events about the object with `uid`, newest first.
    fn events_of<'b>(&'b self, uid: Option<&'b str>) -> impl Iterator<Item = &'b Event> {
        let mut found: Vec<&Event> = self
            .events
            .iter()
            .map(Arc::as_ref)
            .filter(|event| uid.is_some() && event.involved_object.uid.as_deref() == uid)
            .collect();
        found.sort_by_key(|event| std::cmp::Reverse(moment(event)));
        found.into_iter()
    }

    /// What the newest of its events with one of these reasons says.
    fn said(&self, uid: Option<&str>, reasons: &[&str]) -> Option<String> {
        let said = |event: &&Event| event.reason.as_deref().is_some_and(|reason| reasons.contains(&reason));
        self.events_of(uid).find(said).and_then(|event| event.message.clone())
    }
}

pub(crate) use self::container::end;

/// When it was last seen.
pub(crate) fn moment(event: &Event) -> Option<Timestamp> {
    let series = event.series.as_ref().and_then(|series| series.last_observed_time.as_ref()).map(|time| time.0);
    let last = event.last_timestamp.as_ref().map(|time| time.0);
    series.or(last).or_else(|| event.event_time.as_ref().map(|time| time.0))
}

/// Something that went wrong.
#[derive(Debug, Clone)]
struct Failure {
    cause: FailureCause,
    chain: Vec<String>,
}

impl Failure {
    fn new(cause: FailureCause, line: impl Into<String>) -> Self {
        Self { cause, chain: vec![line.into()] }
    }

    /// Within `outer`.
    fn within(mut self, outer: impl Into<String>) -> Self {
        self.chain.insert(0, outer.into());
        self
    }
}

fn title(kind: &str, metadata: &ObjectMeta) -> String {
    let name = metadata.name.as_deref().unwrap_or("without a name");
    match metadata.namespace.as_deref() {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    }
}

/// Whether `uid` is the controller of what has these owners.
pub(crate) fn is_controlled(metadata: &ObjectMeta, uid: Option<&str>) -> bool {
    let owner = |owner: &OwnerReference| owner.controller == Some(true) && Some(owner.uid.as_str()) == uid;
    metadata.owner_references.iter().flatten().any(owner)
}
