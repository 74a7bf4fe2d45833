//! The answers of the `kstatus` package of cli-utils (`pkg/kstatus/status`, at 5895ad6 of 2025-10-21), its surprises
//! included: a running Job and a failed Pod are current, and a Deployment fails by its deadline only.

use ecolaura_deploy_core::backend::FailureCause;
use k8s_openapi::jiff::SignedDuration;
use serde_json::Value;

use super::{Judgement, Rule, Scene, Verdict, conditions, failed, progressing};

pub(super) fn judge(scene: &Scene<'_>) -> Rule {
    if scene.object.metadata.deletion_timestamp.is_some() {
        return Err(progressing("it is being deleted"));
    }
    let observed = integer(scene, "/status/observedGeneration");
    if let (Some(generation), Some(observed)) = (scene.object.metadata.generation, observed)
        && generation != observed
    {
        return Err(progressing("waiting for the spec update to be observed"));
    }
    by_condition(scene)?;
    match scene.kind() {
        ("apps", "Deployment") => deployment(scene),
        ("apps", "StatefulSet") => stateful_set(scene),
        ("apps", "DaemonSet") => daemon_set(scene),
        ("apps", "ReplicaSet") => replica_set(scene),
        ("batch", "Job") => job(scene),
        ("", "Pod") => pod(scene),
        ("", "PersistentVolumeClaim") => is(scene, "/status/phase", "Bound"),
        ("", "Service") => service(scene),
        ("apiextensions.k8s.io", "CustomResourceDefinition") => super::cluster::definition(scene),
        ("policy", "PodDisruptionBudget") | ("", "Secret" | "ConfigMap") | ("batch", "CronJob") => Ok(()),
        _ => match conditions::of_list(&scene.object.data, "Ready") {
            Some(found) if found.status != "True" => Err(progressing(found.says())),
            _ => Ok(()),
        },
    }
}

/// The first of `Reconciling` and `Stalled` that is true, in the order of the list.
fn by_condition(scene: &Scene<'_>) -> Rule {
    let list = scene.object.data.pointer("/status/conditions").and_then(Value::as_array);
    let kinds = list.into_iter().flatten().filter_map(|found| found.get("type")?.as_str());
    for kind in kinds.filter(|kind| ["Reconciling", "Stalled"].contains(kind)) {
        match conditions::of_list(&scene.object.data, kind).filter(|found| found.status == "True") {
            Some(found) if kind == "Reconciling" => return Err(progressing(found.says())),
            Some(found) => return Err(stalled(scene, found.says())),
            None => {}
        }
    }
    Ok(())
}

fn stalled(scene: &Scene<'_>, why: String) -> Judgement {
    failed(FailureCause::NotReconciled, vec![scene.title(), why])
}

fn integer(scene: &Scene<'_>, path: &str) -> Option<i64> {
    scene.object.data.pointer(path).and_then(Value::as_i64)
}

fn text<'a>(scene: &'a Scene<'_>, path: &str) -> Option<&'a str> {
    scene.object.data.pointer(path).and_then(Value::as_str)
}

fn is(scene: &Scene<'_>, path: &str, wanted: &str) -> Rule {
    let found = text(scene, path).unwrap_or("nothing");
    if found == wanted { Ok(()) } else { Err(progressing(format!("{path} is {found}, expected {wanted}"))) }
}

/// A figure of the status; 0 where there is none.
fn count(scene: &Scene<'_>, name: &str) -> i64 {
    integer(scene, &format!("/status/{name}")).unwrap_or_default()
}

fn replicas(scene: &Scene<'_>) -> i64 {
    integer(scene, "/spec/replicas").unwrap_or(1)
}

/// At least `wanted` of the status's figure `name`.
fn at_least(scene: &Scene<'_>, wanted: i64, name: &str) -> Rule {
    let found = count(scene, name);
    if found < wanted { Err(progressing(format!("{name}: {found} of {wanted}"))) } else { Ok(()) }
}

fn no_more(scene: &Scene<'_>, wanted: i64) -> Rule {
    match count(scene, "replicas") - wanted {
        more @ 1.. => Err(progressing(format!("pending termination: {more}"))),
        _ => Ok(()),
    }
}

fn deployment(scene: &Scene<'_>) -> Rule {
    let condition = |kind| conditions::of_list(&scene.object.data, kind);
    let deadline =
        integer(scene, "/spec/progressDeadlineSeconds").is_some_and(|seconds| seconds != i64::from(i32::MAX));
    let progress = condition("Progressing");
    if let Some(late) = progress.filter(|found| found.reason == "ProgressDeadlineExceeded") {
        return Err(failed(FailureCause::DeadlineExceeded, vec![scene.title(), late.says()]));
    }
    let wanted = replicas(scene);
    at_least(scene, wanted, "replicas")?;
    at_least(scene, wanted, "updatedReplicas")?;
    no_more(scene, wanted)?;
    at_least(scene, count(scene, "updatedReplicas"), "availableReplicas")?;
    at_least(scene, wanted, "readyReplicas")?;
    let complete = progress.is_some_and(|found| found.status == "True" && found.reason == "NewReplicaSetAvailable");
    if deadline && !complete {
        return Err(progressing("the new ReplicaSet is not available"));
    }
    match condition("Available") {
        Some(found) if found.status == "True" => Ok(()),
        _ => Err(progressing("the Deployment is not available")),
    }
}

