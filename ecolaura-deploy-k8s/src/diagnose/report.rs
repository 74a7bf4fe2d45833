//! What a diagnosis says, as plain data.

use serde::{Deserialize, Serialize};

use super::Selection;

/// A part of a diagnosis, or why it is missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part<T> {
    /// What was found.
    Known(T),
    /// It could not be read.
    Unknown {
        /// Why: forbidden, not there, no answer.
        why: String,
    },
}

impl<T> Part<T> {
    /// What was found.
    pub fn known(&self) -> Option<&T> {
        match self {
            Self::Known(found) => Some(found),
            Self::Unknown { .. } => None,
        }
    }

    /// Why it is missing.
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::Known(_) => None,
            Self::Unknown { why } => Some(why),
        }
    }

    pub(super) fn as_mut(&mut self) -> Option<&mut T> {
        match self {
            Self::Known(found) => Some(found),
            Self::Unknown { .. } => None,
        }
    }

    pub(super) fn unknown(why: impl Into<String>) -> Self {
        Self::Unknown { why: why.into() }
    }

    /// Something made of it.
    pub(super) fn map<U>(&self, make: impl FnOnce(&T) -> U) -> Part<U> {
        match self {
            Self::Known(found) => Part::Known(make(found)),
            Self::Unknown { why } => Part::Unknown { why: why.clone() },
        }
    }
}

impl<T> Part<Vec<T>> {
    /// What was found; nothing where it is missing.
    pub(super) fn items(&self) -> &[T] {
        self.known().map_or(&[], Vec::as_slice)
    }
}

/// How something is, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Health {
    /// It cannot become ready by itself, or has failed.
    Broken,
    /// It is not ready.
    Waiting,
    /// It is ready, and was not for long.
    Shaky,
    /// It is being taken away.
    Ending,
    /// It is ready.
    Fine,
    /// It has done its work.
    Done,
}

/// All that was found. `Display` is text for a person, 80 columns wide, the worst first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Diagnosis {
    /// When it was looked, in UTC.
    pub at: String,
    /// What was looked at.
    pub selection: Selection,
    /// The server's version.
    pub server: Option<String>,
    /// Who looked.
    pub user: Option<String>,
    /// The selected pods, the most broken ones first.
    pub pods: Part<Vec<PodReport>>,
    /// How many more there are, none of them more broken.
    pub pods_left_out: usize,
    /// What makes the pods, of the kinds that could be read.
    pub workloads: Vec<WorkloadReport>,
    /// What leads to the pods.
    pub services: Part<Vec<ServiceReport>>,
    /// The nodes below them.
    pub nodes: Part<Vec<NodeReport>>,
    /// What the pods use, the most CPU first.
    pub usage: Part<Vec<Usage>>,
    /// What was recorded about all of them, the newest last.
    pub events: Part<Vec<EventReport>>,
    /// What else could not be read, and why.
    pub left_out: Vec<String>,
    /// What to do next.
    pub next: Vec<String>,
}

/// A pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PodReport {
    /// Its name.
    pub name: String,
    /// How it is.
    pub health: Health,
    /// The likely cause in one line.
    pub headline: String,
    /// The whole cause, from outside inwards.
    pub chain: Vec<String>,
    /// Its phase, `Running`.
    pub phase: String,
    /// The controller that made it, `ReplicaSet web-7d4b9c`.
    pub owner: Option<String>,
    /// Where it runs.
    pub node: Option<String>,
    /// How many of its containers are ready.
    pub ready: usize,
    /// How often its containers were started again.
    pub restarts: i32,
    /// How old it is, in seconds.
    pub age: u64,
    /// The conditions that are not as they should be, `Ready: ContainersNotReady`.
    pub conditions: Vec<String>,
    /// Its containers, those first that run first.
    pub containers: Vec<ContainerReport>,
}

/// A container of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ContainerReport {
    /// Its name.
    pub name: String,
    /// Its image, as the manifest has it.
    pub image: String,
    /// `running`, `waiting: CrashLoopBackOff`, `ended with exit code 1`.
    pub state: String,
    /// Whether it is ready.
    pub ready: bool,
    /// How often it was started again.
    pub restarts: i32,
    /// How the instance before ended.
    pub last_end: Option<String>,
    /// What it asks for and may have: `cpu 100m to 1, memory 64Mi to 128Mi`.
    pub resources: Option<String>,
    /// What it printed.
    pub log: Part<LogReport>,
    /// What the instance before printed, if there was one.
    pub previous: Option<Part<LogReport>>,
}

/// The end of a log.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LogReport {
    /// Its last lines, the newest last.
    pub lines: Vec<String>,
    /// Whether lines were left out, or parts of them, because they were too long.
    pub cut: bool,
}

/// Something that makes pods.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct WorkloadReport {
    /// `Deployment`
    pub kind: String,
    /// Its name.
    pub name: String,
    /// How it is.
    pub health: Health,
    /// In one line, why.
    pub headline: String,
    /// The whole cause, from outside inwards.
    pub chain: Vec<String>,
    /// How many pods it should have.
    pub wanted: i32,
    /// How many of them are ready.
    pub ready: i32,
    /// Its conditions, `Progressing=False ProgressDeadlineExceeded: …`.
    pub conditions: Vec<String>,
    /// Of a Deployment: its `ReplicaSet`s that have pods or should, and the one before, the newest first.
    pub revisions: Vec<String>,
    /// Whether there is a version before that it can go back to.
    pub can_go_back: bool,
}

/// A Service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ServiceReport {
    /// Its name.
    pub name: String,
    /// `ClusterIP`
    pub kind: String,
    /// The labels of its pods.
    pub selector: String,
    /// `http 80→8080`
    pub ports: Vec<String>,
    /// Endpoints that get requests.
    pub ready: usize,
    /// Endpoints that do not.
    pub not_ready: usize,
    /// What is wrong with it.
    pub problem: Option<String>,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NodeReport {
    /// Its name.
    pub name: String,
    /// Whether it takes pods and has what they need.
    pub health: Health,
    /// What is wrong: `MemoryPressure: …`, `takes no pods`.
    pub problems: Vec<String>,
    /// Its CPU in use, in percent of what pods may have.
    pub cpu: Option<u8>,
    /// Its memory in use, in percent of what pods may have.
    pub memory: Option<u8>,
}

/// What a container uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Usage {
    /// The pod.
    pub pod: String,
    /// The container.
    pub container: String,
    /// CPU in thousandths of a core.
    pub cpu: u64,
    /// Memory in bytes.
    pub memory: u64,
}

/// Something that was recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EventReport {
    /// When it was last seen, in UTC.
    pub at: String,
    /// `Warning` or `Normal`.
    pub kind: String,
    /// `BackOff`
    pub reason: String,
    /// `Pod web-7d4b9c-abcde`
    pub object: String,
    /// How often.
    pub count: i32,
    /// What it says.
    pub message: String,
}
