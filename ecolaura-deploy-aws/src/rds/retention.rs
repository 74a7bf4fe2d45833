//! Taking away what this crate made and nobody needs.

use std::{collections::BTreeSet, fmt, time::Duration};

use async_trait::async_trait;
use ecolaura_deploy_core::{
    Context, Result,
    backend::{Inspect, Leftover},
    vocabulary::Name,
};
use jiff::Timestamp;

use super::{
    calls::{Calls, SeenSnapshot},
    database::{Database, RdsDatabase},
    restore::discard,
    seen::Seen,
    snapshot::id,
    tags,
};
use crate::{Scope, access::Grant};

/// How many snapshots are kept.
const KEEP: usize = 5;

/// How old a thing must be that a run may still be about.
const GRACE: Duration = Duration::from_hours(24);

/// Finds the snapshots of a database that were taken here, beyond the newest ones, those that RDS failed to take, and
/// databases that were restored beside it and never had its name. What has no tag of ours, and what has served, is not
/// touched. For core's `Doctor`, or [`RdsRetention::apply`] at the end of a release.
pub struct RdsRetention {
    name: Name,
    database: RdsDatabase,
    keep: usize,
    grace: Duration,
}

/// One thing, and how to take it away.
struct Old {
    leftover: Leftover,
    what: What,
}

enum What {
    Snapshot(String),
    Restored(Database, String),
}

impl RdsRetention {
    /// What was made of and beside `database`; `name` is for findings. The newest 5 snapshots are kept, and everything
    /// that is younger than a day.
    pub fn new(name: Name, database: &RdsDatabase) -> Self {
        Self { name, database: database.clone(), keep: KEEP, grace: GRACE }
    }

    /// Keeps the newest `snapshots`, at least one.
    pub fn keep(self, snapshots: usize) -> Self {
        Self { keep: snapshots.max(1), ..self }
    }

    /// Keeps everything that is younger than `grace`.
    pub fn grace(self, grace: Duration) -> Self {
        Self { grace, ..self }
    }

    /// Takes away what is too old; how many things that were. Idempotent.
    pub async fn apply(&self, cx: &Context) -> Result<usize> {
        let calls = Calls::of(&self.database, (cx, "rds.retention")).await?;
        let found = self.old(&calls).await?;
        for old in &found {
            self.take_away(&calls, &old.what).await?;
        }
        Ok(found.len())
    }

    /// What finding and taking away takes.
    pub fn grants(&self, scope: &Scope) -> Vec<Grant> {
        let database = &self.database.database;
        let (describe, snapshots, delete, forget) = match database {
            Database::Instance(_) => {
                ("rds:DescribeDBInstances", "rds:DescribeDBSnapshots", "rds:DeleteDBInstance", "rds:DeleteDBSnapshot")
            }
            Database::Cluster(_) => (
                "rds:DescribeDBClusters",
                "rds:DescribeDBClusterSnapshots",
                "rds:DeleteDBCluster",
                "rds:DeleteDBClusterSnapshot",
            ),
        };
        let restored = database.any_beside("new");
        let mut grants = vec![
            Grant::new([describe], [database.named("*").arn(scope)]),
            Grant::new([snapshots], [database.arn(scope)]),
            Grant::new([delete], [restored.arn(scope)]),
            Grant::new([forget], [database.snapshot_arn(scope, &format!("{}*", database.snapshot_prefix()))]),
        ];
        if let Database::Cluster(name) = database {
            let members = Database::Instance(format!("{name}-*-new-*")).arn(scope);
            grants.push(Grant::new(["rds:DescribeDBInstances", "rds:DeleteDBInstance"], [members]));
        }
        grants
    }

    async fn old(&self, calls: &Calls<'_>) -> Result<Vec<Old>> {
        let database = &self.database.database;
        let mut snapshots = calls.snapshots(database).await?;
        snapshots.retain(|seen| seen.tag(tags::DATABASE) == Some(database.name()) && is_taken_here(seen, database));
        let now = calls.cx.clock().now();
        let mut old: Vec<_> = surplus(snapshots, self.keep).into_iter().filter(|old| self.is_due(old, now)).collect();
        let restored = calls.restored_beside(database).await?.into_iter();
        old.extend(restored.filter_map(|seen| unused(&seen, database)).filter(|old| self.is_due(old, now)));
        Ok(old)
    }

