//! What makes the pods.

use std::collections::BTreeSet;

use k8s_openapi::{
    api::{
        apps::v1::ReplicaSet,
        core::v1::{ContainerStateTerminated, PodTemplateSpec},
    },
    jiff::Timestamp,
};
use kube::core::DynamicObject;
use serde_json::Value;

use super::{
    Health, Pick, WorkloadReport,
    gather::{Found, has},
    pods::NONE,
};
use crate::verdict::{Scene, Verdict, judge};

const REVISION: &str = "deployment.kubernetes.io/revision";

/// The worst first.
pub(super) fn reports(found: &Found, now: Timestamp) -> Vec<WorkloadReport> {
    let mut reports: Vec<WorkloadReport> = meant(found).map(|object| report(found, object, now)).collect();
    reports.sort_by(|a, b| a.health.cmp(&b.health).then_with(|| (&a.kind, &a.name).cmp(&(&b.kind, &b.name))));
    reports
}

/// Those that made a selected pod, or whose pods would be selected.
pub(super) fn meant(found: &Found) -> impl Iterator<Item = &DynamicObject> {
    let makers = makers(found);
    let labels = match &found.selection.pods {
        Pick::All => None,
        Pick::Labels(labels) => Some(labels.clone()),
        Pick::Service(name) => {
            let mut services = found.services.items().iter();
            let service = services.find(|service| service.metadata.name.as_ref() == Some(name));
            service.and_then(|service| service.spec.as_ref()?.selector.clone())
        }
    };
    let all = found.selection.pods == Pick::All;
    found.workloads.iter().filter(move |object| {
        let template = object.data.pointer("/spec/template").cloned().unwrap_or_default();
        let template: Option<PodTemplateSpec> = serde_json::from_value(template).ok();
        let metadata = template.and_then(|template| template.metadata).unwrap_or_default();
        let would = labels.as_ref().is_some_and(|labels| !labels.is_empty() && has(&metadata, labels));
        all || would || object.metadata.uid.as_ref().is_some_and(|uid| makers.contains(uid))
    })
}

/// The identities of what controls the selected pods, and of what controls that.
fn makers(found: &Found) -> BTreeSet<String> {
    let control = |owners: &Option<Vec<k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference>>| {
        owners
            .iter()
            .flatten()
            .filter(|owner| owner.controller == Some(true))
            .map(|owner| owner.uid.clone())
            .collect::<Vec<_>>()
    };
    let mut makers: BTreeSet<String> =
        found.pods.items().iter().flat_map(|pod| control(&pod.metadata.owner_references)).collect();
    let of = |set: &&std::sync::Arc<ReplicaSet>| set.metadata.uid.as_ref().is_some_and(|uid| makers.contains(uid));
    let above: Vec<String> =
        found.replica_sets.items().iter().filter(of).flat_map(|set| control(&set.metadata.owner_references)).collect();
    makers.extend(above);
    makers
}

/// The `ReplicaSet`s of the workloads that are told of.
pub(super) fn sets(found: &Found) -> impl Iterator<Item = &ReplicaSet> {
    let owners: BTreeSet<&str> = meant(found).filter_map(|object| object.metadata.uid.as_deref()).collect();
    found.replica_sets.items().iter().map(AsRef::as_ref).filter(move |set| {
        set.metadata.owner_references.iter().flatten().any(|owner| owners.contains(owner.uid.as_str()))
    })
}

