//! Asked to end, once and twice.

use rustix::process::Signal;

use super::{
    tally::{Tally, Verdict},
    world::{App, OLD, World},
};
use crate::user::{Run, Started};

const FAMILY: &str = "asked to end";

pub fn all(world: &World, tally: &mut Tally) {
    let app = world.app();
    tally.case(FAMILY, "once, undo", || {
        once(world, &app, "undo", Signal::INT).ends_with(1);
        world.stands(OLD);
        Verdict::Survived(1)
    });
    tally.case(FAMILY, "twice, undo", || {
        twice(world, &app, "undo", 1);
        goes_on(world, &app, &[])
    });
    tally.case(FAMILY, "once, suspend", || {
        once(world, &app, "suspend", Signal::TERM).ends_with(4);
        assert!(world.is_open());
        goes_on(world, &app, &["--resume"])
    });
    tally.case(FAMILY, "twice, suspend", || {
        twice(world, &app, "suspend", 4);
        assert!(world.is_open());
        goes_on(world, &app, &["--resume"])
    });
}

fn once(world: &World, app: &App, on_cancel: &str, signal: Signal) -> Run {
    in_the_roll_out(world, app, on_cancel, signal).wait()
}

/// One that had ended with `ended` by the time of the second signal was asked once, and it is done over.
fn twice(world: &World, app: &App, on_cancel: &str, ended: i32) {
    let mut runs = (0..5).map(|_| {
        let mut call = in_the_roll_out(world, app, on_cancel, Signal::INT);
        call.wait_for("was cancelled");
        call.signal(Signal::INT);
        call.wait()
    });
    let run =
        runs.find(|run| run.code != Some(ended)).unwrap_or_else(|| panic!("none of five was asked twice in time"));
    run.ends_with(130);
}

/// A release that was sent `signal` in the middle of its roll-out.
fn in_the_roll_out(world: &World, app: &App, on_cancel: &str, signal: Signal) -> Started {
    world.to_old();
    let mut call = world.start(&["--app", &app.folder, "--on-cancel", on_cancel]);
    call.wait_for("dev/roll-out-backend        20 %");
    call.signal(signal);
    call
}

fn goes_on(world: &World, app: &App, how: &[&str]) -> Verdict {
    world.ship(&[&["--app", &app.folder], how].concat()).ends_with(0);
    world.stands(&app.version);
    world.is_done(app);
    Verdict::Survived(1)
}
