use std::{sync::Arc, time::Duration};

use super::*;
use crate::{
    Error, ErrorKind,
    backend::{BackupLevel, FlagState},
    pipeline::constant,
    run::RunResult,
    steps::{self, BackupDatabase, Migrate, SetFlag},
    testing::{Fault, fake::small::FakeFlags},
};

fn on() -> FlagState {
    FlagState::new(true, "on")
}

fn fakes() -> Fakes {
    let mut fakes = Fakes::new();
    fakes.flags = Arc::new(FakeFlags::new().with("beta", &["off", "on"], FlagState::new(true, "off")));
    fakes
}

fn empty() -> Pipeline {
    Pipeline::new("shop".parse().unwrap(), "dev".parse().unwrap())
}

fn migrated(world: &World) -> Pipeline {
    let mut pipeline = empty();
    let files = &world.fakes.migrator;
    files.put_file("0001_orders.up.sql", "CREATE TABLE orders (id);");
    files.put_file("0001_orders.down.sql", "DROP TABLE orders;");
    let backup = BackupDatabase::new(Arc::clone(&world.migrator), BackupLevel::Checked);
    let backup = pipeline.add("back up", backup, constant(()));
    pipeline.add("migrate", Migrate::new(Arc::clone(&world.migrator)), backup);
    pipeline
}

fn released(world: &World) -> Pipeline {
    let mut pipeline = migrated(world);
    let files = &world.fakes.migrator;
    files.put_file("0002_items.up.sql", "CREATE TABLE items (id);");
    files.put_file("0002_items.down.sql", "DROP TABLE items;");
    pipeline.add("open", SetFlag::new(Arc::clone(&world.flags), "beta", on()), constant(()));
    pipeline
}

fn small() -> Simulation {
    Simulation::new("small", released).before(migrated).fakes(fakes)
}

#[test]
fn without_mishaps_the_new_release_comes_and_the_profile_knows_the_way() {
    let observed = small().play(1, &[]);
    assert_eq!(observed.verdict(), Verdict::Survived, "{observed:?}");
    assert_eq!((observed.before["schema"].as_str(), observed.found["schema"].as_str()), ("1", "1, 2"));
    assert_eq!(
        (observed.before["flag beta"].as_str(), observed.found["flag beta"].as_str()),
        ("off (enabled)", "on (enabled)")
    );
    let small = small();
    let profile = small.profile();
    assert_eq!(profile.steps, ["back up", "migrate", "open"]);
    assert!(profile.calls.contains(&("flags.set", 1)) && profile.keys.len() > 6, "{profile:?}");
}

#[test]
fn a_failing_step_brings_the_old_release_back() {
    for fault in [Fault::FailAfter, Fault::Panic, Fault::PanicAfter] {
        let observed = small().play(1, &[Mishap::Step { step: "open".to_owned(), fault, processes: 1 }]);
        assert!(
            matches!(observed.last(), Some(Ended::Finished(RunResult::RolledBack { .. }))),
            "{fault:?}: {:?}",
            observed.processes
        );
        assert_eq!(observed.verdict(), Verdict::Survived, "{fault:?}");
        assert_eq!(observed.found, observed.before, "{fault:?}");
    }
}

#[test]
fn a_pipeline_that_does_not_undo_what_it_does_is_found_out() {
    let careless = |world: &World| {
        let mut pipeline = released(world);
        let flags = Arc::clone(&world.fakes.flags);
        let quiet = steps::call("close", move |cx, ()| {
            let flags = Arc::clone(&flags);
            async move {
                use crate::backend::{FeatureFlags, FlagChange};
                flags.set(&cx, &FlagChange::new("beta", FlagState::new(true, "off"), on())).await?;
                tokio::time::sleep(Duration::from_secs(1)).await;
                Err::<u32, _>(Error::new(ErrorKind::Conflict, "test", "no"))
            }
        });
        pipeline.add("close", quiet, constant(()));
        pipeline
    };
    let report = Simulation::new("careless", careless).before(migrated).fakes(fakes).seeds(0..5).run();
    assert_eq!(report.counts().2, 5, "{report}");
    let text = report.to_string();
    assert!(text.contains("ECOLAURA_SEED=3 cargo test careless    # "), "{text}");
    assert!(text.contains("I5: the next deploy ends as"), "{text}");
}

mod resuming;
