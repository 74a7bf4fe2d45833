//! What is taken away, and what never is.

use std::{sync::Arc, time::Duration};

use ecolaura_deploy_core::{backend::Inspect as _, run::RunResult, step::Step as _};

use super::world::*;
use crate::{
    fake::cx,
    rds::{fake::FakeRds, *},
};

fn retention(database: &RdsDatabase) -> RdsRetention {
    RdsRetention::new("rds".parse().unwrap(), database).keep(1).grace(Duration::ZERO)
}

#[tokio::test(start_paused = true)]
async fn the_newest_snapshot_and_those_of_others_stay() {
    let world = World::new(FakeRds::new().instance("shop").foreign_snapshot("shop", "before-christmas"));
    let database = world.instance();
    world.rds.fail_snapshots(1);
    for key in ["a", "b"] {
        database.snapshot(&cx(), key).await.unwrap();
    }
    let newest = database.snapshot(&cx(), "c").await.unwrap();
    let young = RdsRetention::new("rds".parse().unwrap(), &database).keep(1);
    assert!(young.leftovers(&cx()).await.unwrap().is_empty(), "they are of today");

    let found = retention(&database).leftovers(&cx()).await.unwrap();
    let kinds: Vec<_> = found.iter().map(|leftover| leftover.found.as_str()).collect();
    assert_eq!(found.len(), 3, "{kinds:?}");
    assert!(kinds.contains(&"RDS failed to take it"), "{kinds:?}");
    for leftover in &found {
        retention(&database).clean(&cx(), leftover).await.unwrap();
    }
    let left = world.rds.listing();
    let snapshots: Vec<_> = left.iter().filter(|line| !line.contains("db-")).collect();
    assert_eq!(snapshots, ["before-christmas available", &format!("{} available", newest.id)]);
    assert_eq!(retention(&database).apply(&cx()).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn snapshots_that_failed_are_not_counted_among_those_that_are_kept() {
    let world = World::new(FakeRds::new().instance("shop"));
    let database = world.instance();
    let whole = database.snapshot(&cx(), "a").await.unwrap();
    world.rds.fail_snapshots(9);
    database.snapshot(&cx(), "b").await.unwrap_err();
    assert_eq!(retention(&database).apply(&cx()).await.unwrap(), 3);
    assert!(world.rds.listing().contains(&format!("{} available", whole.id)), "{:?}", world.rds.listing());
}

#[tokio::test(start_paused = true)]
async fn a_database_that_was_restored_for_nothing_is_found_and_one_that_has_served_is_not_touched() {
    let world = World::new(FakeRds::new().instance("shop"));
    let database = world.instance();
    RestoreDatabase::new(&database).apply(&cx(), RestorePoint::Latest).await.unwrap();
    let found = retention(&database).leftovers(&cx()).await.unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].kind, "restored database");
    assert_eq!(retention(&database).apply(&cx()).await.unwrap(), 1);
    assert!(world.listing().contains(&"shop-new db-FAKE0002 deleting".to_owned()), "{:?}", world.listing());

    let world = World::new(FakeRds::new().instance("shop"));
    let database = world.instance();
    let restored = RestoreDatabase::new(&database).apply(&cx(), RestorePoint::Latest).await.unwrap().output;
    let verify = VerifyDatabase::new(&database, Arc::new(Answering(true)));
    let admitted = verify.apply(&cx(), restored).await.unwrap().output;
    let switch = SwitchDatabase::new(&database, accepted());
    let undo = switch.prepare(&cx(), &admitted).await.unwrap().unwrap();
    switch.apply(&cx(), admitted).await.unwrap();
    switch.undoer().unwrap().undo(&cx(), undo).await.unwrap();
    assert!(retention(&database).leftovers(&cx()).await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_has_our_tags_by_being_copied_is_not_touched() {
    let world = World::new(FakeRds::new().instance("shop").instance("garden"));
    let result = world.run(|database| way_back(database, false), None).await;
    assert!(matches!(result, Some(RunResult::Succeeded)), "{result:?}");
    // RDS copies tags from a database to its snapshots, and from those to what is restored from them.
    for id in ["before-christmas", "after-christmas"] {
        world.rds.take_by_hand("shop", id);
    }
    let restored = way_back_tags("abcdefgh", "garden");
    assert_eq!(world.rds.answer(&restored).0, 200);
    let database = world.instance();
    assert_eq!(retention(&database).leftovers(&cx()).await.unwrap(), []);
    assert_eq!(retention(&database).apply(&cx()).await.unwrap(), 0);
}

/// Gives `name` the tags of what is restored beside `shop`.
fn way_back_tags(key: &str, name: &str) -> String {
    let arn = format!("arn:aws:rds:eu-central-1:111122223333:db:{name}");
    let tag =
        |number: u32, key: &str, value: &str| format!("&Tags.Tag.{number}.Key={key}&Tags.Tag.{number}.Value={value}");
    let tags = tag(1, "ecolaura-deploy:key", key) + &tag(2, "ecolaura-deploy:database", "shop");
    format!("Action=AddTagsToResource&ResourceName={arn}{tags}")
}

#[tokio::test(start_paused = true)]
async fn what_is_on_a_later_page_is_found_too() {
    let world = World::new(FakeRds::new().instance("garden").instance("shop").in_pages_of(1));
    let database = world.instance();
    for key in ["a", "b", "c"] {
        database.snapshot(&cx(), key).await.unwrap();
    }
    RestoreDatabase::new(&database).apply(&cx(), RestorePoint::Latest).await.unwrap();
    let found = retention(&database).leftovers(&cx()).await.unwrap();
    let kinds: Vec<_> = found.iter().map(|leftover| leftover.kind.as_str()).collect();
    assert_eq!(kinds, ["RDS snapshot", "RDS snapshot", "restored database"]);

    let world = World::new(FakeRds::new().cluster("garden", &[]).cluster("shop", &[]).in_pages_of(1));
    let cluster = RdsDatabase::cluster(&world.fake().account(1), "shop");
    for key in ["a", "b"] {
        cluster.snapshot(&cx(), key).await.unwrap();
    }
    RestoreDatabase::new(&cluster).apply(&cx(), RestorePoint::Latest).await.unwrap();
    assert_eq!(retention(&cluster).apply(&cx()).await.unwrap(), 2);
}
