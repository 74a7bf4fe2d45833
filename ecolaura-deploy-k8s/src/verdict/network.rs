//! What brings requests to pods.

use ecolaura_deploy_core::backend::FailureCause;
use serde_json::Value;

use super::{
    Rule, Scene,
    conditions::{self, Condition},
    failed, progressing,
};

pub(super) fn service(scene: &Scene<'_>) -> Rule {
    let balances = scene.object.data.pointer("/spec/type").and_then(Value::as_str) == Some("LoadBalancer");
    if balances {
        has_address(scene, &["SyncLoadBalancerFailed", "FailedDeployModel", "FailedBuildModel"])
    } else {
        Ok(())
    }
}

pub(super) fn ingress(scene: &Scene<'_>) -> Rule {
    has_address(scene, &["Sync", "FailedDeployModel", "FailedBuildModel", "Rejected"])
}

/// Whether the load balancer has an address; if not, what its controller said.
fn has_address(scene: &Scene<'_>, reasons: &[&str]) -> Rule {
    let found = scene.object.data.pointer("/status/loadBalancer/ingress").and_then(Value::as_array);
    if found.is_some_and(|addresses| !addresses.is_empty()) {
        return Ok(());
    }
    let said = scene.said(scene.object.metadata.uid.as_deref(), reasons);
    Err(progressing(format!(
        "waiting for the address of its load balancer{}",
        said.map(|said| format!(": {said}")).unwrap_or_default()
    )))
}

/// A `Gateway` is programmed; a `GatewayClass` is accepted.
pub(super) fn gateway(scene: &Scene<'_>) -> Rule {
    accepted(scene, scene.object.data.pointer("/status"), "its controller")?;
    match conditions::of_list(&scene.object.data, "Programmed") {
        Some(found) if found.status != "True" => Err(progressing(found.says())),
        None if scene.kind().1 == "Gateway" => Err(progressing("waiting to be programmed")),
        _ => Ok(()),
    }
}

/// A route is accepted by each parent that it names, and all of its backends are there.
pub(super) fn route(scene: &Scene<'_>) -> Rule {
    let list = |path| scene.object.data.pointer(path).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let (wanted, parents) = (list("/spec/parentRefs"), list("/status/parents"));
    if parents.len() < wanted.len() {
        return Err(progressing(format!("{} of {} gateways have taken it", parents.len(), wanted.len())));
    }
    for parent in parents {
        let name = parent.pointer("/parentRef/name").and_then(Value::as_str).unwrap_or("its gateway");
        accepted(scene, Some(parent), name)?;
        if let Some(found) = conditions::of(parent, "ResolvedRefs").filter(|found| found.status == "False") {
            return Err(progressing(format!("{name}: {}", found.says())));
        }
    }
    Ok(())
}

fn accepted(scene: &Scene<'_>, status: Option<&Value>, by: &str) -> Rule {
    let found = status.and_then(|status| conditions::of(status, "Accepted"));
    let generation = scene.object.metadata.generation;
    let current = |found: &Condition<'_>| found.observed.is_none() || found.observed >= generation;
    match found.filter(current) {
        Some(found) if found.status == "True" => Ok(()),
        Some(found) if found.status == "False" => {
            Err(failed(FailureCause::AdmissionDenied, vec![scene.title(), format!("{by}: {}", found.says())]))
        }
        _ => Err(progressing(format!("waiting to be accepted by {by}"))),
    }
}
