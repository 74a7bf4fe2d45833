//! Exact shares of the requests, where something in front of the pods can give them. Pure.
//!
//! An `HTTPRoute` of the Gateway API has weights for its backends (`spec.rules[].backendRefs[].weight`); an `Ingress` of
//! the AWS Load Balancer Controller has them in forward actions
//! (`alb.ingress.kubernetes.io/actions.NAME`, a JSON text each). Both name Services, so a candidate gets a Service of its
//! own.

use serde_json::{Value, json};

use crate::{manifest::set, names::TRACK, object::Key, render::candidate_name};

const ACTION: &str = "alb.ingress.kubernetes.io/actions.";

/// The greatest weight of a target group.
const MOST: u64 = 999;

/// Whether `object` decides on the requests of Services named in it.
pub(crate) fn decides(object: &Value, service: &str) -> bool {
    let key = Key::of(object);
    if key.is("gateway.networking.k8s.io", "HTTPRoute") {
        let namespace = key.namespace.as_deref();
        return backends(object).any(|backend| refers(backend, service, namespace));
    }
    key.is("networking.k8s.io", "Ingress") && actions(object, service).next().is_some()
}

/// `object` with `percent` of the requests of `service` sent to its candidate's Service.
pub(crate) fn weighted(object: &Value, service: &str, percent: u8) -> Value {
    let mut json = object.clone();
    let key = Key::of(object);
    if key.is("gateway.networking.k8s.io", "HTTPRoute") {
        for rule in list_mut(&mut json, "/spec/rules") {
            split(rule, service, key.namespace.as_deref(), percent);
        }
        return json;
    }
    for (name, action) in actions(object, service) {
        let action = forward(action, service, percent);
        set(&mut json, &["metadata", "annotations", name], json!(action.to_string()));
    }
    json
}

/// The Service of the candidate: the same ports, its pods.
pub(crate) fn candidate_service(service: &Value) -> Value {
    let name = service.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let mut json = service.clone();
    set(&mut json, &["metadata", "name"], json!(candidate_name(name)));
    set(&mut json, &["spec", "selector", TRACK], json!("candidate"));
    if let Some(spec) = json.get_mut("spec").and_then(Value::as_object_mut) {
        // An address, or a port of the nodes, is one Service's.
        ["clusterIP", "clusterIPs", "loadBalancerIP"].iter().for_each(|field| _ = spec.remove(*field));
        spec.insert("type".to_owned(), json!("ClusterIP"));
    }
    for port in list_mut(&mut json, "/spec/ports") {
        if let Some(port) = port.as_object_mut() {
            port.remove("nodePort");
        }
    }
    json
}

/// Whether what stands in front has taken in `generation` of the object: every parent of a route says so. An Ingress
/// says nothing; its controller is given time instead.
pub(crate) fn is_taken_in(object: &Value, generation: i64) -> bool {
    if !Key::of(object).is("gateway.networking.k8s.io", "HTTPRoute") {
        return true;
    }
    let parents = object.pointer("/status/parents").and_then(Value::as_array);
    let Some(parents) = parents.filter(|parents| !parents.is_empty()) else { return false };
    let says = |parent: &Value, kind: &str| {
        let conditions = parent.get("conditions").and_then(Value::as_array).into_iter().flatten();
        conditions.into_iter().any(|condition| {
            condition["type"] == kind
                && condition["status"] == "True"
                && condition["observedGeneration"].as_i64().is_some_and(|observed| observed >= generation)
        })
    };
    parents.iter().all(|parent| says(parent, "Accepted") && says(parent, "ResolvedRefs"))
}

fn backends(route: &Value) -> impl Iterator<Item = &Value> {
    let rules = route.pointer("/spec/rules").and_then(Value::as_array).into_iter().flatten();
    rules.flat_map(|rule| rule.get("backendRefs").and_then(Value::as_array).into_iter().flatten())
}

