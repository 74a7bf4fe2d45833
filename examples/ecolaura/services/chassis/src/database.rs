//! The SQLite database, which somebody else creates, migrates, backs up and restores while this process runs.

use std::{ops::RangeInclusive, path::PathBuf, time::Duration};

use rusqlite::{Connection, OpenFlags};

/// The schema versions that this code works with. Migrations below 1000 only add, so code of today runs on them too;
/// one that takes something away opens the next thousand, and is released after the code that no longer needs it.
pub const SCHEMA: RangeInclusive<i64> = 3..=999;

/// How long a statement waits for a migration or a backup.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Where the database is.
#[derive(Debug)]
pub struct Database(PathBuf);

impl Database {
    /// The database at `path`, which is opened when it is needed and never created.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Runs `work` on a connection of its own. None stays open: it would be in the way of a restore.
    pub fn with<T, E: From<rusqlite::Error>>(
        &self,
        work: impl FnOnce(&mut Connection) -> Result<T, E>,
    ) -> Result<T, E> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(&self.0, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.pragma_update(None, "foreign_keys", true)?;
        work(&mut connection)
    }

    /// The newest migration in sqlx's ledger.
    pub fn schema(&self) -> rusqlite::Result<i64> {
        let sql = "SELECT coalesce(max(version), 0) FROM _sqlx_migrations WHERE success";
        self.with(|connection| connection.query_row(sql, [], |row| row.get(0)))
    }

    /// Whether requests can be served; `Err` says why not.
    pub fn check(&self) -> Result<i64, String> {
        let found = self.schema().map_err(|error| format!("the database cannot be read: {error}"))?;
        if SCHEMA.contains(&found) {
            return Ok(found);
        }
        Err(format!("the schema is at {found}, this version needs {} to {}", SCHEMA.start(), SCHEMA.end()))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("ecolaura-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn ledger(path: &Path, head: i64) {
        let connection = Connection::open(path).unwrap();
        connection.execute_batch("CREATE TABLE _sqlx_migrations (version BIGINT, success BOOLEAN)").unwrap();
        connection.execute("INSERT INTO _sqlx_migrations VALUES (?, TRUE), (5000, FALSE)", [head]).unwrap();
    }

    #[test]
    fn readiness_follows_the_schema() {
        let folder = Folder::new("schema");
        for (head, ready) in [(2, false), (3, true), (999, true), (1000, false)] {
            let path = folder.0.join(format!("{head}.db"));
            ledger(&path, head);
            assert_eq!(Database::new(&path).check().is_ok(), ready, "{head}");
        }
    }

    #[test]
    fn a_missing_database_is_not_created() {
        let folder = Folder::new("missing");
        let path = folder.0.join("none.db");
        assert!(Database::new(&path).check().unwrap_err().contains("none.db"));
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_was_put_in_its_place_is_read() {
        let folder = Folder::new("replaced");
        let (path, other) = (folder.0.join("a.db"), folder.0.join("b.db"));
        ledger(&path, 3);
        ledger(&other, 4);
        let database = Database::new(&path);
        assert_eq!(database.schema(), Ok(3));
        std::fs::rename(&other, &path).unwrap();
        assert_eq!(database.schema(), Ok(4));
    }
}
