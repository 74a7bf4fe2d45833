//! One journalled execution of a plan.
//!
//! Steps run as soon as their inputs exist. The order of policies is fixed: run deadline ⊃ step deadline ⊃ retry ⊃
//! permit ⊃ attempt timeout ⊃ call. Every intent is durable before its effect and every outcome before the next move.
//! When something fails, what runs is asked to end, and what was done is undone in exact reverse order of completion,
//! with a fresh context that the cancel does not reach.

mod back;
mod dispatcher;
mod drive;
mod emitter;
mod ending;
mod evidence;
mod groups;
mod history;
mod hold;
mod progress;
mod resume;
mod retry;
mod runner;
mod same;
mod signals;
mod undo;
mod unit;

use serde::{Deserialize, Serialize};

pub(crate) use self::{history::Account, unit::panic_text};
pub use self::{
    retry::RetryPolicy,
    runner::{Finished, OnCancel, Runner},
    signals::stop_on_signals,
};
use crate::vocabulary::Name;

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "result", rename_all = "snake_case")]
#[non_exhaustive]
pub enum RunResult {
    /// Everything was done, or there was nothing to do.
    Succeeded,
    /// The release was done; these groups failed and were undone.
    SucceededExcept {
        /// The groups.
        groups: Vec<Name>,
    },
    /// Something failed and everything done was undone.
    RolledBack {
        /// The step that failed, or what asked for the end.
        failed: String,
        /// Why.
        cause: String,
    },
    /// Something failed and something could not be undone.
    NeedsOperator {
        /// The step that failed first.
        failed: String,
        /// Why.
        cause: String,
        /// What remains, in the order in which it should be undone.
        remaining: Vec<String>,
        /// What to do about it.
        commands: Vec<String>,
    },
    /// It waits, and can be continued.
    Suspended {
        /// For what.
        reason: String,
    },
}

impl RunResult {
    /// Whether the run is over: it cannot be gone on with.
    pub fn is_over(&self) -> bool {
        !matches!(self, Self::Suspended { .. })
    }
}
