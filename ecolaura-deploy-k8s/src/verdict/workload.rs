//! What makes pods: Deployment, `StatefulSet`, `DaemonSet`, `ReplicaSet`.

use std::sync::Arc;

use ecolaura_deploy_core::backend::FailureCause;
use k8s_openapi::{
    api::{
        apps::v1::{DaemonSet, Deployment, ReplicaSet, ReplicaSetCondition, StatefulSet},
        core::v1::Pod,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::{Failure, Judgement, Rule, Scene, conditions, failed, is_controlled, pod, progressing, title};

const REVISION: &str = "deployment.kubernetes.io/revision";

/// The Deployment, its new `ReplicaSet`, and that one's pods.
pub(super) fn deployment(scene: &Scene<'_>) -> Rule {
    let deployment: Deployment = scene.typed()?;
    let spec = deployment.spec.clone();
    let status = deployment.status.clone().unwrap_or_default();
    scene.is_observed(status.observed_generation)?;
    if spec.paused == Some(true) {
        return Err(failed(FailureCause::Paused, vec![scene.title(), "its roll-out is paused: resume it".to_owned()]));
    }
    let wanted = spec.replicas.unwrap_or(1);
    let outer = |judgement| pod::within(judgement, scene.title());
    if wanted > 0 {
        let set = new_replica_set(scene, &deployment.metadata);
        let set = set.ok_or_else(|| progressing("waiting for its ReplicaSet"))?;
        replicas(scene, set).map_err(outer)?;
    }
    let condition = |kind| conditions::of_list(&scene.object.data, kind);
    if let Some(late) = condition("Progressing").filter(|found| found.reason == "ProgressDeadlineExceeded") {
        let behind = behind(scene);
        let probe = ["Readiness probe failed", "Startup probe failed"].iter().any(|said| behind.contains(said));
        let cause = if probe { FailureCause::ReadinessProbe } else { FailureCause::DeadlineExceeded };
        let mut chain = vec![scene.title(), late.message.to_owned(), behind];
        chain.retain(|line| !line.is_empty());
        return Err(failed(cause, chain));
    }
    let updated = status.updated_replicas.unwrap_or_default();
    if updated < wanted {
        return Err(progressing(format!("{updated} of {wanted} new replicas have been updated")));
    }
    if let old @ 1.. = status.replicas.unwrap_or_default() - updated {
        return Err(progressing(format!("{} pending termination", super::are(old, "old replica"))));
    }
    let available = status.available_replicas.unwrap_or_default();
    if available < updated {
        return Err(progressing(with(
            format!("{available} of {updated} updated replicas are available"),
            &behind(scene),
        )));
    }
    if new_replica_set(scene, &deployment.metadata).is_some_and(|set| is_ahead(set, updated)) {
        return Err(progressing("waiting for its ReplicaSet"));
    }
    match condition("Available") {
        Some(found) if found.status == "True" => Ok(()),
        None if wanted == 0 => Ok(()),
        found => Err(progressing(found.map_or("not available yet", |found| found.message).to_owned())),
    }
}

fn with(line: String, more: &str) -> String {
    if more.is_empty() { line } else { format!("{line}; {more}") }
}

/// Why one of the pods is not ready, if one is not.
fn behind(scene: &Scene<'_>) -> String {
    let uid = scene.object.metadata.uid.as_deref();
    let sets = scene.replica_sets.iter().filter(|set| is_controlled(&set.metadata, uid));
    let owners: Vec<Option<&str>> = sets.map(|set| set.metadata.uid.as_deref()).chain([uid]).collect();
    let own = |pod: &&Arc<Pod>| owners.iter().any(|owner| is_controlled(&pod.metadata, *owner));
    let waiting = scene.pods.iter().filter(own).find(|pod| !pod::is_ready(pod) && is_alive(pod));
    waiting.map(|waiting| pod::not_ready(scene, waiting)).unwrap_or_default()
}

fn is_alive(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_none()
}

/// The one of the present template: that of the Deployment's revision.
fn new_replica_set<'a>(scene: &Scene<'a>, deployment: &ObjectMeta) -> Option<&'a ReplicaSet> {
    let revision = |metadata: &ObjectMeta| metadata.annotations.as_ref()?.get(REVISION)?.parse::<u64>().ok();
    let wanted = revision(deployment)?;
    let sets = scene.replica_sets.iter().map(Arc::as_ref);
    sets.filter(|set| is_controlled(&set.metadata, deployment.uid.as_deref()))
        .find(|set| revision(&set.metadata) == Some(wanted))
}

/// Whether a Deployment's status tells of a moment before this set had seen its present number, or made its pods.
fn is_ahead(set: &ReplicaSet, told: i32) -> bool {
    let Some(status) = &set.status else { return false };
    let seen = status.observed_generation.unwrap_or(i64::MAX);
    set.metadata.generation.is_some_and(|generation| seen < generation) || status.replicas > told
}

/// Whether pods can be made for it, and none of them is in trouble.
fn replicas(scene: &Scene<'_>, set: &ReplicaSet) -> Rule {
    let outer = |judgement| pod::within(judgement, title("ReplicaSet", &set.metadata));
    can_make(scene, set).map_err(outer)?;
    own_pods(scene, &set.metadata).map_err(outer)
}

fn own_pods(scene: &Scene<'_>, owner: &ObjectMeta) -> Rule {
    let pods = scene.pods.iter().map(Arc::as_ref);
    let own = pods.filter(|pod| is_controlled(&pod.metadata, owner.uid.as_deref()) && is_alive(pod));
    pod::are_fine(scene, own, false)
}