    fn is_due(&self, old: &Old, now: Timestamp) -> bool {
        let age = old.leftover.since.map(|since| now.duration_since(since));
        age.is_some_and(|age| Duration::try_from(age).is_ok_and(|age| age >= self.grace))
    }

    async fn take_away(&self, calls: &Calls<'_>, what: &What) -> Result<()> {
        match what {
            What::Snapshot(id) => calls.forget(&self.database.database, id).await,
            What::Restored(database, key) => discard(calls, (database, key), &self.database).await,
        }
    }
}

/// Whether it has the name that its key gives. Tags alone say little: RDS copies those of a restored database to the
/// snapshots that anybody takes of it, and to databases that are restored from those.
fn is_taken_here(seen: &SeenSnapshot, database: &Database) -> bool {
    seen.tag(tags::KEY).is_some_and(|key| seen.id.starts_with(&id(database, key, 1)))
}

/// The snapshots beyond the newest `keep` that can be restored.
fn surplus(mut snapshots: Vec<SeenSnapshot>, keep: usize) -> Vec<Old> {
    snapshots.sort_by_key(|seen| std::cmp::Reverse(seen.taken));
    let whole = snapshots.iter().filter(|seen| seen.status == "available").take(keep);
    let kept: BTreeSet<_> = whole.map(|seen| seen.id.clone()).collect();
    let surplus = snapshots.into_iter().filter(|seen| !kept.contains(&seen.id));
    surplus
        .filter_map(|seen| {
            let found = match seen.status.as_str() {
                "available" => format!("the {keep} newest are kept; it costs as much as it holds"),
                "failed" => "RDS failed to take it".to_owned(),
                _ => return None,
            };
            let leftover = Leftover::new("RDS snapshot", &seen.id, found, "delete the snapshot").bytes(seen.bytes);
            let leftover = seen.taken.iter().fold(leftover, |leftover, taken| leftover.since(*taken));
            Some(Old { leftover, what: What::Snapshot(seen.id) })
        })
        .collect()
}

/// A restored database that never had the name of the one that it was to replace.
fn unused(seen: &Seen, beside: &Database) -> Option<Old> {
    let (database, key) = (seen.database(), seen.tag(tags::KEY)?.to_owned());
    if database != beside.beside_with("new", key.get(..8)?)
        || seen.tag(tags::SERVED).is_some()
        || seen.status() == "deleting"
    {
        return None;
    }
    let found = "it was restored by a run that did not switch to it; it costs as a database does";
    let leftover = Leftover::new("restored database", database.to_string(), found, "delete the database");
    let leftover = seen.since().into_iter().fold(leftover, Leftover::since);
    Some(Old { leftover, what: What::Restored(database, key) })
}

impl fmt::Debug for RdsRetention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RdsRetention").field("database", &self.database.database).finish_non_exhaustive()
    }
}

#[async_trait]
impl Inspect for RdsRetention {
    fn name(&self) -> &Name {
        &self.name
    }

    async fn leftovers(&self, cx: &Context) -> Result<Vec<Leftover>> {
        let calls = Calls::of(&self.database, (cx, "rds.inspect")).await?;
        Ok(self.old(&calls).await?.into_iter().map(|old| old.leftover).collect())
    }

    async fn clean(&self, cx: &Context, leftover: &Leftover) -> Result<()> {
        let calls = Calls::of(&self.database, (cx, "rds.clean")).await?;
        let same = |old: &Old| old.leftover.kind == leftover.kind && old.leftover.object == leftover.object;
        match self.old(&calls).await?.iter().find(|old| same(old)) {
            Some(old) => self.take_away(&calls, &old.what).await,
            None => Ok(()),
        }
    }
}
