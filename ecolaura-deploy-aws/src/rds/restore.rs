//! Restoring a database beside the one that it is to replace.

use std::sync::Arc;

use async_trait::async_trait;
use ecolaura_deploy_core::{
    Context, Effect, Error, ErrorKind, Result,
    plan::{Action, Change, World},
    step::{Applied, EffectClass, Planned, Probed, Step, StepPlan, UndoData, Undoer},
    vocabulary::Digest,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    calls::{Asked, Calls, mark, marks},
    database::{Database, RdsDatabase},
    making::Source,
    restored::{Pair, Placed, RestorePoint, Restored},
    seen::Seen,
    tags,
    wait::{State, stuck, waiting},
};
use crate::{Account, Scope, access::Grant, key};

const OPERATION: &str = "rds.restore";

/// Restores a database beside the one that it is to replace, in the same subnets and with the same security groups,
/// parameter group, class and tags. RDS would give it the account's defaults. Nobody uses it yet: [`SwitchDatabase`] lets it
/// take the name.
///
/// A cluster of Aurora gets members like those of the old one, and its range of capacity if it is serverless. Those of a
/// Multi-AZ cluster RDS makes by itself, and they keep the names that it gives them. What RDS leaves behind, such as the
/// secret of a master password that it manages, the plan warns of.
///
/// Restored once for a run, however often it is tried. Undone by deleting what was restored, unless it has had the name
/// that programs know: then it may hold what nothing else holds.
///
/// [`SwitchDatabase`]: super::SwitchDatabase
#[derive(Debug, Clone)]
pub struct RestoreDatabase(RdsDatabase);

/// What was restored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreUndo {
    database: Database,
    key: String,
}

impl UndoData for RestoreUndo {
    const KIND: &'static str = "restored RDS database";
}

impl RestoreDatabase {
    /// Beside `database`.
    pub fn new(database: &RdsDatabase) -> Self {
        Self(database.clone())
    }

    /// What restoring takes, undoing included. Of a cluster, for members whose names begin with its own. A database that
    /// is encrypted with a key of your own takes `kms:CreateGrant` and `kms:DescribeKey` on it too.
    pub fn grants(&self, scope: &Scope) -> Vec<Grant> {
        let old = &self.0.database;
        let [from_snapshot, to_time] = restoring(old);
        let mut grants = vec![
            Grant::new(describing(old), [old.arn(scope)]),
            Grant::new(
                [&describing(old)[..], &making(old), &["rds:AddTagsToResource"]].concat(),
                [old.any_beside("new").arn(scope)],
            ),
            Grant::new([from_snapshot], [old.snapshot_arn(scope, &format!("{}*", old.snapshot_prefix()))]),
            Grant::new([to_time], [old.arn(scope)]),
            Grant::new([from_snapshot, to_time], groups(old, scope)),
        ];
        if let Database::Cluster(name) = old {
            let member = |name: String| Database::Instance(name).arn(scope);
            grants.push(Grant::new(["rds:DescribeDBInstances"], [member(format!("{name}-*"))]));
            let own = ["rds:AddTagsToResource", "rds:CreateDBInstance", "rds:DeleteDBInstance"];
            grants.push(Grant::new(own, [member(format!("{name}-*-new-*"))]));
            grants.push(Grant::new(["rds:CreateDBInstance"], [old.any_beside("new").arn(scope)]));
            grants.push(Grant::new(["rds:CreateDBInstance"], groups(&Database::Instance(name.clone()), scope)));
        }
        grants
    }
}

/// The groups that IAM asks for beside a database that is made. Which they are, the old one's, is not known yet.
fn groups(database: &Database, scope: &Scope) -> [String; 3] {
    let parameters = match database {
        Database::Instance(_) => "pg",
        Database::Cluster(_) => "cluster-pg",
    };
    [parameters, "og", "subgrp"].map(|kind| scope.arn("rds", format_args!("{kind}:*")))
}

