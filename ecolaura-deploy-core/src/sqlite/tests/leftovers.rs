//! What killed backups and restores leave.

use std::fs;

use super::*;
use crate::{
    backend::Inspect as _,
    leftovers::tests::{Worker, clean_all, dir_of_worker, found, holds, kinds},
};

/// Backs up, or restores what was backed up, if it was started by a test below.
#[tokio::test]
async fn worker() {
    let Some(dir) = dir_of_worker() else { return };
    let ours = SqliteMigrator::new(dir.join("app.sqlite"), dir.join("migrations"), "app".parse().unwrap());
    let ours = ours.backups(dir.join("backups"));
    match fs::read(dir.join("note")) {
        Ok(note) => _ = ours.restore(&cx(), &serde_json::from_slice(&note).unwrap()).await.unwrap(),
        Err(_) => _ = ours.backup(&cx(), "second", BackupLevel::Restored).await.unwrap(),
    }
}

/// A database that takes a while to copy, and a backup of it.
async fn large() -> (World, SqliteMigrator, Backup) {
    let world = World::with(PLANTS);
    world.migrator().migrate(&cx(), version(2)).await.unwrap();
    world
        .sql(
            "CREATE TABLE bulk (data BLOB); INSERT INTO bulk WITH RECURSIVE n(i) AS \
             (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30000) SELECT randomblob(2000) FROM n",
        )
        .await;
    let ours = world.migrator().backups(world.path("backups"));
    let backup = ours.backup(&cx(), "first", BackupLevel::Checked).await.unwrap();
    assert_eq!(found(&ours, &cx()).await, [], "a database, its backup, a note and a lock");
    (world, ours, backup)
}

const WORKER: &str = "sqlite::tests::leftovers::worker";

#[tokio::test]
async fn a_killed_backup_is_left_over_and_a_running_one_is_not() {
    let (world, ours, backup) = large().await;
    let mut worker = Worker::start(WORKER, world.dir.path());
    worker.until(|| holds(&world.path("backups"), |name| name.contains("second")));
    assert_eq!(found(&ours, &cx()).await, [], "it is being made");
    worker.kill();
    let left = found(&ours, &cx()).await;
    assert!(left.iter().all(|(kind, name)| kind == "half made backup" && name.contains("second")), "{left:?}");
    clean_all(&ours, &cx()).await;
    assert_eq!(ours.backup(&cx(), "first", BackupLevel::Restored).await.unwrap().digest, backup.digest);
    assert_eq!(world.number("SELECT COUNT(*) FROM bulk").await, 30_000);
}

#[tokio::test]
async fn a_killed_restore_is_left_over_and_a_running_one_is_not() {
    let (world, ours, backup) = large().await;
    fs::write(world.path("note"), serde_json::to_vec(&backup).unwrap()).unwrap();
    let mut worker = Worker::start(WORKER, world.dir.path());
    worker.until(|| holds(world.dir.path(), |name| name.contains(".restoring")));
    assert_eq!(found(&ours, &cx()).await, [], "it is being restored");
    worker.kill();
    let left = kinds(&ours, &cx()).await;
    assert!(!left.is_empty() && left.iter().all(|kind| kind == "scratch database"), "{left:?}");
    clean_all(&ours, &cx()).await;
    ours.restore(&cx(), &backup).await.unwrap();
    assert_eq!(world.number("SELECT COUNT(*) FROM bulk").await, 30_000);
    assert_eq!(found(&ours, &cx()).await, [], "the replaced database is kept");
}

#[tokio::test]
async fn names_tell_what_did_not_end_from_what_did() {
    let world = World::with(PLANTS);
    let ours = world.migrator();
    ours.migrate(&cx(), version(2)).await.unwrap();
    ours.backup(&cx(), "whole", BackupLevel::Checked).await.unwrap();
    ours.backup(&cx(), "unnoted", BackupLevel::Checked).await.unwrap();
    fs::remove_file(world.path("app.sqlite.unnoted.backup.json")).unwrap();
    for (name, kind) in [
        ("app.sqlite.x.backup.partial-journal", Some("half made backup")),
        ("app.sqlite.x.backup.json.tmp", Some("half written note")),
        ("app.sqlite.restored.json.tmp", Some("half written note")),
        ("app.sqlite.restoring-wal", Some("scratch database")),
        ("app.sqlite.replaced-0123-1", None),
        ("app.sqlite.restored.json", None),
        ("app.sqlite.partial", None),
        ("other.sqlite.x.backup.partial", None),
        ("app.sqlite-journal", None),
    ] {
        fs::write(world.path(name), "").unwrap();
        let own = found(&ours, &cx()).await.into_iter().find(|(_, found)| found == name);
        assert_eq!(own.map(|(kind, _)| kind).as_deref(), kind, "{name}");
        fs::remove_file(world.path(name)).unwrap();
    }
    let unnoted = ("backup without note".to_owned(), "app.sqlite.unnoted.backup".to_owned());
    assert_eq!(found(&ours, &cx()).await, [unnoted]);
    clean_all(&ours, &cx()).await;
    assert!(world.path("app.sqlite.whole.backup").exists());
}

#[tokio::test]
async fn a_second_name_goes_only_while_it_is_one() {
    let world = World::with(PLANTS);
    let ours = world.migrator();
    ours.migrate(&cx(), version(2)).await.unwrap();
    let second = world.path("app.sqlite.replaced-0123-1");
    fs::hard_link(world.database(), &second).unwrap();
    fs::write(world.path("app.sqlite.replaced-0123-1-wal"), "of a damaged database").unwrap();
    assert_eq!(found(&ours, &cx()).await, [], "its log may be needed");
    fs::remove_file(world.path("app.sqlite.replaced-0123-1-wal")).unwrap();
    let left = ours.leftovers(&cx()).await.unwrap();
    assert_eq!(left[0].kind, "second name of the database");
    fs::remove_file(&second).unwrap();
    fs::write(&second, "a replaced database").unwrap();
    ours.clean(&cx(), &left[0]).await.unwrap();
    assert!(second.exists());
    fs::remove_file(&second).unwrap();
    fs::hard_link(world.database(), &second).unwrap();
    clean_all(&ours, &cx()).await;
    assert_eq!(world.number("SELECT COUNT(*) FROM plants").await, 2);
}

#[tokio::test]
async fn a_backup_of_a_database_with_a_longer_name_is_not_ours() {
    let world = World::with(PLANTS);
    let shorter = SqliteMigrator::new(world.path("app"), world.path("migrations"), "app".parse().unwrap());
    for migrator in [&shorter, &world.migrator()] {
        migrator.migrate(&cx(), version(2)).await.unwrap();
    }
    fs::write(world.path("app.sqlite.x.backup.partial"), "").unwrap();
    assert_eq!(found(&shorter, &cx()).await, []);
    assert_eq!(kinds(&world.migrator(), &cx()).await, ["half made backup"]);
}
