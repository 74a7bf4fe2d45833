//! The calls that look at databases, and those on snapshots.

use std::sync::atomic::{AtomicBool, Ordering};

use aws_sdk_rds::{
    Client,
    operation::{
        create_db_cluster_snapshot::CreateDBClusterSnapshotError as ClusterSnapshotError,
        create_db_snapshot::CreateDBSnapshotError, delete_db_cluster_snapshot::DeleteDBClusterSnapshotError,
        delete_db_snapshot::DeleteDBSnapshotError, describe_db_cluster_snapshots::DescribeDBClusterSnapshotsError,
        describe_db_clusters::DescribeDBClustersError, describe_db_instances::DescribeDBInstancesError,
        describe_db_snapshots::DescribeDBSnapshotsError,
    },
    types::{DbClusterSnapshot, DbSnapshot, Tag},
};
use aws_smithy_runtime_api::client::{orchestrator::HttpResponse, result::SdkError};
use ecolaura_deploy_core::{Context, Effect, Error, ErrorKind, Result};
use jiff::Timestamp;

use super::{
    database::{Database, RdsDatabase},
    seen::{Seen, tag, timestamp},
    tags,
};
use crate::{Account, Scope, called::implied, error::Call};

/// What came of asking RDS for something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    /// It begins.
    Begun,
    /// There is one of that name.
    Exists,
    /// Not now, and why not: as a rule something else goes on, but RDS says the same of some things that will never be.
    Busy(String),
}

impl Asked {
    /// How the thing is now, if it is `begun` once RDS begins.
    pub(super) fn status(self, begun: &str) -> String {
        match self {
            Self::Begun => begun.to_owned(),
            Self::Exists => "there already".to_owned(),
            Self::Busy(why) => format!("busy: {why}"),
        }
    }
}

/// What a refusal means.
#[derive(Debug, Clone, Copy)]
pub(super) enum Refused {
    /// There is nothing left to do.
    Done,
    Exists,
    Busy,
}

/// A snapshot as RDS describes it.
#[derive(Debug, Clone)]
pub(super) struct SeenSnapshot {
    pub(super) id: String,
    pub(super) arn: String,
    pub(super) status: String,
    pub(super) percent: u64,
    pub(super) taken: Option<Timestamp>,
    pub(super) engine: String,
    pub(super) bytes: u64,
    pub(super) source: String,
    tags: Vec<Tag>,
}

impl SeenSnapshot {
    pub(super) fn tag(&self, key: &str) -> Option<&str> {
        tag(&self.tags, key)
    }

    fn of_instance(seen: DbSnapshot) -> Self {
        let bytes = seen.full_snapshot_size_in_bytes.and_then(|bytes| u64::try_from(bytes).ok());
        Self {
            id: seen.db_snapshot_identifier.unwrap_or_default(),
            arn: seen.db_snapshot_arn.unwrap_or_default(),
            status: seen.status.unwrap_or_default(),
            percent: percent(seen.percent_progress),
            taken: seen.snapshot_database_time.or(seen.snapshot_create_time).as_ref().and_then(timestamp),
            engine: engine(seen.engine.as_deref(), seen.engine_version.as_deref()),
            bytes: bytes.filter(|bytes| *bytes > 0).unwrap_or_else(|| gibibytes(seen.allocated_storage)),
            source: seen.db_instance_identifier.unwrap_or_default(),
            tags: seen.tag_list.unwrap_or_default(),
        }
    }

    fn of_cluster(seen: DbClusterSnapshot) -> Self {
        Self {
            id: seen.db_cluster_snapshot_identifier.unwrap_or_default(),
            arn: seen.db_cluster_snapshot_arn.unwrap_or_default(),
            status: seen.status.unwrap_or_default(),
            percent: percent(seen.percent_progress),
            taken: seen.snapshot_create_time.as_ref().and_then(timestamp),
            engine: engine(seen.engine.as_deref(), seen.engine_version.as_deref()),
            bytes: gibibytes(seen.allocated_storage),
            source: seen.db_cluster_identifier.unwrap_or_default(),
            tags: seen.tag_list.unwrap_or_default(),
        }
    }
}

