//! What is in the way: others, the disk, the file system, files that are no databases.

use std::{fs, os::unix::fs::PermissionsExt as _};

use tokio_util::sync::CancellationToken;

use super::*;

#[tokio::test]
async fn planning_never_creates_the_database() {
    let world = World::with(PLANTS);
    let ours = world.migrator();
    ours.plan(&cx()).await.unwrap();
    ours.measure(&cx(), &[DataCheck::Structure]).await.unwrap();
    assert!(world.files().is_empty());
    ours.backup(&cx(), "empty", BackupLevel::Checked).await.unwrap();
    assert!(!world.database().exists());
    world.put_file("x.sql", "");
    refused(ErrorKind::InvalidInput, ours.migrate(&cx(), version(2)).await, &["`x.sql`"]);
    assert!(!world.database().exists(), "bad files are found before anything is created");
}

#[tokio::test]
async fn a_new_database_has_a_log_and_an_existing_one_keeps_what_it_has() {
    let mode = async |world: &World| {
        let mut connection = world.connect().await;
        sqlx::query_scalar::<_, String>("PRAGMA journal_mode").fetch_one(&mut connection).await.unwrap()
    };
    let (new, old) = (World::with(PLANTS), World::with(PLANTS));
    fs::write(old.database(), "").unwrap();
    for world in [&new, &old] {
        world.migrator().migrate(&cx(), version(2)).await.unwrap();
    }
    assert_eq!((mode(&new).await.as_str(), mode(&old).await.as_str()), ("wal", "delete"));
}

#[tokio::test]
async fn a_database_that_is_locked_is_a_conflict_and_later_works() {
    let world = World::with(PLANTS);
    let ours = world.impatient();
    ours.migrate(&cx(), version(1)).await.unwrap();
    let mut other = world.connect().await;
    let holder = other.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let error =
        refused(ErrorKind::Conflict, ours.migrate(&cx(), version(2)).await, &["app.sqlite", "locked", "run again"]);
    assert_eq!(error.effect(), Effect::None);
    holder.rollback().await.unwrap();
    assert_eq!(ours.migrate(&cx(), version(2)).await.unwrap().done, [version(2)]);
}

#[tokio::test]
async fn another_process_that_migrates_is_named() {
    let world = World::with(PLANTS);
    let path = world.path("app.sqlite.lock");
    // Another open file of this process is, to the lock, another process.
    let lock = fs::File::create(&path).unwrap();
    lock.lock().unwrap();
    fs::write(&path, "4711").unwrap();
    let ours = world.impatient();
    refused(ErrorKind::Conflict, ours.migrate(&cx(), version(2)).await, &["app.sqlite.lock", "4711"]);
    refused(ErrorKind::Conflict, ours.backup(&cx(), "x", BackupLevel::Exists).await, &["app.sqlite.lock"]);
    assert_eq!(ours.plan(&cx()).await.unwrap().pending.len(), 2, "planning waits for nobody");
    drop(lock);
    ours.migrate(&cx(), version(2)).await.unwrap();
}

#[tokio::test]
async fn what_is_no_database_is_said_to_be_none() {
    let world = World::with(PLANTS);
    fs::write(
        world.database(),
        "a page of text that is long enough to be taken for a header of a database, or so".repeat(9),
    )
    .unwrap();
    let before = fs::read(world.database()).unwrap();
    let ours = world.migrator();
    refused(ErrorKind::Corrupt, ours.plan(&cx()).await, &["app.sqlite", "not a SQLite database"]);
    refused(ErrorKind::Corrupt, ours.migrate(&cx(), version(2)).await, &["not a SQLite database"]);
    assert_eq!(fs::read(world.database()).unwrap(), before);

    let folder = World::with(PLANTS);
    fs::create_dir(folder.database()).unwrap();
    refused(ErrorKind::InvalidInput, folder.migrator().plan(&cx()).await, &["not a file"]);
}

#[tokio::test]
async fn a_missing_folder_of_migrations_is_named() {
    let world = World::new();
    let ours = SqliteMigrator::new(world.database(), world.path("nowhere"), "app".parse().unwrap());
    refused(ErrorKind::NotFound, ours.plan(&cx()).await, &["nowhere"]);
}

#[tokio::test]
async fn a_ledger_of_another_kind_is_corrupt() {
    let world = World::with(PLANTS);
    world.migrator().migrate(&cx(), version(1)).await.unwrap();
    world
        .sql(
            "UPDATE _sqlx_migrations SET version = 1, checksum = NULL WHERE 0; DROP TABLE _sqlx_migrations; \
               CREATE TABLE _sqlx_migrations (version TEXT, success TEXT, checksum TEXT); \
               INSERT INTO _sqlx_migrations VALUES ('one', 'yes', 'none')",
        )
        .await;
    refused(ErrorKind::Corrupt, world.migrator().plan(&cx()).await, &["_sqlx_migrations"]);
}

#[tokio::test]
async fn a_full_disk_leaves_the_version_before() {
    let world = World::with(PLANTS);
    let ours = world.migrator();
    ours.migrate(&cx(), version(2)).await.unwrap();
    // SQLite's limit of pages answers as a full disk does, and can be had without one.
    world.put_file(
        "3_much.sql",
        "PRAGMA max_page_count = 20;\nCREATE TABLE much (content BLOB);\n\
                                  INSERT INTO much VALUES (zeroblob(1000000));",
    );
    let error =
        refused(ErrorKind::LimitExceeded, ours.migrate(&cx(), version(3)).await, &["3_much.sql", "full", "space"]);
    assert_eq!(error.effect(), Effect::None);
    assert_eq!(world.number("SELECT COUNT(*) FROM sqlite_master WHERE name = 'much'").await, 0);
    assert_eq!(ours.plan(&cx()).await.unwrap().head(), version(2));
    world.put_file("3_much.sql", "CREATE TABLE much (content BLOB);");
    ours.migrate(&cx(), version(3)).await.unwrap();
}

