//! Probes and what runs before the end.

use crate::{
    cluster::desired::{Check, ContainerPort, PreStop, Probe},
    manifest::{Field, Value, suggestion},
};

/// The probe `key` of a container, with the defaults of Kubernetes.
pub(super) fn read(container: &Field<'_>, key: &str, ports: &[ContainerPort]) -> Option<Probe> {
    let probe = container.get(key)?;
    let number = |key: &str, default: u32| probe.number_of(key).unwrap_or(default);
    let success_threshold = number("successThreshold", 1);
    if success_threshold != 1 && key != "readinessProbe" {
        probe.problem(format!("has a `successThreshold` of {success_threshold}, expected 1 for this probe"));
    }
    Some(Probe {
        check: only_check(&probe, ports)?,
        initial_delay_seconds: number("initialDelaySeconds", 0),
        period_seconds: number("periodSeconds", 10),
        timeout_seconds: number("timeoutSeconds", 1),
        failure_threshold: number("failureThreshold", 3),
        success_threshold,
    })
}

fn only_check(probe: &Field<'_>, ports: &[ContainerPort]) -> Option<Check> {
    if let Some(grpc) = probe.get("grpc") {
        grpc.problem("is not supported here; use `httpGet`, `tcpSocket` or `exec`");
        return None;
    }
    let given: Vec<_> = ["httpGet", "tcpSocket", "exec"].iter().filter_map(|key| probe.get(key)).collect();
    match given.as_slice() {
        [only] => check(only, ports),
        _ => {
            probe.problem("must have exactly one of `httpGet`, `tcpSocket` and `exec`");
            None
        }
    }
}

fn check(field: &Field<'_>, ports: &[ContainerPort]) -> Option<Check> {
    if let Some(command) = field.texts_of("command") {
        if command.is_empty() {
            field.problem("has an empty command, expected a program");
        }
        return Some(Check::Exec { command });
    }
    let port = port(&field.get("port")?, ports)?;
    if !field.path.ends_with("httpGet") {
        return Some(Check::TcpSocket { port });
    }
    if let Some(scheme) = field.get("scheme").filter(|scheme| scheme.text().is_some_and(|text| text != "HTTP")) {
        scheme.problem(format!("is {}, expected `HTTP`: certificates are not supported here", scheme.found()));
    }
    let header = |header: &Field<'_>| Some((header.text_of("name")?.to_owned(), header.text_of("value")?.to_owned()));
    let path = field.text_of("path").unwrap_or("/");
    Some(Check::HttpGet {
        path: if path.starts_with('/') { path.to_owned() } else { format!("/{path}") },
        port,
        headers: field.list("httpHeaders").iter().filter_map(header).collect(),
    })
}

/// A port by number or by the name of one of `ports`.
pub(super) fn port(field: &Field<'_>, ports: &[ContainerPort]) -> Option<u16> {
    match &field.node.value {
        Value::Text(name) => {
            let found = ports.iter().find(|port| port.name.as_ref() == Some(name)).map(|port| port.number);
            if found.is_none() {
                let near = suggestion(name, ports.iter().filter_map(|port| port.name.as_deref()));
                field.problem(format!("is \"{name}\", expected a number or the name of a container port{near}"));
            }
            found
        }
        Value::Whole(number) if (1..=65535).contains(number) => field.number(),
        Value::Whole(_) => {
            field.expected("a port from 1 to 65535");
            None
        }
        _ => None,
    }
}

/// What a container does before it is told to end.
pub(super) fn pre_stop(container: &Field<'_>, ports: &[ContainerPort]) -> Option<PreStop> {
    let hook = container.get("lifecycle.preStop")?;
    let given: Vec<_> = ["sleep", "exec", "httpGet"].iter().filter_map(|key| hook.get(key)).collect();
    match given.as_slice() {
        [only] if only.path.ends_with("sleep") => Some(PreStop::Sleep { seconds: only.number_of("seconds")? }),
        [only] => Some(PreStop::Run { check: check(only, ports)? }),
        _ => {
            hook.problem("must have exactly one of `sleep`, `exec` and `httpGet`");
            None
        }
    }
}
