//! `kill -9` of the deployer, at any moment of a run and of what goes on with it.

use std::time::Duration;

use ecolaura_deploy_core::nonce::{NonceSource as _, SeededNonces};

use super::{
    tally::{Tally, Verdict},
    world::{App, OLD, World},
};

const FAMILY: &str = "kill -9 at a random moment";

/// How often a release is built anew, which takes longer.
const FRESH: u64 = 6;

pub fn all(world: &World, tally: &mut Tally, cases: u64, seed: u64) {
    let mut app = world.app();
    for number in 0..cases {
        let random = SeededNonces::new(seed.wrapping_add(number));
        if number % FRESH == 0 {
            app = world.app();
        }
        let back = number % 3 == 2;
        let name = format!("case {number} of seed {seed}");
        tally.case(FAMILY, &name, || if back { way_back(world, &app, &random) } else { release(world, &app, &random) });
    }
}

fn below(random: &SeededNonces, limit: u64) -> u64 {
    random.next() % limit
}

/// Kills up to three calls of `arguments`, each after at most `limit` milliseconds.
fn kill(world: &World, random: &SeededNonces, arguments: &[&str], limit: u64) -> Vec<u64> {
    let mut moments = Vec::new();
    for _ in 0..=below(random, 3) {
        let moment = below(random, limit);
        let mut call = world.start(arguments);
        if !call.kill_after(Duration::from_millis(moment)) {
            break;
        }
        moments.push(moment);
    }
    moments
}

/// Calls again until it says that it is done; whether it asked for somebody meanwhile.
fn until_done(world: &World, arguments: &[&str]) -> Option<String> {
    let mut asked = None;
    for _ in 0..5 {
        let run = world.ship(arguments);
        match run.code {
            Some(0) => return asked,
            // It had gone back before it was killed.
            Some(2) if run.output.contains("no release before the present one") => return asked,
            Some(3) => asked = Some(run.last_lines(6)),
            Some(_) => eprintln!("{run}"),
            None => panic!("nobody killed this one: {run}"),
        }
    }
    panic!("not done after five calls of {arguments:?}")
}

fn verdict(asked: Option<String>) -> Verdict {
    asked.map_or(Verdict::Survived(1), Verdict::Contained)
}

fn release(world: &World, app: &App, random: &SeededNonces) -> Verdict {
    world.to_old();
    let arguments = ["--app", &app.folder];
    let moments = kill(world, random, &arguments, 10_000);
    eprintln!("  killed after {moments:?} ms");
    let asked = until_done(world, &arguments);
    world.stands(&app.version);
    world.is_done(app);
    verdict(asked)
}

/// The way back is killed, and then it is gone on with, or a release comes after it.
fn way_back(world: &World, app: &App, random: &SeededNonces) -> Verdict {
    world.to_old();
    world.ship(&["--app", &app.folder]).ends_with(0);
    let mut moments = kill(world, random, &["--rollback"], 2_500);
    let forward = below(random, 2) == 0;
    let then: &[&str] = if forward { &["--app", &app.folder] } else { &["--rollback"] };
    moments.extend(kill(world, random, then, if forward { 10_000 } else { 2_500 }));
    eprintln!("  killed after {moments:?} ms, then {then:?}");
    let asked = until_done(world, then);
    if forward {
        world.stands(&app.version);
        world.is_done(app);
    } else {
        world.to_old();
        world.stands(OLD);
    }
    verdict(asked)
}
