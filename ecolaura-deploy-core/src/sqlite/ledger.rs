//! sqlx's ledger, and what is kept beside it.
//!
//! `_sqlx_migrations` is exactly sqlx's. `_ecolaura_down` has the SQL that goes down, bound to the ledger's row that it
//! was kept for: if another tool reverted and applied the version again, it no longer counts. `_ecolaura_resolutions`
//! has who ended a dirty state and why. `_ecolaura_fence` has the newest epoch of each environment that changed the
//! database; it is made by the first one.

use std::{collections::BTreeMap, time::Duration};

use sqlx::{
    Row as _, SqliteConnection,
    sqlite::{SqliteArguments, SqliteRow},
};

use super::{connection::Work, fence::Epochs};
use crate::{
    Error, ErrorKind, Result,
    fence::admit,
    migration::{Entry, LedgerRow},
    vocabulary::{MigrationChecksum, MigrationVersion},
};

const TABLES: &str = "\
CREATE TABLE IF NOT EXISTS _sqlx_migrations (
    version BIGINT PRIMARY KEY,
    description TEXT NOT NULL,
    installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    success BOOLEAN NOT NULL,
    checksum BLOB NOT NULL,
    execution_time BIGINT NOT NULL
);
CREATE TABLE IF NOT EXISTS _ecolaura_down (
    version BIGINT PRIMARY KEY,
    installed_on TIMESTAMP NOT NULL,
    checksum BLOB NOT NULL,
    sql TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS _ecolaura_resolutions (
    version BIGINT NOT NULL,
    resolution TEXT NOT NULL,
    reason TEXT NOT NULL,
    resolved_at TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
);";

const FENCE: &str = "\
CREATE TABLE IF NOT EXISTS _ecolaura_fence (
    environment TEXT PRIMARY KEY NOT NULL,
    epoch INTEGER NOT NULL
);";

type Change<'q> = sqlx::query::Query<'q, sqlx::Sqlite, SqliteArguments>;

/// A connection that reads and writes the ledger.
pub(super) struct Ledger<'a> {
    work: Work<'a>,
    connection: &'a mut SqliteConnection,
}

impl<'a> Ledger<'a> {
    pub(super) fn new(work: Work<'a>, connection: &'a mut SqliteConnection) -> Self {
        Self { work, connection }
    }

    /// Creates the tables that are missing.
    pub(super) async fn create(&mut self) -> Result<()> {
        self.work.execute(self.connection, TABLES).await
    }

    async fn has(&mut self, table: &str) -> Result<bool> {
        let sql = "SELECT COUNT(*) FROM sqlite_master WHERE type = 'table' AND name = ?";
        let count: Result<i64, _> = sqlx::query_scalar(sql).bind(table).fetch_one(&mut *self.connection).await;
        count.map(|count| count > 0).map_err(|error| self.work.classify(error))
    }

    /// Its rows, by version; none if there is no ledger.
    pub(super) async fn rows(&mut self) -> Result<Vec<LedgerRow>> {
        if !self.has("_sqlx_migrations").await? {
            return Ok(Vec::new());
        }
        let sql = "SELECT version, success, checksum FROM _sqlx_migrations ORDER BY version";
        let rows = sqlx::query(sql).fetch_all(&mut *self.connection).await;
        let rows = rows.map_err(|error| self.work.classify(error))?;
        rows.iter().map(|row| self.row(row)).collect()
    }

    fn row(&self, row: &SqliteRow) -> Result<LedgerRow> {
        let strange = |error| self.strange("the ledger `_sqlx_migrations` is not as sqlx writes it", error);
        Ok(LedgerRow {
            version: MigrationVersion(row.try_get("version").map_err(strange)?),
            success: row.try_get("success").map_err(strange)?,
            checksum: MigrationChecksum::new(row.try_get::<Vec<u8>, _>("checksum").map_err(strange)?),
        })
    }

    fn strange(&self, text: &str, error: sqlx::Error) -> Error {
        self.work.error(ErrorKind::Corrupt, text).with_source(error)
    }

    /// The newest epoch of each environment.
    pub(super) async fn epochs(&mut self) -> Result<Epochs> {
        if !self.has("_ecolaura_fence").await? {
            return Ok(Epochs::new());
        }
        let rows = sqlx::query("SELECT environment, epoch FROM _ecolaura_fence").fetch_all(&mut *self.connection).await;
        let rows = rows.map_err(|error| self.work.classify(error))?;
        let strange = |error| self.strange("the table `_ecolaura_fence` is not as it was written", error);
        let pair = |row: &SqliteRow| Ok((row.try_get("environment")?, row.try_get("epoch")?));
        rows.iter().map(|row| pair(row).map_err(strange)).collect()
    }

