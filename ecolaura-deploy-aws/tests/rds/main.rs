//! Databases against moto, which `.ci/with-servers` starts and `ECOLAURA_TEST_AWS` names. It does everything at once, and
//! gives all instances the same resource id; what takes time has a fake in the crate's own tests.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

#[path = "../aws/calls.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod calls;
#[path = "../aws/support.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use aws_sdk_rds::Client;
use ecolaura_deploy_aws::{
    Account,
    access::{Grant, Policy},
    rds::*,
};
use ecolaura_deploy_core::{
    Context, Result,
    backend::{BackupLevel, Migrator},
    pipeline::{Pipeline, constant},
    run::RunResult,
    step::Step as _,
    steps::{BackupDatabase, Command, Migrate},
    testing::{fake::migrator::FakeMigrator, servers::unique},
};

use self::{
    calls::Calls,
    support::{account, cx, run},
};

const CLASS: &str = "db.t4g.medium";

/// An instance with a parameter group of its own.
async fn instance(account: &Account) -> RdsDatabase {
    let (client, name) = (Client::new(account.sdk_config()), unique("shop"));
    let request = client.create_db_parameter_group().db_parameter_group_name(&name);
    request.db_parameter_group_family("postgres16").description("of the shop").send().await.unwrap();
    let request = client.create_db_instance().db_instance_identifier(&name).db_instance_class(CLASS).engine("postgres");
    let request = request.master_username("shop").master_user_password("hunter2-hunter2").allocated_storage(20);
    request.db_parameter_group_name(&name).deletion_protection(false).send().await.unwrap();
    RdsDatabase::instance(account, name).look_every(Duration::from_millis(50))
}

/// A cluster with one instance.
async fn cluster(account: &Account) -> RdsDatabase {
    let (client, name) = (Client::new(account.sdk_config()), unique("orders"));
    let request = client.create_db_cluster().db_cluster_identifier(&name).engine("aurora-postgresql");
    request.master_username("shop").master_user_password("hunter2-hunter2").send().await.unwrap();
    let request = client.create_db_instance().db_instance_identifier(format!("{name}-1")).db_instance_class(CLASS);
    request.engine("aurora-postgresql").db_cluster_identifier(&name).send().await.unwrap();
    RdsDatabase::cluster(account, name).look_every(Duration::from_millis(50))
}

#[derive(Debug)]
struct Reachable;

#[async_trait]
impl DatabaseCheck for Reachable {
    async fn check(&self, _cx: &Context, restored: &Restored) -> Result<Vec<String>> {
        Ok(vec![format!("{} would be asked", restored.endpoint)])
    }
}

/// Takes a snapshot and goes back to it; with `fails`, something fails behind it.
fn there_and_back(pipeline: &mut Pipeline, database: &RdsDatabase, fails: bool) {
    let snapshot = pipeline.add("snapshot", SnapshotDatabase::new(database), constant(()));
    let point = snapshot.map(RestorePoint::from);
    let restored = pipeline.add("restore", RestoreDatabase::new(database), point);
    let verified = pipeline.add("verify", VerifyDatabase::new(database, Arc::new(Reachable)), restored);
    let accepted = AcceptedLoss::of_the_last(Duration::from_hours(1), "a test");
    let switched = pipeline.add("switch", SwitchDatabase::new(database, accepted), verified);
    if fails {
        pipeline.step("fail", Command::new("false"), constant(())).after(&switched).add();
    }
}

async fn names(account: &Account, database: &RdsDatabase) -> Vec<String> {
    let all = Client::new(account.sdk_config()).describe_db_instances().send().await.unwrap();
    let names = all.db_instances().iter().filter_map(|seen| seen.db_instance_identifier());
    names.filter(|name| name.starts_with(database.database().name())).map(str::to_owned).collect()
}

#[tokio::test]
async fn a_migration_stands_on_a_snapshot_that_moto_has() {
    let Some(account) = account().await else { return };
    let database = instance(&account).await;
    let inner = FakeMigrator::new("app".parse().unwrap());
    inner.put_file("1_plants.up.sql", "CREATE TABLE plants (id INTEGER);");
    inner.put_file("1_plants.down.sql", "DROP TABLE plants;");
    let migrator: Arc<dyn Migrator> = Arc::new(SnapshotBackups::new(Arc::new(inner), &database));
    let result = run(|pipeline| {
        let backup = BackupDatabase::new(Arc::clone(&migrator), BackupLevel::Readable);
        let safeguard = pipeline.add("back up", backup, constant(()));
        pipeline.add("migrate", Migrate::new(Arc::clone(&migrator)), safeguard);
    })
    .await;
    assert!(matches!(result, RunResult::Succeeded), "{result:?}");
    let request = Client::new(account.sdk_config()).describe_db_snapshots();
    let snapshots = request.db_instance_identifier(database.database().name()).send().await.unwrap();
    let ids = snapshots.db_snapshots().iter().filter_map(|snapshot| snapshot.db_snapshot_identifier());
    // moto has taken one of its own.
    assert_eq!(ids.filter(|id| id.starts_with("ecolaura-shop-")).count(), 1);
}

