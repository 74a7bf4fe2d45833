//! Which services (Deployments) an object belongs to. Pure.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{
    edition,
    manifest::{template_labels, texts},
    object::Key,
};

/// The Deployments among some objects, and the Services in front of them, to look up what belongs to which.
#[derive(Debug)]
pub(crate) struct Around<'a> {
    /// Each with all texts in it.
    deployments: Vec<(&'a Value, BTreeSet<&'a str>)>,
    services: Vec<&'a Value>,
}

impl<'a> Around<'a> {
    pub(crate) fn of(objects: impl IntoIterator<Item = &'a Value>) -> Self {
        let mut around = Self { deployments: Vec::new(), services: Vec::new() };
        for object in objects {
            let key = Key::of(object);
            if key.is("apps", "Deployment") {
                let mut found = BTreeSet::new();
                edition::texts(object, &mut found);
                around.deployments.push((object, found));
            } else if key.is("", "Service") {
                around.services.push(object);
            }
        }
        around
    }

    /// The Deployments that `object` serves and nothing else needs; empty if it belongs to all.
    pub(crate) fn served_by(&self, object: &Value) -> BTreeSet<&'a str> {
        let key = Key::of(object);
        let named = |is: &dyn Fn(&Value) -> bool| {
            self.deployments.iter().map(|(other, _)| *other).filter(|other| is(other)).filter_map(name).collect()
        };
        match (key.group(), key.kind.as_str()) {
            ("apps", "Deployment") => named(&|other| name(other) == Some(&key.name)),
            ("", "Service") => named(&|other| selects(object, other)),
            ("policy", "PodDisruptionBudget") => named(&|other| {
                let wanted = texts(object.pointer("/spec/selector/matchLabels"));
                !wanted.is_empty() && has(other, &wanted)
            }),
            ("autoscaling", "HorizontalPodAutoscaler") => named(&|other| scales(object, other)),
            ("networking.k8s.io", "Ingress") | ("gateway.networking.k8s.io", _) => {
                let fronts =
                    self.services.iter().filter(|service| name(service).is_some_and(|name| mentions(object, name)));
                fronts.flat_map(|service| named(&|other| selects(service, other))).collect()
            }
            ("", "ConfigMap" | "Secret") => {
                let naming = self.deployments.iter().filter(|(_, texts)| texts.contains(key.name.as_str()));
                naming.filter_map(|(other, _)| name(other)).collect()
            }
            _ => BTreeSet::new(),
        }
    }
}

fn name(object: &Value) -> Option<&str> {
    object.pointer("/metadata/name").and_then(Value::as_str)
}

/// Whether a Service sends requests to the pods of a Deployment.
pub(crate) fn selects(service: &Value, deployment: &Value) -> bool {
    let wanted = texts(service.pointer("/spec/selector"));
    !wanted.is_empty() && has(deployment, &wanted)
}

fn has(deployment: &Value, wanted: &std::collections::BTreeMap<&str, &str>) -> bool {
    let labels = template_labels(deployment);
    wanted.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// Whether an autoscaler sets the replicas of a Deployment.
pub(crate) fn scales(autoscaler: &Value, deployment: &Value) -> bool {
    let target = |field: &str| {
        autoscaler.pointer("/spec/scaleTargetRef").and_then(|target| target.get(field)).and_then(Value::as_str)
    };
    target("kind") == Some("Deployment") && target("name") == name(deployment)
}

/// Whether a text anywhere in `object` is `name`.
pub(crate) fn mentions(object: &Value, name: &str) -> bool {
    match object {
        Value::String(text) => text == name,
        Value::Array(items) => items.iter().any(|item| mentions(item, name)),
        Value::Object(fields) => fields.values().any(|value| mentions(value, name)),
        _ => false,
    }
}

/// Whether it is put back when a service goes back. Secrets are not kept; what others may build on stays.
pub(crate) fn goes_back(key: &Key) -> bool {
    !(key.is("", "Secret")
        || key.is("", "Namespace")
        || key.is("", "PersistentVolumeClaim")
        || key.is("apiextensions.k8s.io", "CustomResourceDefinition")
        || key.is("batch", "Job"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_serves_one_deployment_belongs_to_it() {
        let deployment = |name: &str| {
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
                "spec": {"template": {"metadata": {"labels": {"app": name, "tier": "back"}},
                    "spec": {"volumes": [{"configMap": {"name": format!("{name}-config")}}]}}}})
        };
        let service = |name: &str, label: (&str, &str)| json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"selector": {(label.0): label.1}}});
        let of = |object: Value| {
            let objects =
                [deployment("a"), deployment("b"), service("a", ("app", "a")), service("all", ("tier", "back"))];
            Around::of(&objects).served_by(&object).into_iter().map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(of(deployment("a")), ["a"]);
        assert_eq!(of(service("x", ("app", "b"))), ["b"]);
        assert_eq!(of(service("x", ("tier", "back"))), ["a", "b"]);
        assert!(of(service("x", ("app", "c"))).is_empty());
        assert_eq!(of(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b-config"}})), ["b"]);
        let scaler = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "x"},
            "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "a"}}});
        assert_eq!(of(scaler), ["a"]);
        let ingress = |service: &str| {
            json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "x"},
            "spec": {"defaultBackend": {"service": {"name": service}}}})
        };
        assert_eq!(of(ingress("a")), ["a"]);
        assert_eq!(of(ingress("all")), ["a", "b"]);
        assert!(of(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "a"}})).is_empty());
    }
}