fn describing(database: &Database) -> [&'static str; 1] {
    match database {
        Database::Instance(_) => ["rds:DescribeDBInstances"],
        Database::Cluster(_) => ["rds:DescribeDBClusters"],
    }
}

fn restoring(database: &Database) -> [&'static str; 2] {
    match database {
        Database::Instance(_) => ["rds:RestoreDBInstanceFromDBSnapshot", "rds:RestoreDBInstanceToPointInTime"],
        Database::Cluster(_) => ["rds:RestoreDBClusterFromSnapshot", "rds:RestoreDBClusterToPointInTime"],
    }
}

fn making(database: &Database) -> [&'static str; 3] {
    let [from_snapshot, to_time] = restoring(database);
    match database {
        Database::Instance(_) => [from_snapshot, to_time, "rds:DeleteDBInstance"],
        Database::Cluster(_) => [from_snapshot, to_time, "rds:DeleteDBCluster"],
    }
}

/// The time that `point` means; `InvalidInput` or `NotFound` if the database cannot be brought back to it.
pub(super) fn resolve(point: &RestorePoint, old: &Seen) -> Result<Timestamp> {
    let (name, latest) = (old.database(), old.latest());
    match (point, latest) {
        (RestorePoint::Snapshot(snapshot), _) if snapshot.database != name => Err(Error::invalid(
            OPERATION,
            format!("snapshot {} is of {}, not of {name}", snapshot.id, snapshot.database),
        )),
        (RestorePoint::Snapshot(snapshot), _) => Ok(snapshot.taken),
        (RestorePoint::Time(time), Some(latest)) if *time > latest => Err(Error::invalid(
            OPERATION,
            format!("{name} cannot be brought back to {time} yet, the newest is {latest}"),
        )
        .advice("RDS keeps up to a few minutes ago; ask for an older time, or again a little later")),
        (RestorePoint::Time(time), Some(_)) => Ok(*time),
        (RestorePoint::Latest, Some(latest)) => Ok(latest),
        (RestorePoint::Time(_) | RestorePoint::Latest, None) => {
            let message = format!("{name} has no automated backups to restore from");
            Err(Error::new(ErrorKind::NotFound, OPERATION, message).advice("restore a snapshot"))
        }
    }
}

/// One restore.
struct Restoring<'a> {
    calls: Calls<'a>,
    of: &'a RdsDatabase,
    key: Digest,
    old: Seen,
}

