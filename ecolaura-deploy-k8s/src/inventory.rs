//! What a workload with a name brought, so that what leaves its manifests leaves the cluster.
//!
//! It is written before anything is applied, as the union of what was and what comes, so that a crash in the middle
//! orphans nothing; and again at the end, without what is gone.

use std::collections::BTreeSet;

use ecolaura_deploy_core::{Context, Error, ErrorKind, Result, vocabulary::Name};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::{
    Connection,
    error::Call,
    names::{MANAGER, ON_REMOVE, PART, WORKLOAD},
    object::Key,
};

const ENTRY: &str = "objects";

fn name(workload: &Name) -> String {
    format!("{MANAGER}.{workload}")
}

/// What the workload brought, as far as it is known.
pub(crate) async fn read(
    cx: &Context,
    connection: &Connection,
    namespace: &str,
    workload: &Name,
) -> Result<BTreeSet<Key>> {
    let name = name(workload);
    let call = Call::reads("cluster.inventory", format!("ConfigMap {namespace}/{name}"));
    let get = async |client| Api::<ConfigMap>::namespaced(client, namespace).get(&name).await;
    let Some(found) = connection.find(cx, call, get).await? else { return Ok(BTreeSet::new()) };
    let text = found.data.and_then(|mut data| data.remove(ENTRY)).unwrap_or_default();
    serde_json::from_str(&text).map_err(|error| {
        let message = format!("the inventory in ConfigMap {namespace}/{name} is damaged");
        Error::new(ErrorKind::Corrupt, "cluster.inventory", message)
            .with_source(error)
            .advice("restore it; or delete it, then nothing that left the manifests before is taken away")
    })
}

/// Notes that the workload brought `keys`.
pub(crate) async fn write(
    cx: &Context,
    connection: &Connection,
    namespace: &str,
    workload: &Name,
    keys: &BTreeSet<Key>,
) -> Result<()> {
    let name = name(workload);
    let text = serde_json::to_string(keys).map_err(|error| {
        Error::internal("cluster.inventory", "an inventory could not be written").with_source(error)
    })?;
    let inventory = json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "labels": {PART: "inventory", WORKLOAD: workload.as_str()}},
        "data": {ENTRY: text}});
    let call = Call::writes("cluster.inventory", "write", format!("ConfigMap {namespace}/{name}"));
    let (params, patch) = (&PatchParams::apply(MANAGER).force(), &Patch::Apply(inventory));
    let apply = async |client| Api::<ConfigMap>::namespaced(client, namespace).patch(&name, params, patch).await;
    connection.call(cx, call, apply).await.map(|_| ())
}

/// Why an object that left the manifests stays in the cluster.
pub(crate) fn stays(key: &Key, live: &Value, workload: &Name) -> Option<String> {
    let text = |pointer: &str, key: &str| live.pointer(pointer).and_then(|map| map.get(key)).and_then(Value::as_str);
    if text("/metadata/annotations", ON_REMOVE) == Some("keep") {
        return Some(format!("its annotation `{ON_REMOVE}` says so"));
    }
    if text("/metadata/labels", WORKLOAD) != Some(workload.as_str()) {
        return Some("it is not of this workload any more".to_owned());
    }
    let owners = live.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    if owners.is_some_and(|owners| !owners.is_empty()) {
        return Some("something else owns it".to_owned());
    }
    let precious =
        [("", "Namespace"), ("", "PersistentVolumeClaim"), ("apiextensions.k8s.io", "CustomResourceDefinition")];
    precious.iter().any(|(group, kind)| key.is(group, kind)).then(|| "what is in it would go too".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_anothers_or_precious_or_told_to_stay_stays() {
        let workload: Name = "shop".parse().unwrap();
        let live = |extra: Value| {
            let mut live = json!({"metadata": {"labels": {WORKLOAD: "shop"}}});
            for (key, value) in extra.as_object().unwrap() {
                live["metadata"][key] = value.clone();
            }
            live
        };
        let key = |kind| Key::new("v1", kind, Some("dev"), "x");
        let stays = |kind, extra| stays(&key(kind), &live(extra), &workload);
        assert_eq!(stays("Service", json!({})), None);
        assert!(stays("Service", json!({"annotations": {ON_REMOVE: "keep"}})).unwrap().contains("annotation"));
        assert!(stays("Service", json!({"labels": {WORKLOAD: "other"}})).unwrap().contains("not of this workload"));
        assert!(stays("Service", json!({"ownerReferences": [{"uid": "1"}]})).unwrap().contains("owns"));
        assert!(stays("Namespace", json!({})).is_some());
        assert!(stays("PersistentVolumeClaim", json!({})).is_some());
    }
}
