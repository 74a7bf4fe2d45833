//! Whole releases with their records on S3: killed at each record, beside failing stores and other deployers.

use std::path::Path;

use ecolaura_deploy_core::{
    testing::{
        matrix::{Cell, Matrix, reference},
        simulation::{Simulation, Verdict},
    },
    vocabulary::Digest,
};

use super::*;

/// The reference release, its records on S3 upon the simulated disk.
fn simulation(folder: &Path, fates: fn(&str, u32) -> (Duration, Fate)) -> Simulation {
    let over = move |disk| -> Arc<dyn RunStore> { Arc::new(store(&S3Over::new(disk).fates(fates))) };
    reference(folder).store(over).command("cargo test -p ecolaura-deploy-aws --features run-store,s3 simulated")
}

fn calm(_: &str, _: u32) -> (Duration, Fate) {
    (Duration::ZERO, Fate::Answered)
}

/// One request in four is slow, throttled, in somebody's way, or answered wrongly, whether it is done or not.
fn stormy(line: &str, nth: u32) -> (Duration, Fate) {
    let drawn = Digest::of(format!("{nth} {line}")).as_bytes()[0];
    let (pause, fate) = match drawn {
        0..12 => (0, Fate::Refused(503, "SlowDown")),
        12..20 => (0, Fate::Refused(500, "InternalError")),
        20..32 => (0, Fate::Broken),
        32..40 => (0, Fate::Lost),
        40..44 => (0, Fate::Silence),
        44..54 if line.starts_with("PUT") => (0, Fate::Refused(409, "ConditionalRequestConflict")),
        54..64 => (9, Fate::Answered),
        _ => (0, Fate::Answered),
    };
    (Duration::from_secs(pause), fate)
}

fn is_long() -> bool {
    std::env::var("ECOLAURA_LONG").is_ok_and(|long| long == "1")
}

/// Judges one of so many `cells`, or all of them where there is time.
fn play(fates: fn(&str, u32) -> (Duration, Fate), one_of: usize, cells: impl Fn(&Matrix) -> Vec<Cell>) {
    let folder = tempfile::tempdir().unwrap();
    let simulation = simulation(folder.path(), fates);
    let every = if is_long() { 1 } else { one_of };
    let cases: Vec<_> = cells(&Matrix::new(&simulation))
        .into_iter()
        .filter_map(|cell| match cell {
            Cell::Case(case) => Some(case),
            Cell::Senseless { .. } => None,
        })
        .step_by(every)
        .collect();
    let judged: Vec<_> = cases.iter().map(|case| (&case.name, case.judge(&simulation))).collect();
    let failed: Vec<_> = judged.iter().filter(|(_, verdict)| matches!(verdict, Verdict::Failed(_))).collect();
    assert!(failed.is_empty(), "{} of {} failed: {failed:#?}", failed.len(), judged.len());
    let survived = judged.iter().filter(|(_, verdict)| *verdict == Verdict::Survived).count();
    println!("{} cases, {survived} survived, {} contained", judged.len(), judged.len() - survived);
    assert!(survived * 2 > judged.len(), "most ask for an operator: {judged:#?}");
}

#[test]
fn a_release_that_dies_at_any_record_is_gone_on_with() {
    play(calm, 4, Matrix::crashes);
}

#[test]
fn a_store_that_fails_at_any_record_loses_nothing() {
    play(calm, 4, Matrix::store_errors);
}

#[test]
fn a_call_of_the_store_that_fails_in_any_way_loses_nothing() {
    play(calm, 4, |matrix| matrix.calls(|call| call.starts_with("store.")));
}

#[test]
fn one_holder_at_a_time_works_whatever_becomes_of_the_others() {
    play(calm, 4, |matrix| matrix.holders(8));
}

#[test]
fn a_release_that_dies_while_the_store_wavers_is_gone_on_with() {
    play(stormy, 12, Matrix::crashes);
}

#[test]
fn deployers_race_while_the_store_wavers() {
    play(stormy, 12, |matrix| matrix.holders(8));
}

#[test]
fn releases_with_mishaps_drawn_by_chance_keep_every_promise() {
    let folder = tempfile::tempdir().unwrap();
    let seeds = if is_long() { 1_000 } else { 30 };
    for fates in [calm, stormy] {
        simulation(folder.path(), fates).seeds(0..seeds).run().assert();
    }
}
