//! Connections that stop when the work should, and errors that say what they mean.

use std::{fs, io, path::Path, time::Duration};

use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteSynchronous},
};

use crate::{Context, Effect, Error, ErrorKind, Result};

/// Virtual machine instructions between two looks at whether to stop: well below a millisecond.
const INSTRUCTIONS: i32 = 4096;

/// How a database is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Only what is there, and nothing is written.
    Read,
    /// Only what is there.
    Write,
    /// Created if it is not there, with a write-ahead log: readers go on while a migration runs.
    Create,
}

/// Who works on what, for errors.
#[derive(Debug, Clone, Copy)]
pub(super) struct Work<'a> {
    pub(super) cx: &'a Context,
    pub(super) operation: &'static str,
    pub(super) database: &'a Path,
    pub(super) patience: Duration,
}

impl Work<'_> {
    /// An error of this work.
    pub(super) fn error(&self, kind: ErrorKind, message: impl Into<String>) -> Error {
        Error::new(kind, self.operation, message).with("database", self.database.display())
    }

    pub(super) fn check(&self) -> Result<()> {
        self.cx.check(self.operation)
    }

    /// Whether there is a database.
    pub(super) fn exists(&self) -> Result<bool> {
        match fs::metadata(self.database) {
            Ok(found) if found.is_file() => Ok(true),
            Ok(_) => Err(self.error(ErrorKind::InvalidInput, "the database is not a file")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::io(self.operation, self.database, error)),
        }
    }

    fn options(&self, path: &Path) -> Result<SqliteConnectOptions> {
        // An absolute path cannot be taken for a URI.
        let path = std::path::absolute(path).map_err(|error| Error::io(self.operation, path, error))?;
        if path.to_str().is_none_or(|text| text.contains('\0')) {
            return Err(self.error(ErrorKind::InvalidInput, "SQLite needs a path in UTF-8"));
        }
        // sqlx panics on more than an `i32` of milliseconds.
        let patience = self.patience.min(Duration::from_hours(24));
        Ok(SqliteConnectOptions::new().filename(path).busy_timeout(patience))
    }

    /// A connection to the database.
    pub(super) async fn connect(&self, mode: Mode) -> Result<SqliteConnection> {
        let new = mode == Mode::Create && !self.exists()?;
        let options = self.options(self.database)?.create_if_missing(mode == Mode::Create);
        let options = match mode {
            Mode::Read => options.pragma("query_only", "ON"),
            // With a write-ahead log, anything less may lose the last commits with the power.
            Mode::Write | Mode::Create => options.synchronous(SqliteSynchronous::Full),
        };
        let mut connection = self.open(&options).await?;
        if new {
            self.execute(&mut connection, "PRAGMA journal_mode = WAL").await?;
        }
        Ok(connection)
    }

    /// A connection to a file that nobody writes, which leaves no trace beside it.
    pub(super) async fn connect_frozen(&self, path: &Path) -> Result<SqliteConnection> {
        let options = self.options(path)?.read_only(true).immutable(true);
        self.open(&options).await
    }

    /// A connection to an empty database in memory. (The driver's flag for that would keep a copy of it in memory too.)
    pub(super) async fn connect_empty(&self) -> Result<SqliteConnection> {
        self.open(&SqliteConnectOptions::new().filename(":memory:")).await
    }

    async fn open(&self, options: &SqliteConnectOptions) -> Result<SqliteConnection> {
        let options = options.clone().disable_statement_logging();
        let mut connection =
            self.cx.bounded(self.operation, options.connect()).await?.map_err(|error| self.classify(error))?;
        let (cx, operation) = (self.cx.clone(), self.operation);
        let mut handle = connection.lock_handle().await.map_err(|error| self.classify(error))?;
        handle.set_progress_handler(INSTRUCTIONS, move || cx.check(operation).is_ok());
        drop(handle);
        Ok(connection)
    }

    /// Runs `sql`, all its statements.
    pub(super) async fn execute(&self, connection: &mut SqliteConnection, sql: &str) -> Result<()> {
        let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(connection).await;
        done.map(drop).map_err(|error| self.classify(error))
    }

    /// Closes `connection`; the last one to close tidies up the write-ahead log. What was committed is safe already.
    pub(super) async fn close(&self, connection: SqliteConnection) {
        if let Err(error) = connection.close().await {
            tracing::debug!(%error, database = %self.database.display(), "the database was not closed in order");
        }
    }

    /// What `error` means.
    pub(super) fn classify(&self, error: sqlx::Error) -> Error {
        let code = error.as_database_error().and_then(|error| error.code()?.parse::<i32>().ok());
        // The low byte is the primary code.
        let classified = match code.map(|code| code & 0xff) {
            Some(5 | 6) => self.busy(),
            Some(3 | 8) => self.read_only(),
            Some(9) => self.interrupted(),
            Some(10) => self
                .error(ErrorKind::Internal, "the disk failed while SQLite read or wrote")
                .with_effect(Effect::Unknown)
                .advice("look at the disk; after that, run again: the ledger tells what was done"),
            Some(11) => self
                .error(ErrorKind::Corrupt, "the database is damaged")
                .advice("keep a copy of it and restore a backup"),
            Some(13) => {
                self.error(ErrorKind::LimitExceeded, "the disk is full").advice("free some space and run again")
            }
            Some(14) => self.not_opened(),
            Some(26) => self
                .error(ErrorKind::Corrupt, "the file is not a SQLite database")
                .advice("check the path; if it is the right one, restore a backup"),
            Some(1 | 19 | 20 | 25) => self.error(ErrorKind::InvalidInput, "SQLite refused the SQL"),
            _ => self.error(ErrorKind::Internal, "SQLite failed"),
        };
        classified.with_source(error)
    }

    pub(super) fn busy(&self) -> Error {
        let message =
            format!("the database is locked by another process or connection; waited {:?} for it", self.patience);
        self.error(ErrorKind::Conflict, message)
            .advice("end the long transaction or stop the process that holds it (`fuser` names it), and run again")
    }

    fn read_only(&self) -> Error {
        self.error(ErrorKind::PermissionDenied, "the database, or the folder that it is in, is read-only")
            .advice("check the owner and mode of the file and its folder, and the file system")
    }

    fn interrupted(&self) -> Error {
        match self.check() {
            Err(error) => error.with("database", self.database.display()),
            Ok(()) => self.error(ErrorKind::Internal, "SQLite was interrupted"),
        }
    }

    fn not_opened(&self) -> Error {
        match fs::File::open(self.database) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Error::io(self.operation, self.database, error),
            _ => self
                .error(ErrorKind::PermissionDenied, "SQLite could not open or create the file")
                .advice("the folder must be there, and writable by this user"),
        }
    }
}
