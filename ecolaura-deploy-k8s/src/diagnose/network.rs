//! What leads to the pods.

use k8s_openapi::{
    api::{
        core::v1::{Pod, Service, ServicePort},
        discovery::v1::EndpointSlice,
    },
    apimachinery::pkg::util::intstr::IntOrString,
};

use super::{
    Part, Pick, ServiceReport,
    gather::{Found, has},
    selector,
};

/// The Services of the selected pods.
pub(super) fn reports(found: &Found) -> Part<Vec<ServiceReport>> {
    found.services.map(|services| {
        services.iter().filter(|service| is_meant(found, service)).map(|service| report(found, service)).collect()
    })
}

fn is_meant(found: &Found, service: &Service) -> bool {
    match &found.selection.pods {
        Pick::All => true,
        Pick::Service(name) => service.metadata.name.as_ref() == Some(name),
        Pick::Labels(_) => found.pods.items().iter().any(|pod| leads_to(service, pod)),
    }
}

fn leads_to(service: &Service, pod: &Pod) -> bool {
    let wanted = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    wanted.is_some_and(|wanted| !wanted.is_empty() && has(&pod.metadata, wanted))
}

fn report(found: &Found, service: &Service) -> ServiceReport {
    let name = service.metadata.name.clone().unwrap_or_default();
    let spec = service.spec.clone().unwrap_or_default();
    let (ready, not_ready) = endpoints(found.slices.items(), &name);
    let ports = spec.ports.clone().unwrap_or_default();
    let labels = spec.selector.unwrap_or_default();
    let pods: Vec<&Pod> = found.pods.items().iter().map(AsRef::as_ref).filter(|pod| leads_to(service, pod)).collect();
    let unnamed = ports.iter().find_map(|port| missing_name(port, &pods));
    let problem = match () {
        () if labels.is_empty() => None,
        () if found.pods.known().is_some() && pods.is_empty() => Some(format!("no pod has {}", selector(&labels))),
        () if unnamed.is_some() => unnamed.map(|name| format!("no container has a port called {name}")),
        () if found.slices.known().is_some() && ready == 0 => Some("no pod behind it is ready".to_owned()),
        () => None,
    };
    ServiceReport {
        name,
        kind: spec.type_.unwrap_or_else(|| "ClusterIP".to_owned()),
        selector: selector(&labels),
        ports: ports.iter().map(port).collect(),
        ready,
        not_ready,
        problem,
    }
}

/// How many are ready, and how many are not.
fn endpoints(slices: &[EndpointSlice], service: &str) -> (usize, usize) {
    let label = |slice: &&EndpointSlice| {
        slice
            .metadata
            .labels
            .as_ref()
            .and_then(|labels| labels.get("kubernetes.io/service-name"))
            .is_some_and(|name| name == service)
    };
    let all = slices.iter().filter(label).flat_map(|slice| slice.endpoints.iter().flatten());
    let is_ready = |endpoint: &k8s_openapi::api::discovery::v1::Endpoint| {
        endpoint.conditions.as_ref().and_then(|conditions| conditions.ready) != Some(false)
    };
    all.fold((0, 0), |(ready, not), endpoint| if is_ready(endpoint) { (ready + 1, not) } else { (ready, not + 1) })
}

/// The name of a target port that none of the containers has.
fn missing_name<'a>(port: &'a ServicePort, pods: &[&Pod]) -> Option<&'a str> {
    let Some(IntOrString::String(name)) = &port.target_port else { return None };
    let has = |pod: &&&Pod| {
        let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
        containers.flat_map(|container| container.ports.iter().flatten()).any(|port| port.name.as_ref() == Some(name))
    };
    (!pods.is_empty() && !pods.iter().any(|pod| has(&pod))).then_some(name)
}

/// `http 80→8080`
fn port(port: &ServicePort) -> String {
    let target = match &port.target_port {
        Some(IntOrString::Int(target)) if *target != port.port => format!("→{target}"),
        Some(IntOrString::String(target)) => format!("→{target}"),
        _ => String::new(),
    };
    let name = port.name.as_ref().map(|name| format!("{name} ")).unwrap_or_default();
    format!("{name}{}{target}", port.port)
}
