//! What applying would change, object by object. Pure.

use std::{collections::BTreeMap, fmt::Display};

use super::desired::{
    Check, ContainerPort, Current, CurrentService, Desired, DesiredService, Endpoint, EnvValue, PodTemplate, PreStop,
    Probe, RolloutStrategy,
};
use crate::{
    backend::{ClusterPlan, Placement},
    plan::{Action, Change, World},
    redact::is_named_like_a_secret,
    vocabulary::{Name, ServiceName},
};

/// The plan of applying `desired` by `placement` where `current` runs. Services that run and are not wanted are another
/// workload's and left alone.
pub(crate) fn plan(desired: &Desired, current: &Current, placement: Placement, warnings: Vec<String>) -> ClusterPlan {
    let mut changes = Vec::new();
    let mut found = Vec::new();
    for wanted in &desired.services {
        let running = current.services.iter().find(|running| running.service.name == wanted.name);
        found.push(state(wanted, running));
        match placement {
            Placement::Beside { .. } => changes.push(candidate(&desired.namespace, wanted, running)),
            _ => {
                changes.push(deployment(&desired.namespace, wanted, running));
                changes.extend(endpoints(&desired.namespace, wanted, running));
            }
        }
    }
    let services = desired.services.iter().map(|service| service.name.clone()).collect();
    ClusterPlan::new(changes, warnings, found.join(", ")).services(services)
}

fn state(wanted: &DesiredService, running: Option<&CurrentService>) -> String {
    let name = &wanted.name;
    match running {
        None => format!("{name} not there"),
        Some(CurrentService { revision, candidate: None, .. }) => format!("{name} revision {revision}"),
        Some(CurrentService { revision, candidate: Some((candidate, _)), .. }) => {
            format!("{name} revision {revision} with candidate {candidate}")
        }
    }
}

fn deployment(namespace: &Name, wanted: &DesiredService, running: Option<&CurrentService>) -> Change {
    let object = format!("deployment {namespace}/{}", wanted.name);
    let Some(running) = running else {
        return Change::new(World::Cluster, object, Action::Create, "not found")
            .detail(format!("image {}", wanted.template.image.digest))
            .detail(format!("replicas {}", wanted.replicas));
    };
    let old = &running.service;
    let new_pods = old.template_digest() != wanted.template_digest();
    let details = details(old, wanted);
    let change = match (new_pods, details.is_empty(), &running.candidate) {
        (true, ..) if wanted.strategy == RolloutStrategy::Recreate => {
            Change::new(World::Cluster, object, Action::Replace, "all pods end before new ones start")
        }
        (true, ..) => Change::new(World::Cluster, object, Action::Update, "new pods"),
        (false, false, _) => Change::new(World::Cluster, object, Action::Update, "same pods"),
        (false, true, Some((revision, _))) => {
            Change::new(World::Cluster, object, Action::Update, format!("candidate {revision} ends"))
        }
        (false, true, None) => Change::unchanged(World::Cluster, object),
    };
    details.into_iter().fold(change, Change::detail)
}

fn candidate(namespace: &Name, wanted: &DesiredService, running: Option<&CurrentService>) -> Change {
    let object = format!("candidate {namespace}/{}", wanted.name);
    let beside = running.and_then(|running| running.candidate.as_ref());
    match (beside, running) {
        (Some((_, old)), _) if old.template_digest() == wanted.template_digest() => {
            Change::unchanged(World::Cluster, object)
        }
        (Some((_, old)), _) => {
            let change = Change::new(World::Cluster, object, Action::Replace, "another candidate stands there");
            details(old, wanted).into_iter().fold(change, Change::detail)
        }
        (None, Some(running)) => {
            let reason = format!("beside revision {}", running.revision);
            let change = Change::new(World::Cluster, object, Action::Create, reason);
            details(&running.service, wanted).into_iter().fold(change, Change::detail)
        }
        (None, None) => Change::new(World::Cluster, object, Action::Create, "nothing runs yet"),
    }
}