impl Restoring<'_> {
    /// The tags of what is made like `old`.
    fn marks(&self, old: &Seen, point: Timestamp) -> Vec<aws_sdk_rds::types::Tag> {
        let mut marks = marks(self.calls.cx, &self.of.database, &self.key.to_hex());
        marks.push(mark(tags::POINT, &point.to_string()));
        marks.extend(old.own_tags());
        marks
    }

    /// Looks once, however long it takes until there is an answer.
    async fn look<T, F>(&self, look: impl Fn() -> F + Send + Sync) -> Result<T>
    where
        T: Send,
        F: Future<Output = Result<T>> + Send,
    {
        waiting(&self.calls, self.of).look(look).await
    }

    /// Waits until `database`, which is or comes to be ours, is available; begins it by `begin` while it is not there.
    async fn made<F>(&self, database: &Database, begin: impl Fn() -> F + Send + Sync) -> Result<Seen>
    where
        F: Future<Output = Result<Asked>> + Send,
    {
        let mut wait = waiting(&self.calls, self.of);
        loop {
            let status = match wait.look(|| self.calls.find(database)).await? {
                None => match wait.heard(begin().await).await? {
                    Some(asked) => asked.status("begun"),
                    None => continue,
                },
                Some(seen) if seen.tag(tags::KEY) != Some(&self.key.to_hex()) => return Err(foreign(&seen)),
                Some(seen) => match seen.state() {
                    State::Ready => return Ok(seen),
                    State::Passing => seen.status().to_owned(),
                    State::Stuck => {
                        return Err(stuck(OPERATION, database, seen.status()).with_effect(Effect::Partial));
                    }
                },
            };
            wait.pause(&database.to_string(), &status).await?;
        }
    }

    async fn run(&self, point: &RestorePoint) -> Result<Restored> {
        self.restored(point).await.map_err(|error| self.calls.behind(error))
    }

    async fn restored(&self, point: &RestorePoint) -> Result<Restored> {
        let name = self.of.database.beside("new", &self.key);
        // An attempt before may have asked for an earlier "latest".
        let time = match self.look(|| self.calls.find(&name)).await?.as_ref().and_then(|seen| seen.tag(tags::POINT)) {
            Some(time) => time.parse().map_err(|error| {
                Error::new(ErrorKind::Corrupt, OPERATION, format!("{name} has a tag that is no time"))
                    .with_source(error)
            })?,
            None => resolve(point, &self.old)?,
        };
        let source = match point {
            RestorePoint::Snapshot(snapshot) => Source::Snapshot { id: &snapshot.id, arn: &snapshot.arn },
            RestorePoint::Time(_) | RestorePoint::Latest => Source::Time(time),
        };
        let new = self
            .made(&name, || self.calls.restore(source, &self.old, name.name(), self.marks(&self.old, time)))
            .await?;
        let members = self.members(&name, time).await?;
        // Members have come since.
        let new = if members.is_empty() { new } else { self.look(|| self.calls.existing(&name)).await? };
        Ok(Restored {
            endpoint: new.endpoint(OPERATION)?,
            new: placed(&new),
            old: placed(&self.old),
            aside: self.of.database.beside("old", &self.key),
            members,
            point: time,
            protected: self.old.is_protected(),
        })
    }

    /// A restored cluster of Aurora has no members: as many are made, each like the one of the old cluster.
    async fn members(&self, cluster: &Database, point: Timestamp) -> Result<Vec<Pair>> {
        let mut pairs = Vec::new();
        for member in self.old.members() {
            let database = Database::Instance(member.clone());
            let old = self.look(|| self.calls.existing(&database)).await?;
            let Seen::Instance(like) = &old else { continue };
            // Long names are cut where those of members are the same.
            let key = Digest::of(format!("{}\n{member}", self.key.to_hex()));
            let name = database.beside("new", &key);
            let begin = || self.calls.join(cluster.name(), like, name.name(), self.marks(&old, point));
            let new = self.made(&name, begin).await?;
            pairs.push(Pair { old: placed(&old), new: placed(&new) });
        }
        Ok(pairs)
    }
}

fn placed(seen: &Seen) -> Placed {
    Placed { database: seen.database(), identity: seen.identity() }
}

fn foreign(seen: &Seen) -> Error {
    let message = format!("there is {} that was not restored by this run", seen.database());
    Error::new(ErrorKind::AlreadyExists, OPERATION, message).advice("see whose it is, and rename it")
}

#[async_trait]
impl Step for RestoreDatabase {
    type Input = RestorePoint;
    type Output = Restored;
    type Undo = RestoreUndo;

