//! Snapshots that are taken once.

use std::{sync::Arc, time::Duration};

use ecolaura_deploy_core::{
    Effect,
    backend::{BackupLevel, Migrator as _},
    step::{Planned, Step as _},
    steps::BackupDatabase,
    testing::fake::migrator::FakeMigrator,
    vocabulary::Digest,
};

use super::world::*;
use crate::{
    fake::cx,
    rds::{fake::FakeRds, *},
};

#[tokio::test(start_paused = true)]
async fn a_snapshot_is_waited_for_and_the_same_key_adopts_it() {
    let world = World::new(FakeRds::new().instance("shop"));
    let first = world.instance().snapshot(&cx(), "run-1/back up").await.unwrap();
    assert!(first.id.starts_with("ecolaura-shop-"), "{first}");
    assert_eq!((first.engine.as_str(), first.bytes), ("postgres 16.4", 20 << 30));
    let again = world.instance().snapshot(&cx(), "run-1/back up").await.unwrap();
    let other = world.instance().snapshot(&cx(), "run-2/back up").await.unwrap();
    assert_eq!(first, again);
    assert_ne!(first.id, other.id);
    assert_eq!(world.listing().iter().filter(|line| line.ends_with(" available")).count(), 3, "{:?}", world.listing());
}

#[tokio::test(start_paused = true)]
async fn a_database_that_is_busy_is_waited_for_and_one_that_is_stopped_is_not() {
    let world = World::new(FakeRds::new().instance("shop"));
    // Another one goes on.
    world.instance().snapshot(&cx(), "a").await.unwrap();
    let begun = tokio::join!(world.fake_snapshot("b"), world.fake_snapshot("c"));
    assert!(begun.0.is_ok() && begun.1.is_ok(), "{begun:?}");

    world.rds.set_status("shop", "stopped");
    let error = world.instance().snapshot(&cx(), "d").await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::None), "{error:?}");
    assert!(error.report().contains("`stopped`"), "{error:?}");
    world.rds.set_status("shop", "maintenance");
    let error = world.instance().patience(Duration::from_mins(1)).snapshot(&cx(), "d").await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Timeout, Effect::Partial), "{error:?}");
    let missing = RdsDatabase::instance(&world.fake().account(1), "shpo").snapshot(&cx(), "e").await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound);
}

impl World {
    async fn fake_snapshot(&self, key: &str) -> Result<Snapshot> {
        self.instance().snapshot(&cx(), key).await
    }
}

#[tokio::test(start_paused = true)]
async fn what_rds_failed_to_take_is_taken_again_under_a_name_of_its_own() {
    let world = World::new(FakeRds::new().instance("shop"));
    world.rds.fail_snapshots(1);
    let snapshot = world.instance().snapshot(&cx(), "key").await.unwrap();
    assert!(snapshot.id.ends_with("-2"), "{snapshot}");
    world.rds.fail_snapshots(9);
    let error = world.instance().snapshot(&cx(), "other").await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unavailable, Effect::Partial));
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_of_somebody_else_is_not_taken_for_ours() {
    let world = World::new(FakeRds::new().instance("shop"));
    let id = world.instance().snapshot(&cx(), "key").await.unwrap().id;
    let world = World::new(FakeRds::new().instance("shop").foreign_snapshot("shop", &id));
    let error = world.instance().snapshot(&cx(), "key").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert!(error.report().contains(&id), "{error:?}");
    // Of another database, with a tag that RDS copied.
    let world = World::new(FakeRds::new().instance("shop").instance("garden"));
    world.tag("garden", "key", &Digest::of("key").to_hex());
    world.rds.take_by_hand("garden", &id);
    assert_eq!(world.instance().snapshot(&cx(), "key").await.unwrap_err().kind(), ErrorKind::AlreadyExists);
}

#[tokio::test(start_paused = true)]
async fn a_name_in_capitals_is_the_one_that_rds_keeps() {
    let world = World::new(FakeRds::new().instance("shop"));
    let database = RdsDatabase::instance(&world.fake().account(1), "Shop");
    assert_eq!(database.database().name(), "shop");
    let snapshot = database.snapshot(&cx(), "key").await.unwrap();
    assert_eq!(snapshot, world.instance().snapshot(&cx(), "key").await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_cluster_has_snapshots_of_its_own_kind() {
    let world = World::new(FakeRds::new().cluster("shop", &["shop-1"]));
    let cluster = RdsDatabase::cluster(&world.fake().account(1), "shop");
    let snapshot = cluster.snapshot(&cx(), "key").await.unwrap();
    assert!(snapshot.arn.contains(":cluster-snapshot:"), "{snapshot:?}");
    assert_eq!(cluster.snapshot(&cx(), "key").await.unwrap(), snapshot);
}

#[tokio::test(start_paused = true)]
async fn a_migration_stands_on_a_snapshot_and_a_proof_that_there_is_none_of_is_refused() {
    let world = World::new(FakeRds::new().instance("shop"));
    let inner = Arc::new(FakeMigrator::new("app".parse().unwrap()));
    let migrator = SnapshotBackups::new(inner, &world.instance());
    let backup = migrator.backup(&cx(), "key", BackupLevel::Readable).await.unwrap();
    assert!(backup.location.contains(":snapshot:ecolaura-shop-"), "{backup:?}");
    assert_eq!((backup.level, backup.digest), (BackupLevel::Readable, None));
    let error = migrator.backup(&cx(), "key", BackupLevel::Restored).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let planned = |level| {
        let step = BackupDatabase::new(Arc::new(migrator.clone()), level);
        async move { step.plan(&cx(), Planned::Known(())).await }
    };
    planned(BackupLevel::Readable).await.unwrap();
    let error = planned(BackupLevel::Restored).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.report().contains("backups of app are proven to `Readable` at most"), "{}", error.report());
}
