//! The fault matrix: what befalls a release, case by case, and what comes of it.
//!
//! ```text
//! cargo test -p ecolaura-deploy-core --features test-util --test matrix
//! cargo test -p ecolaura-deploy-core --features test-util --test matrix -- A/happy/record-07
//! ECOLAURA_LONG=1 cargo test -p ecolaura-deploy-core --features test-util --test matrix -- seeds
//! cargo test -p ecolaura-deploy-core --all-features --test matrix -- S/
//! ```
//!
//! Families: A a crash at each record, A2 a damaged store, A3 errors of the store, B errors of backends, E a push
//! to a registry (which needs `oci`), H the lock and the clock, J a crash around each effect, S hostile input and secrets
//! (which needs the embedded backends). F, a publish, is in the AWS crate.
//!
//! With all features and no filter the README's table is compared with what came out.
//!
//! A case survives if every invariant holds and the environment is closed without help; it is contained if every
//! invariant holds and an operator is asked by name; it fails otherwise. Pairs that make no sense are counted with their
//! reason (`ECOLAURA_SENSELESS=1` prints them).

mod families;

use std::{process::ExitCode, sync::Arc};

use ecolaura_deploy_core::testing::{
    matrix::{Case, Cell, Scene, Table, reference},
    simulation::{Simulation, Verdict},
};
use libtest_mimic::{Arguments, Failed, Trial};

/// How many seeds are drawn each time, and in the long tier.
const SEEDS: (u64, u64) = (200, 10_000);
/// How many of them make one trial.
const CHUNK: u64 = 50;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    // Injected panics are part of the cases; what they say is not.
    std::panic::set_hook(Box::new(|_| {}));
    let Ok(sources) = tempfile::tempdir() else { return ExitCode::FAILURE };
    let simulation = reference(sources.path());
    let table = Arc::new(Table::default());
    let mut trials = Vec::new();
    for cell in families::all(&simulation) {
        match cell {
            Cell::Senseless { family, name, why } => table.senseless(family, &name, &why),
            Cell::Case(case) => trials.push(trial(case, &simulation, &table)),
            Cell::Scene(scene) => trials.push(play(scene, &table)),
        }
    }
    trials.extend(seeds(&simulation, &table));
    let conclusion = libtest_mimic::run(&arguments, trials);
    if arguments.list {
        return conclusion.exit_code();
    }
    show(&table);
    if is_whole(&arguments) && !conclusion.has_failed() && !told(&table) {
        return ExitCode::FAILURE;
    }
    conclusion.exit_code()
}

#[expect(clippy::print_stdout, reason = "it is printed")]
fn show(table: &Table) {
    print!("{table}");
    if std::env::var("ECOLAURA_SENSELESS").is_ok() {
        table.not_applicable().iter().for_each(|line| println!("not applicable: {line}"));
    }
}

/// Whether all was played that the README counts: no more, and no less.
fn is_whole(arguments: &Arguments) -> bool {
    let features = cfg!(all(feature = "local", feature = "sqlite", feature = "html", feature = "oci"));
    features && arguments.filter.is_none() && arguments.skip.is_empty() && !arguments.ignored && !is_long()
}

/// Whether the README says the same. A packaged crate has none.
#[expect(clippy::print_stderr, reason = "it is what failed")]
fn told(table: &Table) -> bool {
    let Ok(readme) = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../README.md")) else { return true };
    let mut wrong = table.told_otherwise(&readme);
    wrong.retain(|line| !line.starts_with("family seeds:"));
    wrong.iter().for_each(|line| eprintln!("README.md: {line}"));
    if !wrong.is_empty() {
        eprintln!("test result: FAILED. The README tells other counts.");
    }
    wrong.is_empty()
}

/// Whether there is time.
fn is_long() -> bool {
    std::env::var("ECOLAURA_LONG").is_ok_and(|long| long == "1")
}

fn trial(case: Case, simulation: &Simulation, table: &Arc<Table>) -> Trial {
    let (simulation, table) = (simulation.clone(), Arc::clone(table));
    Trial::test(case.name.clone(), move || noted(&table, case.family, &case.name, case.judge(&simulation)))
}

fn play(scene: Scene, table: &Arc<Table>) -> Trial {
    let table = Arc::clone(table);
    Trial::test(scene.name.clone(), move || noted(&table, scene.family, &scene.name, scene.judge()))
}

fn noted(table: &Table, family: &'static str, name: &str, verdict: Verdict) -> Result<(), Failed> {
    table.note(family, name, &verdict);
    match verdict {
        Verdict::Failed(broken) => Err(Failed::from(broken.join("\n"))),
        _ => Ok(()),
    }
}

fn seeds(simulation: &Simulation, table: &Arc<Table>) -> Vec<Trial> {
    let (last, chunk) = match std::env::var("ECOLAURA_SEED") {
        Ok(_) => (1, 1),
        Err(_) => (if is_long() { SEEDS.1 } else { SEEDS.0 }, CHUNK),
    };
    let firsts = (0..last).step_by(usize::try_from(chunk).unwrap_or(1));
    let trial = |first: u64| {
        let (simulation, table) = (simulation.clone().seeds(first..first + chunk), Arc::clone(table));
        Trial::test(format!("seeds/{first:05}"), move || {
            let report = simulation.run();
            for case in &report.cases {
                table.note("seeds", &format!("seed-{}", case.seed), &case.verdict);
            }
            if report.failed().next().is_some() { Err(Failed::from(report.to_string())) } else { Ok(()) }
        })
    };
    firsts.map(trial).collect()
}