fn endpoints(namespace: &Name, wanted: &DesiredService, running: Option<&CurrentService>) -> Vec<Change> {
    let old = running.map(|running| running.service.endpoints.as_slice()).unwrap_or_default();
    let named = |list: &[Endpoint], name: &ServiceName| list.iter().find(|one| one.name == *name).map(ports);
    let mut names: Vec<_> = old.iter().chain(&wanted.endpoints).map(|endpoint| endpoint.name.clone()).collect();
    names.sort();
    names.dedup();
    let change = |name: &ServiceName| {
        let object = format!("service {namespace}/{name}");
        let new = |action, reason| Change::new(World::Cluster, object.clone(), action, reason);
        match (named(old, name), named(&wanted.endpoints, name)) {
            (None, Some(ports)) => new(Action::Create, "not found").detail(format!("ports {ports}")),
            (Some(_), None) => new(Action::Delete, "no longer in the manifests"),
            (Some(before), Some(after)) if before != after => {
                new(Action::Update, "ports differ").detail(format!("ports {before} → {after}"))
            }
            _ => new(Action::NoOp, "unchanged"),
        }
    };
    names.iter().map(change).collect()
}

fn ports(endpoint: &Endpoint) -> String {
    let ports = endpoint.ports.iter().map(|port| format!("{}:{}", port.port, port.target));
    ports.collect::<Vec<_>>().join(",")
}

/// Field by field what differs, `replicas 2 → 3`.
fn details(old: &DesiredService, new: &DesiredService) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = |what: &str, before: &dyn Display, after: &dyn Display| {
        let (before, after) = (before.to_string(), after.to_string());
        if before != after {
            lines.push(format!("{what} {before} → {after}"));
        }
    };
    let (before, after) = (&old.template, &new.template);
    line("image", &before.image.digest, &after.image.digest);
    line("repository", &before.image.repository, &after.image.repository);
    line("replicas", &old.replicas, &new.replicas);
    line("strategy", &strategy(old.strategy), &strategy(new.strategy));
    line("min ready seconds", &old.min_ready_seconds, &new.min_ready_seconds);
    line("progress deadline seconds", &old.progress_deadline_seconds, &new.progress_deadline_seconds);
    line("termination grace seconds", &before.termination_grace_seconds, &after.termination_grace_seconds);
    line("command", &words(before.command.as_ref()), &words(after.command.as_ref()));
    line("args", &words(before.args.as_ref()), &words(after.args.as_ref()));
    line("working directory", &or_image(before.working_dir.as_ref()), &or_image(after.working_dir.as_ref()));
    line("container ports", &container_ports(&before.ports), &container_ports(&after.ports));
    line("readiness probe", &probe(before.readiness.as_ref()), &probe(after.readiness.as_ref()));
    line("liveness probe", &probe(before.liveness.as_ref()), &probe(after.liveness.as_ref()));
    line("startup probe", &probe(before.startup.as_ref()), &probe(after.startup.as_ref()));
    line("pre-stop", &pre_stop(before.pre_stop.as_ref()), &pre_stop(after.pre_stop.as_ref()));
    lines.extend(annotations(&before.annotations, &after.annotations));
    lines.extend(env(before, after));
    lines
}

fn env(before: &PodTemplate, after: &PodTemplate) -> Vec<String> {
    let old: BTreeMap<&str, &EnvValue> = by_name(before).collect();
    let new: BTreeMap<&str, &EnvValue> = by_name(after).collect();
    let removed = old.keys().filter(|name| !new.contains_key(*name)).map(|name| format!("env {name} removed"));
    let changed = new.iter().filter_map(|(name, value)| match old.get(name) {
        None => Some(format!("env {name} added: {}", shown(name, value))),
        Some(former) if same(former, value) => None,
        Some(former) => Some(match (shown(name, former), shown(name, value)) {
            (one, other) if one == REDACTED && other == REDACTED => format!("env {name} {REDACTED} changed"),
            (one, other) if one == other => format!("env {name} from elsewhere"),
            (one, other) => format!("env {name} {one} → {other}"),
        }),
    });
    let lines: Vec<_> = removed.chain(changed).collect();
    if lines.is_empty() && !by_name(before).map(|(name, _)| name).eq(by_name(after).map(|(name, _)| name)) {
        return vec!["env in another order".to_owned()];
    }
    lines
}

