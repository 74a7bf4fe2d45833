//! The way back, when nothing goes wrong and when a database is not as it should be.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use ecolaura_deploy_core::{
    Admitted, Effect,
    pipeline::{Pipeline, constant},
    run::RunResult,
    step::{Planned, Probed, Step as _},
};

use super::world::*;
use crate::{
    fake::cx,
    rds::{
        calls::Calls,
        fake::FakeRds,
        restore::{discard, resolve},
        seen::Seen,
        *,
    },
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
    let tag = "&Tags.Tag.1.Key=backup&Tags.Tag.1.Value=nightly&Tags.Tag.2.Key=ecolaura-deploy:served&Tags.Tag.2.Value=true\
         &Tags.Tag.3.Key=aws:cloudformation:stack-name&Tags.Tag.3.Value=shop";
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
    assert!(!seen.contains("aws:cloudformation"), "AWS alone gives these: {seen}");
    assert!(seen.contains("<Key>ecolaura-deploy:run</Key><Value>none</Value>"), "outside of a run: {seen}");

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
    let name = world.restored();
    let seen = world.rds.answer(&format!("Action=DescribeDBInstances&DBInstanceIdentifier={name}")).1;
    assert!(seen.contains("<DeletionProtection>false</DeletionProtection>"), "as it was: {seen}");
}

/// A world in which a process was killed when RDS had begun to restore.
async fn restoring() -> World {
    for call in 0.. {
        let world = world();
        world.run(|database| way_back(database, false), Some((call, Moment::After))).await;
        if world.listing().len() > 1 {
            return world;
        }
    }
    unreachable!()
}

#[tokio::test(start_paused = true)]
async fn what_has_the_name_by_now_and_is_not_ours_is_neither_taken_nor_deleted() {
    let world = restoring().await;
    world.tag(&world.restored(), "key", "theirs");
    let result = world.resume(|database| way_back(database, false)).await;
    assert!(matches!(&result, Some(RunResult::RolledBack { failed, .. }) if failed == "restore"), "{result:?}");
    assert_eq!(world.listing(), ["shop db-FAKE0001 available", "shop-new db-FAKE0002 available"]);
}

#[tokio::test(start_paused = true)]
async fn another_attempt_goes_by_the_point_of_the_first() {
    let world = restoring().await;
    world.tag(&world.restored(), "point", "2026-01-01T00:00:00Z");
    let result = world.resume(|database| way_back(database, false)).await;
    // More would be lost than was agreed to.
    assert!(matches!(&result, Some(RunResult::RolledBack { failed, .. }) if failed == "switch"), "{result:?}");
}

/// A database, and what was restored beside it and passed.
async fn verified(world: &World) -> (RdsDatabase, Admitted<Restored>) {
    let database = world.instance();
    let restored = RestoreDatabase::new(&database).apply(&cx(), RestorePoint::Latest).await.unwrap().output;
    let verify = VerifyDatabase::new(&database, Arc::new(Answering(true)));
    (database, verify.apply(&cx(), restored).await.unwrap().output)
}

#[tokio::test(start_paused = true)]
async fn a_switch_that_has_begun_goes_on_whatever_was_agreed_to() {
    let world = world();
    let (database, admitted) = verified(&world).await;
    let aside = admitted.subject().aside.name().to_owned();
    let rename = format!("Action=ModifyDBInstance&DBInstanceIdentifier=shop&NewDBInstanceIdentifier={aside}");
    assert_eq!(world.rds.answer(&rename).0, 200);
    let little = AcceptedLoss::of_the_last(Duration::from_secs(1), "INC-7");
    SwitchDatabase::new(&database, little).apply(&cx(), admitted).await.unwrap();
    assert_eq!(world.listing(), ["shop db-FAKE0002 available", "shop-old db-FAKE0001 available"]);
}

