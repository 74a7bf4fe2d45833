//! How a run ends: what is undone last, what it is called, and what is said when nobody waits for it any more.

use std::{sync::Arc, time::Duration};

use super::{
    RunResult,
    dispatcher::{Dispatcher, State},
    groups::{RELEASE, Stop},
    undo::Remains,
};
use crate::{
    Effect, Error, ErrorKind, ErrorRecord,
    context::Emit,
    event::{EventKind, StepOutcome},
};

impl Dispatcher {
    /// Undoes what is left to undo, and tells the result.
    pub(super) async fn finish(mut self) -> RunResult {
        let result = match self.groups.stop_of(RELEASE).cloned() {
            _ if self.shared.is_ousted() => superseded(),
            Some(stop) => self.roll_back(stop).await,
            None => self.without_rollback(),
        };
        self.close("the executor lost sight of it");
        if !self.shared.is_ousted() {
            self.shared.note_end(result.clone()).await;
        }
        self.over = true;
        self.end(result.clone());
        result
    }

    fn end(&self, result: RunResult) {
        self.shared.emitter.emit(None, EventKind::RunFinished { result, took: self.shared.emitter.elapsed() });
    }

    async fn roll_back(&mut self, stop: Stop) -> RunResult {
        let list = self.take_done(|_| true);
        let remains = Arc::clone(&self.shared).undo(stop.reason(), list, self.policy.undo_deadline).await;
        self.remains.extend(remains);
        if self.shared.is_ousted() { superseded() } else { self.verdict(stop) }
    }

    fn without_rollback(&mut self) -> RunResult {
        let Some(first) = self.first.clone() else {
            return match self.suspended.take() {
                Some(reason) => RunResult::Suspended { reason },
                None => RunResult::Succeeded,
            };
        };
        if !self.remains.is_empty() || self.groups.all_stopped() {
            return self.verdict(first);
        }
        match self.suspended.take() {
            Some(reason) => {
                RunResult::Suspended { reason: format!("{reason}; {} and its group was undone", first.because) }
            }
            None => RunResult::SucceededExcept { groups: self.groups.stopped() },
        }
    }

    fn verdict(&mut self, Stop { failed, cause, .. }: Stop) -> RunResult {
        let Remains { remaining, commands } = std::mem::take(&mut self.remains);
        if remaining.is_empty() {
            RunResult::RolledBack { failed, cause }
        } else {
            RunResult::NeedsOperator { failed, cause, remaining, commands }
        }
    }

    /// Says the end of everything that has not ended.
    fn close(&mut self, why: &str) {
        let (running, undoing) = self.shared.emitter.seal();
        let error = |effect| {
            ErrorRecord::from(&Error::new(ErrorKind::Cancelled, "run.end", why.to_owned()).with_effect(effect))
        };
        for step in undoing {
            let kind = EventKind::UndoFinished { error: Some(error(Effect::Unknown)), took: Duration::ZERO };
            self.shared.emitter.emit(Some(&step), kind);
        }
        for index in 0..self.states.len() {
            if self.states[index] == State::Over {
                continue;
            }
            let outcome = if running.contains(&self.shared.node(index).name) {
                StepOutcome::Failed { error: error(Effect::Unknown) }
            } else {
                StepOutcome::Skipped { because: why.to_owned() }
            };
            self.finished(index, outcome, Duration::ZERO);
        }
    }
}

pub(super) fn superseded() -> RunResult {
    let reason = "another process works on the environment, or may; this one stopped and undid nothing".to_owned();
    RunResult::Suspended { reason }
}

impl Drop for Dispatcher {
    /// The run's future was dropped: what runs is asked to end and its tasks are aborted. The record says what was
    /// begun.
    fn drop(&mut self) {
        if self.over {
            return;
        }
        self.all.cancel();
        self.close("the run was dropped");
        self.end(RunResult::Suspended { reason: "the run was dropped; its record says what was begun".to_owned() });
    }
}