    /// Lets the caller in and remembers its epoch, in the transaction that it is in; an older one is refused.
    pub(super) async fn admit(&mut self) -> Result<()> {
        let environment = self.work.cx.environment().as_str();
        let seen = self.epochs().await?.get(environment).copied().unwrap_or_default();
        let newest = admit(self.work.operation, self.work.cx, seen)?;
        if newest > seen { self.remember(environment, newest).await } else { Ok(()) }
    }

    /// Remembers `epoch`, unless a newer one is there.
    pub(super) async fn remember(&mut self, environment: &str, epoch: u64) -> Result<()> {
        let number = i64::try_from(epoch).map_err(|_| {
            let message = format!("the epoch {epoch} is more than SQLite's integers hold");
            self.work.error(ErrorKind::InvalidInput, message)
        })?;
        self.work.execute(self.connection, FENCE).await?;
        let sql = "INSERT INTO _ecolaura_fence (environment, epoch) VALUES (?, ?) \
                   ON CONFLICT (environment) DO UPDATE SET epoch = max(epoch, excluded.epoch)";
        self.change(sqlx::query(sql).bind(environment).bind(number)).await
    }

    /// The SQL that was kept to go down from versions as they were applied last.
    pub(super) async fn kept(&mut self) -> Result<BTreeMap<MigrationVersion, String>> {
        if !self.has("_ecolaura_down").await? {
            return Ok(BTreeMap::new());
        }
        let sql = "SELECT d.version, d.sql FROM _ecolaura_down d JOIN _sqlx_migrations m ON m.version = d.version \
                   AND m.checksum = d.checksum AND m.installed_on = d.installed_on";
        let rows: Result<Vec<(i64, String)>, _> = sqlx::query_as(sql).fetch_all(&mut *self.connection).await;
        let rows = rows.map_err(|error| self.work.classify(error))?;
        Ok(rows.into_iter().map(|(version, sql)| (MigrationVersion(version), sql)).collect())
    }

    /// Adds `entry` as begun, and keeps its way down.
    pub(super) async fn begin(&mut self, entry: &Entry) -> Result<()> {
        let version = entry.version.0;
        let sql = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
                   VALUES (?, ?, FALSE, ?, -1)";
        let checksum = entry.up.checksum().as_bytes().to_vec();
        self.change(sqlx::query(sql).bind(version).bind(&entry.description).bind(checksum)).await?;
        let Some(down) = &entry.down else { return self.forget_down(entry.version).await };
        let sql = "INSERT OR REPLACE INTO _ecolaura_down (version, installed_on, checksum, sql) \
                   SELECT version, installed_on, checksum, ? FROM _sqlx_migrations WHERE version = ?";
        self.change(sqlx::query(sql).bind(&down.sql).bind(version)).await
    }

    /// Says that `version` came to its end.
    pub(super) async fn end(&mut self, version: MigrationVersion, took: Duration) -> Result<()> {
        let nanos = i64::try_from(took.as_nanos()).unwrap_or(i64::MAX);
        let sql = "UPDATE _sqlx_migrations SET success = TRUE, execution_time = ? WHERE version = ?";
        self.change(sqlx::query(sql).bind(nanos).bind(version.0)).await
    }

    /// Says whether `version` is whole.
    pub(super) async fn mark(&mut self, version: MigrationVersion, success: bool) -> Result<()> {
        let sql = "UPDATE _sqlx_migrations SET success = ? WHERE version = ?";
        self.change(sqlx::query(sql).bind(success).bind(version.0)).await
    }

    /// Forgets `version`.
    pub(super) async fn remove(&mut self, version: MigrationVersion) -> Result<()> {
        self.change(sqlx::query("DELETE FROM _sqlx_migrations WHERE version = ?").bind(version.0)).await?;
        self.forget_down(version).await
    }

    async fn forget_down(&mut self, version: MigrationVersion) -> Result<()> {
        self.change(sqlx::query("DELETE FROM _ecolaura_down WHERE version = ?").bind(version.0)).await
    }

    /// Keeps why the dirty state of `version` was ended.
    pub(super) async fn explain(&mut self, version: MigrationVersion, resolution: &str, reason: &str) -> Result<()> {
        let sql = "INSERT INTO _ecolaura_resolutions (version, resolution, reason) VALUES (?, ?, ?)";
        self.change(sqlx::query(sql).bind(version.0).bind(resolution).bind(reason)).await
    }

    async fn change(&mut self, query: Change<'_>) -> Result<()> {
        query.execute(&mut *self.connection).await.map(drop).map_err(|error| self.work.classify(error))
    }
}
