//! A database that was restored beside another one.

use std::fmt;

use ecolaura_deploy_core::step::Leaf;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    database::{Database, Endpoint},
    snapshot::Snapshot,
};

/// What to restore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RestorePoint {
    /// A snapshot.
    Snapshot(Snapshot),
    /// The database as it was at a time, from its automated backups.
    Time(Timestamp),
    /// The database as it was a few minutes ago: the newest that its automated backups have.
    Latest,
}

impl Leaf for RestorePoint {}

impl RestorePoint {
    /// Up to when the data goes; the latest is known when it is restored.
    pub fn time(&self) -> Option<Timestamp> {
        match self {
            Self::Snapshot(snapshot) => Some(snapshot.taken),
            Self::Time(time) => Some(*time),
            Self::Latest => None,
        }
    }
}

impl From<Snapshot> for RestorePoint {
    fn from(snapshot: Snapshot) -> Self {
        Self::Snapshot(snapshot)
    }
}

impl fmt::Display for RestorePoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Snapshot(snapshot) => write!(f, "snapshot {} of {}", snapshot.id, snapshot.taken),
            Self::Time(time) => write!(f, "as it was at {time}"),
            Self::Latest => write!(f, "as it was a few minutes ago"),
        }
    }
}

/// Which database it is, whatever it is called at the time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Identity {
    /// What RDS gives it for its life: `db-ABCDEFGHIJKL`.
    pub resource: String,
    /// The key that it was restored under, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// A database, and what it is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Placed {
    /// What it is called.
    pub database: Database,
    /// Which one it is.
    pub identity: Identity,
}

/// Two members of the same place in their clusters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Pair {
    /// In the cluster that is replaced.
    pub old: Placed,
    /// In the restored one.
    pub new: Placed,
}

/// A database that was restored beside the one that it is to replace. It serves nobody yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Restored {
    /// The restored one.
    pub new: Placed,
    /// The one that it is to replace.
    pub old: Placed,
    /// What the old one is called once it is put aside.
    pub aside: Database,
    /// The members of the clusters; none of instances.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<Pair>,
    /// Up to when the data goes.
    pub point: Timestamp,
    /// Where the restored one is reached, until it takes the old one's name.
    pub endpoint: Endpoint,
    /// Whether the old one cannot be deleted by mistake; the new one gets that when it takes the name.
    pub protected: bool,
}

impl Leaf for Restored {}
