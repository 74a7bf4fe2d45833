//! What was applied of a service, kept so that it can be applied again: its Deployment and whatever belongs to it.
//!
//! An edition is a `ControllerRevision`, Kubernetes' own kind for such snapshots. It holds no value of a Secret: pods
//! name their Secrets by content, and those are kept as long as an edition names them. The number of an edition grows with
//! each change of anything; a *revision* is the edition that brought the pod template, so that other replicas are another
//! edition and the same revision.

use std::collections::{BTreeMap, BTreeSet};

use ecolaura_deploy_core::{Context, Error, ErrorKind, Result, vocabulary::Digest};
use k8s_openapi::api::apps::v1::ControllerRevision;
use kube::{
    Api,
    api::{DeleteParams, ListParams, PostParams},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{
    Connection, belonging,
    error::Call,
    names::{EPOCH, MANAGER, PART, RUN, SERVICE},
    object::Key,
};

/// How many editions of a service are kept beside those in use, as Kubernetes keeps `ReplicaSet`s.
const KEPT: usize = 10;

/// The value of [`PART`] for editions.
const EDITION_PART: &str = "edition";

/// What was applied of a service at a time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Edition {
    /// Grows with each.
    pub(crate) number: u64,
    /// The Deployment.
    pub(crate) service: String,
    /// The number of the edition that brought its pod template.
    pub(crate) revision: u64,
    /// Over the pod template, without what this crate puts into it.
    pub(crate) template: Digest,
    /// Over all objects.
    pub(crate) digest: Digest,
    /// The Deployment and what belongs to it, no Secrets.
    pub(crate) objects: Vec<Value>,
}

impl Edition {
    /// The Deployment of the service.
    pub(crate) fn deployment(&self) -> Option<&Value> {
        self.objects.iter().find(|object| {
            let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
            text("/kind") == Some("Deployment") && text("/metadata/name") == Some(&self.service)
        })
    }

    /// The versions of `ConfigMap`s and `Secret`s that it names.
    fn versions(&self, namespace: &str) -> BTreeSet<Key> {
        let maps: BTreeSet<Key> =
            self.objects.iter().map(Key::of).filter(|key| key.is("", "ConfigMap") && is_version(&key.name)).collect();
        let mut names = BTreeSet::new();
        self.deployment().into_iter().for_each(|deployment| texts(deployment, &mut names));
        let others = names.into_iter().filter(|name| is_version(name) && !maps.iter().any(|map| map.name == *name));
        let secrets: Vec<Key> = others.map(|name| Key::new("v1", "Secret", Some(namespace), name)).collect();
        maps.into_iter().chain(secrets).collect()
    }

    fn name(&self) -> String {
        format!("{MANAGER}.{}.{}", self.service, self.number)
    }
}

/// The editions of some services, by service and number.
#[derive(Debug, Clone, Default)]
pub(crate) struct Editions(BTreeMap<String, BTreeMap<u64, Edition>>);

impl Editions {
    /// Reads those of `services`, or of all. One that cannot be read is an error: what it names must not be cleaned away.
    pub(crate) async fn read(
        cx: &Context,
        connection: &Connection,
        namespace: &str,
        services: &[&str],
    ) -> Result<Self> {
        let mut editions = Self::default();
        for found in records(cx, connection, namespace, services).await? {
            editions.add(parse(&found)?);
        }
        Ok(editions)
    }

    pub(crate) fn add(&mut self, edition: Edition) {
        self.0.entry(edition.service.clone()).or_default().insert(edition.number, edition);
    }

    pub(crate) fn of(&self, service: &str) -> impl DoubleEndedIterator<Item = &Edition> {
        self.0.get(service).into_iter().flat_map(BTreeMap::values)
    }

    pub(crate) fn get(&self, service: &str, number: u64) -> Option<&Edition> {
        self.0.get(service)?.get(&number)
    }

    /// The newest edition of a revision.
    pub(crate) fn of_revision(&self, service: &str, revision: u64) -> Option<&Edition> {
        self.of(service).rev().find(|edition| edition.revision == revision)
    }

    /// The number of the next one.
    pub(crate) fn next(&self, service: &str) -> u64 {
        1 + self.of(service).map(|edition| edition.number.max(edition.revision)).max().unwrap_or_default()
    }

    /// Those of a service that are not needed any more: more than are kept, and in no use.
    fn spare(&self, service: &str, used: &BTreeSet<u64>) -> Vec<&Edition> {
        let unused = self
            .of(service)
            .rev()
            .filter(|edition| !used.contains(&edition.number) && !used.contains(&edition.revision));
        unused.skip(KEPT).collect()
    }

