//! The least rules of RBAC that grant needs.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use k8s_openapi::{
    api::rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject as RbacSubject},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde::Serialize;
use serde_json::Value;

use super::{Need, Needs};

const GROUP: &str = "rbac.authorization.k8s.io";

/// In which order verbs are written.
const ORDER: [&str; 8] = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection"];

/// Who gets rights.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Subject {
    /// A service account.
    ServiceAccount {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A user.
    User(String),
    /// A group of users.
    Group(String),
}

impl Subject {
    /// The service account `name` of `namespace`.
    pub fn service_account(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self::ServiceAccount { namespace: namespace.into(), name: name.into() }
    }

    /// Of a user name as the API server has it: service accounts are users called `system:serviceaccount:…`.
    pub fn of_user(name: &str) -> Self {
        match name.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':')) {
            Some((namespace, name)) => Self::service_account(namespace, name),
            None => Self::User(name.to_owned()),
        }
    }

    fn rbac(&self) -> RbacSubject {
        let (kind, name, namespace) = match self {
            Self::ServiceAccount { namespace, name } => ("ServiceAccount", name, Some(namespace)),
            Self::User(name) => ("User", name, None),
            Self::Group(name) => ("Group", name, None),
        };
        RbacSubject {
            api_group: namespace.is_none().then(|| GROUP.to_owned()),
            kind: kind.to_owned(),
            name: name.clone(),
            namespace: namespace.cloned(),
        }
    }
}

/// Roles and their bindings. `Display` is YAML that `kubectl apply` takes.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Rules {
    /// For each namespace, in order.
    pub roles: Vec<(Role, RoleBinding)>,
    /// For the whole cluster, if anything is needed there.
    pub cluster_role: Option<(ClusterRole, ClusterRoleBinding)>,
}

impl Needs {
    /// The roles that grant exactly these needs, all called `name`, bound to `subject`. The same needs always give the
    /// same rules.
    pub fn rules(&self, name: &str, subject: &Subject) -> Rules {
        let mut places: BTreeMap<Option<&str>, Vec<&Need>> = BTreeMap::new();
        for need in self.iter() {
            places.entry(need.namespace.as_deref()).or_default().push(need);
        }
        let mut rules = Rules::default();
        for (namespace, needs) in places {
            let (granted, metadata) = (merge(&needs), meta(name, namespace));
            let subjects = Some(vec![subject.rbac()]);
            match namespace {
                Some(_) => rules.roles.push((
                    Role { metadata: metadata.clone(), rules: Some(granted) },
                    RoleBinding { metadata, role_ref: reference("Role", name), subjects },
                )),
                None => {
                    rules.cluster_role = Some((
                        ClusterRole { metadata: metadata.clone(), rules: Some(granted), ..ClusterRole::default() },
                        ClusterRoleBinding { metadata, role_ref: reference("ClusterRole", name), subjects },
                    ));
                }
            }
        }
        rules
    }
}

impl Rules {
    /// Each object as JSON, roles before their bindings.
    pub fn objects(&self) -> Vec<Value> {
        let namespaced = self.roles.iter().flat_map(|(role, binding)| [json(role), json(binding)]);
        let wide = self.cluster_role.iter().flat_map(|(role, binding)| [json(role), json(binding)]);
        namespaced.chain(wide).collect()
    }
}

impl fmt::Display for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, object) in self.objects().iter().enumerate() {
            if index > 0 {
                f.write_str("---\n")?;
            }
            let yaml = serde_saphyr::to_string(object).map_err(|_| fmt::Error)?;
            writeln!(f, "{}", yaml.trim_end())?;
        }
        Ok(())
    }
}

/// A Kubernetes object is always JSON.
fn json(object: &impl Serialize) -> Value {
    serde_json::to_value(object).unwrap_or_default()
}

fn meta(name: &str, namespace: Option<&str>) -> ObjectMeta {
    ObjectMeta { name: Some(name.to_owned()), namespace: namespace.map(str::to_owned), ..ObjectMeta::default() }
}

fn reference(kind: &str, name: &str) -> RoleRef {
    RoleRef { api_group: Some(GROUP.to_owned()), kind: kind.to_owned(), name: name.to_owned() }
}

/// Group, names (none: any) and verbs.
type Right<'a> = (&'a str, BTreeSet<String>, BTreeSet<&'a str>);

/// Never more than is needed: only what has the same verbs, and the same names if any, becomes one rule.
fn merge(needs: &[&Need]) -> Vec<PolicyRule> {
    let mut verbs: BTreeMap<(&str, String, Option<&str>), BTreeSet<&str>> = BTreeMap::new();
    for need in needs {
        let target = (need.group.as_str(), need.path(), need.name.as_deref());
        verbs.entry(target).or_default().insert(&need.verb);
    }
    let mut names: BTreeMap<(&str, String, BTreeSet<&str>, bool), BTreeSet<String>> = BTreeMap::new();
    for ((group, path, name), verbs) in verbs {
        names.entry((group, path, verbs, name.is_some())).or_default().extend(name.map(str::to_owned));
    }
    let mut resources: BTreeMap<Right<'_>, BTreeSet<String>> = BTreeMap::new();
    for ((group, path, verbs, _), names) in names {
        resources.entry((group, names, verbs)).or_default().insert(path);
    }
    let mut rules: Vec<PolicyRule> = resources
        .into_iter()
        .map(|((group, names, verbs), resources)| PolicyRule {
            api_groups: Some(vec![group.to_owned()]),
            resources: Some(resources.into_iter().collect()),
            resource_names: (!names.is_empty()).then(|| names.into_iter().collect()),
            verbs: ordered(&verbs),
            non_resource_urls: None,
        })
        .collect();
    let key = |rule: &PolicyRule| (rule.api_groups.clone(), rule.resources.clone(), rule.resource_names.clone());
    rules.sort_by_key(key);
    rules
}

fn ordered(verbs: &BTreeSet<&str>) -> Vec<String> {
    let mut verbs: Vec<&str> = verbs.iter().copied().collect();
    verbs.sort_by_key(|verb| ORDER.iter().position(|known| known == verb).unwrap_or(ORDER.len()));
    verbs.into_iter().map(str::to_owned).collect()
}
