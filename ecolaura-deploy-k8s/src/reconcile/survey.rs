//! What a deployer applied before, read kind by kind where many objects of a kind are wanted.

use std::collections::{BTreeMap, HashMap};

use ecolaura_deploy_core::{ErrorKind, Result};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use kube::{
    api::ListParams,
    core::{DynamicObject, TypeMeta},
};
use serde_json::Value;

use super::{SEVERAL, Server};
use crate::{
    error::Call,
    manifest::Wanted,
    names::{PART, WORKLOAD},
    object::{Key, Kind},
};

/// The objects of some kinds that carry the labels of what is applied.
#[derive(Debug, Default)]
pub(super) struct Survey(HashMap<(String, String), HashMap<String, DynamicObject>>);

/// What a survey knows of an object.
pub(super) enum Before<'a> {
    /// It was applied before, and is so now.
    Applied(&'a DynamicObject),
    /// It was not applied before. Somebody else may have made it.
    NotApplied,
    /// Its kind was not looked at.
    Unknown,
}

impl Survey {
    /// Reads the kinds of which there are several in `objects`. Secrets are never listed, as that is all of their values;
    /// nor is what may not be listed.
    pub(super) async fn of(server: &Server<'_>, objects: &[Wanted]) -> Result<Self> {
        let mut kinds: BTreeMap<(&str, &str), Vec<&Wanted>> = BTreeMap::new();
        for object in objects.iter().filter(|object| !object.key.is("", "Secret")) {
            kinds.entry((&object.key.api_version, &object.key.kind)).or_default().push(object);
        }
        let several = kinds.values().filter(|objects| objects.len() >= SEVERAL);
        let calls: Vec<_> = several.map(|objects| list(server, objects[0])).collect();
        let lists = stream::iter(calls).buffer_unordered(server.parallel());
        Ok(Self(lists.try_collect::<Vec<_>>().await?.into_iter().flatten().collect()))
    }

    pub(super) fn before(&self, key: &Key) -> Before<'_> {
        match self.0.get(&(key.api_version.clone(), key.kind.clone())) {
            None => Before::Unknown,
            Some(found) => found.get(&key.name).map_or(Before::NotApplied, Before::Applied),
        }
    }
}

type Listed = ((String, String), HashMap<String, DynamicObject>);

/// What there is of the kind, and of the workload, of `first`.
async fn list(server: &Server<'_>, first: &Wanted) -> Result<Option<Listed>> {
    let (key, Some(namespace)) = (&first.key, &first.key.namespace) else { return Ok(None) };
    let Some(kind) = server.kind(key).await?.filter(|kind| kind.namespaced) else { return Ok(None) };
    let call = Call::reads("cluster.read", format!("{}s of {namespace}", key.kind));
    let (kind, params) = (&kind, &ListParams::default().labels(&label(first)));
    let list = async |client| kind.api(client, Some(namespace.as_str())).list(params).await;
    let found = match server.connection.find(server.cx, call, list).await {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => return Ok(None),
        found => found?,
    };
    let named =
        found.into_iter().flatten().filter_map(|object| Some((object.metadata.name.clone()?, typed(object, kind))));
    Ok(Some(((key.api_version.clone(), key.kind.clone()), named.collect())))
}

/// By which objects of a workload are known.
fn label(object: &Wanted) -> String {
    let labels = object.json.pointer("/metadata/labels");
    match labels.and_then(|labels| labels.get(WORKLOAD)).and_then(Value::as_str) {
        Some(workload) => format!("{WORKLOAD}={workload}"),
        None => format!("{PART}=workload"),
    }
}

/// Of what is in a list the server does not say the kind.
fn typed(mut object: DynamicObject, kind: &Kind) -> DynamicObject {
    object.types.get_or_insert_with(|| TypeMeta {
        api_version: kind.resource.api_version.clone(),
        kind: kind.resource.kind.clone(),
    });
    object
}