/// Whether its pods can be made: quota, admission and the like keep them from ever being there, so no pod tells.
fn can_make(scene: &Scene<'_>, set: &ReplicaSet) -> Rule {
    let conditions = set.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let fails = |found: &&ReplicaSetCondition| {
        found.type_.as_deref() == Some("ReplicaFailure") && found.status.as_deref() == Some("True")
    };
    let Some(failure) = conditions.into_iter().find(fails) else {
        return Ok(());
    };
    let said = failure.message.clone().unwrap_or_default();
    Err(cannot_make(scene, &said, failure.last_transition_time.as_ref().map(|time| time.0)))
}

fn cannot_make(scene: &Scene<'_>, said: &str, since: Option<k8s_openapi::jiff::Timestamp>) -> Judgement {
    let (cause, grace) = match () {
        () if said.contains("failed calling webhook") => (FailureCause::AdmissionDenied, scene.graces.webhook),
        () if said.contains("exceeded quota") || said.contains("must specify") => {
            (FailureCause::QuotaExceeded, scene.graces.creation)
        }
        () if said.contains("serviceaccount") && said.contains("not found") => {
            (FailureCause::ConfigMissing, scene.graces.missing)
        }
        () => (FailureCause::AdmissionDenied, scene.graces.creation),
    };
    scene.graced(since, grace, Failure::new(cause, format!("its pods cannot be made: {said}")))
}

/// The same where no condition tells: the events of the object do.
fn could_make(scene: &Scene<'_>) -> Rule {
    let uid = scene.object.metadata.uid.as_deref();
    let Some(event) = scene.events_of(uid).find(|event| event.reason.as_deref() == Some("FailedCreate")) else {
        return Ok(());
    };
    let since =
        event.first_timestamp.as_ref().map(|time| time.0).or_else(|| event.event_time.as_ref().map(|time| time.0));
    // What was said before the present wish is of another one.
    let Some(said) = event.message.as_deref().filter(|_| since >= made(scene)) else { return Ok(()) };
    Err(pod::within(cannot_make(scene, said, since), scene.title()))
}

fn made(scene: &Scene<'_>) -> Option<k8s_openapi::jiff::Timestamp> {
    scene.object.metadata.creation_timestamp.as_ref().map(|time| time.0)
}

/// A `ReplicaSet` that nothing else made.
pub(super) fn replica_set(scene: &Scene<'_>) -> Rule {
    let set: ReplicaSet = scene.typed()?;
    let status = set.status.clone().unwrap_or_default();
    scene.is_observed(status.observed_generation)?;
    let wanted = set.spec.replicas.unwrap_or(1);
    replicas(scene, &set)?;
    enough(scene, status.available_replicas.unwrap_or_default(), wanted, "replicas are available")?;
    match status.replicas - wanted {
        more @ 1.. => Err(progressing(format!("{} pending termination", super::are(more, "replica")))),
        _ => Ok(()),
    }
}

fn enough(scene: &Scene<'_>, found: i32, wanted: i32, what: &str) -> Rule {
    if found < wanted {
        return Err(progressing(with(format!("{found} of {wanted} {what}"), &behind(scene))));
    }
    Ok(())
}

pub(super) fn stateful_set(scene: &Scene<'_>) -> Rule {
    let set: StatefulSet = scene.typed()?;
    let spec = set.spec.clone();
    let status = set.status.clone().unwrap_or_default();
    scene.is_observed(status.observed_generation)?;
    let wanted = spec.replicas.unwrap_or(1);
    could_make(scene)?;
    let strategy = spec.update_strategy.unwrap_or_default();
    let by_hand = strategy.type_.as_deref() == Some("OnDelete");
    let partition = strategy.rolling_update.and_then(|update| update.partition).unwrap_or_default();
    new_pods(scene, &set.metadata, status.update_revision.as_deref())?;
    enough(scene, status.ready_replicas.unwrap_or_default(), wanted, "replicas are ready")?;
    let updated = status.updated_replicas.unwrap_or_default();
    let due = if by_hand { 0 } else { (wanted - partition).max(0) };
    enough(scene, updated, due, "replicas have been updated")?;
    enough(scene, status.available_replicas.unwrap_or_default(), wanted, "replicas are available")?;
    match status.replicas - wanted {
        more @ 1.. => Err(progressing(format!("{} pending termination", super::are(more, "replica")))),
        _ => Ok(()),
    }
}

/// Whether no pod of this revision is in trouble. Those of an older one are on their way out.
fn new_pods(scene: &Scene<'_>, owner: &ObjectMeta, revision: Option<&str>) -> Rule {
    let labelled = |pod: &Pod| {
        let label = pod.metadata.labels.as_ref().and_then(|labels| labels.get("controller-revision-hash"));
        revision.is_none_or(|revision| {
            label.is_none_or(|label| label == revision || revision.ends_with(&format!("-{label}")))
        })
    };
    let pods = scene.pods.iter().map(Arc::as_ref);
    let own = pods.filter(|pod| is_controlled(&pod.metadata, owner.uid.as_deref()) && is_alive(pod) && labelled(pod));
    pod::are_fine(scene, own, false).map_err(|judgement| pod::within(judgement, scene.title()))
}

pub(super) fn daemon_set(scene: &Scene<'_>) -> Rule {
    let set: DaemonSet = scene.typed()?;
    let status = set.status.clone().unwrap_or_default();
    scene.is_observed(status.observed_generation)?;
    could_make(scene)?;
    new_pods(scene, &set.metadata, None)?;
    let wanted = status.desired_number_scheduled;
    let strategy = set.spec.update_strategy.and_then(|strategy| strategy.type_);
    if strategy.as_deref() != Some("OnDelete") {
        enough(scene, status.updated_number_scheduled.unwrap_or_default(), wanted, "updated pods are scheduled")?;
    }
    enough(scene, status.number_available.unwrap_or_default(), wanted, "pods are available")
}
