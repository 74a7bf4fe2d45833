//! The database's steps in a run, on real files.

use super::*;
use crate::{
    pipeline::{Handle, Pipeline, constant},
    run::{Finished, RunResult, Runner},
    steps::{BackupDatabase, MeasureData, Migrate, VerifyData, call},
    store::ObjectRunStore,
};

fn checks() -> Vec<DataCheck> {
    let allowed = AllowedChange::None;
    vec![
        DataCheck::RowCount { table: "plants".into(), allowed },
        DataCheck::Sum { table: "plants".into(), column: "height".into(), allowed },
        DataCheck::ForeignKeys,
        DataCheck::Structure,
        DataCheck::Query {
            name: "tallest".into(),
            sql: "SELECT MAX(height) FROM plants".into(),
            allowed: AllowedChange::AtMost(5),
        },
    ]
}

/// Backup, measure, migrate, verify; the migration's report.
fn pipeline(world: &World) -> (Pipeline, Handle<MigrationReport>) {
    let migrator: Arc<dyn Migrator> = Arc::new(world.migrator());
    let mut pipeline = Pipeline::new("app".parse().unwrap(), "test".parse().unwrap());
    let backup = BackupDatabase::new(Arc::clone(&migrator), BackupLevel::Checked);
    let safeguard = pipeline.add("back up", backup, constant(()));
    let before = pipeline.add("measure", MeasureData::new(Arc::clone(&migrator), checks()), constant(()));
    let migrated = pipeline.step("migrate", Migrate::new(Arc::clone(&migrator)), safeguard).after(&before).add();
    pipeline.add("verify", VerifyData::new(migrator, checks()), (before, migrated.clone()));
    (pipeline, migrated)
}

async fn run(pipeline: Pipeline) -> Finished {
    let runner = Runner::new(Arc::new(ObjectRunStore::memory()));
    let plan = runner.plan(&cx(), pipeline).await.unwrap();
    runner.run(&cx(), plan).await.unwrap()
}

/// With data, and a third migration whose SQL is `up`.
async fn grown(up: &str) -> World {
    let world = World::with(PLANTS);
    world.migrator().migrate(&cx(), version(2)).await.unwrap();
    world.put_file("3_third.up.sql", up);
    world.put_file("3_third.down.sql", "ALTER TABLE plants DROP COLUMN pot;");
    world
}

async fn head(world: &World) -> MigrationVersion {
    world.migrator().plan(&cx()).await.unwrap().head()
}

fn backups(world: &World) -> usize {
    world.files().iter().filter(|name| name.ends_with(".backup")).count()
}

const POT: &str = "ALTER TABLE plants ADD COLUMN pot INTEGER;";

#[tokio::test]
async fn a_good_migration_goes_through_and_a_second_run_does_nothing() {
    let world = grown(POT).await;
    let (first, migrated) = pipeline(&world);
    let finished = run(first).await;
    assert_eq!(finished.result, RunResult::Succeeded);
    assert_eq!(finished.output(&migrated).unwrap().done, [version(3)]);
    assert_eq!(backups(&world), 1);

    let (second, migrated) = pipeline(&world);
    let plan = Runner::new(Arc::new(ObjectRunStore::memory())).plan(&cx(), second).await.unwrap();
    assert!(plan.summary().steps.iter().all(|step| step.skipped), "{:?}", plan.summary());
    let finished = run(pipeline(&world).0).await;
    assert_eq!((finished.succeeded(), backups(&world)), (true, 1));
    assert!(finished.output(&migrated).is_none(), "a handle of another pipeline");
}

#[tokio::test]
async fn the_first_release_of_a_database_goes_through() {
    let world = World::with(PLANTS);
    assert_eq!(run(pipeline(&world).0).await.result, RunResult::Succeeded);
    assert_eq!((head(&world).await, backups(&world)), (version(2), 1));
}

#[tokio::test]
async fn data_that_changed_goes_back_to_the_schema_before() {
    let world = grown(&format!("{POT}\nUPDATE plants SET height = height + 1 WHERE height = 10;")).await;
    let RunResult::RolledBack { failed, cause } = run(pipeline(&world).0).await.result else { panic!("went through") };
    assert_eq!(failed, "verify");
    assert!(cause.contains("sum of `plants.height`: 30 → 31") && !cause.contains("tallest"), "{cause}");
    assert_eq!((head(&world).await, backups(&world)), (version(2), 1));
}

