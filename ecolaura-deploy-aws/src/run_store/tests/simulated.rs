//! Whole releases with their records on S3: killed at each record, beside failing stores and other deployers.

use std::path::Path;

use ecolaura_deploy_core::{
    testing::{
        matrix::{Case, Cell, Matrix, reference},
        simulation::{Simulation, Verdict},
    },
    vocabulary::Digest,
};

use super::*;

/// What befalls the nth request of a process.
type Weather = fn(u32, &str, u32) -> (Duration, Fate);

/// The reference release, its records on S3 upon the simulated disk. The earlier release is installed in peace.
fn simulation(folder: &Path, weather: Weather) -> Simulation {
    let over = move |disk, process| -> Arc<dyn RunStore> {
        let weather = if process == 0 { calm } else { weather };
        Arc::new(store(&S3Over::new(disk).fates(move |line, nth| weather(process, line, nth))))
    };
    reference(folder).store(over).command("cargo test -p ecolaura-deploy-aws --features run-store,s3 simulated")
}

fn calm(_: u32, _: &str, _: u32) -> (Duration, Fate) {
    (Duration::ZERO, Fate::Answered)
}

/// One request in four is slow, throttled, in somebody's way, or answered wrongly, whether it is done or not.
fn stormy(process: u32, line: &str, nth: u32) -> (Duration, Fate) {
    let drawn = Digest::of(format!("{process} {nth} {line}")).as_bytes()[0];
    let (pause, fate) = match drawn {
        0..12 => (0, Fate::Refused(503, "SlowDown")),
        12..20 => (0, Fate::Refused(500, "InternalError")),
        20..32 => (0, Fate::Broken),
        32..40 => (0, Fate::Lost),
        40..44 => (0, Fate::Silence),
        44..54 if line.starts_with("PUT") => (0, Fate::Refused(409, "ConditionalRequestConflict")),
        54..64 => (5, Fate::Answered),
        _ => (0, Fate::Answered),
    };
    (Duration::from_secs(pause), fate)
}

fn is_long() -> bool {
    std::env::var("ECOLAURA_LONG").is_ok_and(|long| long == "1")
}

/// One of so many cells, or all of them where there is time. What is left out must not always be the same kind: cells of
/// one kind come at even distances, so these are primes.
fn some(cells: Vec<Cell>, one_of: usize) -> impl Iterator<Item = Case> {
    let every = if is_long() { 1 } else { one_of };
    let case = |cell| match cell {
        Cell::Case(case) => Some(case),
        _ => None,
    };
    cells.into_iter().filter_map(case).step_by(every)
}

fn play(weather: Weather, pick: impl Fn(&Matrix) -> Vec<Case>) {
    let folder = tempfile::tempdir().unwrap();
    let simulation = simulation(folder.path(), weather);
    let cases = pick(&Matrix::new(&simulation));
    let judged: Vec<_> = cases.iter().map(|case| (&case.name, case.judge(&simulation))).collect();
    let failed: Vec<_> = judged.iter().filter(|(_, verdict)| matches!(verdict, Verdict::Failed(_))).collect();
    assert!(failed.is_empty(), "{} of {} failed: {failed:#?}", failed.len(), judged.len());
    let survived = judged.iter().filter(|(_, verdict)| *verdict == Verdict::Survived).count();
    assert!(survived * 10 > judged.len() * 8, "too many ask for an operator: {judged:#?}");
}

#[test]
fn whatever_befalls_a_release_its_records_keep_every_promise() {
    play(calm, |matrix| {
        let store = matrix.calls(|call| call.starts_with("store."));
        let cells = [some(matrix.crashes(), 31), some(matrix.store_errors(), 17), some(matrix.damages(), 19)];
        cells.into_iter().flatten().chain(some(store, 7)).chain(some(matrix.holders(8), 11)).collect()
    });
}

#[test]
fn deaths_and_races_beside_a_wavering_store_keep_every_promise() {
    play(stormy, |matrix| some(matrix.crashes(), 41).chain(some(matrix.holders(8), 19)).collect());
}

#[test]
fn releases_with_mishaps_drawn_by_chance_keep_every_promise() {
    let folder = tempfile::tempdir().unwrap();
    let seeds = if is_long() { 1_000 } else { 8 };
    for weather in [calm, stormy] {
        simulation(folder.path(), weather).seeds(0..seeds).run().assert();
    }
}
