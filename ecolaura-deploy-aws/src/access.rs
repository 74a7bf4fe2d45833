//! What has to be allowed, as data and as the documents of IAM.
//!
//! Each backend tells its [`Grant`]s; a [`Policy`] merges those of a plan without allowing anything more, and is written
//! as the JSON that IAM takes. [`trust`] says who may take on the role that has it.
//!
//! ```
//! use ecolaura_deploy_aws::access::{Grant, Policy};
//! let policy = Policy::of([
//!     Grant::new(["s3:PutObject"], ["arn:aws:s3:::site/*"]),
//!     Grant::new(["s3:GetObject"], ["arn:aws:s3:::site/*", "arn:aws:s3:::site/index.html"]),
//! ]);
//! assert_eq!(policy.grants(), [Grant::new(["s3:GetObject", "s3:PutObject"], ["arn:aws:s3:::site/*"])]);
//! assert!(policy.allows("s3:GetObject", "arn:aws:s3:::site/index.html"));
//! assert!(!policy.allows("s3:DeleteObject", "arn:aws:s3:::site/index.html"));
//! ```

mod pattern;
#[cfg(feature = "iam")]
mod simulate;
#[cfg(test)]
mod tests;
pub mod trust;

#[cfg(feature = "iam")]
pub use self::simulate::{AccessGate, Answer, Missing, simulate, simulating};

use std::collections::{BTreeMap, BTreeSet};

use ecolaura_deploy_core::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Conditions: operator, key, values.
type Conditions = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

/// How many characters a managed policy may have, white space left out.
const LONGEST: usize = 6144;

/// Actions that are needed on resources, under conditions.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Grant {
    actions: BTreeSet<String>,
    resources: BTreeSet<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    conditions: Conditions,
}

impl Grant {
    /// `actions` (`s3:PutObject`) on `resources`, ARNs in which `*` stands for any text and `?` for any character.
    pub fn new<A: Into<String>, R: Into<String>>(
        actions: impl IntoIterator<Item = A>,
        resources: impl IntoIterator<Item = R>,
    ) -> Self {
        Self {
            actions: actions.into_iter().map(Into::into).collect(),
            resources: resources.into_iter().map(Into::into).collect(),
            conditions: Conditions::new(),
        }
    }

    /// Only where `operator` (`StringEquals`) holds for `key` and one of its values, this one among them.
    pub fn when(mut self, operator: impl Into<String>, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.conditions.entry(operator.into()).or_default().entry(key.into()).or_default().insert(value.into());
        self
    }

    /// The actions.
    pub fn actions(&self) -> impl Iterator<Item = &str> {
        self.actions.iter().map(String::as_str)
    }

    /// The resources.
    pub fn resources(&self) -> impl Iterator<Item = &str> {
        self.resources.iter().map(String::as_str)
    }

    /// Whether `action` on `resource` is allowed, if the conditions hold.
    pub fn allows(&self, action: &str, resource: &str) -> bool {
        self.actions.iter().any(|known| known == action)
            && self.resources.iter().any(|known| pattern::covers(known, resource))
    }

    fn statement(&self) -> Value {
        let mut statement = json!({"Effect": "Allow", "Action": self.actions, "Resource": self.resources});
        if !self.conditions.is_empty() {
            statement["Condition"] = json!(self.conditions);
        }
        statement
    }
}

/// Grants, merged: each action once for the same resources and conditions, nothing that another grant covers, and in
/// the same order whatever the order was in which they came.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Policy {
    grants: Vec<Grant>,
}

impl Policy {
    /// All that `grants` allow, and nothing more.
    pub fn of(grants: impl IntoIterator<Item = Grant>) -> Self {
        Self { grants: merge(grants) }
    }

    /// The grants, merged.
    pub fn grants(&self) -> &[Grant] {
        &self.grants
    }

    /// Whether `action` on `resource` is allowed, if the conditions hold.
    pub fn allows(&self, action: &str, resource: &str) -> bool {
        self.grants.iter().any(|grant| grant.allows(action, resource))
    }

    /// The pairs of an action and a resource that none of `calls` needed.
    pub fn unused<'a>(&'a self, calls: &[(String, String)]) -> Vec<(&'a str, &'a str)> {
        let pairs = self.grants.iter().flat_map(|grant| {
            grant.actions().flat_map(|action| grant.resources().map(move |resource| (action, resource)))
        });
        let used = |(action, resource): &(&str, &str)| {
            calls.iter().any(|(called, on)| called == action && pattern::covers(resource, on))
        };
        pairs.filter(|pair| !used(pair)).collect()
    }

    /// The document that IAM takes.
    ///
    /// Fails with [`ErrorKind::LimitExceeded`] if it is longer than a managed policy may be.
    pub fn document(&self) -> Result<Value> {
        let document = document(&self.grants.iter().map(Grant::statement).collect::<Vec<_>>());
        let length = document.to_string().len();
        if length > LONGEST {
            let message = format!("the policy has {length} characters, and a managed one may have {LONGEST}");
            return Err(Error::new(ErrorKind::LimitExceeded, "access.policy", message)
                .advice("give each group of steps a role of its own"));
        }
        Ok(document)
    }
}

fn document(statements: &[Value]) -> Value {
    json!({"Version": "2012-10-17", "Statement": statements})
}

fn merge(grants: impl IntoIterator<Item = Grant>) -> Vec<Grant> {
    let mut needed: BTreeMap<(Conditions, String), BTreeSet<String>> = BTreeMap::new();
    for grant in grants {
        for action in grant.actions {
            needed.entry((grant.conditions.clone(), action)).or_default().extend(grant.resources.iter().cloned());
        }
    }
    let mut merged: BTreeMap<(Conditions, BTreeSet<String>), BTreeSet<String>> = BTreeMap::new();
    for ((conditions, action), resources) in &needed {
        let free = needed.get(&(Conditions::new(), action.clone())).filter(|_| !conditions.is_empty());
        let resources: BTreeSet<_> = resources
            .iter()
            .filter(|resource| !covered(resource, resources))
            .filter(|resource| !free.is_some_and(|free| free.contains(*resource) || covered(resource, free)))
            .cloned()
            .collect();
        if !resources.is_empty() {
            merged.entry((conditions.clone(), resources)).or_default().insert(action.clone());
        }
    }
    let grants = merged.into_iter();
    let mut grants: Vec<_> =
        grants.map(|((conditions, resources), actions)| Grant { actions, resources, conditions }).collect();
    grants.sort();
    grants
}

/// Whether another one of `resources` has `resource` in it.
fn covered(resource: &str, resources: &BTreeSet<String>) -> bool {
    resources.iter().any(|other| other != resource && pattern::covers(other, resource))
}
