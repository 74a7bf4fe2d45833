//! Deployers that were taken over, on real files.

use super::*;

fn under(epoch: u64) -> Context {
    cx().with_epoch(epoch)
}

const TABLE: &str = "SELECT COUNT(*) FROM sqlite_master WHERE name = '_ecolaura_fence'";

async fn epoch_of(world: &World, environment: &str) -> i64 {
    world.number(&format!("SELECT epoch FROM _ecolaura_fence WHERE environment = '{environment}'")).await
}

#[tokio::test]
async fn who_only_looks_or_comes_from_outside_leaves_no_number() {
    let world = World::with(PLANTS);
    let (ours, checks) = (world.migrator(), [DataCheck::ForeignKeys, DataCheck::Structure]);
    ours.plan(&under(5)).await.unwrap();
    ours.migrate(&under(5), version(0)).await.unwrap();
    assert!(world.files().is_empty(), "no database was made: {:?}", world.files());
    ours.migrate(&cx(), version(2)).await.unwrap();
    ours.plan(&under(5)).await.unwrap();
    ours.backup(&under(5), "k", BackupLevel::Checked).await.unwrap();
    let before = ours.measure(&under(5), &checks).await.unwrap();
    assert_eq!(world.number(TABLE).await, 0);
    ours.migrate(&under(5), version(2)).await.unwrap();
    assert_eq!((epoch_of(&world, "test").await, ours.measure(&cx(), &checks).await.unwrap()), (5, before));
}

#[tokio::test]
async fn each_migration_asks_in_its_own_transaction() {
    let world = World::with(PLANTS);
    let ours = world.migrator();
    ours.migrate(&under(5), version(2)).await.unwrap();
    // As if another deployer came after the third.
    world.put_file("3_takeover.up.sql", "UPDATE _ecolaura_fence SET epoch = 6;");
    world.put_file("3_takeover.down.sql", "UPDATE _ecolaura_fence SET epoch = 7;");
    world.put_file("4_late.sql", "DELETE FROM plants;");
    let parts = ["4_late.sql", "epoch 5 of test", "epoch 6", "done before it: 3"];
    let error = refused(ErrorKind::Fenced, ours.migrate(&under(5), version(4)).await, &parts);
    assert_eq!(error.effect(), Effect::Partial, "the third was applied");
    let error = refused(ErrorKind::Fenced, ours.revert(&under(6), version(0)).await, &["2_seeds", "epoch 7"]);
    assert_eq!(error.effect(), Effect::Partial, "the third was reverted");
    assert_eq!(ours.plan(&cx()).await.unwrap().head(), version(2));
    assert_eq!(world.number("SELECT COUNT(*) FROM plants").await, 2);
}

#[tokio::test]
async fn the_first_call_of_an_older_epoch_makes_no_ledger() {
    let world = World::with(PLANTS);
    let backup = world.migrator().backup(&cx(), "empty", BackupLevel::Checked).await.unwrap();
    world.migrator().migrate(&under(5), version(1)).await.unwrap();
    world.migrator().restore(&under(6), &backup).await.unwrap();
    let error = refused(ErrorKind::Fenced, world.migrator().migrate(&under(5), version(2)).await, &["epoch 6"]);
    assert_eq!(error.effect(), Effect::None);
    assert_eq!(world.number("SELECT COUNT(*) FROM sqlite_master WHERE type = 'table'").await, 1, "the fence alone");
}

#[tokio::test]
async fn a_restore_keeps_the_larger_number_of_each_environment() {
    let world = World::with(PLANTS);
    let ours = world.migrator();
    ours.migrate(&under(5), version(2)).await.unwrap();
    world.sql("INSERT INTO _ecolaura_fence VALUES ('prod', 8), ('old', 3)").await;
    let backup = ours.backup(&cx(), "k", BackupLevel::Checked).await.unwrap();
    world.sql("UPDATE _ecolaura_fence SET epoch = 9 WHERE environment = 'test'").await;
    world.sql("UPDATE _ecolaura_fence SET epoch = 2 WHERE environment = 'prod'").await;
    world.sql("DELETE FROM _ecolaura_fence WHERE environment = 'old'").await;
    refused(ErrorKind::Fenced, ours.restore(&under(8), &backup).await, &["epoch 8 of test", "epoch 9"]);
    ours.restore(&cx(), &backup).await.unwrap();
    let found = [epoch_of(&world, "test").await, epoch_of(&world, "prod").await, epoch_of(&world, "old").await];
    assert_eq!(found, [9, 8, 3]);
    assert!(world.files().iter().all(|name| !name.contains("restoring")), "{:?}", world.files());
}

#[tokio::test]
async fn sqlx_works_beside_the_number() {
    let world = World::with(PLANTS);
    let ours = world.migrator();
    ours.migrate(&under(5), version(1)).await.unwrap();
    let theirs = sqlx::migrate::Migrator::new(world.path("migrations").as_path()).await.unwrap();
    let mut connection = world.connect().await;
    theirs.run(&mut connection).await.unwrap();
    theirs.undo(&mut connection, 0).await.unwrap();
    theirs.run(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    assert_eq!(epoch_of(&world, "test").await, 5);
    refused(ErrorKind::Fenced, ours.revert(&under(4), version(0)).await, &["epoch 4", "epoch 5"]);
    assert_eq!(ours.revert(&under(5), version(0)).await.unwrap().done, [version(2), version(1)]);
}

#[tokio::test]
async fn a_dirty_state_is_not_ended_by_an_older_epoch() {
    let world = World::with(PLANTS);
    let ours = world.migrator();
    ours.migrate(&under(5), version(1)).await.unwrap();
    world.make_dirty(version(1)).await.unwrap();
    let resolve = async |epoch| ours.resolve_dirty(&under(epoch), version(1), Resolution::Applied, "looked").await;
    refused(ErrorKind::Fenced, resolve(4).await, &["epoch 4", "epoch 5"]);
    refused(ErrorKind::MigrationDirty, ours.plan(&cx()).await, &["version 1"]);
    resolve(0).await.unwrap();
    ours.plan(&cx()).await.unwrap();
}

#[tokio::test]
async fn numbers_that_cannot_be_are_refused_before_anything() {
    let world = World::with(PLANTS);
    let ours = world.migrator();
    let error = refused(ErrorKind::InvalidInput, ours.migrate(&under(u64::MAX), version(2)).await, &["epoch"]);
    assert_eq!(error.effect(), Effect::None);
    assert_eq!(ours.plan(&cx()).await.unwrap().head(), version(0));
    ours.migrate(&under(5), version(1)).await.unwrap();
    world.sql("UPDATE _ecolaura_fence SET epoch = -1").await;
    refused(ErrorKind::Corrupt, ours.migrate(&under(6), version(2)).await, &["_ecolaura_fence"]);
}
