//! Snapshots as the backups of a migrator.

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;
use ecolaura_deploy_core::{
    Context, Error, ErrorKind, Result,
    backend::{Backup, BackupLevel, DataCheck, Measurements, MigrationPlan, MigrationReport, Migrator},
    vocabulary::{MigrationVersion, Name},
};

use super::database::RdsDatabase;

/// A migrator of a database of RDS whose backups are snapshots: core's `BackupDatabase` takes one before a migration, and
/// `Migrate` cannot forget it. Everything else the migrator does itself.
///
/// A snapshot is proven to [`BackupLevel::Readable`]: RDS finished it, and tells its engine and size. More is proven by
/// restoring it, which takes as long as it takes: [`RestoreDatabase`](super::RestoreDatabase) and
/// [`VerifyDatabase`](super::VerifyDatabase) without a switch behind them. A `BackupDatabase` that asks for more is refused
/// with `Unsupported` in its plan.
#[derive(Debug, Clone)]
pub struct SnapshotBackups {
    migrator: Arc<dyn Migrator>,
    database: RdsDatabase,
}

impl SnapshotBackups {
    /// `migrator`, backed up by snapshots of `database`.
    pub fn new(migrator: Arc<dyn Migrator>, database: &RdsDatabase) -> Self {
        Self { migrator, database: database.clone() }
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Migrator for SnapshotBackups {
    fn name(&self) -> &Name {
        self.migrator.name()
    }

    fn fences(&self) -> bool {
        self.migrator.fences()
    }

    fn proves(&self) -> BackupLevel {
        BackupLevel::Readable
    }

    async fn plan(&self, cx: &Context) -> Result<MigrationPlan> {
        self.migrator.plan(cx).await
    }

    async fn migrate(&self, cx: &Context, target: MigrationVersion) -> Result<MigrationReport> {
        self.migrator.migrate(cx, target).await
    }

    async fn revert(&self, cx: &Context, target: MigrationVersion) -> Result<MigrationReport> {
        self.migrator.revert(cx, target).await
    }

    async fn backup(&self, cx: &Context, key: &str, level: BackupLevel) -> Result<Backup> {
        if level > self.proves() {
            let message = format!("a snapshot of {} is not proven to `{level:?}`", self.database.database);
            return Err(Error::new(ErrorKind::Unsupported, "rds.backup", message)
                .advice("ask for `Readable`, and restore it beside the database by steps of their own"));
        }
        let head = self.migrator.plan(cx).await?.head();
        let snapshot = self.database.snapshot(cx, key).await?;
        Ok(Backup::new(key, snapshot.arn, None, snapshot.bytes, BackupLevel::Readable, head))
    }

    async fn restore(&self, _cx: &Context, backup: &Backup) -> Result<PathBuf> {
        let message = format!("`{}` cannot be put in the place of {}", backup.location, self.database.database);
        Err(Error::new(ErrorKind::Unsupported, "rds.restore", message)
            .advice("RDS restores beside it: use `RestoreDatabase`, `VerifyDatabase` and `SwitchDatabase`"))
    }

    async fn measure(&self, cx: &Context, checks: &[DataCheck]) -> Result<Measurements> {
        self.migrator.measure(cx, checks).await
    }
}