#[tokio::test(start_paused = true)]
async fn an_old_database_that_is_busy_with_something_else_is_not_taken_for_one_that_is_being_renamed() {
    let world = world();
    let (database, admitted) = verified(&world).await;
    // Somebody takes a snapshot.
    world.rds.set_status("shop", "backing-up");
    let switch = SwitchDatabase::new(&database, AcceptedLoss::of_the_last(Duration::from_secs(1), "INC-7"));
    assert_eq!(switch.probe(&cx(), admitted.clone()).await.unwrap(), Probed::NotDone);
    let error = switch.apply(&cx(), admitted).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::GateRefused, Effect::None), "{error:?}");
    assert!(world.listing().contains(&"shop db-FAKE0001 backing-up".to_owned()), "{:?}", world.listing());
}

#[tokio::test(start_paused = true)]
async fn a_name_that_another_database_has_is_a_conflict_that_names_it() {
    let world = world();
    let (database, admitted) = verified(&world).await;
    let aside = admitted.subject().aside.name().to_owned();
    let restore = "Action=RestoreDBInstanceToPointInTime&SourceDBInstanceIdentifier=shop";
    assert_eq!(world.rds.answer(&format!("{restore}&TargetDBInstanceIdentifier={aside}")).0, 200);
    world.rds.set_status(&aside, "available");
    let error = SwitchDatabase::new(&database, accepted()).apply(&cx(), admitted).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::None), "{error:?}");
    assert!(error.report().contains("is taken by another database (rds.switch; taken by: db-FAKE0003"), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn another_database_or_another_engine_than_was_restored_does_not_pass() {
    let world = world();
    let (database, admitted) = verified(&world).await;
    let mut restored = admitted.into_subject();
    world.rds.set_engine(restored.new.database.name(), "mysql");
    "db-OTHER".clone_into(&mut restored.new.identity.resource);
    let verify = VerifyDatabase::new(&database, Arc::new(Answering(true)));
    let error = verify.apply(&cx(), restored).await.unwrap_err();
    for problem in
        ["identity is `db-FAKE0002`, expected `db-OTHER`", "engine is `mysql 16.4`, expected `postgres 16.4`"]
    {
        assert!(error.report().contains(problem), "{error:?}");
    }
}

#[test]
fn nothing_is_restored_to_a_time_that_has_not_come() {
    let latest = aws_smithy_types::DateTime::from_secs(1_795_687_200);
    let old = aws_sdk_rds::types::DbInstance::builder().latest_restorable_time(latest).build();
    let at = |time: &str| resolve(&RestorePoint::Time(time.parse().unwrap()), &Seen::Instance(Box::new(old.clone())));
    assert_eq!(at("2026-11-26T10:00:01Z").unwrap_err().kind(), ErrorKind::InvalidInput);
    at("2026-11-26T10:00:00Z").unwrap();
}

#[test]
fn without_automated_backups_nothing_but_a_snapshot_is_restored() {
    let old = aws_sdk_rds::types::DbInstance::builder().db_instance_identifier("shop").build();
    let old = Seen::Instance(Box::new(old));
    for point in [RestorePoint::Latest, RestorePoint::Time("2026-11-26T10:00:00Z".parse().unwrap())] {
        let error = resolve(&point, &old).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.report().contains("RDS instance shop has no automated backups"), "{error:?}");
    }
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

/// Restores the cluster `shop` to a snapshot, and lets it take the name.
async fn replaced(world: &World) -> (RdsDatabase, Restored) {
    let cluster = RdsDatabase::cluster(&world.fake().account(1), "shop");
    let snapshot = cluster.snapshot(&cx(), "key").await.unwrap();
    let restored = RestoreDatabase::new(&cluster).apply(&cx(), snapshot.into()).await.unwrap().output;
    let verify = VerifyDatabase::new(&cluster, Arc::new(Answering(true)));
    let admitted = verify.apply(&cx(), restored.clone()).await.unwrap().output;
    SwitchDatabase::new(&cluster, accepted()).apply(&cx(), admitted).await.unwrap();
    (cluster, restored)
}

#[tokio::test(start_paused = true)]
async fn members_whose_long_names_begin_alike_are_restored_under_names_of_their_own() {
    let name = "the-shop-of-plants-and-of-all-that-grows-in-gardens";
    let members = ["instance-1", "instance-2"].map(|member| format!("{name}-{member}"));
    let world = World::new(FakeRds::new().cluster(name, &members.each_ref().map(String::as_str)));
    let cluster = RdsDatabase::cluster(&world.fake().account(1), name);
    let restored = RestoreDatabase::new(&cluster).apply(&cx(), RestorePoint::Latest).await.unwrap().output;
    let names: BTreeSet<_> = restored.members.iter().map(|pair| pair.new.database.name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
}

#[tokio::test(start_paused = true)]
async fn a_serverless_cluster_is_restored_with_its_capacity_and_its_members() {
    let world = World::new(FakeRds::new().serverless_cluster("shop", &["shop-1"]));
    replaced(&world).await;
    let seen = world.rds.answer("Action=DescribeDBClusters&DBClusterIdentifier=shop").1;
    assert!(seen.contains("<MinCapacity>0.5</MinCapacity><MaxCapacity>8.0</MaxCapacity>"), "{seen}");
    let seen = world.rds.answer("Action=DescribeDBInstances&DBInstanceIdentifier=shop-1").1;
    assert!(seen.contains("<DbiResourceId>db-FAKE0004<") && seen.contains("db.serverless"), "{seen}");
}

#[tokio::test(start_paused = true)]
async fn a_multi_az_cluster_keeps_the_members_that_rds_makes_and_takes_away() {
    let world = World::new(FakeRds::new().multi_az_cluster("shop"));
    let (cluster, restored) = replaced(&world).await;
    assert!(restored.members.is_empty(), "{:?}", restored.members);
    let listing = world.listing();
    for line in ["shop cluster-FAKE0005 available", "shop-old cluster-FAKE0001 available"] {
        assert!(listing.contains(&line.to_owned()), "{listing:?}");
    }
    assert_eq!(listing.iter().filter(|line| line.contains("-instance-")).count(), 6, "{listing:?}");

    let (restore, cx) = (RestoreDatabase::new(&cluster), cx());
    let restored = restore.apply(&cx, RestorePoint::Latest).await.unwrap().output;
    let key = restored.new.identity.key.unwrap();
    let calls = Calls::of(&cluster, (&cx, "rds.discard")).await.unwrap();
    discard(&calls, (&restored.new.database, &key), &cluster).await.unwrap();
    assert_eq!(world.listing().iter().filter(|line| line.ends_with(" deleting")).count(), 4, "{:?}", world.listing());
}

#[tokio::test(start_paused = true)]
async fn what_rds_refuses_until_the_patience_ends_is_told_in_its_words() {
    let world = World::new(FakeRds::new().cluster("shop", &["shop-1"]));
    world.rds.set_class("shop-1", "db.serverless");
    let cluster = RdsDatabase::cluster(&world.fake().account(1), "shop").patience(Duration::from_mins(5));
    let error = RestoreDatabase::new(&cluster).apply(&cx(), RestorePoint::Latest).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Timeout, Effect::Partial), "{error:?}");
    let told = "is still busy: The cluster has no Serverless v2 scaling configuration after 300 s";
    assert!(error.report().contains(told), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn the_plan_warns_of_a_managed_password_and_of_roles_that_stay_behind() {
    let world = World::new(FakeRds::new().instance("shop").cluster("garden", &["garden-1"]));
    let account = world.fake().account(1);
    for database in [RdsDatabase::instance(&account, "shop"), RdsDatabase::cluster(&account, "garden")] {
        let warnings = || async {
            let step = RestoreDatabase::new(&database);
            step.plan(&cx(), Planned::Known(RestorePoint::Latest)).await.unwrap().warnings
        };
        assert!(warnings().await.is_empty());
        world.rds.manage_password(database.database().name());
        world.rds.give_role(database.database().name(), "arn:aws:iam::111122223333:role/import");
        let warnings = warnings().await.join("\n");
        assert!(warnings.contains("the secret of the master password") && warnings.contains("IAM roles"), "{warnings}");
    }
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
