//! Pods, what is wrong with each, and what was recorded.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use k8s_openapi::{
    api::core::v1::{Container, ContainerState, ContainerStatus, Event, Pod, PodCondition},
    jiff::Timestamp,
};

use super::{
    ContainerReport, EventReport, Health, LogReport, Part, Pick, PodReport,
    gather::{Found, as_dynamic},
    seconds, workloads,
};
use crate::verdict::{Graces, Judgement, Scene, Verdict, judge, moment};

/// A pod that started again less long ago is not called fine.
const RECENT: Duration = Duration::from_mins(15);

/// What a pod may take longer than its grace before something must be in the way.
const STUCK: Duration = Duration::from_secs(30);

/// So many events are told of.
const EVENTS: usize = 50;

/// Causes at once: who asks what is wrong does not want to wait.
pub(super) const NONE: Graces = Graces {
    unschedulable: Duration::ZERO,
    scale_up: Duration::ZERO,
    image: Duration::ZERO,
    missing: Duration::ZERO,
    creation: Duration::ZERO,
    webhook: Duration::ZERO,
};

/// The most broken ones first.
pub(super) fn reports(found: &Found, now: Timestamp) -> Part<Vec<PodReport>> {
    found.pods.map(|pods| {
        let mut reports: Vec<PodReport> = pods.iter().map(|pod| report(found, pod, now)).collect();
        let rank = |pod: &PodReport| (pod.health, std::cmp::Reverse(pod.restarts), pod.name.clone());
        reports.sort_by_key(rank);
        reports
    })
}

fn report(found: &Found, pod: &Pod, now: Timestamp) -> PodReport {
    let status = pod.status.clone().unwrap_or_default();
    let statuses = || {
        let init = status.init_container_statuses.iter().flatten();
        init.chain(status.container_statuses.iter().flatten())
    };
    let restarts = statuses().map(|status| status.restart_count).sum();
    let (health, headline, chain) = cause(found, pod, now);
    let own = pod.metadata.owner_references.iter().flatten().find(|owner| owner.controller == Some(true));
    PodReport {
        name: pod.metadata.name.clone().unwrap_or_default(),
        health,
        headline,
        chain,
        phase: status.phase.clone().unwrap_or_else(|| "Unknown".to_owned()),
        owner: own.map(|owner| format!("{} {}", owner.kind, owner.name)),
        node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()),
        ready: status.container_statuses.iter().flatten().filter(|status| status.ready).count(),
        restarts,
        age: since(pod.metadata.creation_timestamp.as_ref().map(|time| time.0), now).as_secs(),
        conditions: status.conditions.iter().flatten().filter_map(not_as_it_should).collect(),
        containers: containers(pod)
            .map(|container| {
                let found = statuses().find(|status| status.name == container.name);
                self::container(container, found)
            })
            .collect(),
    }
}

/// Those that run first, then the others.
fn containers(pod: &Pod) -> impl Iterator<Item = &Container> {
    pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten().chain(&spec.containers))
}

pub(super) fn since(then: Option<Timestamp>, now: Timestamp) -> Duration {
    then.and_then(|then| now.duration_since(then).try_into().ok()).unwrap_or_default()
}

/// How it is, in one line, and all of the cause.
fn cause(found: &Found, pod: &Pod, now: Timestamp) -> (Health, String, Vec<String>) {
    if let Some(deleted) = &pod.metadata.deletion_timestamp {
        return ending(pod, since(Some(deleted.0), now));
    }
    let Some(object) = as_dynamic(pod) else { return (Health::Waiting, "it is no pod".to_owned(), Vec::new()) };
    let scene =
        Scene { pods: found.pods.items(), events: found.events.items(), graces: NONE, ..Scene::new(&object, now) };
    let Judgement { verdict, .. } = judge(&scene);
    let is_ready = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let is_ready = is_ready.clone().any(|condition| condition.type_ == "Ready" && condition.status == "True");
    let done = pod.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Succeeded");
    match verdict {
        Verdict::Failed { .. } => {
            let (headline, chain) = workloads::headline(&verdict);
            (Health::Broken, headline, chain)
        }
        Verdict::Ready if done => (Health::Done, "it has completed".to_owned(), Vec::new()),
        Verdict::Progressing { .. } | Verdict::Unknown { .. } if !is_ready => {
            let (said, _) = workloads::headline(&verdict);
            let name = pod.metadata.name.as_deref().unwrap_or_default();
            let said = said.strip_prefix(&format!("pod {name} is ")).unwrap_or(&said).to_owned();
            (Health::Waiting, with_warning(found, pod, said), Vec::new())
        }
        _ => match restarted(pod, now) {
            Some(said) => (Health::Shaky, said, Vec::new()),
            None => (Health::Fine, "ready".to_owned(), Vec::new()),
        },
    }
}

fn ending(pod: &Pod, over: Duration) -> (Health, String, Vec<String>) {
    // The time of deletion is when its grace ends.
    if over < STUCK {
        return (Health::Ending, "is ending".to_owned(), Vec::new());
    }
    let finalizers = pod.metadata.finalizers.clone().unwrap_or_default();
    let why = match finalizers.as_slice() {
        [] => "its node may be gone".to_owned(),
        finalizers => format!("waits for {}", finalizers.join(", ")),
    };
    (Health::Broken, format!("should have ended {} s ago: {why}", over.as_secs()), Vec::new())
}

