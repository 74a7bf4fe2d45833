//! `ship` is killed at every step and at random moments, meets others of its kind, and is asked to end. Afterwards the
//! new release is there and finished, or the old one as it was.
//!
//! `ECOLAURA_LONG=1` does it at least 200 times at random moments, and at each step alone. `ECOLAURA_SEED` repeats the
//! random moments of an earlier test.

mod crash;
mod damage;
mod random;
mod rivals;
mod signals;
mod tally;
mod traffic;
mod world;

use ecolaura_deploy_core::nonce::{NonceSource as _, RandomNonces};
use tally::Tally;
use world::World;

/// How often it is killed at random moments, and how often in the long tier.
const RANDOM: (u64, u64) = (12, 210);

#[test]
fn aborted_at_any_step_it_goes_on() {
    in_a_world("kill-steps", |world, tally| crash::steps(world, tally, is_long()));
}

#[test]
fn effects_that_nobody_recorded_damage_rivals_and_signals_lose_nothing() {
    in_a_world("kill-others", |world, tally| {
        crash::effects(world, tally);
        damage::all(world, tally);
        rivals::all(world, tally);
        signals::all(world, tally);
    });
}

#[test]
fn killed_at_any_moment_it_goes_on() {
    let seed = std::env::var("ECOLAURA_SEED").ok().map(|seed| seed.parse().unwrap());
    let seed = seed.unwrap_or_else(|| RandomNonces.next() >> 32);
    eprintln!("ECOLAURA_SEED={seed}");
    let cases = if is_long() { RANDOM.1 } else { RANDOM.0 };
    in_a_world("kill-random", |world, tally| random::all(world, tally, cases, seed));
}

fn is_long() -> bool {
    std::env::var("ECOLAURA_LONG").is_ok_and(|long| long == "1")
}

fn in_a_world(name: &str, cases: impl FnOnce(&World, &mut Tally)) {
    let (world, mut tally) = (World::new(name), Tally::default());
    cases(&world, &mut tally);
    eprintln!("{} requests were answered meanwhile", world.traffic.answers());
    world.to_old();
    tally.finish();
    let World { user, traffic, .. } = world;
    drop(traffic);
    user.down();
}