fn stateful_set(scene: &Scene<'_>) -> Rule {
    if text(scene, "/spec/updateStrategy/type") == Some("OnDelete") {
        return Ok(());
    }
    let wanted = replicas(scene);
    at_least(scene, wanted, "replicas")?;
    at_least(scene, wanted, "readyReplicas")?;
    no_more(scene, wanted)?;
    if let Some(partition) = integer(scene, "/spec/updateStrategy/rollingUpdate/partition") {
        return at_least(scene, wanted - partition, "updatedReplicas");
    }
    at_least(scene, wanted, "currentReplicas")?;
    let revision = |name: &str| text(scene, name).map(str::to_owned);
    if revision("/status/currentRevision") != revision("/status/updateRevision") {
        return Err(progressing("waiting for the update revision to become the current one"));
    }
    Ok(())
}

fn daemon_set(scene: &Scene<'_>) -> Rule {
    if scene.object.metadata.generation.is_none() || integer(scene, "/status/observedGeneration").is_none() {
        return Err(progressing("waiting for its controller"));
    }
    let Some(wanted) = integer(scene, "/status/desiredNumberScheduled") else {
        return Err(progressing("desiredNumberScheduled is not there yet"));
    };
    for name in ["currentNumberScheduled", "updatedNumberScheduled", "numberAvailable", "numberReady"] {
        at_least(scene, wanted, name)?;
    }
    Ok(())
}

fn replica_set(scene: &Scene<'_>) -> Rule {
    if let Some(found) =
        conditions::of_list(&scene.object.data, "ReplicaFailure").filter(|found| found.status == "True")
    {
        return Err(progressing(found.says()));
    }
    let wanted = replicas(scene);
    for name in ["fullyLabeledReplicas", "availableReplicas", "readyReplicas"] {
        at_least(scene, wanted, name)?;
    }
    no_more(scene, wanted)
}

fn job(scene: &Scene<'_>) -> Rule {
    let is = |kind: &str| conditions::of_list(&scene.object.data, kind).filter(|found| found.status == "True");
    if is("Complete").is_some() {
        return Ok(());
    }
    if let Some(found) = is("Failed") {
        return Err(failed(FailureCause::JobFailed, vec![scene.title(), found.says()]));
    }
    let started = text(scene, "/status/startTime").is_some() || is("Suspended").is_some();
    if started { Ok(()) } else { Err(progressing("the Job is not started")) }
}

fn pod(scene: &Scene<'_>) -> Rule {
    let condition = |kind| conditions::of_list(&scene.object.data, kind);
    match text(scene, "/status/phase") {
        Some("Succeeded" | "Failed") => Ok(()),
        Some("Running") if condition("Ready").is_some_and(|ready| ready.status == "True") => Ok(()),
        Some("Running") => match crash_loop(scene) {
            Some(container) => {
                let line = format!("container {container} is in CrashLoopBackOff");
                Err(failed(FailureCause::CrashLoop, vec![scene.title(), line]))
            }
            None => Err(progressing("the pod is running and not ready")),
        },
        Some("Pending") => match condition("PodScheduled").filter(|found| found.reason == "Unschedulable") {
            Some(found) if found.status == "False" => unschedulable(scene, found.says()),
            _ => Err(progressing("the pod is pending")),
        },
        None | Some("") => Err(progressing("the pod has no phase yet")),
        Some(other) => Err(Verdict::Unknown { why: format!("{}: unknown phase {other}", scene.title()) }.into()),
    }
}

/// The first of the containers, init containers not among them, that is in a crash loop.
fn crash_loop<'a>(scene: &'a Scene<'_>) -> Option<&'a str> {
    let statuses = scene.object.data.pointer("/status/containerStatuses")?.as_array()?;
    let loops =
        |status: &&Value| status.pointer("/state/waiting/reason").and_then(Value::as_str) == Some("CrashLoopBackOff");
    statuses.iter().find(loops)?.get("name")?.as_str()
}

/// Failed 15 s after the pod was made.
fn unschedulable(scene: &Scene<'_>, why: String) -> Rule {
    let made = scene.object.metadata.creation_timestamp.as_ref().map_or(scene.now, |time| time.0);
    let end = made.checked_add(SignedDuration::from_secs(15)).unwrap_or(scene.now);
    if scene.now >= end {
        return Err(failed(FailureCause::Unschedulable, vec![scene.title(), why]));
    }
    Err(Judgement { verdict: Verdict::Progressing { message: why }, until: Some(end) })
}

fn service(scene: &Scene<'_>) -> Rule {
    let balances = text(scene, "/spec/type") == Some("LoadBalancer");
    let addressed = text(scene, "/spec/clusterIP").is_some_and(|address| !address.is_empty());
    if balances && !addressed { Err(progressing("waiting for an address")) } else { Ok(()) }
}
