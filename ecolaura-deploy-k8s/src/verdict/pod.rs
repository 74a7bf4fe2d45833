//! What pods say, on their own and for whatever made them.

use ecolaura_deploy_core::backend::FailureCause;
use k8s_openapi::{
    api::core::v1::{ContainerStatus, Pod, PodCondition},
    jiff::Timestamp,
};

use super::{
    Failure, Judgement, Rule, Scene, Verdict,
    container::{self, Patience, Trouble},
    failed, progressing, title,
};

/// A pod that nothing else made.
pub(super) fn alone(scene: &Scene<'_>) -> Rule {
    let pod: Pod = scene.typed()?;
    let status = pod.status.clone().unwrap_or_default();
    let stays = restarts_always(&pod);
    match status.phase.as_deref() {
        Some("Succeeded") => return Ok(()),
        Some("Failed") => return Err(ended(&pod)),
        _ => {}
    }
    is_fine(scene, &pod, !stays)?;
    match is_ready(&pod) {
        true if stays => Ok(()),
        true => Err(progressing("the pod is running")),
        false => Err(progressing(not_ready(scene, &pod))),
    }
}

pub(super) fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|ready| ready.status == "True")
}

pub(super) fn restarts_always(pod: &Pod) -> bool {
    pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()).is_none_or(|policy| policy == "Always")
}

fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    pod.status.as_ref()?.conditions.iter().flatten().find(|condition| condition.type_ == kind)
}

/// The containers that run first, then the others.
fn containers(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    let status = pod.status.iter();
    status.flat_map(|status| {
        let init = status.init_container_statuses.iter().flatten();
        init.chain(status.container_statuses.iter().flatten())
    })
}

/// A pod that failed for good, and which of its containers ended how.
pub(super) fn ended(pod: &Pod) -> Judgement {
    let status = pod.status.clone().unwrap_or_default();
    let mut chain = vec![title("Pod", &pod.metadata)];
    let said = [status.reason, status.message].into_iter().flatten().collect::<Vec<_>>();
    chain.extend((!said.is_empty()).then(|| said.join(": ")));
    let mut cause = FailureCause::CrashLoop;
    for container in containers(pod) {
        let ended = container.state.as_ref().and_then(|state| state.terminated.as_ref());
        if let Some(ended) = ended.filter(|ended| ended.exit_code != 0) {
            if ended.reason.as_deref() == Some("OOMKilled") {
                cause = FailureCause::OutOfMemory;
            }
            chain.push(format!("container {} ended with {}", container.name, container::end(ended)));
        }
    }
    failed(cause, chain)
}

/// Whether nothing is wrong with the pod. What may heal is on its way; `may_end` where ending is part of the plan.
pub(super) fn is_fine(scene: &Scene<'_>, pod: &Pod, may_end: bool) -> Rule {
    let within = |failure: Failure| failure.within(title("Pod", &pod.metadata));
    is_scheduled(scene, pod)?;
    let killed = killed_by_liveness(scene, pod);
    for status in containers(pod) {
        let liveness = killed.as_deref().is_some_and(|message| message.contains(&status.name));
        if let Some(Trouble { failure, patience }) = container::trouble(status, liveness, may_end) {
            let since = container::waits_since(status).or_else(|| started(pod));
            let grace = match patience {
                Patience::None => return Err(failed(failure.cause, within(failure).chain)),
                Patience::Image => scene.graces.image,
                Patience::Missing => scene.graces.missing,
                Patience::Endless => continue,
            };
            return Err(scene.graced(since, grace, within(failure)));
        }
    }
    Ok(())
}

/// When the kubelet took it; before that, when it was made.
fn started(pod: &Pod) -> Option<Timestamp> {
    let started = pod.status.as_ref().and_then(|status| status.start_time.as_ref());
    started.or(pod.metadata.creation_timestamp.as_ref()).map(|time| time.0)
}

fn is_scheduled(scene: &Scene<'_>, pod: &Pod) -> Rule {
    let Some(scheduled) = condition(pod, "PodScheduled") else { return Ok(()) };
    if scheduled.status != "False" || scheduled.reason.as_deref() != Some("Unschedulable") {
        return Ok(());
    }
    let since = scheduled.last_transition_time.as_ref().or(pod.metadata.creation_timestamp.as_ref()).map(|time| time.0);
    let coming = scene.said(pod.metadata.uid.as_deref(), &["TriggeredScaleUp"]).is_some();
    let grace = if coming { scene.graces.scale_up } else { scene.graces.unschedulable };
    let said = scheduled.message.clone().unwrap_or_else(|| "no node fits".to_owned());
    let failure = Failure::new(FailureCause::Unschedulable, format!("no node takes it: {said}"));
    Err(scene.graced(since, grace, failure.within(title("Pod", &pod.metadata))))
}

/// What the kubelet said when it killed a container whose liveness probe failed.
fn killed_by_liveness(scene: &Scene<'_>, pod: &Pod) -> Option<String> {
    let probe = |message: &str| message.contains("liveness probe") || message.contains("startup probe");
    let mut killed =
        scene.events_of(pod.metadata.uid.as_deref()).filter(|event| event.reason.as_deref() == Some("Killing"));
    killed.find_map(|event| event.message.clone().filter(|message| probe(message)))
}

/// Why a pod that is fine is not ready: what its probes said last.
pub(super) fn not_ready(scene: &Scene<'_>, pod: &Pod) -> String {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    match scene.said(pod.metadata.uid.as_deref(), &["Unhealthy"]) {
        Some(said) => format!("pod {name} is not ready: {said}"),
        None => format!("pod {name} is not ready"),
    }
}

/// Whether none of `pods` is in trouble: a failure comes before what may heal, and of that the one that ends first.
pub(super) fn are_fine<'a>(scene: &Scene<'_>, pods: impl Iterator<Item = &'a Pod>, may_end: bool) -> Rule {
    let mut waits: Option<Judgement> = None;
    for pod in pods {
        match is_fine(scene, pod, may_end) {
            Ok(()) => {}
            Err(judgement) if matches!(judgement.verdict, Verdict::Failed { .. }) => return Err(judgement),
            Err(judgement) => {
                let sooner = waits.as_ref().is_none_or(|found| judgement.until < found.until);
                waits = if sooner { Some(judgement) } else { waits };
            }
        }
    }
    waits.map_or(Ok(()), Err)
}

/// The same failure, seen from outside.
pub(super) fn within(judgement: Judgement, outer: String) -> Judgement {
    match judgement.verdict {
        Verdict::Failed { cause, mut chain } => {
            chain.insert(0, outer);
            failed(cause, chain)
        }
        verdict => Judgement { verdict, until: judgement.until },
    }
}
