//! A fake [`Migrator`].

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;

use self::tables::Tables;
use crate::{
    Context, Effect, Error, ErrorKind, Result,
    backend::{Backup, BackupLevel, DataCheck, Measurements, MigrationPlan, MigrationReport, Migrator},
    context::to_json,
    fence::Epochs,
    migration::{Down, Entry, Files, LedgerRow, assess, refuse, sort, ways_down},
    vocabulary::{Digest, MigrationVersion, Name},
};

mod tables;

/// What a [`FakeMigrator`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum MigratorCall {
    /// A migration was applied.
    Applied(MigrationVersion),
    /// A migration was reverted.
    Reverted(MigrationVersion),
    /// A backup was taken, for the first time under its key.
    BackedUp(String),
    /// A backup was restored.
    Restored(String),
}

/// A database in memory with migration files in memory, under the rules of the real ones. It refuses older epochs.
///
/// Of SQL it knows `CREATE TABLE`, `DROP TABLE`, `INSERT INTO t (columns) VALUES (numbers)`, `UPDATE t SET c = n` and
/// `DELETE FROM t`, the last two with `WHERE c = n`; other statements of SQL do nothing, and what is none fails.
#[derive(Debug)]
pub struct FakeMigrator {
    name: Name,
    state: Mutex<State>,
}

/// What a backup holds.
#[derive(Debug, Clone, Default, PartialEq)]
struct Database {
    tables: Tables,
    ledger: Vec<LedgerRow>,
    kept: BTreeMap<MigrationVersion, String>,
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<String, String>,
    database: Database,
    /// Not in the database: a backup does not bring an older one back.
    epochs: Epochs,
    backups: BTreeMap<String, (Backup, Database)>,
    answers: BTreeMap<String, i64>,
    failing: BTreeSet<MigrationVersion>,
    calls: Vec<MigratorCall>,
}

