//! The way back, when nothing goes wrong and when a database is not as it should be.

use std::{sync::Arc, time::Duration};

use ecolaura_deploy_core::{
    pipeline::{Pipeline, constant},
    run::RunResult,
    step::{Planned, Step as _},
};

use super::world::*;
use crate::{
    fake::cx,
    rds::{fake::FakeRds, *},
};

fn world() -> World {
    World::new(FakeRds::new().instance("shop"))
}

#[tokio::test(start_paused = true)]
async fn the_restored_database_takes_the_name_and_the_old_one_stays_beside_it() {
    let world = world();
    let result = world.run(|database| way_back(database, false), None).await;
    assert!(matches!(result, Some(RunResult::Succeeded)), "{result:?}");
    assert_eq!(world.listing(), ["shop db-FAKE0002 available", "shop-old db-FAKE0001 available"]);
    let seen = world.rds.answer("Action=DescribeDBInstances&DBInstanceIdentifier=shop").1;
    assert!(seen.contains("<DeletionProtection>true</DeletionProtection>"), "as the old one: {seen}");
}

#[tokio::test(start_paused = true)]
async fn the_restored_database_has_the_groups_and_the_tags_of_the_old_one() {
    let world = world();
    let tag =
        "&Tags.Tag.1.Key=backup&Tags.Tag.1.Value=nightly&Tags.Tag.2.Key=ecolaura-deploy:served&Tags.Tag.2.Value=true";
    let arn = "arn:aws:rds:eu-central-1:111122223333:db:shop";
    assert_eq!(world.rds.answer(&format!("Action=AddTagsToResource&ResourceName={arn}{tag}")).0, 200);
    let database = world.instance();
    let restored = RestoreDatabase::new(&database).apply(&cx(), RestorePoint::Latest).await.unwrap().output;
    let verify = VerifyDatabase::new(&database, Arc::new(Answering(true)));
    verify.apply(&cx(), restored.clone()).await.unwrap();
    let name = restored.new.database.name();
    let seen = world.rds.answer(&format!("Action=DescribeDBInstances&DBInstanceIdentifier={name}")).1;
    assert!(seen.contains("<Key>backup</Key><Value>nightly</Value>"), "{seen}");
    assert!(!seen.contains(":served"), "it has not: {seen}");

    world.rds.set_parameters(restored.new.database.name(), "default.postgres16");
    let verify = VerifyDatabase::new(&database, Arc::new(Answering(false)));
    let error = verify.apply(&cx(), restored).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::GateRefused);
    for problem in ["`default.postgres16`, expected `shop-16`", "nobody answers"] {
        assert!(error.report().contains(problem), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_database_that_is_not_as_it_should_be_is_deleted_and_nothing_was_switched() {
    let world = world();
    let make = |database: &RdsDatabase| {
        let mut pipeline = Pipeline::new("shop".parse().unwrap(), "dev".parse().unwrap());
        let restored = pipeline.add("restore", RestoreDatabase::new(database), constant(RestorePoint::Latest));
        pipeline.add("verify", VerifyDatabase::new(database, Arc::new(Answering(false))), restored);
        pipeline
    };
    let result = world.run(make, None).await;
    assert!(matches!(result, Some(RunResult::RolledBack { .. })), "{result:?}");
    assert_eq!(world.listing(), ["shop db-FAKE0001 available", "shop-new db-FAKE0002 deleting"]);
}

#[tokio::test(start_paused = true)]
async fn what_fails_behind_the_switch_gives_the_name_back_and_keeps_what_has_served() {
    let world = world();
    let result = world.run(|database| way_back(database, true), None).await;
    assert!(matches!(result, Some(RunResult::RolledBack { .. })), "{result:?}");
    assert_eq!(world.listing(), ["shop db-FAKE0001 available", "shop-new db-FAKE0002 available"]);
}

#[tokio::test(start_paused = true)]
async fn the_plan_says_what_is_lost_and_more_than_was_agreed_to_is_refused_before_the_first_rename() {
    let world = world();
    let database = world.instance();
    let restored = RestoreDatabase::new(&database).apply(&cx(), RestorePoint::Latest).await.unwrap().output;
    let verify = VerifyDatabase::new(&database, Arc::new(Answering(true)));
    let admitted = verify.apply(&cx(), restored).await.unwrap().output;
    let little = AcceptedLoss::of_the_last(Duration::from_mins(1), "INC-7");
    let switch = SwitchDatabase::new(&database, little);
    let plan = switch.plan(&cx(), Planned::Known(admitted.clone())).await.unwrap();
    assert!(plan.warnings[0].contains("is lost, now 5 min; up to 60 s is accepted: INC-7"), "{:?}", plan.warnings);
    let error = switch.apply(&cx(), admitted).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::GateRefused, "{error:?}");
    assert!(world.listing().contains(&"shop db-FAKE0001 available".to_owned()), "{:?}", world.listing());
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_of_another_database_and_a_time_that_is_not_kept_are_refused_in_the_plan() {
    let world = World::new(FakeRds::new().instance("shop").instance("garden"));
    let other = RdsDatabase::instance(&world.fake().account(1), "garden").snapshot(&cx(), "key").await.unwrap();
    let step = RestoreDatabase::new(&world.instance());
    let error = step.plan(&cx(), Planned::Known(other.into())).await.unwrap_err();
    assert!(error.report().contains("of RDS instance garden, not of RDS instance shop"), "{error:?}");
    let now = ecolaura_deploy_core::clock::Clock::now(cx().clock());
    let error = step.plan(&cx(), Planned::Known(RestorePoint::Time(now))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[tokio::test(start_paused = true)]
async fn a_cluster_is_restored_with_its_members_and_all_take_their_names() {
    let world = World::new(FakeRds::new().cluster("shop", &["shop-1", "shop-2"]));
    let cluster = RdsDatabase::cluster(&world.fake().account(1), "shop");
    let snapshot = cluster.snapshot(&cx(), "key").await.unwrap();
    let restored = RestoreDatabase::new(&cluster).apply(&cx(), snapshot.into()).await.unwrap().output;
    assert_eq!(restored.members.len(), 2);
    let verify = VerifyDatabase::new(&cluster, Arc::new(Answering(true)));
    let admitted = verify.apply(&cx(), restored).await.unwrap().output;
    let switch = SwitchDatabase::new(&cluster, accepted());
    let undo = switch.prepare(&cx(), &admitted).await.unwrap().unwrap();
    switch.apply(&cx(), admitted).await.unwrap();
    let after = [
        "ecolaura-shop available",
        "shop cluster-FAKE0004 available",
        "shop-1 db-FAKE0005 available",
        "shop-1-old db-FAKE0002 available",
        "shop-2 db-FAKE0006 available",
        "shop-2-old db-FAKE0003 available",
        "shop-old cluster-FAKE0001 available",
    ];
    assert_eq!(world.listing(), after);
    switch.undoer().unwrap().undo(&cx(), undo).await.unwrap();
    assert!(world.listing().contains(&"shop cluster-FAKE0001 available".to_owned()), "{:?}", world.listing());
    assert!(world.listing().contains(&"shop-1 db-FAKE0002 available".to_owned()), "{:?}", world.listing());
}
