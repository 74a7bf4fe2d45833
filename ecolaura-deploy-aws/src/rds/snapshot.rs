//! Taking a snapshot once, and waiting for it.

use std::fmt;

use async_trait::async_trait;
use ecolaura_deploy_core::{
    Context, Effect, Error, ErrorKind, Result,
    plan::{Action, Change, World},
    step::{Applied, EffectClass, Leaf, NoUndo, Planned, Step, StepPlan},
    vocabulary::Digest,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    calls::{Calls, SeenSnapshot, marks},
    database::{Database, RdsDatabase},
    tags,
    wait::{State, stuck, waiting},
};
use crate::{Scope, access::Grant, key};

const OPERATION: &str = "rds.snapshot";

/// How often a snapshot is taken again that RDS failed to take.
const TRIES: u32 = 3;

/// A snapshot that can be restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Snapshot {
    /// Of which database.
    pub database: Database,
    /// Its identifier.
    pub id: String,
    /// Its ARN.
    pub arn: String,
    /// Up to when its data goes.
    pub taken: Timestamp,
    /// Engine and version: `postgres 16.4`.
    pub engine: String,
    /// Its size in bytes; that of the storage where RDS does not say it.
    pub bytes: u64,
}

impl Leaf for Snapshot {}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}, taken {}, {}", self.id, self.database, self.taken, self.engine)
    }
}

/// What is known of the snapshot of one name.
enum Taken {
    Whole(Box<SeenSnapshot>),
    /// RDS gave up on it.
    Failed,
}

impl RdsDatabase {
    /// Takes a snapshot and waits until it can be restored.
    ///
    /// Idempotent by `key`, which may be any text: one that is there for it is adopted, finished or not, and one that RDS
    /// failed to take is left for [`RdsRetention`](super::RdsRetention) and taken again under a name of its own. A database
    /// that is busy for a moment is waited for. A cancel leaves a snapshot that the same key adopts.
    ///
    /// Fails with `NotFound`, `Conflict` (the database is stopped or broken), `AlreadyExists` (a snapshot of that name is
    /// not ours), `LimitExceeded` (the account's quota), `Timeout`.
    pub async fn snapshot(&self, cx: &Context, key: &str) -> Result<Snapshot> {
        let key = Digest::of(key).to_hex();
        let calls = Calls::of(self, (cx, OPERATION)).await?;
        for number in 1..=TRIES {
            let id = id(&self.database, &key, number);
            let taken = self.taken(&calls, &id, &key).await.map_err(|error| calls.behind(error))?;
            if let Taken::Whole(seen) = taken {
                return finished(&self.database, *seen);
            }
            cx.warn(format!("RDS failed to take snapshot {id}"));
        }
        let message = format!("RDS failed {TRIES} times to take a snapshot of {}", self.database);
        Err(Error::new(ErrorKind::Unavailable, OPERATION, message)
            .with_effect(Effect::Partial)
            .advice("look at the database's events in RDS; the failed snapshots can be deleted"))
    }

    async fn taken(&self, calls: &Calls<'_>, id: &str, key: &str) -> Result<Taken> {
        let mut wait = waiting(calls, self);
        loop {
            let Some(seen) = wait.look(|| calls.snapshot(&self.database, id)).await? else {
                if let Some(status) = wait.heard(self.begin(calls, id, key).await).await? {
                    wait.pause(&self.database.to_string(), &status).await?;
                }
                continue;
            };
            if seen.tag(tags::KEY) != Some(key) || seen.source != self.database.name() {
                return Err(foreign(&seen, &self.database));
            }
            match seen.status.as_str() {
                "available" => return Ok(Taken::Whole(Box::new(seen))),
                "failed" => return Ok(Taken::Failed),
                status => {
                    calls.cx.progress("percent", seen.percent, Some(100));
                    wait.pause(&format!("snapshot {id}"), status).await?;
                }
            }
        }
    }

