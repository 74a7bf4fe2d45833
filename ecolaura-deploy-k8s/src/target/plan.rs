//! What applying a workload would do.

use std::collections::BTreeSet;

use ecolaura_deploy_core::{
    Context, Result,
    backend::{ApplyRequest, ClusterPlan, Placement},
    plan::{Action, Change, World},
};
use serde_json::Value;

use super::{
    Inner,
    leaving::{Leaving, inventory_of, leaving},
    live::json_of,
    namespace::namespace_object,
    prepare::{Prepared, prepare},
    rights,
    salt::{random, salt},
};
use crate::{
    belonging, diff, edition,
    manifest::Wanted,
    names::BASE,
    object::Key,
    reconcile::{Examined, Outcome, Server, Trial},
    render::edition_of,
};

/// What an apply would do. Nothing is written, a salt neither: before the first apply names of Secrets are not final.
pub(super) async fn plan(inner: &Inner, cx: &Context, request: &ApplyRequest) -> Result<ClusterPlan> {
    let planned = examined(inner, cx, request).await;
    rights::checked(inner, &inner.server(cx, &[]), request, planned).await
}

async fn examined(inner: &Inner, cx: &Context, request: &ApplyRequest) -> Result<ClusterPlan> {
    let namespace = &request.workload.namespace;
    let salt = salt(inner, cx, namespace).await?.unwrap_or_else(|| random().into_bytes());
    let server = inner.server(cx, &salt);
    let prepared = prepare(inner, &server, request).await?;
    let mut objects = prepared.objects.clone();
    objects.extend(namespace_object(inner, &server, request, &prepared.objects).await?);
    let examined = server.examine(objects, Trial::Anew(&inner.tried)).await?;
    let mut changes = Vec::new();
    for examined in &examined {
        changes.push(change(&server, examined, &prepared).await?);
    }
    let mut warnings = prepared.warnings.clone();
    if matches!(request.placement, Placement::Replace) {
        let known = inventory_of(&server, request).await?;
        for leaving in leaving(&server, request, &examined, &known).await? {
            match leaving {
                Leaving::Goes(key) => changes.push(Change::new(
                    World::Cluster,
                    key.to_string(),
                    Action::Delete,
                    "no longer in the manifests",
                )),
                Leaving::Stays(key, why) => {
                    warnings.push(format!("{key} is no longer in the manifests and stays: {why}"));
                }
            }
        }
    }
    warnings.extend(advice(&prepared.objects));
    warnings.extend(inner.ownership.warnings(&examined));
    Ok(ClusterPlan::new(changes, warnings, found(&prepared)).services(prepared.services))
}

/// What a reader should know although nothing is wrong with it.
fn advice(objects: &[Wanted]) -> Vec<String> {
    let deployments = objects.iter().filter(|object| object.key.is("apps", "Deployment"));
    let services: Vec<&Wanted> = objects.iter().filter(|object| object.key.is("", "Service")).collect();
    deployments
        .filter(|object| services.iter().any(|service| belonging::selects(&service.json, &object.json)))
        .filter(|object| {
            let containers = object.json.pointer("/spec/template/spec/containers").and_then(Value::as_array);
            containers.is_some_and(|containers| containers.iter().all(|container| container.pointer("/lifecycle/preStop").is_none()))
        })
        .map(|object| {
            format!(
                "{}: no container has a `lifecycle.preStop`: a pod ends before every node has heard of it, so requests may \
                 be lost in a roll-out unless the program goes on for some seconds after SIGTERM",
                object.place()
            )
        })
        .collect()
}

/// What runs, in words that differ when it is another.
fn found(prepared: &Prepared) -> String {
    let services = prepared.services.iter().map(|service| match prepared.live.stable.get(service.as_str()) {
        None => format!("{service}: not there"),
        Some(live) => {
            let uid = live.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default();
            match edition_of(live) {
                Some(edition) => format!("{service}: edition {edition} of {uid}"),
                None => format!("{service}: made by others, {uid}"),
            }
        }
    });
    services.collect::<Vec<_>>().join("; ")
}

/// The change as a plan shows it. New content under a new name is shown as what it is, a change of the old.
async fn change(server: &Server<'_>, examined: &Examined, prepared: &Prepared) -> Result<Change> {
    let wanted = &examined.wanted;
    if !wanted.versioned || !matches!(examined.outcome, Outcome::Create) {
        return Ok(examined.change());
    }
    let Some(before) = version_before(server, wanted, prepared).await? else { return Ok(examined.change()) };
    let mut after = wanted.json.clone();
    after["metadata"]["name"] = before["metadata"]["name"].clone();
    let lines: Vec<String> = diff::lines(&before, &after)
        .into_iter()
        .filter(|line| line.starts_with("data") || line.starts_with("binaryData"))
        .collect();
    let change = Change::new(
        World::Cluster,
        &wanted.title,
        Action::Update,
        format!("differs; pods get it as {}", wanted.key.name),
    );
    Ok(lines.into_iter().fold(change, Change::detail))
}

/// The version of a `ConfigMap` or `Secret` that the running pods use.
async fn version_before(server: &Server<'_>, wanted: &Wanted, prepared: &Prepared) -> Result<Option<Value>> {
    let Some(base) =
        wanted.json.pointer("/metadata/labels").and_then(|labels| labels.get(BASE)).and_then(Value::as_str)
    else {
        return Ok(None);
    };
    let Some(kind) = &server.kind(&wanted.key).await? else { return Ok(None) };
    // Pods name it; it is not looked for in a list, which of secrets would be all their values.
    let mut named = BTreeSet::new();
    prepared.live.stable.values().for_each(|deployment| edition::texts(deployment, &mut named));
    let is_of =
        |name: &&str| edition::is_version(name) && name.rsplit_once('-').is_some_and(|(front, _)| front == base);
    for name in named.into_iter().filter(is_of) {
        let key = Key { name: name.to_owned(), ..wanted.key.clone() };
        if let Some(mut object) = server.get(kind, &key).await? {
            object.types.get_or_insert_with(|| kube::core::TypeMeta {
                api_version: wanted.key.api_version.clone(),
                kind: wanted.key.kind.clone(),
            });
            return Ok(Some(json_of(&object)));
        }
    }
    Ok(None)
}
