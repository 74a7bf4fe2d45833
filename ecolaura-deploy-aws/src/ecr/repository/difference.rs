//! What a repository is, what it should be, and the moves from one to the other.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Labels;

/// Whether tags can be moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Mutability {
    /// All can.
    Mutable,
    /// None can.
    Immutable,
    /// All can but those that match one of these patterns (`v*`).
    MutableExcept(Vec<String>),
    /// None can but those that match one of these patterns (`dev-*`).
    ImmutableExcept(Vec<String>),
}

impl fmt::Display for Mutability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mutable => f.write_str("mutable"),
            Self::Immutable => f.write_str("immutable"),
            Self::MutableExcept(patterns) => write!(f, "mutable except {}", patterns.join(", ")),
            Self::ImmutableExcept(patterns) => write!(f, "immutable except {}", patterns.join(", ")),
        }
    }
}

/// What is declared.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Wished {
    pub(super) mutability: Option<Mutability>,
    pub(super) scan_on_push: Option<bool>,
    pub(super) lifecycle: Option<Value>,
    pub(super) labels: Labels,
}

/// What is there. Of what is not declared only as much as is told anyway.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Found {
    pub(super) mutability: Mutability,
    pub(super) scan_on_push: bool,
    pub(super) lifecycle: Option<Value>,
    pub(super) labels: Labels,
}

/// As AWS makes one of which nothing is said.
impl Default for Found {
    fn default() -> Self {
        Self { mutability: Mutability::Mutable, scan_on_push: false, lifecycle: None, labels: Labels::new() }
    }
}

/// One setting, and what it becomes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Move {
    /// Whether tags can be moved.
    Mutability(Mutability),
    /// Whether images are scanned as they are pushed.
    ScanOnPush(bool),
    /// The lifecycle policy; none with `None`.
    Lifecycle(Option<Value>),
    /// A tag of the repository; none with `None`.
    Label(String, Option<String>),
}

impl Wished {
    /// As lines of a plan.
    pub(super) fn lines(&self) -> Vec<String> {
        let nothing = Found::default();
        let differing = nothing.moves(self).into_iter().map(|change| match change {
            Move::Mutability(to) => format!("tags: {to}"),
            Move::ScanOnPush(to) => format!("scan on push: {}", on(to)),
            Move::Lifecycle(to) => format!("lifecycle policy: {}", policy(to.as_ref())),
            Move::Label(key, to) => format!("tag {key}: {}", to.as_deref().unwrap_or("none")),
        });
        differing.collect()
    }
}

impl Found {
    /// What [`create`](super::Calls::create) makes of a declaration: all but the lifecycle policy.
    pub(super) fn made(wished: &Wished) -> Self {
        Self {
            mutability: wished.mutability.clone().unwrap_or(Mutability::Mutable),
            scan_on_push: wished.scan_on_push.unwrap_or_default(),
            lifecycle: None,
            labels: wished.labels.clone(),
        }
    }

    /// What must change for it to be as declared.
    pub(super) fn moves(&self, wished: &Wished) -> Vec<Move> {
        let mutability = wished.mutability.iter().filter(|wished| **wished != self.mutability);
        let scan = wished.scan_on_push.iter().filter(|wished| **wished != self.scan_on_push);
        let lifecycle = wished.lifecycle.iter().filter(|wished| Some(*wished) != self.lifecycle.as_ref());
        let labels = wished.labels.iter().filter(|(key, value)| self.labels.get(*key) != Some(*value));
        mutability
            .map(|to| Move::Mutability(to.clone()))
            .chain(scan.map(|to| Move::ScanOnPush(*to)))
            .chain(lifecycle.map(|to| Move::Lifecycle(Some(to.clone()))))
            .chain(labels.map(|(key, to)| Move::Label(key.clone(), Some(to.clone()))))
            .collect()
    }

    /// What undoes `change`.
    pub(super) fn inverse(&self, change: &Move) -> Move {
        match change {
            Move::Mutability(_) => Move::Mutability(self.mutability.clone()),
            Move::ScanOnPush(_) => Move::ScanOnPush(self.scan_on_push),
            Move::Lifecycle(_) => Move::Lifecycle(self.lifecycle.clone()),
            Move::Label(key, _) => Move::Label(key.clone(), self.labels.get(key).cloned()),
        }
    }

    /// `change` as a line of a plan.
    pub(super) fn line(&self, change: &Move) -> String {
        match change {
            Move::Mutability(to) => format!("tags: {} → {to}", self.mutability),
            Move::ScanOnPush(to) => format!("scan on push: {} → {}", on(self.scan_on_push), on(*to)),
            Move::Lifecycle(to) => {
                format!("lifecycle policy: {} → {}", policy(self.lifecycle.as_ref()), policy(to.as_ref()))
            }
            Move::Label(key, to) => {
                let was = self.labels.get(key).map_or("none", String::as_str);
                format!("tag {key}: {was} → {}", to.as_deref().unwrap_or("none"))
            }
        }
    }
}

fn on(is: bool) -> &'static str {
    if is { "on" } else { "off" }
}

fn policy(document: Option<&Value>) -> String {
    document.map_or_else(|| "none".to_owned(), Value::to_string)
}