#[tokio::test]
async fn a_failure_in_the_middle_reverts_what_was_applied() {
    let world = grown(POT).await;
    world.put_file("4_fourth.sql", "INSERT INTO nowhere VALUES (1);");
    let RunResult::RolledBack { failed, cause } = run(pipeline(&world).0).await.result else { panic!("went through") };
    assert_eq!(failed, "migrate");
    assert!(cause.contains("4_fourth.sql") && cause.contains("nowhere"), "{cause}");
    assert_eq!(head(&world).await, version(2));
    assert_eq!(world.number("SELECT COUNT(*) FROM pragma_table_info('plants')").await, 2, "the third was reverted");
}

#[tokio::test]
async fn a_later_failure_reverts_the_migration_and_restores_nothing() {
    let world = Arc::new(grown(POT).await);
    let (mut failing, migrated) = pipeline(&world);
    let step = call("roll out", {
        let world = Arc::clone(&world);
        move |_cx, _report: MigrationReport| {
            let world = Arc::clone(&world);
            async move {
                world.sql("INSERT INTO plants (height) VALUES (30)").await;
                Err::<(), _>(Error::invalid("test.roll-out", "no"))
            }
        }
    });
    failing.add("roll out", step, migrated);
    assert!(matches!(run(failing).await.result, RunResult::RolledBack { .. }));
    assert_eq!((head(&world).await, backups(&world)), (version(2), 1));
    assert_eq!(world.number("SELECT COUNT(*) FROM plants").await, 3, "what was written meanwhile is there");
}

#[tokio::test]
async fn what_cannot_go_back_needs_an_operator_who_is_told_of_the_backup() {
    let world = grown(POT).await;
    world.remove_file("3_third.up.sql");
    world.remove_file("3_third.down.sql");
    world.put_file("3_third.sql", "DELETE FROM plants;");
    let plan = Runner::new(Arc::new(ObjectRunStore::memory())).plan(&cx(), pipeline(&world).0).await.unwrap();
    let warnings: Vec<&String> = plan.summary().steps.iter().flat_map(|step| &step.warnings).collect();
    assert!(warnings.iter().any(|text| text.contains("empties a table (line 1)")), "{warnings:?}");
    assert!(warnings.iter().any(|text| text.contains("no way down")), "{warnings:?}");
    let RunResult::NeedsOperator { remaining, commands, .. } = run(pipeline(&world).0).await.result else {
        panic!("no operator")
    };
    assert_eq!(remaining, ["migrate"]);
    assert!(commands.iter().any(|command| command.contains(".backup")), "{commands:?}");
    assert_eq!(world.number("SELECT COUNT(*) FROM plants").await, 0, "nothing was restored");
}

#[tokio::test]
async fn measuring_that_is_not_ordered_before_is_refused() {
    let world = grown(POT).await;
    let migrator: Arc<dyn Migrator> = Arc::new(world.migrator());
    let mut wrong = Pipeline::new("app".parse().unwrap(), "test".parse().unwrap());
    let safeguard = wrong.add("back up", BackupDatabase::new(Arc::clone(&migrator), BackupLevel::Exists), constant(()));
    let migrated = wrong.add("migrate", Migrate::new(Arc::clone(&migrator)), safeguard);
    let before =
        wrong.step("measure", MeasureData::new(Arc::clone(&migrator), checks()), constant(())).after(&migrated).add();
    wrong.add("verify", VerifyData::new(migrator, checks()), (before, migrated));
    let RunResult::RolledBack { failed, cause } = run(wrong).await.result else { panic!("went through") };
    assert!(failed == "verify" && cause.contains("not measured at schema 2"), "{failed}: {cause}");
}

#[tokio::test]
async fn a_damaged_database_is_not_migrated() {
    let world = grown(POT).await;
    world
        .sql(
            "CREATE INDEX by_height ON plants (height); PRAGMA writable_schema = ON; \
               UPDATE sqlite_master SET sql = 'CREATE INDEX by_height ON plants (id)' WHERE name = 'by_height'",
        )
        .await;
    let RunResult::RolledBack { .. } = run(pipeline(&world).0).await.result else { panic!("went through") };
    assert_eq!(head(&world).await, version(2));
}
