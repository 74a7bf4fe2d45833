//! How long a silent holder keeps its lock, and what a deployer does that finds the environment held.

use std::time::Duration;

use crate::{Error, Result};

/// The terms on which an environment is locked.
///
/// ```
/// use std::time::Duration;
/// use ecolaura_deploy_core::lock::{LockPolicy, Wait};
/// let policy = LockPolicy::default().wait(Wait::Queue(Duration::from_mins(10)));
/// assert_eq!(policy.term, Duration::from_secs(60));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LockPolicy {
    /// A holder that was silent for this time and a quarter of it may be taken over. It gives a sign of life four times
    /// in each term, and gives up when it could not for a whole one.
    pub term: Duration,
    /// What to do while another holds the environment.
    pub wait: Wait,
}

/// What to do while another deployer holds the environment. In every case a holder that is proven gone is taken over at
/// once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Wait {
    /// Fail at once.
    #[default]
    Fail,
    /// Wait for at most this time. Who of several waiters comes first is not defined.
    Queue(Duration),
    /// The same, but give up as soon as a deployer waits that brings a newer release.
    Latest(Duration),
}

impl Default for LockPolicy {
    /// 60 seconds; fail at once.
    fn default() -> Self {
        Self { term: Duration::from_mins(1), wait: Wait::Fail }
    }
}

impl LockPolicy {
    /// With another term, which must not be shorter than the store takes for a few calls.
    pub fn term(mut self, term: Duration) -> Self {
        self.term = term;
        self
    }

    /// With another way to wait.
    pub fn wait(mut self, wait: Wait) -> Self {
        self.wait = wait;
        self
    }

    /// From sign of life to sign of life.
    pub(super) fn pace(&self) -> Duration {
        self.term / 4
    }

    pub(super) fn check(&self) -> Result<()> {
        if self.term < Duration::from_millis(40) {
            return Err(Error::invalid("lock.acquire", format!("a term of {:?} is too short", self.term))
                .advice("give the lock a term of some seconds"));
        }
        Ok(())
    }
}

/// When a holder of this term may be taken over: the quarter is for beats that are on their way.
pub(super) fn patience(term: Duration) -> Duration {
    term.saturating_add(term / 4)
}
