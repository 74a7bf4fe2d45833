//! Waiting for RDS, which does everything some minutes later.

use std::time::Duration;

use ecolaura_deploy_core::{Context, Effect, Error, ErrorKind, Result};
use tokio::time::Instant;

use super::database::RdsDatabase;

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

/// Looks after looks, until something is as it should be or the patience ends.
pub(super) struct Wait<'a> {
    cx: &'a Context,
    operation: &'static str,
    patience: Duration,
    end: Instant,
    pause: Duration,
    longest: Duration,
}

impl<'a> Wait<'a> {
    pub(super) fn new((cx, operation): (&'a Context, &'static str), database: &RdsDatabase) -> Self {
        let RdsDatabase { patience, pause, .. } = *database;
        Self { cx, operation, patience, end: Instant::now() + patience, pause, longest: pause * 8 }
    }

    /// Says that `what` is still `status`, and lets some time pass.
    ///
    /// Fails with `Timeout` if there is none left; what was asked of RDS goes on there.
    pub(super) async fn pause(&mut self, what: &str, status: &str) -> Result<()> {
        if Instant::now() + self.pause > self.end {
            let message = format!("{what} is still `{status}` after {} s", self.patience.as_secs());
            return Err(Error::new(ErrorKind::Timeout, self.operation, message)
                .with_effect(Effect::Partial)
                .with("status", status)
                .advice("RDS goes on with it; run again to go on from there, or give it more patience"));
        }
        self.cx.status(format!("{what} is `{status}`"));
        self.cx.sleep(self.operation, self.pause).await.map_err(|error| error.with_effect(Effect::Partial))?;
        self.pause = (self.pause * 3 / 2).min(self.longest);
        Ok(())
    }
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
