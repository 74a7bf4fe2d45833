//! An object's identity, and the kinds that a server knows.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use ecolaura_deploy_core::{Context, Result};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::APIResourceList;
use kube::{
    Api, Client,
    core::{ApiResource, DynamicObject},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Connection, error::Call};

/// Which object: `Deployment dev/web`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Key {
    pub(crate) api_version: String,
    pub(crate) kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) namespace: Option<String>,
    pub(crate) name: String,
}

impl Key {
    pub(crate) fn new(api_version: &str, kind: &str, namespace: Option<&str>, name: &str) -> Self {
        Self {
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            namespace: namespace.map(str::to_owned),
            name: name.to_owned(),
        }
    }

    /// Of an object as it stands in a manifest or comes from the server.
    pub(crate) fn of(json: &Value) -> Self {
        let text = |pointer: &str| json.pointer(pointer).and_then(Value::as_str);
        Self::new(
            text("/apiVersion").unwrap_or_default(),
            text("/kind").unwrap_or_default(),
            text("/metadata/namespace"),
            text("/metadata/name").unwrap_or_default(),
        )
    }

    pub(crate) fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }

    pub(crate) fn is(&self, group: &str, kind: &str) -> bool {
        self.group() == group && self.kind == kind
    }

    /// The same object whatever the version it is asked for in.
    pub(crate) fn identity(&self) -> (&str, &str, Option<&str>, &str) {
        (self.group(), &self.kind, self.namespace.as_deref(), &self.name)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{}", self.kind, self.name),
            None => write!(f, "{} {}", self.kind, self.name),
        }
    }
}

/// A kind as the server has it.
#[derive(Debug, Clone)]
pub(crate) struct Kind {
    pub(crate) resource: ApiResource,
    pub(crate) namespaced: bool,
}

impl Kind {
    /// A kind that every server has.
    pub(crate) fn known(api_version: &str, kind: &str, plural: &str) -> Self {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let resource = ApiResource {
            group: group.to_owned(),
            version: version.to_owned(),
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            plural: plural.to_owned(),
        };
        Self { resource, namespaced: true }
    }

    pub(crate) fn api(&self, client: Client, namespace: Option<&str>) -> Api<DynamicObject> {
        match namespace {
            Some(namespace) if self.namespaced => Api::namespaced_with(client, namespace, &self.resource),
            _ => Api::all_with(client, &self.resource),
        }
    }
}

type Version = Arc<BTreeMap<String, Kind>>;

/// The kinds of a server, asked for once each group version.
#[derive(Debug, Default)]
pub(crate) struct Kinds(Mutex<HashMap<String, Version>>);

impl Kinds {
    /// The kind, or `None` where the server does not have it now: its definition may be on its way.
    pub(crate) async fn find(
        &self,
        cx: &Context,
        connection: &Connection,
        api_version: &str,
        kind: &str,
    ) -> Result<Option<Kind>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(api_version).cloned();
        if let Some(found) = kept.and_then(|version| version.get(kind).cloned()) {
            return Ok(Some(found));
        }
        let call = Call::reads("cluster.discover", format!("the kinds of {api_version}"));
        let asked = connection.find(cx, call, async |client: Client| {
            if api_version.contains('/') {
                client.list_api_group_resources(api_version).await
            } else {
                client.list_core_api_resources(api_version).await
            }
        });
        let Some(list) = asked.await? else { return Ok(None) };
        let version = Arc::new(kinds(list));
        let found = version.get(kind).cloned();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(api_version.to_owned(), version);
        Ok(found)
    }
}

fn kinds(list: APIResourceList) -> BTreeMap<String, Kind> {
    let api_version = list.group_version;
    let resources = list.resources.into_iter().filter(|resource| !resource.name.contains('/'));
    resources
        .map(|found| {
            let Kind { resource, .. } = Kind::known(&api_version, &found.kind, &found.name);
            (found.kind, Kind { resource, namespaced: found.namespaced })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_told_apart_by_group_and_not_by_version() {
        let key = |version| Key::new(version, "Deployment", Some("dev"), "web");
        assert_eq!(key("apps/v1").identity(), key("apps/v2").identity());
        assert_ne!(key("apps/v1").identity(), key("extensions/v1").identity());
        assert_eq!(key("apps/v1").to_string(), "Deployment dev/web");
        assert_eq!(Key::new("v1", "Namespace", None, "dev").to_string(), "Namespace dev");
    }
}
