//! Which database, and what it is called.

use std::{fmt, time::Duration};

use ecolaura_deploy_core::{step::Leaf, vocabulary::Digest};
use serde::{Deserialize, Serialize};

use crate::{Account, Scope};

/// How long RDS may take for one thing: a snapshot, a restore, a rename.
const PATIENCE: Duration = Duration::from_hours(2);

/// Between the first two looks at what RDS does.
const PAUSE: Duration = Duration::from_secs(2);

/// How long the name of an instance may be.
const LONGEST: usize = 63;

/// How long the name of any cluster may be: those of Multi-AZ ones are shorter than those of Aurora.
const LONGEST_OF_CLUSTERS: usize = 52;

/// A database of an account.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Database {
    /// An instance of RDS that is in no cluster.
    Instance(String),
    /// A cluster of Aurora, or of RDS, with its members.
    Cluster(String),
}

impl Database {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Instance(name) | Self::Cluster(name) => name,
        }
    }

    /// As RDS keeps it: with its name in lower case.
    fn kept(mut self) -> Self {
        let (Self::Instance(name) | Self::Cluster(name)) = &mut self;
        name.make_ascii_lowercase();
        self
    }

    /// The one of the same kind that is called `name`.
    pub(super) fn named(&self, name: impl Into<String>) -> Self {
        match self {
            Self::Instance(_) => Self::Instance(name.into()),
            Self::Cluster(_) => Self::Cluster(name.into()),
        }
    }

    pub(super) fn arn(&self, scope: &Scope) -> String {
        match self {
            Self::Instance(name) => scope.arn("rds", format_args!("db:{name}")),
            Self::Cluster(name) => scope.arn("rds", format_args!("cluster:{name}")),
        }
    }

    /// The ARN of the snapshot `id` of a database of this kind.
    pub(super) fn snapshot_arn(&self, scope: &Scope, id: &str) -> String {
        match self {
            Self::Instance(_) => scope.arn("rds", format_args!("snapshot:{id}")),
            Self::Cluster(_) => scope.arn("rds", format_args!("cluster-snapshot:{id}")),
        }
    }

    /// What the names of snapshots of it begin with.
    pub(super) fn snapshot_prefix(&self) -> String {
        format!("ecolaura-{}-", short(self.name(), LONGEST))
    }

    /// What all that [`Database::beside`] answers are like.
    pub(super) fn any_beside(&self, what: &str) -> Self {
        self.beside_with(what, "????????")
    }

    /// What it is called when it is restored beside `self`, and when `self` is put aside.
    pub(super) fn beside(&self, what: &str, key: &Digest) -> Self {
        self.beside_with(what, &key.to_hex()[..8])
    }

    /// `NAME-WHAT-END`, as short as names have to be.
    pub(super) fn beside_with(&self, what: &str, end: &str) -> Self {
        let longest = match self {
            Self::Instance(_) => LONGEST,
            Self::Cluster(_) => LONGEST_OF_CLUSTERS,
        };
        let end = format!("-{what}-{end}");
        self.named(format!("{}{end}", short(self.name(), longest - end.len())))
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Instance(name) => write!(f, "RDS instance {name}"),
            Self::Cluster(name) => write!(f, "RDS cluster {name}"),
        }
    }
}

/// The beginning of `name`; no name has a hyphen at its end or two in a row.
fn short(name: &str, most: usize) -> &str {
    let end = name.char_indices().nth(most).map_or(name.len(), |(end, _)| end);
    name[..end].trim_end_matches('-')
}

/// Where programs reach a database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Endpoint {
    /// The host's name.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl Leaf for Endpoint {}

impl Endpoint {
    /// `host` and `port`.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self { host: host.into(), port }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// A database of an account, and how long RDS may take for one thing with it. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RdsDatabase {
    pub(super) account: Account,
    pub(super) database: Database,
    pub(super) patience: Duration,
    pub(super) pause: Duration,
}

impl RdsDatabase {
    /// `database` in `account`. Its name is taken in lower case, as RDS keeps it.
    pub fn new(account: &Account, database: Database) -> Self {
        Self { account: account.clone(), database: database.kept(), patience: PATIENCE, pause: PAUSE }
    }

    /// The instance `name` in `account`.
    pub fn instance(account: &Account, name: impl Into<String>) -> Self {
        Self::new(account, Database::Instance(name.into()))
    }

    /// The cluster `name` in `account`.
    pub fn cluster(account: &Account, name: impl Into<String>) -> Self {
        Self::new(account, Database::Cluster(name.into()))
    }

    /// How long RDS may take for one thing, such as a snapshot or a rename: 2 hours unless said otherwise. The run's own
    /// deadlines hold beside it.
    pub fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// How long to wait between two looks at what RDS does: 2 seconds at first, up to eight times as long later, unless
    /// said otherwise.
    pub fn look_every(self, pause: Duration) -> Self {
        Self { pause, ..self }
    }

    /// Which one.
    pub fn database(&self) -> &Database {
        &self.database
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_within_what_rds_takes() {
        let key = Digest::of("a");
        let name = "a-very-long-name-of-a-database-that-is-as-long-as-names-may-be-x";
        for what in ["new", "old"] {
            for (longest, named) in [(63, Database::Instance as fn(String) -> Database), (52, Database::Cluster)] {
                let beside = named(name[..63].to_owned()).beside(what, &key);
                assert!(beside.name().len() <= longest && !beside.name().contains("--"), "{beside}");
            }
        }
        let beside = Database::Cluster("shop".to_owned()).beside("old", &key);
        assert_eq!(beside.name(), format!("shop-old-{}", &key.to_hex()[..8]));
        assert_eq!(short("shop-", 5), "shop");
    }
}
