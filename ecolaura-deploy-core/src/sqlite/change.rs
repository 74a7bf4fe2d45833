//! Going up and down.

use std::{collections::BTreeMap, path::Path, time::Instant};

use sqlx::{Connection as _, SqliteConnection, SqliteTransaction};

use super::{
    connection::{Mode, Work},
    fence::{Epochs, claim},
    ledger::Ledger,
};
use crate::{
    Effect, Error, ErrorKind, Result,
    backend::MigrationReport,
    fence::admit,
    migration::{Down, Entry, Files, LedgerRow, assess, refuse, script, ways_down, without_transaction},
    vocabulary::MigrationVersion,
};

/// What the database says about its versions.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) ledger: Vec<LedgerRow>,
    pub(super) kept: BTreeMap<MigrationVersion, String>,
    epochs: Epochs,
}

impl State {
    /// Reads it in one snapshot; empty where there is no database.
    pub(super) async fn read(work: Work<'_>) -> Result<Self> {
        work.check()?;
        if !work.exists()? {
            return Ok(Self::default());
        }
        let mut connection = work.connect(Mode::Read).await?;
        work.execute(&mut connection, "BEGIN").await?;
        let mut ledger = Ledger::new(work, &mut connection);
        let state = Self { ledger: ledger.rows().await?, kept: ledger.kept().await?, epochs: ledger.epochs().await? };
        work.close(connection).await;
        Ok(state)
    }

    /// The newest epoch of the caller's environment.
    fn seen(&self, work: Work<'_>) -> u64 {
        self.epochs.get(work.cx.environment().as_str()).copied().unwrap_or_default()
    }

    pub(super) fn head(&self) -> MigrationVersion {
        self.ledger.last().map(|row| row.version).unwrap_or_default()
    }
}

/// One migration in one direction.
#[derive(Debug, Clone, Copy)]
enum Way<'a> {
    Up(&'a Entry),
    Down(&'a Down),
}

impl Way<'_> {
    fn version(self) -> MigrationVersion {
        match self {
            Self::Up(entry) => entry.version,
            Self::Down(down) => down.version,
        }
    }

    fn sql(&self) -> &str {
        match self {
            Self::Up(entry) => &entry.up.sql,
            Self::Down(down) => &down.sql,
        }
    }

    fn source(&self) -> &str {
        match self {
            Self::Up(entry) => &entry.up.file,
            Self::Down(down) => &down.source,
        }
    }

    async fn begin(self, ledger: &mut Ledger<'_>) -> Result<()> {
        match self {
            Self::Up(entry) => ledger.begin(entry).await,
            Self::Down(down) => ledger.mark(down.version, false).await,
        }
    }

    async fn end(self, ledger: &mut Ledger<'_>, began: Instant) -> Result<()> {
        match self {
            Self::Up(entry) => ledger.end(entry.version, began.elapsed()).await,
            Self::Down(down) => ledger.remove(down.version).await,
        }
    }

    /// As if it had not begun.
    async fn take_back(self, ledger: &mut Ledger<'_>) -> Result<()> {
        match self {
            Self::Up(entry) => ledger.remove(entry.version).await,
            Self::Down(down) => ledger.mark(down.version, true).await,
        }
    }

    fn follow(self, rows: &mut Vec<LedgerRow>) {
        match self {
            Self::Up(entry) => {
                rows.push(LedgerRow { version: entry.version, checksum: entry.up.checksum(), success: true });
            }
            Self::Down(down) => rows.retain(|row| row.version != down.version),
        }
    }
}

/// Applies what is pending up to `target`. The caller holds the lock.
pub(super) async fn migrate(
    work: Work<'_>,
    folder: &Path,
    files: &Files,
    target: MigrationVersion,
) -> Result<MigrationReport> {
    let state = State::read(work).await?;
    admit(work.operation, work.cx, state.seen(work))?;
    let (pending, problems) = assess(files, &state.ledger);
    if let Some(error) = refuse(work.operation, folder, &problems) {
        return Err(error.with("database", work.database.display()));
    }
    let head = state.head();
    if target > head && !pending.iter().any(|entry| entry.version == target) {
        let newest = pending.last().map_or(head, |entry| entry.version);
        let message = format!("there is no migration {target}; the newest is {newest}");
        return Err(work.error(ErrorKind::InvalidInput, message).with("migrations", folder.display()));
    }
    let ways: Vec<Way<'_>> = pending.into_iter().filter(|entry| entry.version <= target).map(Way::Up).collect();
    change(work, Mode::Create, state, &ways).await
}

/// Goes down to `target`. The caller holds the lock.
pub(super) async fn revert(
    work: Work<'_>,
    folder: &Path,
    files: &Files,
    target: MigrationVersion,
) -> Result<MigrationReport> {
    let state = State::read(work).await?;
    admit(work.operation, work.cx, state.seen(work))?;
    if target.0 != 0 && !state.ledger.iter().any(|row| row.version == target) {
        let applied: Vec<String> = state.ledger.iter().map(|row| row.version.to_string()).collect();
        let message = format!("cannot go down to {target}: it is not applied; applied are [{}]", applied.join(", "));
        return Err(work.error(ErrorKind::InvalidInput, message));
    }
    let (ways, problems) = ways_down(files, &state.ledger, &state.kept, target);
    if let Some(error) = refuse(work.operation, folder, &problems) {
        return Err(error.with("database", work.database.display()));
    }
    let ways: Vec<Way<'_>> = ways.iter().map(Way::Down).collect();
    change(work, Mode::Write, state, &ways).await
}

