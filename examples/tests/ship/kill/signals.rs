//! Asked to end, once and twice.

use rustix::process::Signal;

use super::{
    tally::{Tally, Verdict},
    world::{App, OLD, World},
};
use crate::user::Run;

const FAMILY: &str = "asked to end";

pub fn all(world: &World, tally: &mut Tally) {
    let app = world.app();
    tally.case(FAMILY, "once, undo", || {
        asked(world, &app, "undo", Signal::INT, false).ends_with(1);
        world.stands(OLD);
        Verdict::Survived(1)
    });
    tally.case(FAMILY, "twice, undo", || {
        asked(world, &app, "undo", Signal::INT, true).ends_with(130);
        goes_on(world, &app, &[])
    });
    tally.case(FAMILY, "once, suspend", || {
        asked(world, &app, "suspend", Signal::TERM, false).ends_with(4);
        assert!(world.is_open());
        goes_on(world, &app, &["--resume"])
    });
    tally.case(FAMILY, "twice, suspend", || {
        asked(world, &app, "suspend", Signal::INT, true).ends_with(130);
        assert!(world.is_open());
        goes_on(world, &app, &["--resume"])
    });
}

/// In the middle of the roll-out.
fn asked(world: &World, app: &App, on_cancel: &str, signal: Signal, twice: bool) -> Run {
    world.to_old();
    let mut call = world.start(&["--app", &app.folder, "--on-cancel", on_cancel]);
    call.wait_for("dev/roll-out-backend        20 %");
    call.signal(signal);
    if twice {
        call.wait_for("was cancelled");
        call.signal(signal);
    }
    call.wait()
}

fn goes_on(world: &World, app: &App, how: &[&str]) -> Verdict {
    world.ship(&[&["--app", &app.folder], how].concat()).ends_with(0);
    world.stands(&app.version);
    world.is_done(app);
    Verdict::Survived(1)
}
