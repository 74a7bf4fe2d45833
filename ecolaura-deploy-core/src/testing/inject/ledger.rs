//! What happened in the backends, call by call.

use super::CallFault;
use crate::{Context, ErrorKind};

/// Who called: copied out of the [`Context`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Caller {
    /// The number of the simulated process.
    pub process: u32,
    /// The run; empty where the call has no context.
    pub run: String,
    /// The step.
    pub step: String,
    /// The key of the effect.
    pub key: String,
    /// The fencing token.
    pub epoch: u64,
    /// The attempt.
    pub attempt: u32,
}

impl Caller {
    pub(super) fn new(process: u32, cx: Option<&Context>) -> Self {
        let Some(cx) = cx else { return Self { process, ..Self::default() } };
        Self {
            process,
            run: cx.run_id().to_owned(),
            step: cx.step().to_owned(),
            key: cx.effect_key(),
            epoch: cx.epoch(),
            attempt: cx.attempt(),
        }
    }
}

/// What came of the call behind the fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reached {
    /// The backend was not called.
    Nothing,
    /// The backend was called, and the caller went away before it answered.
    Begun,
    /// The backend did it.
    Done,
    /// The backend refused.
    Failed(ErrorKind),
}

/// One call.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// `world.method`.
    pub call: &'static str,
    /// Whether it changes anything.
    pub writes: bool,
    /// How many calls of this name there were, this one included.
    pub nth: u32,
    /// What it was about: a key, a tag, a namespace.
    pub subject: String,
    /// Who called.
    pub caller: Caller,
    /// What went wrong.
    pub fault: Option<CallFault>,
    /// Whether the effect happened.
    pub reached: Reached,
}

impl Entry {
    /// Whether it changed something, or may have.
    pub fn is_effect(&self) -> bool {
        self.writes && matches!(self.reached, Reached::Done | Reached::Begun)
    }

    /// Whether any epoch may do it at any time: it adds content under its own digest or key, which changes nothing of what
    /// is served. No backend fences it, so that of a deployer that was taken over while it was on its way may come late.
    pub fn adds_only(&self) -> bool {
        ["image.build", "registry.push", "cdn.upload", "database.backup"].contains(&self.call)
    }
}