/// Whether a backend is this Service, of the route's namespace.
fn refers(backend: &Value, service: &str, namespace: Option<&str>) -> bool {
    let text = |field: &str| backend.get(field).and_then(Value::as_str).filter(|text| !text.is_empty());
    let kind = (text("group"), text("kind").unwrap_or("Service"));
    let here = text("namespace").is_none_or(|found| Some(found) == namespace);
    kind == (None, "Service") && here && text("name") == Some(service)
}

/// Splits the weight of the stable backend of a rule between it and the candidate's. Weights are whole numbers up to a
/// million; another backend of the rule keeps its part of them.
fn split(rule: &mut Value, service: &str, namespace: Option<&str>, percent: u8) {
    let Some(backends) = rule.get_mut("backendRefs").and_then(Value::as_array_mut) else { return };
    let candidate = candidate_name(service);
    backends.retain(|backend| !refers(backend, &candidate, namespace));
    let Some(at) = backends.iter().position(|backend| refers(backend, service, namespace)) else { return };
    let weight = |backend: &Value| backend.get("weight").and_then(Value::as_u64).unwrap_or(1).min(10_000);
    let whole = weight(&backends[at]);
    for backend in backends.iter_mut() {
        backend["weight"] = json!(weight(backend) * 100);
    }
    let mut other = backends[at].clone();
    backends[at]["weight"] = json!(whole * u64::from(100 - percent));
    other["name"] = json!(candidate);
    other["weight"] = json!(whole * u64::from(percent));
    backends.insert(at + 1, other);
}

/// The forward actions of an Ingress that name a Service, each with its annotation.
fn actions<'a>(ingress: &'a Value, service: &'a str) -> impl Iterator<Item = (&'a str, Value)> {
    let annotations = ingress.pointer("/metadata/annotations").and_then(Value::as_object).into_iter().flatten();
    annotations.filter(|(name, _)| name.starts_with(ACTION)).filter_map(move |(name, text)| {
        let action: Value = serde_json::from_str(text.as_str()?).ok()?;
        let groups = action.pointer("/forwardConfig/targetGroups").and_then(Value::as_array)?;
        groups.iter().any(|group| names(group, service)).then_some((name.as_str(), action))
    })
}

fn names(group: &Value, service: &str) -> bool {
    group.get("serviceName").and_then(Value::as_str) == Some(service)
}

/// Splits the weight of the stable target group between it and the candidate's. Alone it has all of it; another group
/// keeps its part, as near as weights up to [`MOST`] can.
fn forward(mut action: Value, service: &str, percent: u8) -> Value {
    let candidate = candidate_name(service);
    let Some(groups) = action.pointer_mut("/forwardConfig/targetGroups").and_then(Value::as_array_mut) else {
        return action;
    };
    groups.retain(|group| !names(group, &candidate));
    let Some(at) = groups.iter().position(|group| names(group, service)) else { return action };
    if groups.len() == 1 {
        groups[at]["weight"] = json!(1);
    }
    let weight = |group: &Value| group.get("weight").and_then(Value::as_u64).unwrap_or(1);
    let factor = (MOST / groups.iter().map(weight).max().unwrap_or(1).max(1)).clamp(1, 100);
    for group in groups.iter_mut() {
        group["weight"] = json!(weight(group) * factor);
    }
    let whole = weight(&groups[at]);
    let share = (whole * u64::from(percent) + 50) / 100;
    let mut other = groups[at].clone();
    groups[at]["weight"] = json!(whole - share);
    other["serviceName"] = json!(candidate);
    other["weight"] = json!(share);
    groups.insert(at + 1, other);
    action
}

