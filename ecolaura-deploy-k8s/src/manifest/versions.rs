//! `ConfigMap`s and `Secret`s that pods of the same workload use get names that tell their content.
//!
//! So a pod template says which configuration it means: a change of it rolls the pods, the old pods keep what they
//! started with, and going back brings the old configuration back. What is used by anything else keeps its name.

use std::collections::{BTreeMap, BTreeSet};

use ecolaura_deploy_core::vocabulary::Digester;
use serde_json::{Value, json};

use super::{
    Surroundings, Wanted,
    pods::{containers, pointer},
    set,
};
use crate::names::{BASE, VERSIONED};

/// The kind and the name in the manifests.
type Named = (&'static str, String);

/// Gives names by content, and puts them where pods refer to them.
pub(super) fn name(objects: &mut [Wanted], surroundings: &Surroundings) {
    let (mut used, mut kept) = (BTreeSet::new(), BTreeSet::new());
    for object in objects.iter_mut() {
        each_template(object, surroundings, &mut |kind, name| {
            used.insert((kind, name.to_owned()));
            None
        });
        kept.extend(outside(&object.json));
    }
    let mut names: BTreeMap<Named, String> = BTreeMap::new();
    for object in objects.iter_mut() {
        let Some(kind) = config_kind(object) else { continue };
        let named = (kind, object.key.name.clone());
        if !used.contains(&named) || kept.contains(&named) || is_kept(&object.json) {
            continue;
        }
        let name = format!("{}-{}", object.key.name, content(object, &surroundings.salt));
        object.json["metadata"]["name"] = json!(name);
        object.json["immutable"] = json!(true);
        set(&mut object.json, &["metadata", "labels", BASE], json!(object.key.name));
        object.key.name.clone_from(&name);
        object.versioned = true;
        names.insert(named, name);
    }
    for object in objects.iter_mut() {
        each_template(object, surroundings, &mut |kind, name| names.get(&(kind, name.to_owned())).cloned());
    }
}

fn config_kind(object: &Wanted) -> Option<&'static str> {
    ["ConfigMap", "Secret"].into_iter().find(|kind| object.key.is("", kind))
}

fn is_kept(json: &Value) -> bool {
    let annotations = json.pointer("/metadata/annotations");
    annotations.and_then(|annotations| annotations.get(VERSIONED)).and_then(Value::as_str) == Some("false")
}

/// Ten digits over what is in it. A Secret's is salted: its name may be seen by those who may not see its values.
fn content(object: &Wanted, salt: &[u8]) -> String {
    let mut digester = Digester::new();
    if object.key.is("", "Secret") {
        digester.field(salt);
    }
    for key in ["data", "binaryData", "type"] {
        digester.field(object.json.get(key).unwrap_or(&Value::Null).to_string());
    }
    digester.finish().to_hex()[..10].to_owned()
}

/// Secrets that an Ingress names: no pod, so nothing would follow another name.
fn outside(json: &Value) -> Vec<Named> {
    let list = json.pointer("/spec/tls").and_then(Value::as_array).into_iter().flatten();
    let names = list.filter_map(|tls| tls.get("secretName")?.as_str());
    names.map(|name| ("Secret", name.to_owned())).collect()
}

/// Shows each reference of the object's pods to `rename`, which may answer another name.
fn each_template(
    object: &mut Wanted,
    surroundings: &Surroundings,
    rename: &mut dyn FnMut(&'static str, &str) -> Option<String>,
) {
    for path in surroundings.templates.of(&object.key) {
        if let Some(spec) = object.json.pointer_mut(&format!("{}/spec", pointer(path))) {
            each_reference(spec, rename);
        }
    }
}

fn each_reference(spec: &mut Value, rename: &mut dyn FnMut(&'static str, &str) -> Option<String>) {
    let mut put = |at: Option<&mut Value>, kind| {
        if let Some(at) = at
            && let Some(name) = at.as_str().and_then(|name| rename(kind, name))
        {
            *at = json!(name);
        }
    };
    for container in containers(spec) {
        for source in list(container, "envFrom") {
            put(source.pointer_mut("/configMapRef/name"), "ConfigMap");
            put(source.pointer_mut("/secretRef/name"), "Secret");
        }
        for variable in list(container, "env") {
            put(variable.pointer_mut("/valueFrom/configMapKeyRef/name"), "ConfigMap");
            put(variable.pointer_mut("/valueFrom/secretKeyRef/name"), "Secret");
        }
    }
    for volume in list(spec, "volumes") {
        put(volume.pointer_mut("/configMap/name"), "ConfigMap");
        put(volume.pointer_mut("/secret/secretName"), "Secret");
        if let Some(projected) = volume.get_mut("projected") {
            for source in list(projected, "sources") {
                put(source.pointer_mut("/configMap/name"), "ConfigMap");
                put(source.pointer_mut("/secret/name"), "Secret");
            }
        }
    }
    for secret in list(spec, "imagePullSecrets") {
        put(secret.get_mut("name"), "Secret");
    }
}

fn list<'a>(json: &'a mut Value, key: &str) -> impl Iterator<Item = &'a mut Value> {
    json.get_mut(key).and_then(Value::as_array_mut).into_iter().flatten()
}
