//! What a step's attempts reached, kept outside of them so that a timeout, a panic or a retry loses nothing.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::{Effect, Error, ErrorKind, step::UndoRecord};

#[derive(Debug, Default)]
struct Reached {
    /// Whether the present attempt may have had an effect.
    begun: bool,
    /// What earlier attempts may have left behind.
    left: Option<Effect>,
    undo: Option<UndoRecord>,
    /// Whether the real system must be asked before anything else.
    ask: bool,
}

/// What is known of a step while it runs.
#[derive(Debug, Default)]
pub(super) struct Progress(Mutex<Reached>);

impl Progress {
    /// What an earlier process left: what it may have done, what undoes that, and whether to ask the system about it.
    pub(super) fn resumed(left: Option<Effect>, undo: Option<UndoRecord>, ask: bool) -> Self {
        Self(Mutex::new(Reached { begun: false, left, undo, ask }))
    }

    /// Whether the real system has still to be asked what an earlier process did.
    pub(super) fn asks(&self) -> bool {
        self.reached().ask
    }

    /// The answer: so much of it is there.
    pub(super) fn answered(&self, left: Option<Effect>) {
        let mut reached = self.reached();
        (reached.ask, reached.left) = (false, left);
    }

    fn reached(&self) -> MutexGuard<'_, Reached> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn begin_attempt(&self) {
        self.reached().begun = false;
    }

    /// What undoes it, read before anything happened.
    pub(super) fn prepared(&self, undo: Option<UndoRecord>) {
        self.reached().undo = undo;
    }

    pub(super) fn begin_effect(&self) {
        self.reached().begun = true;
    }

    /// What the effect itself told about undoing it, if it told anything.
    pub(super) fn extend(&self, undo: Option<UndoRecord>) {
        if undo.is_some() {
            self.reached().undo = undo;
        }
    }

    /// Whether an earlier attempt may have changed something: then the state is not the prior one any more, and what
    /// was prepared first is what counts.
    pub(super) fn has_left(&self) -> bool {
        self.reached().left.is_some()
    }

    pub(super) fn undo(&self) -> Option<UndoRecord> {
        self.reached().undo.clone()
    }

    /// `error` with what all attempts together may have done, and what undoes that.
    pub(super) fn judge(&self, error: Error) -> (Error, Option<UndoRecord>) {
        let mut reached = self.reached();
        let own = match error.effect() {
            _ if !reached.begun => Effect::None,
            // Whoever was interrupted can hardly know; undoing what did not happen does no harm.
            Effect::None if is_interrupted(&error) && reached.undo.is_some() => Effect::Unknown,
            effect => effect,
        };
        let effect = if own == Effect::None { reached.left.unwrap_or(Effect::None) } else { own };
        reached.begun = false;
        reached.left = (effect != Effect::None).then_some(effect);
        let undo = reached.left.and(reached.undo.clone());
        (error.with_effect(effect), undo)
    }
}

/// Whether somebody or a deadline ended it from outside.
pub(super) fn is_interrupted(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Cancelled | ErrorKind::Timeout)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(effect: Effect) -> Error {
        Error::new(ErrorKind::Unavailable, "t", "t").with_effect(effect)
    }

    #[test]
    fn what_an_attempt_left_is_not_forgotten_by_the_next() {
        let progress = Progress::default();
        assert_eq!(progress.judge(error(Effect::Unknown)).0.effect(), Effect::None, "nothing had begun");
        assert!(!progress.has_left());
        progress.begin_effect();
        assert_eq!(progress.judge(error(Effect::Partial)).0.effect(), Effect::Partial);
        progress.begin_attempt();
        assert_eq!(progress.judge(error(Effect::None)).0.effect(), Effect::Partial);
        assert!(progress.has_left());
        progress.begin_effect();
        assert_eq!(progress.judge(error(Effect::Complete)).0.effect(), Effect::Complete);
    }
}