    /// Begins the snapshot if the database can be worked with; how it is otherwise.
    async fn begin(&self, calls: &Calls<'_>, id: &str, key: &str) -> Result<String> {
        let seen = calls.existing(&self.database).await?;
        match seen.state() {
            State::Stuck => Err(stuck(OPERATION, &self.database, seen.status())),
            State::Passing => Ok(seen.status().to_owned()),
            State::Ready => {
                let asked = calls.take(&self.database, id, marks(calls.cx, &self.database, key)).await?;
                Ok(asked.status("backing-up"))
            }
        }
    }

    /// What taking snapshots takes.
    pub fn snapshotting(&self, scope: &Scope) -> Vec<Grant> {
        let (describe, describe_snapshots, take) = match self.database {
            Database::Instance(_) => ("rds:DescribeDBInstances", "rds:DescribeDBSnapshots", "rds:CreateDBSnapshot"),
            Database::Cluster(_) => {
                ("rds:DescribeDBClusters", "rds:DescribeDBClusterSnapshots", "rds:CreateDBClusterSnapshot")
            }
        };
        let snapshots = self.database.snapshot_arn(scope, &format!("{}*", self.database.snapshot_prefix()));
        vec![
            Grant::new([describe, take], [self.database.arn(scope)]),
            Grant::new([describe_snapshots, take, "rds:AddTagsToResource"], [snapshots]),
        ]
    }
}

/// The name of the snapshot for `key`.
pub(super) fn id(database: &Database, key: &str, number: u32) -> String {
    let again = if number > 1 { format!("-{number}") } else { String::new() };
    format!("{}{}{again}", database.snapshot_prefix(), key.get(..16).unwrap_or(key))
}

fn finished(database: &Database, seen: SeenSnapshot) -> Result<Snapshot> {
    let Some(taken) = seen.taken else {
        let message = format!("RDS does not say when snapshot {} was taken", seen.id);
        return Err(Error::new(ErrorKind::Corrupt, OPERATION, message).with_effect(Effect::Complete));
    };
    let SeenSnapshot { id, arn, engine, bytes, .. } = seen;
    Ok(Snapshot { database: database.clone(), id, arn, taken, engine, bytes })
}

fn foreign(seen: &SeenSnapshot, database: &Database) -> Error {
    let message = format!("there is a snapshot {} that was not taken here of {database}", seen.id);
    Error::new(ErrorKind::AlreadyExists, OPERATION, message)
        .with("taken of", &seen.source)
        .with("expected tag", tags::KEY)
        .advice("see whose it is, and rename or delete it")
}

/// Takes a snapshot: before a migration whose program is not a `Migrator`, before any other change of data. For those
/// that are there is [`SnapshotBackups`](super::SnapshotBackups). A snapshot is kept when a run is undone.
#[derive(Debug, Clone)]
pub struct SnapshotDatabase(RdsDatabase);

impl SnapshotDatabase {
    /// Of `database`.
    pub fn new(database: &RdsDatabase) -> Self {
        Self(database.clone())
    }
}

#[async_trait]
impl Step for SnapshotDatabase {
    type Input = ();
    type Output = Snapshot;
    type Undo = NoUndo;

    fn kind(&self) -> &'static str {
        "snapshot database"
    }

    fn effect_class(&self) -> EffectClass {
        EffectClass::Keyed
    }

    async fn plan(&self, cx: &Context, _input: Planned<()>) -> Result<StepPlan<Snapshot>> {
        let database = &self.0.database;
        let seen = Calls::of(&self.0, (cx, OPERATION)).await?.existing(database).await?;
        let change = Change::new(World::Database, format!("{database} snapshot"), Action::Create, seen.engine());
        let plan = StepPlan::changing(vec![change]);
        Ok(match seen.state() {
            State::Ready => plan,
            _ => plan.warning(format!("{database} is `{}` now; a snapshot needs `available`", seen.status())),
        })
    }

    async fn apply(&self, cx: &Context, _input: ()) -> Result<Applied<Snapshot, NoUndo>> {
        let key = key::of_effect(cx, self.0.database.name()).to_hex();
        let snapshot = self.0.snapshot(cx, &key).await?;
        cx.evidence("snapshot", vec![snapshot.to_string()]);
        Ok(Applied::new(snapshot))
    }
}
