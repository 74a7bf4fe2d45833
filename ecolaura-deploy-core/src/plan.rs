//! What a run would do: typed changes with reasons, preconditions, a digest over all of it.

mod build;

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

use crate::vocabulary::{Digest, EnvironmentName, Name};

pub use self::build::{Plan, PlanProblems};
pub(crate) use self::build::{build, check_refined, moved};

/// The world a change happens in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum World {
    /// Local files: compiled programs, reports.
    File,
    /// Built images.
    Image,
    /// Registries.
    Registry,
    /// Databases.
    Database,
    /// Clusters.
    Cluster,
    /// Sites.
    Cdn,
    /// Feature flags.
    Flag,
    /// Records of releases.
    Record,
    /// Who reaches whom: firewalls, security groups.
    Network,
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "file",
            Self::Image => "image",
            Self::Registry => "registry",
            Self::Database => "database",
            Self::Cluster => "cluster",
            Self::Cdn => "cdn",
            Self::Flag => "flag",
            Self::Record => "record",
            Self::Network => "network",
        })
    }
}

/// What happens to an object, from least to most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Nothing.
    NoOp,
    /// It appears.
    Create,
    /// It changes in place.
    Update,
    /// It is taken away and made again.
    Replace,
    /// It is taken away.
    Delete,
}

impl Action {
    /// Whether doing `self` is no more than `announced`: nothing is less than anything; appearing and changing may
    /// stand for each other; taking away and replacing must have been announced as such.
    pub fn within(self, announced: Self) -> bool {
        match self {
            Self::NoOp => true,
            Self::Create | Self::Update => announced != Self::NoOp && announced != Self::Delete,
            Self::Replace | Self::Delete => announced == self,
        }
    }

    /// `+`, `~`, `±`, `-` or `=`.
    pub fn symbol(self) -> &'static str {
        match self {
            Self::NoOp => "=",
            Self::Create => "+",
            Self::Update => "~",
            Self::Replace => "±",
            Self::Delete => "-",
        }
    }
}

/// One object and what happens to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Change {
    /// Where.
    pub world: World,
    /// What: `deployment dev/backend`, `table ledger`. Ends with `/*` where the objects are not known yet.
    pub object: String,
    /// What happens to it.
    pub action: Action,
    /// Why: `unchanged`, `content differs`, `digest known after build backend`.
    pub reason: String,
    /// Field by field, for people; secrets as `(redacted)`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<String>,
}

impl Change {
    /// `action` on `object`.
    pub fn new(world: World, object: impl Into<String>, action: Action, reason: impl Into<String>) -> Self {
        Self { world, object: object.into(), action, reason: reason.into(), details: Vec::new() }
    }

    /// Nothing happens to `object`.
    pub fn unchanged(world: World, object: impl Into<String>) -> Self {
        Self::new(world, object, Action::NoOp, "unchanged")
    }

    /// With one more line of detail.
    pub fn detail(mut self, line: impl Into<String>) -> Self {
        self.details.push(line.into());
        self
    }

    /// Whether `self`, found at run time, is no more than `announced`.
    pub fn within(&self, announced: &Self) -> bool {
        let same = match announced.object.strip_suffix('*') {
            Some(prefix) => self.object.starts_with(prefix),
            None => self.object == announced.object,
        };
        same && self.world == announced.world && self.action.within(announced.action)
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}: {}", self.action.symbol(), self.world, self.object, self.reason)
    }
}

/// The plan of one step, as it is shown, stored and digested.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StepSummary {
    /// Its name, without the environment.
    pub name: String,
    /// Its kind, such as `push image`.
    pub kind: String,
    /// The group that is undone together.
    pub group: Name,
    /// The steps it waits for.
    pub needs: Vec<String>,
    /// What it changes. Empty for gates and checks.
    pub changes: Vec<Change>,
    /// What was read and must still be so when the run begins, by name.
    pub preconditions: BTreeMap<String, String>,
    /// The digest over its inputs, where they are known.
    pub fingerprint: Option<Digest>,
    /// What should be read before saying yes.
    pub warnings: Vec<String>,
    /// Whether the run will do nothing here.
    pub skipped: bool,
}

/// A whole plan as it is shown, stored and digested.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PlanSummary {
    /// The pipeline.
    pub pipeline: Name,
    /// The environment.
    pub environment: EnvironmentName,
    /// The steps, in the order in which they were added.
    pub steps: Vec<StepSummary>,
    /// The digest over changes, fingerprints and preconditions.
    pub digest: Digest,
}

impl PlanSummary {
    /// How many changes of each action there are, without no-ops.
    pub fn counts(&self) -> BTreeMap<Action, usize> {
        let mut counts = BTreeMap::new();
        for change in self.steps.iter().flat_map(|step| &step.changes) {
            if change.action != Action::NoOp {
                *counts.entry(change.action).or_insert(0) += 1;
            }
        }
        counts
    }

    /// Whether no object changes.
    pub fn is_noop(&self) -> bool {
        self.counts().is_empty()
    }
}
