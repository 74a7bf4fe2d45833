//! Waiting for RDS, which does everything some minutes later.

use ecolaura_deploy_core::{Effect, Error, ErrorKind};

use super::{calls::Calls, database::RdsDatabase};
use crate::wait::{Pace, Wait};

/// What a status says about going on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// It can be worked with.
    Ready,
    /// It will be something else by itself.
    Passing,
    /// Somebody has to do something.
    Stuck,
}

/// Of a status of an instance or a cluster. One that is not known yet is taken for one that passes: waiting ends.
pub(super) fn state(status: &str) -> State {
    const STUCK: [&str; 7] =
        ["failed", "stopped", "stopping", "storage-full", "restore-error", "insufficient-capacity", "deleting"];
    match status {
        "available" | "storage-optimization" => State::Ready,
        _ if STUCK.contains(&status) => State::Stuck,
        _ if status.starts_with("incompatible-") || status.starts_with("inaccessible-") => State::Stuck,
        _ => State::Passing,
    }
}

/// For what RDS does with `database`, or with what is made of it.
pub(super) fn waiting<'a>(calls: &Calls<'a>, database: &RdsDatabase) -> Wait<'a> {
    let RdsDatabase { patience, pause, .. } = *database;
    let advice = "RDS goes on with it; run again to go on from there, or give it more patience";
    let pace = Pace { patience, pause, longest: pause * 8 };
    Wait::new((calls.cx, calls.operation), pace, (Effect::Partial, advice)).reached(calls.have_reached())
}

/// The error of a database that does not come to be ready by itself.
pub(super) fn stuck(operation: &'static str, what: impl std::fmt::Display, status: &str) -> Error {
    Error::new(ErrorKind::Conflict, operation, format!("{what} is `{status}`"))
        .with("status", status)
        .with("expected", "available")
        .advice("bring it to `available` first; what is in place already is not done twice")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_is_waited_for_and_what_does_not_is_said() {
        for (status, expected) in [
            ("available", State::Ready),
            ("backing-up", State::Passing),
            ("renaming", State::Passing),
            ("a word of next year", State::Passing),
            ("stopped", State::Stuck),
            ("incompatible-network", State::Stuck),
            ("inaccessible-encryption-credentials-recoverable", State::Stuck),
        ] {
            assert_eq!(state(status), expected, "{status}");
        }
    }
}
