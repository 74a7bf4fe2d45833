//! Backups and restores of real files, under writes, damage and crashes.

use std::{
    fs,
    sync::atomic::{AtomicBool, Ordering},
};

use tokio_util::sync::CancellationToken;

use super::*;

async fn grown() -> World {
    let world = World::with(PLANTS);
    world.migrator().migrate(&cx(), version(2)).await.unwrap();
    world
}

fn flip(path: &str, position: usize) {
    let mut bytes = fs::read(path).unwrap();
    bytes[position] ^= 0xff;
    fs::write(path, bytes).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backup_under_writes_is_one_moment() {
    let world = Arc::new(grown().await);
    world
        .sql(
            "CREATE TABLE account (id INTEGER PRIMARY KEY, amount INTEGER NOT NULL); \
               INSERT INTO account WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) \
               SELECT i, 100 FROM n",
        )
        .await;
    let stop = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let (world, stop) = (Arc::clone(&world), Arc::clone(&stop));
        async move {
            let mut connection = world.connect().await;
            let mut transfers = 0_i64;
            while !stop.load(Ordering::Relaxed) {
                let (from, to) = (transfers % 5000 + 1, (transfers * 7) % 5000 + 1);
                let transfer = format!(
                    "BEGIN IMMEDIATE; UPDATE account SET amount = amount - 1 WHERE id = {from}; \
                     UPDATE account SET amount = amount + 1 WHERE id = {to}; COMMIT"
                );
                sqlx::raw_sql(AssertSqlSafe(transfer)).execute(&mut connection).await.unwrap();
                transfers += 1;
            }
            transfers
        }
    });
    let ours = world.migrator().backups(world.path("backups/deep"));
    for key in ["one", "two", "three"] {
        let backup = ours.backup(&cx(), key, BackupLevel::Checked).await.unwrap();
        let mut copy = SqliteConnectOptions::new().filename(&backup.location).read_only(true).connect().await.unwrap();
        let sum: i64 = sqlx::query_scalar("SELECT SUM(amount) FROM account").fetch_one(&mut copy).await.unwrap();
        assert_eq!((sum, backup.head), (500_000, version(2)));
    }
    stop.store(true, Ordering::Relaxed);
    assert!(writer.await.unwrap() > 0);
}

#[tokio::test]
async fn a_backup_leaves_itself_and_its_note_and_nothing_else() {
    let world = grown().await;
    let backup = world.migrator().backup(&cx(), "k", BackupLevel::Checked).await.unwrap();
    assert_eq!(world.files(), ["app.sqlite", "app.sqlite.k.backup", "app.sqlite.k.backup.json"]);
    let note: Backup = serde_json::from_slice(&fs::read(world.path("app.sqlite.k.backup.json")).unwrap()).unwrap();
    assert_eq!(note, backup);
    assert_eq!(backup.digest, Some(Digest::of(fs::read(&backup.location).unwrap())));
}

#[tokio::test]
async fn a_file_without_a_note_is_no_backup() {
    let world = grown().await;
    for file in ["app.sqlite.k.backup", "app.sqlite.k.backup.partial"] {
        fs::write(world.path(file), "half of a backup").unwrap();
    }
    let backup = world.migrator().backup(&cx(), "k", BackupLevel::Checked).await.unwrap();
    assert_eq!((backup.head, world.files().len()), (version(2), 3));
}

#[tokio::test]
async fn a_damaged_backup_is_neither_answered_nor_restored() {
    let world = grown().await;
    let ours = world.migrator();
    let backup = ours.backup(&cx(), "k", BackupLevel::Checked).await.unwrap();
    let before = fs::read(world.database()).unwrap();
    for position in [0, usize::try_from(backup.size).unwrap() - 10] {
        flip(&backup.location, position);
        refused(ErrorKind::Corrupt, ours.backup(&cx(), "k", BackupLevel::Exists).await, &["app.sqlite.k.backup"]);
        refused(ErrorKind::Corrupt, ours.restore(&cx(), &backup).await, &["app.sqlite.k.backup"]);
        flip(&backup.location, position);
    }
    let whole = fs::read(&backup.location).unwrap();
    fs::write(&backup.location, &whole[..whole.len() / 2]).unwrap();
    refused(ErrorKind::Corrupt, ours.restore(&cx(), &backup).await, &["bytes"]);
    assert_eq!(fs::read(world.database()).unwrap(), before);
    assert_eq!(world.files().len(), 3, "nothing half-done: {:?}", world.files());
}

#[tokio::test]
async fn the_proof_finds_what_the_digest_cannot() {
    let world = grown().await;
    world.sql("CREATE INDEX by_height ON plants (height)").await;
    // An index that lacks a row: every page is in order, the whole is not.
    world
        .sql(
            "PRAGMA writable_schema = ON; \
               UPDATE sqlite_master SET sql = 'CREATE INDEX by_height ON plants (id)' WHERE name = 'by_height'",
        )
        .await;
    let path = world.database();
    let (cx, base) = (cx(), world.database());
    let work = Work { cx: &cx, operation: "test", database: &base, patience: Duration::from_secs(1) };
    prove(work, &path, BackupLevel::Restored).await.unwrap();
    refused(ErrorKind::Corrupt, prove(work, &path, BackupLevel::Checked).await, &["problems"]);
    fs::write(world.path("text"), "no database").unwrap();
    refused(ErrorKind::Corrupt, prove(work, &world.path("text"), BackupLevel::Restored).await, &["text"]);
}