fn report(found: &Found, object: &DynamicObject, now: Timestamp) -> WorkloadReport {
    let number = |pointer: &str| {
        object.data.pointer(pointer).and_then(Value::as_i64).and_then(|number| i32::try_from(number).ok())
    };
    let first = |pointers: &[&str]| pointers.iter().find_map(|pointer| number(pointer));
    let verdict = judge(&Scene {
        replica_sets: found.replica_sets.items(),
        pods: found.pods.items(),
        events: found.events.items(),
        graces: NONE,
        ..Scene::new(object, now)
    })
    .verdict;
    let (headline, chain) = headline(&verdict);
    let (revisions, can_go_back) = revisions(found, object);
    WorkloadReport {
        kind: object.types.as_ref().map(|types| types.kind.clone()).unwrap_or_default(),
        name: object.metadata.name.clone().unwrap_or_default(),
        health: match verdict {
            Verdict::Failed { .. } => Health::Broken,
            Verdict::Ready => Health::Fine,
            _ => Health::Waiting,
        },
        headline,
        chain,
        wanted: first(&["/spec/replicas", "/status/desiredNumberScheduled", "/spec/completions"]).unwrap_or(1),
        ready: first(&["/status/readyReplicas", "/status/numberReady", "/status/succeeded"]).unwrap_or(0),
        conditions: conditions(&object.data),
        revisions,
        can_go_back,
    }
}

/// One line of a verdict, and all of it.
pub(super) fn headline(verdict: &Verdict) -> (String, Vec<String>) {
    match verdict {
        Verdict::Ready => ("ready".to_owned(), Vec::new()),
        Verdict::Progressing { message } => (message.clone(), Vec::new()),
        Verdict::Unknown { why } => (format!("cannot be told: {why}"), Vec::new()),
        Verdict::Failed { cause, chain } => {
            let last = chain.last().map_or("", String::as_str);
            (format!("{cause}: {last}"), chain.clone())
        }
    }
}

/// How a container ended: `exit code 1 (Error)`.
pub(super) fn end(ended: &ContainerStateTerminated) -> String {
    crate::verdict::end(ended)
}

fn conditions(data: &Value) -> Vec<String> {
    let text = |condition: &Value, field: &str| condition[field].as_str().unwrap_or_default().to_owned();
    let line = |condition: &Value| {
        let (kind, status) = (text(condition, "type"), text(condition, "status"));
        let says = [text(condition, "reason"), text(condition, "message")];
        let says: Vec<String> = says.into_iter().filter(|text| !text.is_empty()).collect();
        format!("{kind}={status} {}", says.join(": ")).trim_end().to_owned()
    };
    data.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten().map(line).collect()
}

/// The `ReplicaSet`s in use and the one before, the newest first; and whether there is one before.
fn revisions(found: &Found, object: &DynamicObject) -> (Vec<String>, bool) {
    let uid = object.metadata.uid.as_deref();
    let revision = |set: &ReplicaSet| {
        let annotation = set.metadata.annotations.as_ref().and_then(|annotations| annotations.get(REVISION));
        annotation.and_then(|text| text.parse::<u64>().ok()).unwrap_or_default()
    };
    let own = |set: &&ReplicaSet| crate::verdict::is_controlled(&set.metadata, uid);
    let mut sets: Vec<&ReplicaSet> = found.replica_sets.items().iter().map(AsRef::as_ref).filter(own).collect();
    sets.sort_by_key(|set| std::cmp::Reverse(revision(set)));
    let in_use =
        |index: usize, set: &ReplicaSet| index < 2 || set.status.as_ref().is_some_and(|status| status.replicas > 0);
    let lines = sets.iter().enumerate().filter(|(index, set)| in_use(*index, set)).map(|(_, set)| {
        let status = set.status.clone().unwrap_or_default();
        // Which fields are optional differs between versions of Kubernetes.
        let json = serde_json::to_value(set).unwrap_or_default();
        let containers = json.pointer("/spec/template/spec/containers").and_then(Value::as_array);
        let images = containers.into_iter().flatten().filter_map(|container| container["image"].as_str());
        let images = images.collect::<Vec<_>>().join(", ");
        let ready = status.ready_replicas.unwrap_or_default();
        format!("revision {}: {ready} of {} pods ready, {images}", revision(set), status.replicas)
    });
    (lines.collect(), sets.len() > 1)
}