impl FakeMigrator {
    /// An empty database without migrations.
    pub fn new(name: Name) -> Self {
        Self { name, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a migration's file, in the place of one of its name.
    pub fn put_file(&self, file: impl Into<String>, sql: impl Into<String>) {
        self.state().files.insert(file.into(), sql.into());
    }

    /// Removes a migration's file.
    pub fn remove_file(&self, file: &str) {
        self.state().files.remove(file);
    }

    /// Writes data as a service does. Fails with `InvalidInput`.
    pub fn execute(&self, sql: &str) -> Result<()> {
        self.state().database.tables.run("database.execute", sql)
    }

    /// From now on `version` fails, up and down.
    pub fn fail(&self, version: MigrationVersion) {
        self.state().failing.insert(version);
    }

    /// From now on nothing fails.
    pub fn heal(&self) {
        self.state().failing.clear();
    }

    /// Leaves the applied `version` as a crash in it does.
    pub fn make_dirty(&self, version: MigrationVersion) {
        let mut state = self.state();
        let rows = state.database.ledger.iter_mut().filter(|row| row.version == version);
        rows.for_each(|row| row.success = false);
    }

    /// From now on the check of this name measures `value`, whatever is there.
    pub fn answer(&self, check: impl Into<String>, value: i64) {
        self.state().answers.insert(check.into(), value);
    }

    /// What was done, in order.
    pub fn calls(&self) -> Vec<MigratorCall> {
        self.state().calls.clone()
    }
}

impl State {
    fn files(&self) -> Files {
        sort(self.files.iter().map(|(name, sql)| (name.clone(), sql.clone().into_bytes())).collect())
    }

    fn head(&self) -> MigrationVersion {
        self.database.ledger.last().map(|row| row.version).unwrap_or_default()
    }

    /// One script whole or not at all.
    fn run(&mut self, operation: &'static str, file: &str, version: MigrationVersion, sql: &str) -> Result<()> {
        let mut tables = self.database.tables.clone();
        if self.failing.contains(&version) {
            return Err(Error::invalid(operation, "told to fail").with("migration", file));
        }
        tables.run(operation, sql).map_err(|error| error.with("migration", file))?;
        self.database.tables = tables;
        Ok(())
    }

    fn up(&mut self, entry: &Entry) -> Result<()> {
        self.run("database.migrate", &entry.up.file, entry.version, &entry.up.sql)?;
        let row = LedgerRow { version: entry.version, checksum: entry.up.checksum(), success: true };
        self.database.ledger.push(row);
        if let Some(down) = &entry.down {
            self.database.kept.insert(entry.version, down.sql.clone());
        }
        self.calls.push(MigratorCall::Applied(entry.version));
        Ok(())
    }

    fn down(&mut self, down: &Down) -> Result<()> {
        self.run("database.revert", &down.source, down.version, &down.sql)?;
        self.database.ledger.retain(|row| row.version != down.version);
        self.database.kept.remove(&down.version);
        self.calls.push(MigratorCall::Reverted(down.version));
        Ok(())
    }

    fn measure(&self, check: &DataCheck) -> Option<i64> {
        let answer = self.answers.get(&check.name()).copied();
        answer.or_else(|| match check {
            DataCheck::RowCount { table, .. } => self.database.tables.count(table),
            DataCheck::Sum { table, column, .. } => self.database.tables.sum(table, column),
            DataCheck::ForeignKeys | DataCheck::Structure => Some(0),
            DataCheck::Query { .. } => None,
        })
    }
}

/// The problems of a folder that is not there.
fn refused(operation: &'static str, problems: &[crate::migration::Problem]) -> Result<()> {
    refuse(operation, Path::new("in memory"), problems).map_or(Ok(()), Err)
}

/// Does `ways` in order, and says of a failure what was done before it.
fn each<T>(
    cx: &Context,
    operation: &'static str,
    ways: Vec<T>,
    version: impl Fn(&T) -> MigrationVersion,
    mut go: impl FnMut(&T) -> Result<()>,
) -> Result<Vec<MigrationVersion>> {
    let mut done = Vec::new();
    for way in ways {
        let effect = if done.is_empty() { Effect::None } else { Effect::Partial };
        cx.check(operation).and_then(|()| go(&way)).map_err(|error| error.with_effect(effect))?;
        done.push(version(&way));
    }
    Ok(done)
}

#[async_trait]
impl Migrator for FakeMigrator {
    fn name(&self) -> &Name {
        &self.name
    }

    fn fences(&self) -> bool {
        true
    }

    async fn plan(&self, cx: &Context) -> Result<MigrationPlan> {
        cx.check("database.plan")?;
        let state = self.state();
        let files = state.files();
        let (pending, problems) = assess(&files, &state.database.ledger);
        refused("database.plan", &problems)?;
        let applied = state.database.ledger.iter().map(|row| row.version).collect();
        Ok(MigrationPlan::new(applied, pending.into_iter().map(Entry::migration).collect()))
    }

    async fn migrate(&self, cx: &Context, target: MigrationVersion) -> Result<MigrationReport> {
        const OPERATION: &str = "database.migrate";
        cx.check(OPERATION)?;
        let mut state = self.state();
        state.epochs.admit(OPERATION, cx)?;
        let (files, from) = (state.files(), state.head());
        let (pending, problems) = assess(&files, &state.database.ledger);
        refused(OPERATION, &problems)?;
        if target > from && !pending.iter().any(|entry| entry.version == target) {
            return Err(Error::invalid(OPERATION, format!("there is no migration {target}")));
        }
        let ways = pending.into_iter().filter(|entry| entry.version <= target).collect();
        let done = each(cx, OPERATION, ways, |entry: &&Entry| entry.version, |entry| state.up(entry))?;
        Ok(MigrationReport::new(from, state.head(), done))
    }

    async fn revert(&self, cx: &Context, target: MigrationVersion) -> Result<MigrationReport> {
        const OPERATION: &str = "database.revert";
        cx.check(OPERATION)?;
        let mut state = self.state();
        state.epochs.admit(OPERATION, cx)?;
        let (files, from) = (state.files(), state.head());
        if target.0 != 0 && !state.database.ledger.iter().any(|row| row.version == target) {
            return Err(Error::invalid(OPERATION, format!("cannot go down to {target}: it is not applied")));
        }
        let (ways, problems) = ways_down(&files, &state.database.ledger, &state.database.kept, target);
        refused(OPERATION, &problems)?;
        let done = each(cx, OPERATION, ways, |down| down.version, |down| state.down(down))?;
        Ok(MigrationReport::new(from, state.head(), done))
    }

    async fn backup(&self, cx: &Context, key: &str, level: BackupLevel) -> Result<Backup> {
        cx.check("database.backup")?;
        let mut state = self.state();
        if let Some((backup, _)) = state.backups.get_mut(key) {
            backup.level = backup.level.max(level);
            return Ok(backup.clone());
        }
        let content = to_json("database.backup", &state.database.tables)?.to_string();
        let head = state.head();
        let backup =
            Backup::new(key, format!("memory/{key}"), Some(Digest::of(&content)), content.len() as u64, level, head);
        let database = state.database.clone();
        state.backups.insert(key.to_owned(), (backup.clone(), database));
        state.calls.push(MigratorCall::BackedUp(key.to_owned()));
        Ok(backup)
    }

    async fn restore(&self, cx: &Context, backup: &Backup) -> Result<PathBuf> {
        const OPERATION: &str = "database.restore";
        cx.check(OPERATION)?;
        let mut state = self.state();
        state.epochs.admit(OPERATION, cx)?;
        let Some((kept, database)) = state.backups.get(&backup.key).cloned() else {
            let message = format!("there is no backup `{}`", backup.location);
            return Err(Error::new(ErrorKind::NotFound, OPERATION, message));
        };
        if kept.digest != backup.digest {
            return Err(Error::new(
                ErrorKind::Corrupt,
                OPERATION,
                format!("`{}` is not what was taken", backup.location),
            ));
        }
        if state.database != database {
            state.database = database;
            state.calls.push(MigratorCall::Restored(backup.key.clone()));
        }
        Ok(PathBuf::from(format!("memory/replaced-{}", backup.key)))
    }

    async fn measure(&self, cx: &Context, checks: &[DataCheck]) -> Result<Measurements> {
        cx.check("database.measure")?;
        let state = self.state();
        Ok(Measurements(checks.iter().map(|check| (check.name(), state.measure(check))).collect()))
    }
}
