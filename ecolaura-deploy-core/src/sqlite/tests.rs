//! The SQLite migrator as its users see it: real files, real connections.

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;

use super::{Resolution, SqliteMigrator, backup::prove, connection::Work};
use crate::{
    Context, Effect, Error, ErrorKind, Result,
    backend::{AllowedChange, Backup, BackupLevel, DataCheck, MigrationReport, Migrator},
    testing::conformance::migrator::{Fixture, MigratorWorld, suite},
    vocabulary::{Digest, MigrationVersion},
};

mod backups;
mod bad_input;
mod crash;
mod fencing;
mod leftovers;
mod sqlx_too;
mod steps;

/// A database, its migrations, and a folder around them.
#[derive(Debug)]
struct World {
    dir: TempDir,
}

impl World {
    fn new() -> Self {
        let dir = TempDir::new().unwrap();
        std::fs::create_dir(dir.path().join("migrations")).unwrap();
        Self { dir }
    }

    /// With `files` in the folder of migrations.
    fn with(files: &[(&str, &str)]) -> Self {
        let world = Self::new();
        files.iter().for_each(|(file, sql)| world.put_file(file, sql));
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn database(&self) -> PathBuf {
        self.path("app.sqlite")
    }

    fn migrator(&self) -> SqliteMigrator {
        SqliteMigrator::new(self.database(), self.path("migrations"), "app".parse().unwrap())
            .busy_timeout(Duration::from_mins(1))
    }

    /// Gives up at once when somebody is in the way.
    fn impatient(&self) -> SqliteMigrator {
        self.migrator().busy_timeout(Duration::from_millis(50))
    }

    async fn connect(&self) -> SqliteConnection {
        let options = SqliteConnectOptions::new().filename(self.database()).busy_timeout(Duration::from_mins(1));
        options.connect().await.unwrap()
    }

    async fn sql(&self, sql: &str) {
        self.execute(sql).await.unwrap();
    }

    async fn number(&self, sql: &str) -> i64 {
        let mut connection = self.connect().await;
        let number = sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        number
    }

    /// What stands beside the database, without the lock.
    fn files(&self) -> Vec<String> {
        let names = std::fs::read_dir(self.dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
        names.retain(|name| name != "migrations" && name != "app.sqlite.lock");
        names.sort();
        names
    }
}

#[async_trait]
impl MigratorWorld for World {
    fn put_file(&self, file: &str, sql: &str) {
        std::fs::write(self.path("migrations").join(file), sql).unwrap();
    }

    fn remove_file(&self, file: &str) {
        std::fs::remove_file(self.path("migrations").join(file)).unwrap();
    }

    async fn execute(&self, sql: &str) -> Result<()> {
        let mut connection = self.connect().await;
        let done = sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await;
        connection.close().await.unwrap();
        done.map(drop).map_err(|error| Error::invalid("test.execute", "refused").with_source(error))
    }

    async fn make_dirty(&self, version: MigrationVersion) -> Result<()> {
        self.execute(&format!("UPDATE _sqlx_migrations SET success = FALSE WHERE version = {version}")).await
    }

    fn another(&self) -> Arc<dyn Migrator> {
        Arc::new(self.migrator())
    }
}

fn cx() -> Context {
    Context::new("test".parse().unwrap())
}

fn version(version: i64) -> MigrationVersion {
    MigrationVersion(version)
}

/// The report of `result`, which must be an error of `kind` that names `parts`.
fn refused<T: std::fmt::Debug>(kind: ErrorKind, result: Result<T>, parts: &[&str]) -> Error {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), kind, "{error:?}");
    for part in parts {
        assert!(error.report().contains(part), "no `{part}` in: {}", error.report());
    }
    error
}

const PLANTS: &[(&str, &str)] = &[
    ("1_plants.up.sql", "CREATE TABLE plants (id INTEGER PRIMARY KEY, height INTEGER NOT NULL);"),
    ("1_plants.down.sql", "DROP TABLE plants;"),
    ("2_seeds.up.sql", "INSERT INTO plants (height) VALUES (10), (20);"),
    ("2_seeds.down.sql", "DELETE FROM plants;"),
];

#[tokio::test]
async fn sqlite_conforms() {
    suite(async || {
        let world = Arc::new(World::new());
        Fixture::new(Arc::new(world.migrator()), world.clone(), world)
    })
    .await;
}
