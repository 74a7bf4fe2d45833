//! From a workload to the objects that are applied: read, checked, with images, configuration and secrets put in.

mod config;
mod images;
mod pods;
mod versions;

use std::collections::{BTreeMap, BTreeSet};

use ecolaura_deploy_core::{
    Error, Result, Secret,
    backend::Workload,
    manifest::{Field, Notes, Origin, load},
    redact::Redactor,
    vocabulary::{Digest, Digester, ServiceName},
};
use serde_json::{Value, json};

pub(crate) use self::{
    images::address,
    pods::{Templates, containers, template_labels, texts},
};
use crate::{
    names::{self, SERVICE, TRACK, WORKLOAD},
    object::Key,
};

/// An object that is wanted, complete but for its namespace where the kind has none, and its revision.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) key: Key,
    pub(crate) json: Value,
    /// Where it was found.
    pub(crate) origin: Origin,
    /// What the manifests call it: `ConfigMap dev/web-config`, whatever name its content has given it.
    pub(crate) title: String,
    /// Whether its name tells its content, so that it is never changed, only made.
    pub(crate) versioned: bool,
}

impl Wanted {
    /// Over everything that is applied. Values of secrets enter it under `salt` only.
    pub(crate) fn digest(&self, salt: &[u8]) -> Digest {
        let mut digester = Digester::new();
        if self.key.is("", "Secret") {
            digester.field(salt);
        }
        digester.field(self.json.to_string());
        digester.finish()
    }

    /// A line for a problem of the whole object: file, document, kind and name.
    pub(crate) fn place(&self) -> String {
        format!("{}, document {}: {} {}", self.origin.file, self.origin.document, self.origin.kind, self.origin.name)
    }
}

/// What the manifests of a workload ask for.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    pub(crate) objects: Vec<Wanted>,
    /// Things to read before saying yes.
    pub(crate) warnings: Vec<String>,
    /// The Deployments, sorted.
    pub(crate) services: Vec<ServiceName>,
}

/// What is needed beside a workload to read it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Surroundings {
    /// The values behind [`Workload::secrets`].
    pub(crate) secrets: BTreeMap<String, Secret<String>>,
    /// Goes into the names of versioned Secrets.
    pub(crate) salt: Vec<u8>,
    /// Where pod templates stand in kinds that are not Kubernetes' own.
    pub(crate) templates: Templates,
    /// The registry that images without a host come from.
    pub(crate) registry: Option<String>,
}

/// Reads `workload`. Fails with `InvalidInput` holding every problem, or with why a file cannot be read.
pub(crate) async fn read(workload: &Workload, surroundings: Surroundings, redactor: &Redactor) -> Result<Reading> {
    let (workload, redactor) = (workload.clone(), redactor.clone());
    tokio::task::spawn_blocking(move || read_now(&workload, &surroundings, &redactor))
        .await
        .map_err(|error| Error::internal("cluster.read", "reading ended early").with_source(error))?
}

fn read_now(workload: &Workload, surroundings: &Surroundings, redactor: &Redactor) -> Result<Reading> {
    let notes = Notes::default();
    let loaded = load(&workload.manifests, &notes)?;
    let mut seen: BTreeMap<(String, String, String), &Origin> = BTreeMap::new();
    let mut objects = Vec::new();
    for object in &loaded {
        let field = object.field(&notes);
        let Some(mut json) = checked(&field, workload) else { continue };
        let key = Key { namespace: Some(workload.namespace.to_string()), ..Key::of(&json) };
        let identity = (key.group().to_owned(), key.kind.clone(), key.name.clone());
        if let Some(before) = seen.insert(identity, &object.origin) {
            field.problem(format!("is there already, in {}, document {}", before.file, before.document));
        }
        images::pin(&field, &mut json, workload, surroundings);
        let title = key.to_string();
        objects.push(Wanted { key, json, origin: object.origin.clone(), title, versioned: false });
    }
    config::replace(&mut objects, workload, surroundings, &notes);
    images::unused(&objects, workload, surroundings, &notes);
    let warnings = notes.finish()?;
    objects.iter().for_each(|object| config::register(object, redactor));
    versions::name(&mut objects, surroundings);
    objects.iter_mut().for_each(|object| label(object, workload));
    Ok(Reading { services: services(&objects)?, objects, warnings })
}

/// The object as JSON, if it is one that can be applied.
fn checked(field: &Field<'_>, workload: &Workload) -> Option<Value> {
    if field.node.entries().is_empty() {
        field.expected("an object of Kubernetes");
        return None;
    }
    let expectations =
        [("apiVersion", "such as `apps/v1`"), ("kind", "such as `Deployment`"), ("metadata.name", "a name")];
    let mut whole = true;
    for (path, expected) in expectations {
        match field.get(path) {
            Some(found) if found.text().is_none_or(str::is_empty) => found.expected("a text"),
            Some(_) => continue,
            None => field.missing(path, expected),
        }
        whole = false;
    }
    if let Some(found) = field.get("metadata.namespace")
        && found.text() != Some(workload.namespace.as_str())
    {
        found.expected(&format!("`{}`, where this workload goes, or none", workload.namespace));
    }
    let mut json = field.node.to_json();
    for path in ["managedFields", "resourceVersion", "uid", "creationTimestamp", "generation", "selfLink"] {
        if let Some(found) = field.get(&format!("metadata.{path}")) {
            found.warning("is the server's to say and is left out");
        }
        json.pointer_mut("/metadata").and_then(Value::as_object_mut).map(|metadata| metadata.remove(path));
    }
    if let Some(object) = json.as_object_mut() {
        object.remove("status");
    }
    whole.then_some(json)
}

/// Says in labels what belongs to what.
fn label(object: &mut Wanted, workload: &Workload) {
    if let Some(name) = &workload.name {
        set(&mut object.json, &["metadata", "labels", WORKLOAD], json!(name.as_str()));
    }
    set(&mut object.json, &["metadata", "labels", names::PART], json!("workload"));
    if object.key.is("apps", "Deployment") {
        let name = object.key.name.clone();
        set(&mut object.json, &["spec", "template", "metadata", "labels", SERVICE], json!(name));
        set(&mut object.json, &["spec", "template", "metadata", "labels", TRACK], json!("stable"));
    }
}

/// Sets the value at `path`, making what is missing on the way. What is in the way and no object stays as it is.
pub(crate) fn set(json: &mut Value, path: &[&str], value: Value) {
    let Some((last, way)) = path.split_last() else { return };
    let mut at = json;
    for key in way {
        let Some(object) = at.as_object_mut() else { return };
        let next = object.entry(*key).or_insert_with(|| json!({}));
        if next.is_null() {
            *next = json!({});
        }
        at = next;
    }
    if let Some(object) = at.as_object_mut() {
        object.insert((*last).to_owned(), value);
    }
}

fn services(objects: &[Wanted]) -> Result<Vec<ServiceName>> {
    let names: BTreeSet<&str> = objects
        .iter()
        .filter(|object| object.key.is("apps", "Deployment"))
        .map(|object| object.key.name.as_str())
        .collect();
    Ok(names.into_iter().map(ServiceName::new).collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests;