    /// Takes away the editions of `service` that are not needed any more, and answers with the versions of `ConfigMap`s
    /// and `Secret`s that no edition names any more.
    pub(crate) async fn tidy(
        &mut self,
        cx: &Context,
        connection: &Connection,
        namespace: &str,
        service: &str,
        used: &BTreeSet<u64>,
    ) -> Result<Vec<Key>> {
        let spare: Vec<Edition> = self.spare(service, used).into_iter().cloned().collect();
        let mut named = BTreeSet::new();
        for edition in &spare {
            delete(cx, connection, namespace, &edition.name()).await?;
            named.extend(edition.versions(namespace));
            if let Some(kept) = self.0.get_mut(service) {
                kept.remove(&edition.number);
            }
        }
        let kept = || self.0.values().flat_map(BTreeMap::values).flat_map(|edition| &edition.objects);
        named.retain(|key| !kept().any(|object| belonging::mentions(object, &key.name)));
        Ok(named.into_iter().collect())
    }
}

/// Whether a name is one that content gave: ten digits at its end.
pub(crate) fn is_version(name: &str) -> bool {
    let tail = name.rsplit_once('-').map_or("", |(_, tail)| tail);
    tail.len() == 10 && tail.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Every text in `json`.
pub(crate) fn texts<'a>(json: &'a Value, found: &mut BTreeSet<&'a str>) {
    match json {
        Value::String(text) => _ = found.insert(text),
        Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        Value::Object(fields) => fields.values().for_each(|value| texts(value, found)),
        _ => {}
    }
}

/// The editions of `services`, or of all, as they are kept.
pub(crate) async fn records(
    cx: &Context,
    connection: &Connection,
    namespace: &str,
    services: &[&str],
) -> Result<Vec<ControllerRevision>> {
    let of = if services.is_empty() { String::new() } else { format!(",{SERVICE} in ({})", services.join(",")) };
    let params = ListParams::default().labels(&format!("{PART}={EDITION_PART}{of}"));
    let call = Call::reads("cluster.editions", format!("ControllerRevisions of {namespace}"));
    let params = &params;
    let list = async |client| Api::<ControllerRevision>::namespaced(client, namespace).list(params).await;
    Ok(connection.call(cx, call, list).await?.items)
}

pub(crate) fn parse(found: &ControllerRevision) -> Result<Edition> {
    let name = found.metadata.name.clone().unwrap_or_default();
    // Which fields are optional differs between versions of Kubernetes.
    let mut record = serde_json::to_value(found).unwrap_or_default();
    let data = record.get_mut("data").map(Value::take).unwrap_or_default();
    serde_json::from_value(data).map_err(|error| {
        Error::new(ErrorKind::Corrupt, "cluster.editions", format!("the ControllerRevision `{name}` is damaged"))
            .with_source(error)
            .advice("restore it, or delete it: then what it holds cannot be brought back")
    })
}

/// Who keeps it; nobody in particular outside of a run.
fn maker(cx: &Context) -> Value {
    match cx.epoch() {
        0 => json!({}),
        epoch => json!({RUN: cx.run_id(), EPOCH: epoch.to_string()}),
    }
}

/// Keeps `edition`. `false`: another one has its number already.
pub(crate) async fn keep(cx: &Context, connection: &Connection, namespace: &str, edition: &Edition) -> Result<bool> {
    let record = json!({
        "metadata": {
            "name": edition.name(), "labels": {PART: EDITION_PART, SERVICE: edition.service}, "annotations": maker(cx),
        },
        "revision": edition.number,
        "data": edition,
    });
    let record: ControllerRevision = serde_json::from_value(record)
        .map_err(|error| Error::internal("cluster.editions", "an edition could not be written").with_source(error))?;
    let call = Call::writes("cluster.editions", "keep", format!("ControllerRevision {namespace}/{}", edition.name()));
    let params = PostParams { dry_run: false, field_manager: Some(MANAGER.to_owned()) };
    let (params, record) = (&params, &record);
    let create = async |client| Api::<ControllerRevision>::namespaced(client, namespace).create(params, record).await;
    match connection.call(cx, call, create).await {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

async fn delete(cx: &Context, connection: &Connection, namespace: &str, name: &str) -> Result<()> {
    let call = Call::writes("cluster.editions", "delete", format!("ControllerRevision {namespace}/{name}"));
    let delete = async |client| {
        Api::<ControllerRevision>::namespaced(client, namespace).delete(name, &DeleteParams::default()).await
    };
    connection.find(cx, call, delete).await.map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edition(number: u64, revision: u64) -> Edition {
        let digest = Digest::of(number.to_string());
        Edition { number, service: "web".to_owned(), revision, template: digest, digest, objects: Vec::new() }
    }

    #[test]
    fn old_editions_go_and_those_in_use_stay() {
        let mut editions = Editions::default();
        (1..=14).for_each(|number| editions.add(edition(number, if number == 2 { 1 } else { number })));
        let spare = editions.spare("web", &[1, 14].into());
        assert_eq!(
            spare.iter().map(|edition| edition.number).collect::<Vec<_>>(),
            [3],
            "1 and 2 are of revision 1, in use"
        );
        assert_eq!(editions.next("web"), 15);
        assert_eq!(editions.of_revision("web", 1).map(|edition| edition.number), Some(2));
        assert_eq!(editions.next("other"), 1);
    }
}
