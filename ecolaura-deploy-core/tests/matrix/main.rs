//! The fault matrix: what befalls a release, case by case, and what comes of it.
//!
//! ```text
//! cargo test -p ecolaura-deploy-core --features test-util --test matrix
//! cargo test -p ecolaura-deploy-core --features test-util --test matrix -- A/happy/record-07
//! ECOLAURA_LONG=1 cargo test -p ecolaura-deploy-core --features test-util --test matrix -- seeds
//! cargo test -p ecolaura-deploy-core --all-features --test matrix -- S/
//! ```
//!
//! Families: A a crash at each record, A2 a damaged store, A3 errors of the store, B errors of backends, H the lock and
//! the clock, J a crash around each effect, S hostile input and secrets (which needs the embedded backends).
//!
//! A case survives if every invariant holds and the environment is closed without help; it is contained if every
//! invariant holds and an operator is asked by name; it fails otherwise. Pairs that make no sense are counted with their
//! reason (`ECOLAURA_SENSELESS=1` prints them).

mod families;
mod table;

use std::{process::ExitCode, sync::Arc};

use ecolaura_deploy_core::testing::{
    matrix::{Case, reference},
    simulation::{Simulation, Verdict},
};
use libtest_mimic::{Arguments, Failed, Trial};

use self::{
    families::{Plan, Trap},
    table::Table,
};

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
    for plan in families::all(&simulation) {
        match plan {
            Plan::Senseless { family, name, why } => table.senseless(family, &name, &why),
            Plan::Case(case) => trials.push(trial(case, &simulation, &table)),
            Plan::Trap(trap) => trials.push(spring(trap, &table)),
        }
    }
    trials.extend(seeds(&simulation, &table));
    let conclusion = libtest_mimic::run(&arguments, trials);
    if !arguments.list {
        table.print();
    }
    conclusion.exit_code()
}

/// Whether there is time.
fn is_long() -> bool {
    std::env::var("ECOLAURA_LONG").is_ok_and(|long| long == "1")
}

fn trial(case: Case, simulation: &Simulation, table: &Arc<Table>) -> Trial {
    let (simulation, table) = (simulation.clone(), Arc::clone(table));
    Trial::test(case.name.clone(), move || {
        let verdict = case.judge(&simulation);
        table.note(case.family, &case.name, &verdict);
        match verdict {
            Verdict::Failed(broken) => Err(Failed::from(broken.join("\n"))),
            _ => Ok(()),
        }
    })
}

fn spring(trap: Trap, table: &Arc<Table>) -> Trial {
    let table = Arc::clone(table);
    let Trap { family, name, spring } = trap;
    Trial::test(name.clone(), move || {
        let sprung = spring();
        let verdict = sprung.clone().map_or_else(|why| Verdict::Failed(vec![why]), |()| Verdict::Survived);
        table.note(family, &name, &verdict);
        sprung.map_err(Failed::from)
    })
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
