//! The migrator.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use async_trait::async_trait;

use super::{
    backup, blocking, change,
    connection::{Mode, Work},
    ledger::Ledger,
    lock, measure, restore,
};
use crate::{
    Context, ErrorKind, Result,
    backend::{Backup, BackupLevel, DataCheck, Measurements, MigrationPlan, MigrationReport, Migrator},
    migration::{Entry, Files, LedgerRow, assess, read, refuse},
    vocabulary::{MigrationVersion, Name},
};

/// A SQLite database and the folder of its migrations.
///
/// - Files are named as sqlx names them: `3_add_height.sql`, or `3_add_height.up.sql` with `3_add_height.down.sql`.
///   What sqlx would pass over or run out of order is refused: misnamed and empty files, ones that do not end with a
///   `;`, gaps (versions below 10,000,000 are a sequence), versions below the applied ones, edited applied files. All
///   of it at once, by the files' names. A database that is ahead of the files is an older checkout, and right.
/// - The ledger is sqlx's. Each migration runs in a transaction together with its row. One that begins with
///   `-- no-transaction` does not: the ledger says that it began, and a failure or a crash in it leaves the database
///   dirty, for both tools, until [`SqliteMigrator::resolve_dirty`].
/// - Who migrates, reverts, backs up, restores or resolves holds `DATABASE.lock`, which ends with its process, also when
///   that is killed. `plan` and `measure` do not need it. Other tools and services are waited for as SQLite does. Each
///   wait is at most [`busy_timeout`] long; then it is a `Conflict` that names the file.
/// - A new database gets a write-ahead log, so that readers go on while it is migrated; an existing one keeps what it
///   has. Every commit is on the disk before it counts.
/// - The table `_ecolaura_fence` has the newest epoch of each environment that changed the database. The transaction of
///   each migration asks it first, and refuses an older one ([`crate::fence`]). A restore carries it over, so that no
///   older epoch comes back; only where the replaced database cannot be read is it lost. A script without a transaction
///   is asked for before it begins: `DATABASE.lock` keeps others out until it ends.
/// - Foreign keys are enforced while migrating, as sqlx does: rebuilding a table that others refer to cascades.
/// - A backup is made by `VACUUM INTO`, which reads one snapshot while others write: SQLite's online backup API begins
///   again whenever somebody else writes, and the driver does not offer it to safe code. The copy is compacted and
///   stands for itself, without a log; rows of tables without an `INTEGER PRIMARY KEY` may get another `rowid`. It is
///   named as a backup only after it was proven, and every use of it holds it against its digest.
/// - A restore needs the database for itself. With a write-ahead log it finds every other connection and waits; without
///   one it finds only a transaction that runs, so stop the services first. The replaced database keeps its
///   content under another name; the restored one gets its permissions and its write-ahead log.
/// - A cancel interrupts the running statement, and the migration that it belongs to is rolled back: whole migrations
///   stay. One without a transaction is left dirty, unless it is a single statement. A backup leaves no file, a restore
///   either the old database or the new one. A killed process leaves the same, and at most a `.partial` or `.restoring`
///   file that the next call of its kind replaces.
///
/// ```
/// # async fn example() -> ecolaura_deploy_core::Result<()> {
/// use ecolaura_deploy_core::{Context, backend::Migrator as _, sqlite::SqliteMigrator};
/// let migrator = SqliteMigrator::new("data/app.sqlite", "migrations", "app".parse()?).backups("data/backups");
/// let cx = Context::new("dev".parse()?);
/// let plan = migrator.plan(&cx).await?;
/// let report = migrator.migrate(&cx, plan.target()).await?;
/// assert_eq!(report.to, plan.target());
/// # Ok(()) }
/// ```
///
/// [`busy_timeout`]: SqliteMigrator::busy_timeout
#[derive(Debug, Clone)]
pub struct SqliteMigrator {
    pub(super) name: Name,
    database: PathBuf,
    migrations: PathBuf,
    pub(super) backups: Option<PathBuf>,
    patience: Duration,
}

/// What became of a migration that left the database dirty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// All of it is in the database: the ledger says so from now on.
    Applied,
    /// Nothing of it is in the database: the ledger forgets it, and it is pending.
    NotApplied,
}

impl SqliteMigrator {
    /// Migrates `database` by the files in `migrations`. Neither is looked at before it is needed.
    pub fn new(database: impl Into<PathBuf>, migrations: impl Into<PathBuf>, name: Name) -> Self {
        Self {
            name,
            database: database.into(),
            migrations: migrations.into(),
            backups: None,
            patience: Duration::from_secs(10),
        }
    }

    /// With backups in `folder` instead of beside the database.
    pub fn backups(mut self, folder: impl Into<PathBuf>) -> Self {
        self.backups = Some(folder.into());
        self
    }

    /// With this much time to wait for others who hold the database (default 10 seconds).
    pub fn busy_timeout(mut self, time: Duration) -> Self {
        self.patience = time;
        self
    }

    /// The database's file.
    pub fn database(&self) -> &Path {
        &self.database
    }

