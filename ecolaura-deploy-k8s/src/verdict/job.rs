//! Jobs: ready means completed.

use std::sync::Arc;

use ecolaura_deploy_core::backend::FailureCause;
use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};

use super::{Rule, Scene, Verdict, are, conditions, failed, is_controlled, pod, progressing};

pub(super) fn job(scene: &Scene<'_>) -> Rule {
    let job: Job = scene.typed()?;
    let is = |kind: &str| conditions::of_list(&scene.object.data, kind).filter(|found| found.status == "True");
    if is("Complete").is_some() {
        return Ok(());
    }
    // The target comes first: its pods are still being ended.
    if let Some(found) = is("Failed").or_else(|| is("FailureTarget")) {
        let mut chain = vec![scene.title(), format!("{}: {}", found.reason, found.message)];
        chain.extend(last_end(scene, &job));
        let cause = match found.reason {
            "DeadlineExceeded" => FailureCause::DeadlineExceeded,
            _ => FailureCause::JobFailed,
        };
        return Err(failed(cause, chain));
    }
    if job.spec.as_ref().and_then(|spec| spec.suspend) == Some(true) {
        return Err(failed(FailureCause::Paused, vec![scene.title(), "it is suspended: resume it".to_owned()]));
    }
    let alive = own(scene, &job).filter(|pod| !has_ended(pod));
    pod::are_fine(scene, alive, true).map_err(|judgement| pod::within(judgement, scene.title()))?;
    let status = job.status.unwrap_or_default();
    let failures = match status.failed.unwrap_or_default() {
        0 => String::new(),
        failed => format!(", {failed} failed before"),
    };
    Err(progressing(match (status.start_time, status.active.unwrap_or_default()) {
        (None, _) => "waiting for it to be started".to_owned(),
        (_, 0) => format!("no pod is running{failures}"),
        (_, active) => format!("{} running{failures}", are(active, "pod")),
    }))
}

fn own<'a>(scene: &Scene<'a>, job: &Job) -> impl Iterator<Item = &'a Pod> {
    let uid = job.metadata.uid.clone();
    scene.pods.iter().map(Arc::as_ref).filter(move |pod| is_controlled(&pod.metadata, uid.as_deref()))
}

fn has_ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    matches!(phase, Some("Failed" | "Succeeded"))
}

/// How the newest of its pods that failed ended.
fn last_end(scene: &Scene<'_>, job: &Job) -> Vec<String> {
    let failed = own(scene, job)
        .filter(|pod| pod.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Failed")));
    let newest = failed.max_by_key(|pod| pod.metadata.creation_timestamp.as_ref().map(|time| time.0));
    match newest.map(|pod| pod::ended(pod).verdict) {
        Some(Verdict::Failed { chain, .. }) => chain,
        _ => Vec::new(),
    }
}
