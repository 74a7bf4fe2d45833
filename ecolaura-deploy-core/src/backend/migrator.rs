//! Changing database schemas, and proving that the data survived.

use std::{collections::BTreeMap, fmt, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    Context, Result,
    vocabulary::{Digest, MigrationChecksum, MigrationVersion, Name, PinnedImage},
};

/// One migration as its files say it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Migration {
    /// Its version.
    pub version: MigrationVersion,
    /// The words of the file's name.
    pub description: String,
    /// The checksum of the SQL that goes up.
    pub checksum: MigrationChecksum,
    /// The SQL that goes up.
    pub up: String,
    /// Whether there is SQL that goes down.
    pub reversible: bool,
}

impl Migration {
    /// A migration.
    pub fn new(
        version: MigrationVersion,
        description: impl Into<String>,
        checksum: MigrationChecksum,
        up: impl Into<String>,
        reversible: bool,
    ) -> Self {
        Self { version, description: description.into(), checksum, up: up.into(), reversible }
    }
}

/// The state of a database against the files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MigrationPlan {
    /// The versions in the ledger, ascending.
    pub applied: Vec<MigrationVersion>,
    /// What would be run, ascending, with its SQL.
    pub pending: Vec<Migration>,
}

impl MigrationPlan {
    /// A state.
    pub fn new(applied: Vec<MigrationVersion>, pending: Vec<Migration>) -> Self {
        Self { applied, pending }
    }

    /// The newest applied version; 0 for an empty ledger.
    pub fn head(&self) -> MigrationVersion {
        self.applied.last().copied().unwrap_or_default()
    }

    /// The version after everything pending.
    pub fn target(&self) -> MigrationVersion {
        self.pending.last().map_or_else(|| self.head(), |migration| migration.version)
    }
}

/// How well a backup was proven (each includes the former).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BackupLevel {
    /// It exists and is not empty.
    Exists,
    /// Its digest was taken and its container can be read.
    Readable,
    /// It was opened as a scratch database.
    Restored,
    /// The scratch database passed the data checks.
    Checked,
}

/// A backup that was taken. Its restore loses what was written after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Backup {
    /// The key it was asked for under.
    pub key: String,
    /// Where it is: a path, a snapshot id.
    pub location: String,
    /// The digest of its bytes, where it has any.
    pub digest: Option<Digest>,
    /// Its size in bytes.
    pub size: u64,
    /// How well it was proven.
    pub level: BackupLevel,
    /// The schema version in it.
    pub head: MigrationVersion,
}

impl Backup {
    /// A backup.
    pub fn new(
        key: impl Into<String>,
        location: impl Into<String>,
        digest: Option<Digest>,
        size: u64,
        level: BackupLevel,
        head: MigrationVersion,
    ) -> Self {
        Self { key: key.into(), location: location.into(), digest, size, level, head }
    }
}

/// What is measured before and after a migration. Every check names what it is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "check", rename_all = "snake_case")]
#[non_exhaustive]
pub enum DataCheck {
    /// The number of rows of a table.
    RowCount {
        /// The table.
        table: String,
        /// How it may differ afterwards.
        allowed: AllowedChange,
    },
    /// The sum of a numeric column.
    Sum {
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// How it may differ afterwards.
        allowed: AllowedChange,
    },
    /// No row refers to one that is not there.
    ForeignKeys,
    /// The database's own check of its files.
    Structure,
    /// A query that answers with one integer.
    Query {
        /// What it means.
        name: String,
        /// The SQL.
        sql: String,
        /// How the answer may differ afterwards.
        allowed: AllowedChange,
    },
}

impl DataCheck {
    /// What its measurement is kept under. Two checks of the same name must be about the same.
    pub fn name(&self) -> String {
        match self {
            Self::RowCount { table, .. } => format!("rows of `{table}`"),
            Self::Sum { table, column, .. } => format!("sum of `{table}.{column}`"),
            Self::ForeignKeys => "foreign keys".to_owned(),
            Self::Structure => "structure".to_owned(),
            Self::Query { name, .. } => name.clone(),
        }
    }
}

/// How a measurement may differ between before and after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum AllowedChange {
    /// Not at all.
    None,
    /// It may grow: the service writes meanwhile.
    Growth,
    /// By at most this much, up or down.
    AtMost(u64),
    /// It must be this afterwards.
    Exactly(i64),
}