#[tokio::test]
async fn a_read_only_folder_is_named() {
    if rustix::process::geteuid().is_root() {
        // Nothing is read-only for root; what SQLite answers then is tested by the query below.
        let world = World::with(PLANTS);
        world.migrator().migrate(&cx(), version(1)).await.unwrap();
        let check =
            DataCheck::Query { name: "writes".into(), sql: "DELETE FROM plants".into(), allowed: AllowedChange::None };
        refused(ErrorKind::PermissionDenied, world.migrator().measure(&cx(), &[check]).await, &["read-only", "writes"]);
        return;
    }
    let world = World::with(PLANTS);
    fs::set_permissions(world.dir.path(), fs::Permissions::from_mode(0o555)).unwrap();
    let result = world.migrator().migrate(&cx(), version(2)).await;
    fs::set_permissions(world.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    refused(ErrorKind::PermissionDenied, result, &["app.sqlite"]);
}

/// Counts until somebody interrupts it.
const ENDLESS: &str = "CREATE TABLE t AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) \
                       SELECT MAX(i) FROM n;";

#[tokio::test]
async fn a_cancel_interrupts_the_statement_and_leaves_whole_migrations() {
    let world = World::with(PLANTS);
    world.put_file("3_endless.sql", ENDLESS);
    let token = CancellationToken::new();
    let (cancelled, ours) = (cx().with_cancellation(token.clone()), world.migrator());
    let migrate = ours.migrate(&cancelled, version(3));
    let cancel = async {
        // The ledger of the second one is there before the third begins.
        while !world.database().exists() || ours.plan(&cx()).await.unwrap().head() != version(2) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        token.cancel();
    };
    let (result, ()) = futures_util::future::join(migrate, cancel).await;
    let error = refused(ErrorKind::Cancelled, result, &["3_endless.sql", "1, 2"]);
    assert_eq!(error.effect(), Effect::Partial);
    assert_eq!(ours.plan(&cx()).await.unwrap().head(), version(2));
    assert_eq!(world.number("SELECT COUNT(*) FROM sqlite_master WHERE name = 't'").await, 0);
}

#[tokio::test]
async fn a_deadline_interrupts_too() {
    let world = World::with(&[("1_endless.sql", ENDLESS)]);
    let cx = cx().with_deadline_in(Duration::from_millis(300));
    let error = refused(ErrorKind::Timeout, world.migrator().migrate(&cx, version(1)).await, &["app.sqlite"]);
    assert_eq!(error.effect(), Effect::None);
    assert_eq!(world.migrator().plan(&super::cx()).await.unwrap().head(), version(0));
}

#[tokio::test]
async fn a_dropped_call_leaves_whole_migrations_and_no_lock() {
    let world = World::with(PLANTS);
    world.put_file("3_endless.sql", ENDLESS);
    let ours = world.migrator();
    let token = CancellationToken::new();
    let dropped = cx().with_cancellation(token.clone());
    let applied = async {
        while !world.database().exists() || ours.plan(&cx()).await.unwrap().head() != version(2) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::select! {
        result = ours.migrate(&dropped, version(3)) => panic!("{result:?}"),
        () = applied => {}
    }
    // The driver's thread hears of a drop only at the end of its statement; a cancel ends that.
    token.cancel();
    world.put_file("3_endless.sql", "SELECT 1;");
    assert_eq!(ours.migrate(&cx(), version(3)).await.unwrap().done, [version(3)]);
}

#[tokio::test]
async fn queries_answer_with_one_integer_or_are_named() {
    let world = World::with(PLANTS);
    let ours = world.migrator();
    ours.migrate(&cx(), version(2)).await.unwrap();
    let query = |sql: &str| DataCheck::Query { name: "mine".into(), sql: sql.into(), allowed: AllowedChange::None };
    let value = async |sql: &str| ours.measure(&cx(), &[query(sql)]).await.map(|found| found.0["mine"]);
    assert_eq!(value("SELECT MAX(height) FROM plants").await.unwrap(), Some(20));
    assert_eq!(value("SELECT MAX(height) FROM plants WHERE 0").await.unwrap(), None);
    assert_eq!(value("SELECT COUNT(*) FROM nowhere").await.unwrap(), None);
    refused(ErrorKind::InvalidInput, value("SELECT 'text'").await, &["mine", "not an integer"]);
    refused(ErrorKind::InvalidInput, value("SELEC 1").await, &["mine", "syntax"]);
    refused(ErrorKind::InvalidInput, value("SELECT 1;\nDROP TABLE plants").await, &["mine", "begins on line 2"]);
    assert_eq!(value("SELECT ';' = ';'; -- one;").await.unwrap(), Some(1));
    refused(ErrorKind::PermissionDenied, value("DELETE FROM plants RETURNING 1").await, &["mine"]);
    assert_eq!(world.number("SELECT COUNT(*) FROM plants").await, 2);
}

#[tokio::test]
async fn what_refers_to_nothing_is_counted() {
    let world = World::with(PLANTS);
    world.put_file("3_pots.sql", "CREATE TABLE pots (plant INTEGER REFERENCES plants (id));");
    world.migrator().migrate(&cx(), version(3)).await.unwrap();
    world.sql("PRAGMA foreign_keys = OFF; INSERT INTO pots VALUES (1), (98), (99)").await;
    let found = world.migrator().measure(&cx(), &[DataCheck::ForeignKeys]).await.unwrap();
    assert_eq!(found.0["foreign keys"], Some(2));
}
