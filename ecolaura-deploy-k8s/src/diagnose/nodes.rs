//! The nodes that the pods are on.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{Node, NodeCondition};

use super::{
    Health, NodeReport, Part, PodReport,
    gather::Found,
    usage::{bytes, millicores},
};

/// So many are told of.
const MOST: usize = 20;

/// The nodes of `pods`; all where a pod has none yet.
pub(super) fn reports(found: &Found, pods: &[PodReport]) -> Part<Vec<NodeReport>> {
    let used: BTreeSet<&str> = pods.iter().filter_map(|pod| pod.node.as_deref()).collect();
    let waits = pods.iter().any(|pod| pod.node.is_none() && pod.health <= Health::Waiting);
    found.nodes.map(|nodes| {
        let is_meant = |node: &&Node| waits || node.metadata.name.as_deref().is_some_and(|name| used.contains(name));
        let mut reports: Vec<NodeReport> = nodes.iter().filter(is_meant).map(|node| report(found, node)).collect();
        reports.sort_by(|a, b| a.health.cmp(&b.health).then_with(|| a.name.cmp(&b.name)));
        reports.truncate(MOST);
        reports
    })
}

fn report(found: &Found, node: &Node) -> NodeReport {
    let name = node.metadata.name.clone().unwrap_or_default();
    let status = node.status.clone().unwrap_or_default();
    let mut problems: Vec<String> = status.conditions.iter().flatten().filter_map(problem).collect();
    let spec = node.spec.as_ref();
    if spec.and_then(|spec| spec.unschedulable) == Some(true) {
        problems.push("takes no new pods (cordoned)".to_owned());
    }
    let not_ready = problems.iter().any(|problem| problem.starts_with("not ready"));
    let health = match problems.is_empty() {
        _ if not_ready => Health::Broken,
        false => Health::Shaky,
        true => Health::Fine,
    };
    let used = found.node_metrics.items().iter().find(|metrics| metrics.metadata.name == name);
    let allocatable: BTreeMap<String, String> =
        status.allocatable.into_iter().flatten().map(|(key, value)| (key, value.0)).collect();
    let share = |of: fn(&BTreeMap<String, String>) -> u64| percent(of(&used?.usage), of(&allocatable));
    NodeReport { cpu: share(millicores), memory: share(bytes), name, health, problems }
}

fn percent(used: u64, all: u64) -> Option<u8> {
    u8::try_from((used.saturating_mul(100)).checked_div(all)?.min(100)).ok()
}

/// `Ready` should be so; everything else is a pressure.
fn problem(condition: &NodeCondition) -> Option<String> {
    let message = condition.message.as_deref().unwrap_or_default();
    match (condition.type_.as_str(), condition.status.as_str()) {
        ("Ready", "True") => None,
        ("Ready", _) => Some(format!("not ready: {message}")),
        (kind, "True") => Some(format!("{kind}: {message}")),
        _ => None,
    }
}
