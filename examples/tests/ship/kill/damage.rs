//! Records that are damaged after a kill.

use std::fs;

use super::{
    tally::{Tally, Verdict},
    world::World,
};

const FAMILY: &str = "damaged records";

pub fn all(world: &World, tally: &mut Tally) {
    tally.case(FAMILY, "a record of the open run is changed", || given_up(world));
}

/// Nothing new begins, what is printed says what to call, and then the next release comes through.
fn given_up(world: &World) -> Verdict {
    world.to_old();
    let app = world.app();
    let run = world.ship(&["--app", &app.folder, "--crash-within", "dev/publish-site"]);
    assert_eq!(run.code, None, "{run}");
    let (id, _) = world.runs().pop().unwrap();
    let key = format!("environments/dev/runs/{id}/00000009");
    let path = world.user.path(&format!("records/{key}"));
    let line = fs::read_to_string(&path).unwrap();
    fs::write(&path, line.replacen("\"nonce\":\"", "\"nonce\":\"x", 1)).unwrap();

    let command = format!("ship --give-up {id}");
    let run = world.ship(&["--app", &app.folder]);
    run.ends_with(1);
    assert!(run.output.contains(&key) && run.output.contains(&command), "{run}");
    let doctor = world.ship(&["--doctor"]);
    doctor.ends_with(3);
    let text = doctor.output.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(text.contains(&format!("damaged record runs/{id}/00000009")) && text.contains(&command), "{doctor}");
    world.ship(&["--give-up", "another"]).ends_with(2);
    let closed = world.ship(&["--give-up", &id]);
    closed.ends_with(0);
    assert!(closed.output.contains("left  `roll-out-backend`: "), "{closed}");
    world.nothing_failed();

    world.ship(&["--app", &app.folder]).ends_with(0);
    world.stands(&app.version);
    world.is_done(&app);
    Verdict::Contained("somebody calls `ship --give-up`, as they are told".to_owned())
}