/// What was said last against a pod that is not ready, if its own state does not say it.
fn with_warning(found: &Found, pod: &Pod, said: String) -> String {
    let of = |event: &&Arc<Event>| {
        event.type_.as_deref() == Some("Warning") && event.involved_object.uid == pod.metadata.uid
    };
    let newest = found.events.items().iter().filter(of).max_by_key(|event| moment(event));
    let message = newest.and_then(|event| event.message.as_deref()).map(str::trim).unwrap_or_default();
    if message.is_empty() || said.contains(message) { said } else { format!("{said}: {message}") }
}

/// A ready pod that was not for long.
fn restarted(pod: &Pod, now: Timestamp) -> Option<String> {
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    let last = statuses.filter_map(|status| {
        let ended = status.last_state.as_ref()?.terminated.as_ref()?;
        Some((ended.finished_at.as_ref()?.0, status))
    });
    let (at, status) = last.max_by_key(|(at, _)| *at)?;
    if since(Some(at), now) > RECENT {
        return None;
    }
    let end = status.last_state.as_ref().and_then(|state| state.terminated.as_ref()).map(workloads::end)?;
    let minutes = since(Some(at), now).as_secs() / 60;
    Some(format!("ready; container {} ended {minutes} min ago with {end}", status.name))
}

fn not_as_it_should(condition: &PodCondition) -> Option<String> {
    if condition.status == "True" {
        return None;
    }
    let reason = condition.reason.as_deref().unwrap_or(&condition.status);
    let message = condition.message.as_deref().map(|message| format!(": {message}")).unwrap_or_default();
    Some(format!("{}: {reason}{message}", condition.type_))
}

fn container(container: &Container, status: Option<&ContainerStatus>) -> ContainerReport {
    let last = status.and_then(|status| status.last_state.as_ref()?.terminated.as_ref()).map(workloads::end);
    let state = status.and_then(|status| status.state.as_ref()).map_or_else(|| "not started".to_owned(), state);
    let log =
        if state == "not started" { Part::unknown("it has not started") } else { Part::Known(LogReport::default()) };
    ContainerReport {
        name: container.name.clone(),
        image: container.image.clone().unwrap_or_default(),
        state,
        ready: status.is_some_and(|status| status.ready),
        restarts: status.map_or(0, |status| status.restart_count),
        last_end: last,
        resources: resources(container),
        log,
        previous: None,
    }
}

fn state(state: &ContainerState) -> String {
    if let Some(waiting) = &state.waiting {
        return format!("waiting: {}", waiting.reason.as_deref().unwrap_or("no reason given"));
    }
    match (&state.running, &state.terminated) {
        (Some(_), _) => "running".to_owned(),
        (_, Some(ended)) => format!("ended with {}", workloads::end(ended)),
        _ => "not started".to_owned(),
    }
}

/// `cpu 100m to 1, memory to 128Mi`
fn resources(container: &Container) -> Option<String> {
    let resources = container.resources.as_ref()?;
    let of = |name: &str| {
        let wanted =
            resources.requests.as_ref().and_then(|requests| requests.get(name)).map(|wanted| wanted.0.as_str());
        let most = resources.limits.as_ref().and_then(|limits| limits.get(name)).map(|most| most.0.as_str());
        match (wanted, most) {
            (None, None) => None,
            (Some(wanted), None) => Some(format!("{name} {wanted}")),
            (None, Some(most)) => Some(format!("{name} to {most}")),
            (Some(wanted), Some(most)) => Some(format!("{name} {wanted} to {most}")),
        }
    };
    let all: Vec<String> = ["cpu", "memory"].into_iter().filter_map(of).collect();
    (!all.is_empty()).then(|| all.join(", "))
}

/// About what is told of, the newest last.
pub(super) fn events(found: &Found) -> Part<Vec<EventReport>> {
    let meant = meant(found);
    found.events.map(|events| {
        let is_meant = |event: &&Arc<Event>| match (&meant, &event.involved_object.uid) {
            (None, _) => true,
            (Some(meant), Some(uid)) => meant.contains(uid.as_str()),
            (Some(_), None) => false,
        };
        let mut events: Vec<&Arc<Event>> = events.iter().filter(is_meant).collect();
        events.sort_by_key(|event| moment(event));
        events.iter().skip(events.len().saturating_sub(EVENTS)).map(|event| self::event(event)).collect()
    })
}

/// The identities of all that is told of; `None` for everything in the namespace.
fn meant(found: &Found) -> Option<BTreeSet<&str>> {
    if found.selection.pods == Pick::All {
        return None;
    }
    let pods = found.pods.items().iter().filter_map(|pod| pod.metadata.uid.as_deref());
    let sets = workloads::sets(found).filter_map(|set| set.metadata.uid.as_deref());
    let workloads = workloads::meant(found).filter_map(|object| object.metadata.uid.as_deref());
    let services = found.services.items().iter().filter(|service| match &found.selection.pods {
        Pick::Service(name) => service.metadata.name.as_ref() == Some(name),
        _ => false,
    });
    let services = services.filter_map(|service| service.metadata.uid.as_deref());
    Some(pods.chain(sets).chain(workloads).chain(services).collect())
}

fn event(event: &Event) -> EventReport {
    let object = &event.involved_object;
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let count = event.series.as_ref().and_then(|series| series.count).or(event.count).unwrap_or(1);
    EventReport {
        at: moment(event).map(|at| seconds(at).to_string()).unwrap_or_default(),
        kind: text(&event.type_),
        reason: text(&event.reason),
        object: format!("{} {}", text(&object.kind), text(&object.name)),
        count: count.max(1),
        message: text(&event.message).trim().to_owned(),
    }
}