async fn change(work: Work<'_>, mode: Mode, state: State, ways: &[Way<'_>]) -> Result<MigrationReport> {
    let from = state.head();
    if ways.is_empty() {
        if work.cx.epoch() > state.seen(work) && work.exists()? {
            claim(work).await?;
        }
        return Ok(MigrationReport::new(from, from, Vec::new()));
    }
    work.check()?;
    let mut session = Session { work, connection: work.connect(mode).await?, rows: state.ledger };
    Ledger::new(work, &mut session.connection).create().await?;
    let mut done = Vec::new();
    for way in ways {
        work.cx.status(format!("{} of {}: `{}`", done.len() + 1, ways.len(), way.source()));
        match session.go(*way).await {
            Ok(()) => done.push(way.version()),
            Err(error) => return Err(told(error, *way, &done)),
        }
        work.cx.progress("migrations", done.len() as u64, Some(ways.len() as u64));
    }
    let to = session.rows.last().map(|row| row.version).unwrap_or_default();
    work.close(session.connection).await;
    Ok(MigrationReport::new(from, to, done))
}

/// `error` of `way`, saying what was done before it.
fn told(error: Error, way: Way<'_>, done: &[MigrationVersion]) -> Error {
    let error = error.with("migration", way.source());
    if done.is_empty() {
        return error;
    }
    let effect = if error.effect() == Effect::None { Effect::Partial } else { error.effect() };
    let done: Vec<String> = done.iter().map(ToString::to_string).collect();
    error.with("done before it", done.join(", ")).with_effect(effect)
}

struct Session<'a> {
    work: Work<'a>,
    connection: SqliteConnection,
    /// The ledger as this session knows it.
    rows: Vec<LedgerRow>,
}

impl Session<'_> {
    async fn go(&mut self, way: Way<'_>) -> Result<()> {
        self.work.check()?;
        if without_transaction(way.sql()) {
            self.go_bare(way).await?;
        } else {
            self.go_whole(way).await?;
        }
        way.follow(&mut self.rows);
        Ok(())
    }

    /// The script and its ledger row in one transaction.
    async fn go_whole(&mut self, way: Way<'_>) -> Result<()> {
        let (work, began) = (self.work, Instant::now());
        let mut transaction = self.begin().await?;
        way.begin(&mut Ledger::new(work, &mut transaction)).await?;
        work.execute(&mut transaction, way.sql()).await.map_err(undone)?;
        way.end(&mut Ledger::new(work, &mut transaction), began).await?;
        let Err(error) = transaction.commit().await else { return Ok(()) };
        let error = work.classify(error);
        match Ledger::new(work, &mut self.connection).rows().await {
            Ok(rows) if rows == self.rows => Err(error.with_effect(Effect::None)),
            Ok(_) => Ok(()),
            Err(_) => Err(error.with_effect(Effect::Unknown)),
        }
    }

    /// The script without a transaction: the ledger says that it began, and only at its end that it is whole.
    async fn go_bare(&mut self, way: Way<'_>) -> Result<()> {
        let (work, began) = (self.work, Instant::now());
        let mut transaction = self.begin().await?;
        way.begin(&mut Ledger::new(work, &mut transaction)).await?;
        commit(work, transaction).await?;
        let Err(error) = self.run_bare(way.sql()).await else {
            return way.end(&mut Ledger::new(work, &mut self.connection), began).await.map_err(left_dirty);
        };
        // A single statement happens whole or not at all.
        if script::statements(way.sql()).is_ok_and(|statements| statements.len() == 1)
            && way.take_back(&mut Ledger::new(work, &mut self.connection)).await.is_ok()
        {
            return Err(undone(error));
        }
        Err(left_dirty(error))
    }

    /// On a connection of its own, which takes the script's settings with it when it ends.
    async fn run_bare(&self, sql: &str) -> Result<()> {
        let mut connection = self.work.connect(Mode::Write).await?;
        self.work.execute(&mut connection, sql).await?;
        self.work.execute(&mut connection, "BEGIN; ROLLBACK").await.map_err(|error| {
            let text = "the script leaves a transaction open, which is lost; end it with `COMMIT;`";
            self.work.error(ErrorKind::InvalidInput, text).with_source(error)
        })?;
        self.work.close(connection).await;
        Ok(())
    }

    /// A transaction that may write at once, in a database that lets the caller in and whose ledger is as this session
    /// knows it.
    async fn begin(&mut self) -> Result<SqliteTransaction<'_>> {
        let work = self.work;
        let mut transaction = begin(work, &mut self.connection).await?;
        let mut ledger = Ledger::new(work, &mut transaction);
        ledger.admit().await?;
        if ledger.rows().await? == self.rows {
            return Ok(transaction);
        }
        Err(work
            .error(ErrorKind::Conflict, "another tool changed the ledger meanwhile")
            .advice("wait for it to end, and plan again"))
    }
}

/// A transaction that may write at once. Waits for others as long as patience lasts.
pub(super) async fn begin<'c>(work: Work<'_>, connection: &'c mut SqliteConnection) -> Result<SqliteTransaction<'c>> {
    let begun = work.cx.bounded(work.operation, connection.begin_with("BEGIN IMMEDIATE")).await?;
    begun.map_err(|error| work.classify(error))
}

pub(super) async fn commit(work: Work<'_>, transaction: SqliteTransaction<'_>) -> Result<()> {
    transaction.commit().await.map_err(|error| work.classify(error))
}

/// The script failed and nothing of it is there.
fn undone(error: Error) -> Error {
    let error = error.with_effect(Effect::None);
    match error.kind() {
        ErrorKind::InvalidInput => error.advice("nothing of it was kept: mend the file and run again"),
        _ => error,
    }
}

/// The script failed and it cannot be told how much of it is there.
fn left_dirty(error: Error) -> Error {
    error.with_effect(Effect::Partial).advice(
        "it ran without a transaction, so a part of it may be there: look, then say so with `resolve_dirty`, or restore \
         the backup",
    )
}
