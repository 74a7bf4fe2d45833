//! In which order objects are applied, and in which they are taken away. Pure.

use std::collections::{BTreeMap, BTreeSet};

use ecolaura_deploy_core::{Error, Result};
use serde_json::Value;

use crate::{manifest::Wanted, names::DEPENDS_ON, object::Key};

/// Kinds come in stages; what is not named here is a kind of somebody else's and comes last.
const STAGES: &[&[(&str, &str)]] = &[
    &[
        ("", "Namespace"),
        ("apiextensions.k8s.io", "CustomResourceDefinition"),
        ("rbac.authorization.k8s.io", "ClusterRole"),
        ("scheduling.k8s.io", "PriorityClass"),
        ("storage.k8s.io", "StorageClass"),
        ("", "PersistentVolume"),
    ],
    &[
        ("", "ServiceAccount"),
        ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
        ("rbac.authorization.k8s.io", "Role"),
        ("rbac.authorization.k8s.io", "RoleBinding"),
        ("", "ResourceQuota"),
        ("", "LimitRange"),
        ("networking.k8s.io", "NetworkPolicy"),
    ],
    &[("", "ConfigMap"), ("", "Secret"), ("", "PersistentVolumeClaim")],
    &[("", "Service"), ("policy", "PodDisruptionBudget")],
    &[
        ("apps", "Deployment"),
        ("apps", "StatefulSet"),
        ("apps", "DaemonSet"),
        ("apps", "ReplicaSet"),
        ("batch", "Job"),
        ("batch", "CronJob"),
        ("", "Pod"),
    ],
    &[("autoscaling", "HorizontalPodAutoscaler"), ("networking.k8s.io", "Ingress")],
];

/// The stage of a kind, from 0.
pub(crate) fn stage(key: &Key) -> usize {
    let of = |stage: &[(&str, &str)]| stage.iter().any(|(group, kind)| key.is(group, kind));
    STAGES.iter().position(|stage| of(stage)).unwrap_or(STAGES.len())
}

/// What must be ready before anything after it is applied: without them the server does not take the rest.
pub(crate) fn is_foundation(key: &Key) -> bool {
    key.is("", "Namespace") || key.is("apiextensions.k8s.io", "CustomResourceDefinition")
}

/// A layer of objects that may be applied at the same time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Layer {
    /// Places in the list that was sorted.
    pub(crate) members: Vec<usize>,
    /// Those of earlier layers that must be ready first, because a member says that it depends on them.
    pub(crate) after: Vec<usize>,
}

/// Sorts `objects` into layers: by stage, and after what each depends on. Fails with `InvalidInput` for what depends on
/// something that is not among them, or on itself.
pub(crate) fn layers(objects: &[Wanted]) -> Result<Vec<Layer>> {
    let mut problems = Vec::new();
    let needs: Vec<Vec<usize>> = objects.iter().map(|object| needs(object, objects, &mut problems)).collect();
    let mut heights: Vec<Option<usize>> = vec![None; objects.len()];
    for at in 0..objects.len() {
        height(at, objects, &needs, &mut heights, &mut Vec::new(), &mut problems);
    }
    if !problems.is_empty() {
        return Err(
            Error::invalid("cluster.order", problems.join("\n")).advice("mend the annotations; nothing was changed")
        );
    }
    let mut layers: BTreeMap<usize, Layer> = BTreeMap::new();
    for (at, height) in heights.iter().enumerate() {
        let layer = layers.entry(height.unwrap_or_default()).or_default();
        layer.members.push(at);
        layer.after.extend(&needs[at]);
    }
    for layer in layers.values_mut() {
        layer.after = std::mem::take(&mut layer.after).into_iter().collect::<BTreeSet<_>>().into_iter().collect();
    }
    Ok(layers.into_values().collect())
}

/// The places of what `object` says it depends on.
fn needs(object: &Wanted, objects: &[Wanted], problems: &mut Vec<String>) -> Vec<usize> {
    let annotations = object.json.pointer("/metadata/annotations");
    let said =
        annotations.and_then(|annotations| annotations.get(DEPENDS_ON)).and_then(Value::as_str).unwrap_or_default();
    let mut found = Vec::new();
    for reference in said.split(',').map(str::trim).filter(|reference| !reference.is_empty()) {
        match objects.iter().position(|other| is_meant(reference, other)) {
            Some(at) => found.push(at),
            None => problems.push(format!(
                "{}: depends on `{reference}`, which is not in these manifests, expected `kind/name` or `group/kind/name`",
                object.place()
            )),
        }
    }
    found
}

fn is_meant(reference: &str, object: &Wanted) -> bool {
    let name = &object.origin.name;
    match reference.split('/').collect::<Vec<_>>()[..] {
        [kind, wanted] => object.key.kind.eq_ignore_ascii_case(kind) && name == wanted,
        [group, kind, wanted] => object.key.group() == group && object.key.kind == kind && name == wanted,
        _ => false,
    }
}

/// In hundreds for the stage, and one above whatever it needs.
fn height(
    at: usize,
    objects: &[Wanted],
    needs: &[Vec<usize>],
    heights: &mut [Option<usize>],
    way: &mut Vec<usize>,
    problems: &mut Vec<String>,
) -> usize {
    if let Some(height) = heights[at] {
        return height;
    }
    if way.contains(&at) {
        let names: Vec<String> = way.iter().map(|at| objects[*at].place()).collect();
        problems.push(format!("{}: depends on itself, by {}", objects[at].place(), names.join(", ")));
        heights[at] = Some(0);
        return 0;
    }
    way.push(at);
    let own = stage(&objects[at].key) * 100;
    let above = needs[at].iter().map(|need| height(*need, objects, needs, heights, way, problems) + 1).max();
    way.pop();
    let height = own.max(above.unwrap_or_default());
    heights[at] = Some(height);
    height
}