#[tokio::test]
async fn loose_ends_that_were_there_before_do_not_spoil_a_backup() {
    let world = grown().await;
    world
        .sql(
            "PRAGMA foreign_keys = OFF; CREATE TABLE pots (plant REFERENCES plants (id)); INSERT INTO pots VALUES (99)",
        )
        .await;
    world.migrator().backup(&cx(), "k", BackupLevel::Checked).await.unwrap();
}

#[tokio::test]
async fn a_restore_waits_until_the_database_is_left_and_not_for_ever() {
    let world = grown().await;
    let ours = world.impatient();
    let backup = ours.backup(&cx(), "k", BackupLevel::Checked).await.unwrap();
    let mut service = world.connect().await;
    sqlx::query("SELECT * FROM plants").fetch_all(&mut service).await.unwrap();
    refused(ErrorKind::Conflict, ours.restore(&cx(), &backup).await, &["app.sqlite", "stop the services"]);
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut service).await.unwrap();
    assert_eq!(mode, "wal");

    let patient = world.migrator();
    let restoring = tokio::spawn(async move { patient.restore(&cx(), &backup).await });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!restoring.is_finished(), "it does not take what is in use, and waits");
    service.close().await.unwrap();
    restoring.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_was_replaced_is_whole_and_the_log_stays() {
    let world = grown().await;
    let ours = world.migrator();
    let backup = ours.backup(&cx(), "k", BackupLevel::Checked).await.unwrap();
    world.sql("INSERT INTO plants (height) VALUES (30)").await;
    let kept = ours.restore(&cx(), &backup).await.unwrap();
    assert_eq!(world.number("SELECT COUNT(*) FROM plants").await, 2);
    let mut old = SqliteConnectOptions::new().filename(&kept).connect().await.unwrap();
    let count: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM plants").fetch_one(&mut old).await.unwrap();
    assert_eq!(count, 3);
    let mut connection = world.connect().await;
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut connection).await.unwrap();
    assert_eq!(mode, "wal");
    connection.close().await.unwrap();

    assert_eq!(ours.restore(&cx(), &backup).await.unwrap(), kept, "nothing was written since");
    world.sql("DELETE FROM plants").await;
    assert_ne!(ours.restore(&cx(), &backup).await.unwrap(), kept, "something was written since");
    assert_eq!(world.number("SELECT COUNT(*) FROM plants").await, 2);
}

#[tokio::test]
async fn a_ruined_database_can_be_replaced() {
    let world = grown().await;
    let ours = world.migrator();
    let backup = ours.backup(&cx(), "k", BackupLevel::Checked).await.unwrap();
    let mut service = world.connect().await;
    sqlx::query("INSERT INTO plants (height) VALUES (30)").execute(&mut service).await.unwrap();
    let log = fs::read(world.path("app.sqlite-wal")).unwrap();
    service.close().await.unwrap();
    fs::write(world.database(), "ruined ".repeat(10_000)).unwrap();
    fs::write(world.path("app.sqlite-wal"), &log).unwrap();
    let kept = ours.restore(&cx(), &backup).await.unwrap();
    assert_eq!(
        world.number("SELECT COUNT(*) FROM plants").await,
        2,
        "the old log is not replayed into the restored one"
    );
    assert!(String::from_utf8_lossy(&fs::read(&kept).unwrap()).contains("ruined ruined"), "kept beside it");
    assert_eq!(ours.plan(&cx()).await.unwrap().head(), version(2));
    fs::remove_file(world.database()).unwrap();
    assert_eq!(ours.restore(&cx(), &backup).await.unwrap(), world.database().canonicalize().unwrap());
    assert_eq!(world.number("SELECT COUNT(*) FROM plants").await, 2);
}

#[tokio::test]
async fn a_cancelled_backup_is_never_taken_for_one() {
    let world = grown().await;
    let token = CancellationToken::new();
    let cancelled = cx().with_cancellation(token.clone());
    let ours = world.migrator();
    let mut other = world.connect().await;
    // A writer that keeps the backup from reading, until it is cancelled.
    sqlx::raw_sql("PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = DELETE; BEGIN EXCLUSIVE")
        .execute(&mut other)
        .await
        .unwrap();
    let backup = ours.backup(&cancelled, "k", BackupLevel::Checked);
    let cancel = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        token.cancel();
        sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
        other.close().await.unwrap();
    };
    let (result, ()) = futures_util::future::join(backup, cancel).await;
    refused(ErrorKind::Cancelled, result, &[]);
    assert_eq!(world.files(), ["app.sqlite"]);
    ours.backup(&cx(), "k", BackupLevel::Checked).await.unwrap();
}