fn list_mut<'a>(json: &'a mut Value, pointer: &str) -> impl Iterator<Item = &'a mut Value> {
    json.pointer_mut(pointer).and_then(Value::as_array_mut).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_splits_the_weight_of_its_backend() {
        let route = json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "shop"},
            "spec": {"rules": [{"backendRefs": [{"name": "web", "port": 80}, {"name": "old", "port": 80, "weight": 3}]}]}});
        assert!(decides(&route, "web") && !decides(&route, "side"));
        let names = |route: &Value| {
            let backends = route.pointer("/spec/rules/0/backendRefs").unwrap().as_array().unwrap().clone();
            backends
                .iter()
                .map(|backend| (backend["name"].as_str().unwrap().to_owned(), backend["weight"].as_u64()))
                .collect::<Vec<_>>()
        };
        let expected =
            [("web", 80), ("web-candidate", 20), ("old", 300)].map(|(name, weight)| (name.to_owned(), Some(weight)));
        assert_eq!(names(&weighted(&route, "web", 20)), expected);
        assert_eq!(names(&weighted(&route, "web", 100))[0].1, Some(0));
    }

    #[test]
    fn a_forward_action_names_both_services() {
        let action = json!({"type": "forward", "forwardConfig": {"targetGroups": [{"serviceName": "web", "servicePort": "80", "weight": 1}]}});
        let ingress = json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
            "metadata": {"name": "shop", "annotations": {"alb.ingress.kubernetes.io/actions.web": action.to_string()}}});
        assert!(decides(&ingress, "web") && !decides(&ingress, "side"));
        let shifted = weighted(&weighted(&ingress, "web", 10), "web", 30);
        let action: Value = serde_json::from_str(
            shifted["metadata"]["annotations"]["alb.ingress.kubernetes.io/actions.web"].as_str().unwrap(),
        )
        .unwrap();
        let groups = [
            json!({"serviceName": "web", "servicePort": "80", "weight": 70}),
            json!({"serviceName": "web-candidate", "servicePort": "80", "weight": 30}),
        ];
        assert_eq!(action["forwardConfig"]["targetGroups"], json!(groups));
    }

    #[test]
    fn a_service_of_another_namespace_is_another() {
        let of = |backend: Value| {
            json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "front", "namespace": "shop"},
                "spec": {"rules": [{"backendRefs": [backend]}]}})
        };
        assert!(decides(&of(json!({"name": "web", "namespace": "shop", "group": ""})), "web"));
        for other in [
            json!({"name": "web", "namespace": "elsewhere"}),
            json!({"name": "web", "kind": "ServiceImport", "group": "multicluster.x-k8s.io"}),
        ] {
            let route = of(other);
            assert!(!decides(&route, "web"), "{route}");
            assert_eq!(weighted(&route, "web", 50), route);
        }
    }

    #[test]
    fn an_action_is_known_by_its_target_groups_and_others_keep_their_part() {
        let action = json!({"type": "forward", "forwardConfig": {"targetGroups": [
            {"serviceName": "web", "servicePort": "80", "weight": 90}, {"serviceName": "legacy", "servicePort": "80", "weight": 10},
        ]}});
        let ingress = json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "front",
            "annotations": {"alb.ingress.kubernetes.io/actions.split": action.to_string()}}});
        assert!(decides(&ingress, "web"));
        for (percent, expected) in [(0, [990, 0, 110]), (10, [891, 99, 110]), (100, [0, 990, 110])] {
            let shifted = weighted(&ingress, "web", percent);
            let text = shifted["metadata"]["annotations"]["alb.ingress.kubernetes.io/actions.split"].as_str().unwrap();
            let action: Value = serde_json::from_str(text).unwrap();
            let groups = action["forwardConfig"]["targetGroups"].as_array().unwrap();
            assert_eq!(groups.iter().map(|group| group["weight"].as_u64().unwrap()).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn a_route_is_taken_in_when_every_parent_has_seen_it() {
        let route = |generation: i64, status: &str| {
            let condition = |kind: &str| json!({"type": kind, "status": status, "observedGeneration": generation});
            json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
                "status": {"parents": [{"conditions": [condition("Accepted"), condition("ResolvedRefs")]}]}})
        };
        assert!(is_taken_in(&route(2, "True"), 2));
        assert!(!is_taken_in(&route(1, "True"), 2) && !is_taken_in(&route(2, "False"), 2));
        assert!(!is_taken_in(&json!({"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute"}), 1));
    }
}
