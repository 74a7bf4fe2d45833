//! `ship` is killed at every step and at random moments, meets others of its kind, and is asked to end. Afterwards the
//! new release is there and finished, or the old one as it was.
//!
//! `ECOLAURA_LONG=1` does it at least 200 times at random moments, and at each step alone. `ECOLAURA_SEED` repeats the
//! random moments of an earlier test, `ECOLAURA_ONLY` names parts: `steps`, `effects`, `damage`, `rivals`, `signals`,
//! `random`.

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

#[test]
fn it_survives_whatever_kills_it() {
    let long = std::env::var_os("ECOLAURA_LONG").is_some();
    let seed = std::env::var("ECOLAURA_SEED").ok().map(|seed| seed.parse().unwrap());
    let seed = seed.unwrap_or_else(|| RandomNonces.next() >> 32);
    let only = std::env::var("ECOLAURA_ONLY").unwrap_or_default();
    let wanted = |part: &str| only.is_empty() || only.split(',').any(|wanted| wanted == part);
    eprintln!("ECOLAURA_SEED={seed}");
    let (world, mut tally) = (World::new(), Tally::default());
    if wanted("steps") {
        crash::steps(&world, &mut tally, long);
    }
    if wanted("effects") {
        crash::effects(&world, &mut tally);
    }
    if wanted("damage") {
        damage::all(&world, &mut tally);
    }
    if wanted("rivals") {
        rivals::all(&world, &mut tally);
    }
    if wanted("signals") {
        signals::all(&world, &mut tally);
    }
    if wanted("random") {
        random::all(&world, &mut tally, if long { 210 } else { 12 }, seed);
    }
    eprintln!("{} requests were answered meanwhile", world.traffic.answers());
    world.to_old();
    tally.finish();
    let World { user, traffic, .. } = world;
    drop(traffic);
    user.down();
}