/// What the checks measured, by the check's name. A check that cannot be measured yet (no such table) is `None`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Measurements(pub BTreeMap<String, Option<i64>>);

/// What a migration did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MigrationReport {
    /// The head before.
    pub from: MigrationVersion,
    /// The head after.
    pub to: MigrationVersion,
    /// The versions that were applied, or reverted, in order.
    pub done: Vec<MigrationVersion>,
}

impl MigrationReport {
    /// A report.
    pub fn new(from: MigrationVersion, to: MigrationVersion, done: Vec<MigrationVersion>) -> Self {
        Self { from, to, done }
    }
}

/// Changes a database's schema by versioned files.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Migrator: fmt::Debug + Send + Sync + 'static {
    /// The backend's name, for plans and records.
    fn name(&self) -> &Name;

    /// Whether the database remembers the newest epoch that it let in, and [`Migrator::migrate`], [`Migrator::revert`]
    /// and [`Migrator::restore`] refuse older ones with `Fenced` and change nothing more ([`crate::fence`]).
    fn fences(&self) -> bool {
        false
    }

    /// How well [`Migrator::backup`] can prove a backup at most. A [`BackupDatabase`](crate::steps::BackupDatabase) that
    /// asks for more is refused in the plan.
    fn proves(&self) -> BackupLevel {
        BackupLevel::Checked
    }

    /// The files against the ledger. Reads only, and does not create the database. Fails with `InvalidInput` listing
    /// every bad file (misnamed, truncated, gap, out of order), `Conflict` (an applied file was edited), and
    /// `MigrationDirty` with the version and how to recover.
    async fn plan(&self, cx: &Context) -> Result<MigrationPlan>;

    /// Applies everything pending up to `target`, each in a transaction together with its ledger row. Idempotent: the
    /// ledger decides. A cancel leaves whole migrations only. An error says in its effect whether any was applied.
    /// Fails like [`Migrator::plan`], with `Fenced` (before each migration, in its transaction), `Conflict` (locked by
    /// another process), `LimitExceeded` (disk full).
    async fn migrate(&self, cx: &Context, target: MigrationVersion) -> Result<MigrationReport>;

    /// Goes down to `target`. Refused before the first effect with `Unsupported` if any version above it cannot be
    /// reverted, or its file is gone or edited. Otherwise as [`Migrator::migrate`]. The SQL that goes down is kept
    /// with the ledger when it goes up, so that an older checkout can still revert a newer migration.
    async fn revert(&self, cx: &Context, target: MigrationVersion) -> Result<MigrationReport>;

    /// Takes a consistent backup while others write, proven to `level`; any epoch may. Idempotent by `key`, which may be any text: the
    /// same key again answers with the backup that exists. A cancel leaves at most a partial file that is never taken
    /// for a backup.
    /// Fails with `LimitExceeded` (disk full), `Corrupt` (the proof failed), `Conflict`, and with `Unsupported` above what
    /// it [proves](Migrator::proves).
    async fn backup(&self, cx: &Context, key: &str, level: BackupLevel) -> Result<Backup>;

    /// Puts a backup in the place of the database. **Loses what was written after it**; never called unless a person
    /// asked for it. The replaced database is kept beside it; the answer is where. The newest epoch stays that of the
    /// replaced database. Idempotent. Fails with `Fenced`, `NotFound`, `Corrupt`, `Conflict` (in use).
    async fn restore(&self, cx: &Context, backup: &Backup) -> Result<PathBuf>;

    /// Measures. Reads only, in one snapshot. A failed structural or foreign key check is a number other than 0.
    async fn measure(&self, cx: &Context, checks: &[DataCheck]) -> Result<Measurements>;
}

const _: fn(&dyn Migrator) = |_| {};

/// Makes migrators out of images: the migrations, and what runs them, are in the image of the release.
pub trait ImageMigrator: fmt::Debug + Send + Sync + 'static {
    /// The name of every migrator that it makes.
    fn name(&self) -> &Name;

    /// The migrator that is in `image`. Nothing is asked of it yet.
    fn of(&self, image: &PinnedImage) -> Arc<dyn Migrator>;
}

const _: fn(&dyn ImageMigrator) = |_| {};