#[tokio::test]
async fn a_restored_instance_takes_the_name_with_the_groups_of_the_old_one() {
    let Some(account) = account().await else { return };
    let database = instance(&account).await;
    let name = database.database().name();
    let result = run(|pipeline| there_and_back(pipeline, &database, false)).await;
    assert!(matches!(result, RunResult::Succeeded), "{result:?}");
    assert_eq!(names(&account, &database).await.len(), 2);
    let client = Client::new(account.sdk_config());
    let seen = client.describe_db_instances().db_instance_identifier(name).send().await.unwrap();
    let seen = &seen.db_instances()[0];
    assert_eq!(seen.db_parameter_groups()[0].db_parameter_group_name(), Some(name));
    assert!(seen.tag_list().iter().any(|tag| tag.key() == Some("ecolaura-deploy:served")), "{seen:?}");
}

#[tokio::test]
async fn a_restored_cluster_takes_the_name_of_the_old_one() {
    let Some(account) = account().await else { return };
    let database = cluster(&account).await;
    let name = database.database().name();
    let result = run(|pipeline| there_and_back(pipeline, &database, false)).await;
    assert!(matches!(result, RunResult::Succeeded), "{result:?}");
    let client = Client::new(account.sdk_config());
    let all = client.describe_db_clusters().send().await.unwrap();
    let ours: Vec<_> =
        all.db_clusters().iter().filter(|seen| seen.db_cluster_identifier().unwrap().starts_with(name)).collect();
    assert_eq!(ours.len(), 2, "{ours:?}");
    let seen = ours.iter().find(|seen| seen.db_cluster_identifier() == Some(name)).unwrap();
    assert!(seen.tag_list().iter().any(|tag| tag.key() == Some("ecolaura-deploy:served")), "{seen:?}");
}

#[tokio::test]
async fn every_call_is_granted_and_no_grant_is_unused() {
    let Some(account) = account().await else { return };
    let database = instance(&account).await;
    let scope = account.scope(&cx()).await.unwrap();
    let calls = Calls::record();
    let result = run(|pipeline| {
        let restored = pipeline.add("restore", RestoreDatabase::new(&database), constant(RestorePoint::Latest));
        pipeline.step("fail", Command::new("false"), constant(())).after(&restored).add();
    })
    .await;
    assert!(matches!(result, RunResult::RolledBack { .. }), "{result:?}");
    let result = run(|pipeline| there_and_back(pipeline, &database, true)).await;
    assert!(matches!(result, RunResult::RolledBack { .. }), "{result:?}");
    assert_eq!(names(&account, &database).await.len(), 2, "what has served stays");

    let retention = RdsRetention::new("rds".parse().unwrap(), &database).keep(1).grace(Duration::ZERO);
    for key in ["a", "b"] {
        database.snapshot(&cx(), key).await.unwrap();
    }
    RestoreDatabase::new(&database).apply(&cx(), RestorePoint::Latest).await.unwrap();
    assert_eq!(retention.apply(&cx()).await.unwrap(), 3);
    assert_eq!(names(&account, &database).await.len(), 2);

    let calls = calls.all();
    let verify = VerifyDatabase::new(&database, Arc::new(Reachable));
    let switch = SwitchDatabase::new(&database, AcceptedLoss::of_the_last(Duration::ZERO, "no"));
    let grants: Vec<Grant> = [
        database.snapshotting(&scope),
        RestoreDatabase::new(&database).grants(&scope),
        vec![verify.grant(&scope), Grant::new(["sts:GetCallerIdentity"], ["*"])],
        switch.grants(&scope),
        retention.grants(&scope),
    ]
    .concat();
    let policy = Policy::of(grants);
    let refused: Vec<_> = calls.iter().filter(|(action, resource)| !policy.allows(action, resource)).collect();
    assert!(refused.is_empty(), "called and not granted: {refused:?}");
    let mut unused = policy.unused(&calls);
    // Who we are is asked once, before the calls were recorded.
    unused.retain(|(action, _)| *action != "sts:GetCallerIdentity");
    assert!(unused.is_empty(), "granted and not called: {unused:?}");
    assert!(
        !policy.allows("rds:DeleteDBInstance", &scope.arn("rds", format_args!("db:{}", database.database().name())))
    );
    policy.document().unwrap();
}