    /// Ends the dirty state of `version` by the word of a person who looked, and keeps `reason` in the database.
    /// Idempotent. Fails with `NotFound` if the ledger has no such version, `InvalidInput` without a reason, `Conflict`
    /// if the version is whole and said not to be applied, or the database is locked, `Fenced`.
    pub async fn resolve_dirty(
        &self,
        cx: &Context,
        version: MigrationVersion,
        resolution: Resolution,
        reason: &str,
    ) -> Result<()> {
        let database = self.resolved();
        let work = self.work(cx, "database.resolve", &database);
        if reason.trim().is_empty() {
            return Err(work.error(ErrorKind::InvalidInput, "no reason given").advice("say what was looked at"));
        }
        let _lock = lock::take(work).await?;
        let rows = change::State::read(work).await?.ledger;
        if settled(work, &rows, version, resolution)? {
            return Ok(());
        }
        let mut connection = work.connect(Mode::Write).await?;
        let mut transaction = change::begin(work, &mut connection).await?;
        let mut ledger = Ledger::new(work, &mut transaction);
        ledger.admit().await?;
        ledger.create().await?;
        match resolution {
            Resolution::Applied => ledger.mark(version, true).await?,
            Resolution::NotApplied => ledger.remove(version).await?,
        }
        ledger.explain(version, &format!("{resolution:?}"), reason).await?;
        change::commit(work, transaction).await?;
        work.close(connection).await;
        Ok(())
    }

    /// The database's file, not a link to it: what stands beside it is the same for all who use it.
    pub(super) fn resolved(&self) -> PathBuf {
        self.database.canonicalize().unwrap_or_else(|_| self.database.clone())
    }

    fn work<'a>(&self, cx: &'a Context, operation: &'static str, database: &'a Path) -> Work<'a> {
        Work { cx, operation, database, patience: self.patience }
    }

    async fn files(&self, work: Work<'_>) -> Result<Files> {
        let (operation, folder) = (work.operation, self.migrations.clone());
        blocking(operation, move || read(operation, &folder)).await
    }
}

/// Whether nothing is left to do about `version`.
fn settled(work: Work<'_>, rows: &[LedgerRow], version: MigrationVersion, resolution: Resolution) -> Result<bool> {
    match (rows.iter().find(|row| row.version == version), resolution) {
        (Some(row), _) if !row.success => Ok(false),
        (Some(_), Resolution::Applied) | (None, Resolution::NotApplied) => Ok(true),
        (Some(_), Resolution::NotApplied) => Err(work
            .error(ErrorKind::Conflict, format!("version {version} is whole, not dirty"))
            .advice("revert it, if it should go")),
        (None, Resolution::Applied) => {
            Err(work.error(ErrorKind::NotFound, format!("the ledger has no version {version}")))
        }
    }
}

#[async_trait]
impl Migrator for SqliteMigrator {
    fn name(&self) -> &Name {
        &self.name
    }

    fn fences(&self) -> bool {
        true
    }

    async fn plan(&self, cx: &Context) -> Result<MigrationPlan> {
        let database = self.resolved();
        let work = self.work(cx, "database.plan", &database);
        let state = change::State::read(work).await?;
        let files = self.files(work).await?;
        let (pending, problems) = assess(&files, &state.ledger);
        if let Some(error) = refuse(work.operation, &self.migrations, &problems) {
            return Err(error.with("database", database.display()));
        }
        let applied = state.ledger.iter().map(|row| row.version).collect();
        Ok(MigrationPlan::new(applied, pending.into_iter().map(Entry::migration).collect()))
    }

    async fn migrate(&self, cx: &Context, target: MigrationVersion) -> Result<MigrationReport> {
        let database = self.resolved();
        let work = self.work(cx, "database.migrate", &database);
        let _lock = lock::take(work).await?;
        change::migrate(work, &self.migrations, &self.files(work).await?, target).await
    }

    async fn revert(&self, cx: &Context, target: MigrationVersion) -> Result<MigrationReport> {
        let database = self.resolved();
        let work = self.work(cx, "database.revert", &database);
        let _lock = lock::take(work).await?;
        change::revert(work, &self.migrations, &self.files(work).await?, target).await
    }

    async fn backup(&self, cx: &Context, key: &str, level: BackupLevel) -> Result<Backup> {
        let database = self.resolved();
        let work = self.work(cx, "database.backup", &database);
        let _lock = lock::take(work).await?;
        let beside = database.parent().unwrap_or(Path::new(""));
        backup::backup(work, self.backups.as_deref().unwrap_or(beside), key, level).await
    }

    async fn restore(&self, cx: &Context, backup: &Backup) -> Result<PathBuf> {
        let database = self.resolved();
        let work = self.work(cx, "database.restore", &database);
        let _lock = lock::take(work).await?;
        restore::restore(work, backup).await
    }

    async fn measure(&self, cx: &Context, checks: &[DataCheck]) -> Result<Measurements> {
        let database = self.resolved();
        measure::measure(self.work(cx, "database.measure", &database), checks).await
    }
}
