//! What a deployment is allowed to do: the rights that it needs as data, the least rules that grant them, whether it has
//! them, and what namespaces let pods do.

mod network;
mod own;
pub mod pod_security;
mod preflight;
mod rules;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, fmt};

use kube::core::ApiResource;
use serde::{Deserialize, Serialize};

pub use self::{
    network::{Egress, network_policy},
    preflight::{Missing, Refusal},
    rules::{Rules, Subject},
};

/// Verbs that are about no single object, so that no rule can grant them for one name.
const NAMELESS: [&str; 4] = ["create", "list", "watch", "deletecollection"];

/// One right.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Need {
    /// Where; `None` for what has no namespace, or for all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The API group; empty for the core one.
    pub group: String,
    /// The kind of object as RBAC has it, `deployments`.
    pub resource: String,
    /// A part of it, `log`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subresource: Option<String>,
    /// Which one; `None` for any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What is done, `patch`.
    pub verb: String,
}

impl Need {
    /// To do `verb` with `resource` of `group`, anywhere.
    pub fn new(verb: impl Into<String>, group: impl Into<String>, resource: impl Into<String>) -> Self {
        Self {
            namespace: None,
            group: group.into(),
            resource: resource.into(),
            subresource: None,
            name: None,
            verb: verb.into(),
        }
    }

    /// Only in `namespace`.
    pub fn within(self, namespace: impl Into<String>) -> Self {
        Self { namespace: Some(namespace.into()), ..self }
    }

    /// Only this part of it.
    pub fn subresource(self, subresource: impl Into<String>) -> Self {
        Self { subresource: Some(subresource.into()), ..self }
    }

    /// Only the one with this name. Creating, listing and watching cannot be narrowed down like that, and are not.
    pub fn named(self, name: impl Into<String>) -> Self {
        let name = (!NAMELESS.contains(&self.verb.as_str())).then(|| name.into());
        Self { name, ..self }
    }

    /// `deployments`, `pods/log`
    fn path(&self) -> String {
        match &self.subresource {
            Some(part) => format!("{}/{part}", self.resource),
            None => self.resource.clone(),
        }
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.verb, self.path())?;
        if !self.group.is_empty() {
            write!(f, ".{}", self.group)?;
        }
        if let Some(name) = &self.name {
            write!(f, " `{name}`")?;
        }
        match &self.namespace {
            Some(namespace) => write!(f, " in namespace `{namespace}`"),
            None => f.write_str(" in the whole cluster"),
        }
    }
}

/// All rights that something takes.
///
/// ```
/// use ecolaura_deploy_k8s::access::{Need, Needs, Subject};
/// let mut needs = Needs::default();
/// needs.add(Need::new("get", "apps", "deployments").within("shop"));
/// needs.add(Need::new("patch", "apps", "deployments").within("shop"));
/// let rules = needs.rules("deployer", &Subject::service_account("ci", "deployer"));
/// assert_eq!(
///     rules.to_string().lines().take(14).collect::<Vec<_>>().join("\n"),
/// "apiVersion: rbac.authorization.k8s.io/v1
/// kind: Role
/// metadata:
///   name: deployer
///   namespace: shop
/// rules:
/// - apiGroups:
///   - apps
///   resources:
///   - deployments
///   verbs:
///   - get
///   - patch
/// ---");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Needs(BTreeSet<Need>);

impl Needs {
    /// What the operations of a plan take: each a kind of object, where it is, and the verbs.
    pub fn of<'a>(operations: impl IntoIterator<Item = (&'a ApiResource, Option<&'a str>, &'a [&'a str])>) -> Self {
        let mut needs = Self::default();
        for (resource, namespace, verbs) in operations {
            for verb in verbs {
                let need = Need::new(*verb, &resource.group, &resource.plural);
                needs.add(match namespace {
                    Some(namespace) => need.within(namespace),
                    None => need,
                });
            }
        }
        needs
    }

    /// Adds one.
    pub fn add(&mut self, need: Need) {
        self.0.insert(need);
    }

    /// Those that no other covers, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Need> {
        let covered = |need: &Need| wider(need).any(|wider| self.0.contains(&wider));
        self.0.iter().filter(move |need| !covered(need))
    }
}

/// The needs that would cover `need`, if they were there.
fn wider(need: &Need) -> impl Iterator<Item = Need> + '_ {
    let variants = [
        Need { name: None, ..need.clone() },
        Need { namespace: None, ..need.clone() },
        Need { name: None, namespace: None, ..need.clone() },
    ];
    variants.into_iter().filter(move |wider| wider != need)
}

impl Extend<Need> for Needs {
    fn extend<T: IntoIterator<Item = Need>>(&mut self, needs: T) {
        self.0.extend(needs);
    }
}

impl FromIterator<Need> for Needs {
    fn from_iter<T: IntoIterator<Item = Need>>(needs: T) -> Self {
        Self(needs.into_iter().collect())
    }
}

impl IntoIterator for Needs {
    type Item = Need;
    type IntoIter = std::collections::btree_set::IntoIter<Need>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}
