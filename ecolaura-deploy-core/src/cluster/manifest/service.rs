//! Services: which Deployment they stand before, and on which ports.

use std::collections::BTreeSet;

use super::{
    deployment::{Deployment, service_name},
    probe,
};
use crate::{
    cluster::desired::{ContainerPort, Endpoint, EndpointPort},
    manifest::Field,
};

/// Gives the Service to the Deployment that it selects.
pub(super) fn attach(field: &Field<'_>, deployments: &mut [Deployment<'_>]) {
    notes_on_type(field);
    let Some(deployment) = selected(field, deployments) else { return };
    let ports = ports(field, &deployment.ports);
    if let Some(name) = service_name(field) {
        deployment.endpoints.push(Endpoint { name, ports });
    }
}

fn notes_on_type(field: &Field<'_>) {
    if let Some(kind) = field.get("spec.type") {
        match kind.text() {
            Some("ClusterIP") | None => {}
            Some("NodePort" | "LoadBalancer" | "ExternalName") => {
                kind.warning(format!("is {} and not honoured: a Service is one proxy on this machine", kind.found()));
            }
            Some(_) => kind.expected("`ClusterIP`, `NodePort`, `LoadBalancer` or `ExternalName`"),
        }
    }
    if let Some(address) = field.get("spec.clusterIP") {
        address.warning(format!("is {} and not honoured: the proxy has its own address", address.found()));
    }
}

fn selected<'d, 'a>(field: &Field<'_>, deployments: &'d mut [Deployment<'a>]) -> Option<&'d mut Deployment<'a>> {
    let selector = field.map_of("spec.selector");
    if selector.is_empty() {
        field.warning("has no selector and is not honoured: nothing would answer");
        return None;
    }
    let matches =
        |deployment: &Deployment<'_>| selector.iter().all(|(key, value)| deployment.labels.get(key) == Some(value));
    let names: Vec<_> = deployments.iter().filter(|one| matches(one)).map(|one| format!("`{}`", one.name())).collect();
    let place = field.get("spec.selector")?;
    match names.as_slice() {
        [_] => deployments.iter_mut().find(|one| matches(one)),
        [] => {
            let labels: BTreeSet<String> = deployments
                .iter()
                .flat_map(|one| one.labels.iter().map(|(key, value)| format!("{key}: {value}")))
                .collect();
            let labels: Vec<_> = labels.into_iter().collect();
            place.problem(format!("selects no Deployment; the labels of their pods are: {}", labels.join(", ")));
            None
        }
        several => {
            place.problem(format!("selects {} Deployments ({}), expected one", several.len(), several.join(", ")));
            None
        }
    }
}

fn ports(field: &Field<'_>, container: &[ContainerPort]) -> Vec<EndpointPort> {
    let list = field.list("spec.ports");
    if list.is_empty() {
        field.missing("spec.ports", "at least one port");
    }
    let mut ports: Vec<EndpointPort> = Vec::new();
    for entry in &list {
        if let Some(protocol) = entry.get("protocol").filter(|found| found.text().is_some_and(|text| text != "TCP")) {
            protocol.expected("`TCP`: the proxy knows no other protocol");
        }
        let Some(port) = entry.number_of("port") else { continue };
        let target = match entry.get("targetPort") {
            Some(target) => probe::port(&target, container),
            None => Some(port),
        };
        let name = entry.text_of("name").map(str::to_owned);
        if name.is_none() && list.len() > 1 {
            entry.missing("name", "a name for each of several ports");
        }
        if ports.iter().any(|other| other.port == port || (name.is_some() && other.name == name)) {
            entry.problem(format!("has the number or the name of another port ({port})"));
        }
        ports.extend(target.map(|target| EndpointPort { name, port, target }));
    }
    ports
}