fn by_name(template: &PodTemplate) -> impl Iterator<Item = (&str, &EnvValue)> {
    template.env.iter().map(|variable| (variable.name.as_str(), &variable.value))
}

fn same(one: &EnvValue, other: &EnvValue) -> bool {
    match (one, other) {
        (EnvValue::Secret(one), EnvValue::Secret(other)) => one.mark == other.mark,
        _ => one == other,
    }
}

const REDACTED: &str = "(redacted)";

/// The value for people. A variable with the name of a secret is taken for one, whatever it comes from.
fn shown(name: &str, value: &EnvValue) -> String {
    let secret = is_named_like_a_secret(name);
    match value {
        EnvValue::Template(_) | EnvValue::Literal(_) if secret => REDACTED.to_owned(),
        EnvValue::Template(text) | EnvValue::Literal(text) => text.clone(),
        EnvValue::Secret(_) => REDACTED.to_owned(),
        EnvValue::PodIp => "status.podIP".to_owned(),
        EnvValue::PodName => "metadata.name".to_owned(),
        EnvValue::Namespace => "metadata.namespace".to_owned(),
    }
}

fn annotations(before: &BTreeMap<String, String>, after: &BTreeMap<String, String>) -> Vec<String> {
    let mut names: Vec<_> = before.keys().chain(after.keys()).collect();
    names.sort();
    names.dedup();
    let differ = names.into_iter().filter(|name| before.get(*name) != after.get(*name));
    differ.map(|name| format!("annotation {name} changed")).collect()
}

fn strategy(strategy: RolloutStrategy) -> String {
    match strategy {
        RolloutStrategy::Recreate => "recreate".to_owned(),
        RolloutStrategy::RollingUpdate { max_surge, max_unavailable } => {
            format!("rolling, surge {max_surge}, unavailable {max_unavailable}")
        }
    }
}

fn or_image(text: Option<&String>) -> String {
    text.map_or_else(|| "of the image".to_owned(), Clone::clone)
}

fn words(words: Option<&Vec<String>>) -> String {
    words.map_or_else(|| "of the image".to_owned(), |words| format!("{words:?}"))
}

fn container_ports(ports: &[ContainerPort]) -> String {
    let one = |port: &ContainerPort| match &port.name {
        Some(name) => format!("{name}:{}", port.number),
        None => port.number.to_string(),
    };
    ports.iter().map(one).collect::<Vec<_>>().join(",")
}

fn check(check: &Check) -> String {
    match check {
        Check::HttpGet { path, port, headers } if headers.is_empty() => format!("GET :{port}{path}"),
        Check::HttpGet { path, port, headers } => {
            // A header may hold a credential.
            let names: Vec<_> = headers.iter().map(|(name, _)| name.as_str()).collect();
            format!("GET :{port}{path} with {}", names.join(","))
        }
        Check::TcpSocket { port } => format!("connect :{port}"),
        Check::Exec { command } => format!("{command:?}"),
    }
}

fn probe(probe: Option<&Probe>) -> String {
    let Some(probe) = probe else { return "none".to_owned() };
    format!(
        "{} after {} s every {} s within {} s, {} failures, {} successes",
        check(&probe.check),
        probe.initial_delay_seconds,
        probe.period_seconds,
        probe.timeout_seconds,
        probe.failure_threshold,
        probe.success_threshold
    )
}

fn pre_stop(hook: Option<&PreStop>) -> String {
    match hook {
        None => "none".to_owned(),
        Some(PreStop::Sleep { seconds }) => format!("sleep {seconds} s"),
        Some(PreStop::Run { check: wanted }) => check(wanted),
    }
}

#[cfg(test)]
mod tests;