    fn kind(&self) -> &'static str {
        "restore database"
    }

    /// Not `Keyed`: once the switch is done, there is nothing to plan again.
    fn effect_class(&self) -> EffectClass {
        EffectClass::Probed
    }

    async fn plan(&self, cx: &Context, point: Planned<RestorePoint>) -> Result<StepPlan<Restored>> {
        let database = &self.0.database;
        let old = Calls::of(&self.0, (cx, OPERATION)).await?.existing(database).await?;
        let reason = match &point {
            Planned::Known(point) => {
                resolve(point, &old)?;
                point.to_string()
            }
            Planned::After(_) => point.reason().unwrap_or_default(),
        };
        let change = Change::new(World::Database, format!("{database} restored"), Action::Create, reason);
        let settings = old.settings().into_iter().map(|(name, value)| format!("{name}: {value}"));
        let plan = StepPlan::changing(vec![settings.fold(change, Change::detail)]);
        let left = old.left_behind().into_iter().map(|what| format!("RDS does not restore {what}"));
        Ok(left.fold(plan, StepPlan::warning))
    }

    async fn prepare(&self, cx: &Context, _point: &RestorePoint) -> Result<Option<RestoreUndo>> {
        let key = key::of_effect(cx, self.0.database.name());
        Ok(Some(RestoreUndo { database: self.0.database.beside("new", &key), key: key.to_hex() }))
    }

    async fn apply(&self, cx: &Context, point: RestorePoint) -> Result<Applied<Restored, RestoreUndo>> {
        let calls = Calls::of(&self.0, (cx, OPERATION)).await?;
        let old = waiting(&calls, &self.0).look(|| calls.existing(&self.0.database)).await?;
        let key = key::of_effect(cx, self.0.database.name());
        let restored = Restoring { calls, of: &self.0, key, old }.run(&point).await?;
        cx.evidence(
            "restored",
            vec![format!("{} at {}, data up to {}", restored.new.database, restored.endpoint, restored.point)],
        );
        Ok(Applied::new(restored))
    }

    async fn probe(&self, cx: &Context, _point: RestorePoint) -> Result<Probed<Restored>> {
        let name = self.0.database.beside("new", &key::of_effect(cx, self.0.database.name()));
        let found = Calls::of(&self.0, (cx, OPERATION)).await?.find(&name).await?;
        Ok(if found.is_some() { Probed::Partial } else { Probed::NotDone })
    }

    fn undoer(&self) -> Option<Arc<dyn Undoer<RestoreUndo>>> {
        Some(Arc::new(Discard(self.0.clone())))
    }
}

#[derive(Debug)]
struct Discard(RdsDatabase);

#[async_trait]
impl Undoer<RestoreUndo> for Discard {
    fn target(&self) -> String {
        target(&self.0.account)
    }

    fn describe(&self, undo: &RestoreUndo) -> String {
        format!("delete {}, which nobody has used", undo.database)
    }

    async fn undo(&self, cx: &Context, undo: RestoreUndo) -> Result<()> {
        let calls = Calls::of(&self.0, (cx, "rds.discard")).await?;
        discard(&calls, (&undo.database, &undo.key), &self.0).await
    }
}

pub(super) fn target(account: &Account) -> String {
    format!("RDS in {}", account.region())
}

/// Takes away what was restored under `key`; nothing else that has the name by now, and nothing that has served.
pub(super) async fn discard(calls: &Calls<'_>, (database, key): (&Database, &str), of: &RdsDatabase) -> Result<()> {
    let Some(seen) = calls.find(database).await? else { return Ok(()) };
    if seen.tag(tags::KEY) != Some(key) {
        return Ok(());
    }
    if seen.tag(tags::SERVED).is_some() {
        calls.cx.warn(format!("{database} has been in use and may hold what nothing else holds: it stays"));
        return Ok(());
    }
    for member in seen.members() {
        delete(calls, &Database::Instance(member), of).await?;
    }
    delete(calls, database, of).await
}

/// RDS goes on with the deletion by itself; one that is busy is waited for.
async fn delete(calls: &Calls<'_>, database: &Database, of: &RdsDatabase) -> Result<()> {
    let mut wait = waiting(calls, of);
    loop {
        let Some(seen) = wait.look(|| calls.find(database)).await? else { return Ok(()) };
        if seen.status() == "deleting" {
            return Ok(());
        }
        match wait.heard(calls.delete(database).await).await? {
            Some(busy @ Asked::Busy(_)) => wait.pause(&database.to_string(), &busy.status(seen.status())).await?,
            Some(_) => return Ok(()),
            None => {}
        }
    }
}