/// The calls of one operation.
pub(super) struct Calls<'a> {
    pub(super) account: &'a Account,
    pub(super) cx: &'a Context,
    pub(super) operation: &'static str,
    pub(super) client: Client,
    pub(super) scope: Scope,
    /// Whether RDS has begun something.
    begun: AtomicBool,
    /// Whether RDS has answered.
    reached: AtomicBool,
}

impl<'a> Calls<'a> {
    pub(super) async fn new(account: &'a Account, (cx, operation): (&'a Context, &'static str)) -> Result<Self> {
        cx.check(operation)?;
        let scope = account.scope(cx).await?;
        let (client, not_yet) = (Client::new(account.sdk_config()), || AtomicBool::new(false));
        Ok(Self { account, cx, operation, client, scope, begun: not_yet(), reached: not_yet() })
    }

    pub(super) async fn of(database: &'a RdsDatabase, within: (&'a Context, &'static str)) -> Result<Self> {
        Self::new(&database.account, within).await
    }

    pub(super) fn reads(&self, action: &'static str, resource: impl Into<String>) -> Call<'_> {
        self.account.reads((self.cx, self.operation), action, resource)
    }

    pub(super) fn writes(&self, action: &'static str, resource: impl Into<String>) -> Call<'_> {
        self.account.writes((self.cx, self.operation), action, resource)
    }

    /// What came of a call that begins something, by the refusals that `known` knows.
    pub(super) fn asked<T, E>(
        &self,
        call: &Call<'_>,
        answer: std::result::Result<T, SdkError<E, HttpResponse>>,
        known: impl FnOnce(&E) -> Option<Refused>,
    ) -> Result<Asked>
    where
        E: aws_smithy_types::error::metadata::ProvideErrorMetadata + std::error::Error + 'static,
    {
        let Err(error) = answer else {
            self.begun.store(true, Ordering::Relaxed);
            return Ok(Asked::Begun);
        };
        match error.as_service_error().and_then(known) {
            Some(Refused::Done) => Ok(Asked::Begun),
            Some(Refused::Exists) => Ok(Asked::Exists),
            Some(Refused::Busy) => Ok(Asked::Busy(call.words(&error))),
            None => Err(call.failed(&error)),
        }
    }

    /// Whether RDS has answered to one of these calls.
    pub(super) fn have_reached(&self) -> bool {
        self.reached.load(Ordering::Relaxed)
    }

    /// `error` of a call that may itself have done nothing, where those before it have: what was begun has to be undone,
    /// also if it was only looking that failed.
    pub(super) fn behind(&self, error: Error) -> Error {
        match error.effect() {
            Effect::None if self.begun.load(Ordering::Relaxed) => error.with_effect(Effect::Partial),
            _ => error,
        }
    }

    /// The database, if there is one of that name.
    pub(super) async fn find(&self, database: &Database) -> Result<Option<Seen>> {
        let found = self.described(database).await?;
        self.reached.store(true, Ordering::Relaxed);
        Ok(found)
    }

    async fn described(&self, database: &Database) -> Result<Option<Seen>> {
        let arn = database.arn(&self.scope);
        match database {
            Database::Instance(name) => {
                let request = self.client.describe_db_instances().db_instance_identifier(name).send();
                let missing = DescribeDBInstancesError::is_db_instance_not_found_fault;
                let answer = self.reads("rds:DescribeDBInstances", arn).unless(missing, request).await?;
                let found = answer.and_then(|answer| answer.db_instances.unwrap_or_default().into_iter().next());
                Ok(found.map(|found| Seen::Instance(Box::new(found))))
            }
            Database::Cluster(name) => {
                let request = self.client.describe_db_clusters().db_cluster_identifier(name).send();
                let missing = DescribeDBClustersError::is_db_cluster_not_found_fault;
                let answer = self.reads("rds:DescribeDBClusters", arn).unless(missing, request).await?;
                let found = answer.and_then(|answer| answer.db_clusters.unwrap_or_default().into_iter().next());
                Ok(found.map(|found| Seen::Cluster(Box::new(found))))
            }
        }
    }

    /// The database, which must be there.
    pub(super) async fn existing(&self, database: &Database) -> Result<Seen> {
        self.find(database).await?.ok_or_else(|| {
            let message = format!("there is no {database} in {}", self.scope.region);
            Error::new(ErrorKind::NotFound, self.operation, message).with("account", &self.scope.account)
        })
    }

    /// Every database of this kind that was restored beside `database`.
    pub(super) async fn restored_beside(&self, database: &Database) -> Result<Vec<Seen>> {
        let all = database.named("*").arn(&self.scope);
        let mut found: Vec<Seen> = Vec::new();
        let mut next = None;
        loop {
            next = match database {
                Database::Instance(_) => {
                    let request = self.client.describe_db_instances().set_marker(next).send();
                    let page = self.reads("rds:DescribeDBInstances", &all).send(request).await?;
                    let page_found = page.db_instances.unwrap_or_default().into_iter();
                    found.extend(page_found.map(|seen| Seen::Instance(Box::new(seen))));
                    page.marker
                }
                Database::Cluster(_) => {
                    let request = self.client.describe_db_clusters().set_marker(next).send();
                    let page = self.reads("rds:DescribeDBClusters", &all).send(request).await?;
                    let page_found = page.db_clusters.unwrap_or_default().into_iter();
                    found.extend(page_found.map(|seen| Seen::Cluster(Box::new(seen))));
                    page.marker
                }
            };
            if next.is_none() {
                found.retain(|seen| seen.tag(tags::DATABASE) == Some(database.name()));
                return Ok(found);
            }
        }
    }

    /// The snapshot `id` of a database like `database`, if there is one.
    pub(super) async fn snapshot(&self, database: &Database, id: &str) -> Result<Option<SeenSnapshot>> {
        let arn = database.snapshot_arn(&self.scope, id);
        match database {
            Database::Instance(_) => {
                let request = self.client.describe_db_snapshots().db_snapshot_identifier(id).send();
                let missing = DescribeDBSnapshotsError::is_db_snapshot_not_found_fault;
                let answer = self.reads("rds:DescribeDBSnapshots", arn).unless(missing, request).await?;
                let found = answer.and_then(|answer| answer.db_snapshots.unwrap_or_default().into_iter().next());
                Ok(found.map(SeenSnapshot::of_instance))
            }
            Database::Cluster(_) => {
                let request = self.client.describe_db_cluster_snapshots().db_cluster_snapshot_identifier(id).send();
                let missing = DescribeDBClusterSnapshotsError::is_db_cluster_snapshot_not_found_fault;
                let answer = self.reads("rds:DescribeDBClusterSnapshots", arn).unless(missing, request).await?;
                let found =
                    answer.and_then(|answer| answer.db_cluster_snapshots.unwrap_or_default().into_iter().next());
                Ok(found.map(SeenSnapshot::of_cluster))
            }
        }
    }

    /// The snapshots of `database` that were made on purpose, by anybody.
    pub(super) async fn snapshots(&self, database: &Database) -> Result<Vec<SeenSnapshot>> {
        let arn = database.arn(&self.scope);
        let (mut found, mut next) = (Vec::new(), None);
        loop {
            next = match database {
                Database::Instance(name) => {
                    let request = self.client.describe_db_snapshots().db_instance_identifier(name);
                    let request = request.snapshot_type("manual").set_marker(next).send();
                    let page = self.reads("rds:DescribeDBSnapshots", &arn).send(request).await?;
                    found.extend(page.db_snapshots.unwrap_or_default().into_iter().map(SeenSnapshot::of_instance));
                    page.marker
                }
                Database::Cluster(name) => {
                    let request = self.client.describe_db_cluster_snapshots().db_cluster_identifier(name);
                    let request = request.snapshot_type("manual").set_marker(next).send();
                    let page = self.reads("rds:DescribeDBClusterSnapshots", &arn).send(request).await?;
                    let page_found = page.db_cluster_snapshots.unwrap_or_default().into_iter();
                    found.extend(page_found.map(SeenSnapshot::of_cluster));
                    page.marker
                }
            };
            if next.is_none() {
                return Ok(found);
            }
        }
    }

    /// Begins the snapshot `id` of `database`.
    pub(super) async fn take(&self, database: &Database, id: &str, tags: Vec<Tag>) -> Result<Asked> {
        let arn = database.snapshot_arn(&self.scope, id);
        let source = database.arn(&self.scope);
        implied("rds:AddTagsToResource", &arn);
        match database {
            Database::Instance(name) => {
                implied("rds:CreateDBSnapshot", &source);
                let request = self.client.create_db_snapshot().db_instance_identifier(name);
                let request = request.db_snapshot_identifier(id).set_tags(Some(tags)).send();
                let call = self.writes("rds:CreateDBSnapshot", arn);
                self.asked(&call, call.attempt(request).await?, |error| match error {
                    CreateDBSnapshotError::DbSnapshotAlreadyExistsFault(_) => Some(Refused::Exists),
                    CreateDBSnapshotError::InvalidDbInstanceStateFault(_) => Some(Refused::Busy),
                    _ => None,
                })
            }
            Database::Cluster(name) => {
                implied("rds:CreateDBClusterSnapshot", &source);
                let request = self.client.create_db_cluster_snapshot().db_cluster_identifier(name);
                let request = request.db_cluster_snapshot_identifier(id).set_tags(Some(tags)).send();
                let call = self.writes("rds:CreateDBClusterSnapshot", arn);
                self.asked(&call, call.attempt(request).await?, |error| match error {
                    ClusterSnapshotError::DbClusterSnapshotAlreadyExistsFault(_) => Some(Refused::Exists),
                    ClusterSnapshotError::InvalidDbClusterStateFault(_)
                    | ClusterSnapshotError::InvalidDbClusterSnapshotStateFault(_) => Some(Refused::Busy),
                    _ => None,
                })
            }
        }
    }

    /// Takes the snapshot `id` away; what is gone is success.
    pub(super) async fn forget(&self, database: &Database, id: &str) -> Result<()> {
        let arn = database.snapshot_arn(&self.scope, id);
        match database {
            Database::Instance(_) => {
                let request = self.client.delete_db_snapshot().db_snapshot_identifier(id).send();
                let gone = DeleteDBSnapshotError::is_db_snapshot_not_found_fault;
                self.writes("rds:DeleteDBSnapshot", arn).unless(gone, request).await.map(drop)
            }
            Database::Cluster(_) => {
                let request = self.client.delete_db_cluster_snapshot().db_cluster_snapshot_identifier(id).send();
                let gone = DeleteDBClusterSnapshotError::is_db_cluster_snapshot_not_found_fault;
                self.writes("rds:DeleteDBClusterSnapshot", arn).unless(gone, request).await.map(drop)
            }
        }
    }
}

/// The tags of what is made for `database` under `key`.
pub(super) fn marks(cx: &Context, database: &Database, key: &str) -> Vec<Tag> {
    let pairs = [(tags::KEY, key), (tags::DATABASE, database.name()), (tags::RUN, cx.run_id())];
    pairs.into_iter().map(|(key, value)| mark(key, value)).collect()
}

pub(super) fn mark(key: &str, value: &str) -> Tag {
    Tag::builder().key(key).value(value).build()
}

fn engine(engine: Option<&str>, version: Option<&str>) -> String {
    format!("{} {}", engine.unwrap_or("unknown"), version.unwrap_or("unknown"))
}

fn percent(percent: Option<i32>) -> u64 {
    percent.and_then(|percent| percent.try_into().ok()).unwrap_or_default()
}

fn gibibytes(size: Option<i32>) -> u64 {
    size.and_then(|size| u64::try_from(size).ok()).unwrap_or_default() << 30
}
