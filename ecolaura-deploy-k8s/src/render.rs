//! From what the manifests ask for to what is applied: revisions, editions, replicas that others own, candidates. Pure.

use std::collections::{BTreeMap, BTreeSet};

use ecolaura_deploy_core::vocabulary::{Digest, Digester};
use serde_json::{Value, json};

use crate::{
    belonging::{self, Around},
    edition::{Edition, Editions},
    manifest::{Wanted, set},
    names::{EDITION, MANAGER, REVISION, TRACK},
    watch::revision,
};

/// The Deployments of a workload as they are, by service.
#[derive(Debug, Clone, Default)]
pub(crate) struct Live {
    pub(crate) stable: BTreeMap<String, Value>,
    pub(crate) candidates: BTreeMap<String, Value>,
    /// The autoscalers of the namespace.
    pub(crate) autoscalers: Vec<Value>,
}

const CANDIDATE: &str = "-candidate";

/// The name of the Deployment that stands beside that of `service`.
pub(crate) fn candidate_name(service: &str) -> String {
    format!("{service}{CANDIDATE}")
}

/// The services whose Deployment or candidate may be called `name`.
pub(crate) fn services_of(name: &str) -> impl Iterator<Item = &str> {
    [Some(name), name.strip_suffix(CANDIDATE)].into_iter().flatten()
}

/// The edition that a Deployment says it is of.
pub(crate) fn edition_of(deployment: &Value) -> Option<u64> {
    deployment.pointer("/metadata/annotations")?.get(EDITION)?.as_str()?.parse().ok()
}

/// Gives each Deployment of `objects` its revision and its edition, and answers with the editions. What was applied
/// before is compared with the Deployments of `before`.
pub(crate) fn number(objects: &mut [Wanted], before: &BTreeMap<String, Value>, editions: &Editions) -> Vec<Edition> {
    let places: Vec<usize> = (0..objects.len()).filter(|at| objects[*at].key.is("apps", "Deployment")).collect();
    let mut templates = BTreeMap::new();
    for at in &places {
        let object = &mut objects[*at];
        let service = object.key.name.clone();
        let template = digest([object.json.pointer("/spec/template").unwrap_or(&Value::Null)]);
        let running = before.get(&service).and_then(revision);
        let same = running.filter(|revision| {
            editions.of_revision(&service, *revision).is_some_and(|edition| edition.template == template)
        });
        let revision = same.unwrap_or_else(|| editions.next(&service));
        set(&mut object.json, &["spec", "template", "metadata", "annotations", REVISION], json!(revision.to_string()));
        templates.insert(service, (template, revision));
    }
    // A copy, as the numbers of editions are put into the objects below.
    let is_around = |object: &&Wanted| object.key.is("apps", "Deployment") || object.key.is("", "Service");
    let around: Vec<Value> = objects.iter().filter(is_around).map(|object| object.json.clone()).collect();
    let around = Around::of(&around);
    let goes_back = |object: &&Wanted| belonging::goes_back(&object.key);
    let served: Vec<_> = objects.iter().filter(goes_back).map(|object| around.served_by(&object.json)).collect();
    let mut made = Vec::new();
    for at in places {
        let service = objects[at].key.name.clone();
        let Some((template, revision)) = templates.get(&service).copied() else { continue };
        let is_own = |services: &BTreeSet<&str>| services.is_empty() || services.contains(service.as_str());
        let own = objects.iter().filter(goes_back).zip(&served).filter(|(_, services)| is_own(services));
        let own: Vec<&Wanted> = own.map(|(object, _)| object).collect();
        let digest = digest(own.iter().map(|object| &object.json));
        let running = before.get(&service).and_then(edition_of).and_then(|number| editions.get(&service, number));
        let same = running.filter(|edition| edition.digest == digest && edition.revision == revision);
        let number = same.map_or_else(|| editions.next(&service), |edition| edition.number);
        let mut kept: Vec<Value> = own.iter().map(|object| with_namespace(object)).collect();
        for json in kept.iter_mut().filter(|json| json.pointer("/metadata/name") == Some(&json!(service))) {
            if json["kind"] == "Deployment" {
                set(json, &["metadata", "annotations", EDITION], json!(number.to_string()));
            }
        }
        set(&mut objects[at].json, &["metadata", "annotations", EDITION], json!(number.to_string()));
        made.push(Edition { number, service, revision, template, digest, objects: kept });
    }
    made
}

fn with_namespace(object: &Wanted) -> Value {
    let mut json = object.json.clone();
    if let Some(namespace) = &object.key.namespace {
        set(&mut json, &["metadata", "namespace"], json!(namespace));
    }
    json
}

fn digest<'a>(values: impl IntoIterator<Item = &'a Value>) -> Digest {
    let mut digester = Digester::new();
    for value in values {
        digester.field(value.to_string());
    }
    digester.finish()
}

/// Leaves the replicas of what an autoscaler scales to it. If this crate alone set them before, the present number is
/// applied once more: taken away it would become 1 (kubernetes#25238).
pub(crate) fn leave_to_autoscalers(objects: &mut [Wanted], live: &Live, warnings: &mut Vec<String>) {
    let mut autoscalers: Vec<Value> = objects
        .iter()
        .filter(|object| object.key.is("autoscaling", "HorizontalPodAutoscaler"))
        .map(|object| object.json.clone())
        .collect();
    autoscalers.extend(live.autoscalers.iter().cloned());
    for object in objects.iter_mut().filter(|object| object.key.is("apps", "Deployment")) {
        if !autoscalers.iter().any(|autoscaler| belonging::scales(autoscaler, &object.json)) {
            continue;
        }
        let place = object.place();
        let running = live.stable.get(&object.key.name);
        let kept = running
            .filter(|running| owns_replicas_alone(running))
            .and_then(|running| running.pointer("/spec/replicas"));
        let Some(spec) = object.json.get_mut("spec").and_then(Value::as_object_mut) else { continue };
        let wished = spec.remove("replicas");
        if let Some(kept) = kept {
            spec.insert("replicas".to_owned(), kept.clone());
        }
        if wished.is_some() {
            warnings.push(format!("{place}: `spec.replicas` is left to the autoscaler that targets it"));
        }
    }
}

fn owns_replicas_alone(deployment: &Value) -> bool {
    let managers = deployment.pointer("/metadata/managedFields").and_then(Value::as_array);
    let mut owners = managers
        .into_iter()
        .flatten()
        .filter(|entry| entry.pointer("/fieldsV1/f:spec/f:replicas").is_some())
        .filter_map(|entry| entry.get("manager").and_then(Value::as_str));
    owners.next() == Some(MANAGER) && owners.next().is_none()
}

/// The Deployment that stands beside `deployment`: the same pods under another name, on another track.
pub(crate) fn candidate(deployment: &Value, service: &str, replicas: Option<u32>) -> Value {
    let mut json = deployment.clone();
    set(&mut json, &["metadata", "name"], json!(candidate_name(service)));
    set(&mut json, &["spec", "selector", "matchLabels", TRACK], json!("candidate"));
    set(&mut json, &["spec", "template", "metadata", "labels", TRACK], json!("candidate"));
    if let Some(replicas) = replicas {
        set(&mut json, &["spec", "replicas"], json!(replicas));
    }
    json
}
