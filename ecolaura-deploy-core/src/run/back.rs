//! Undoing a run that another process left, with whatever pipeline has the backends: the records say what to undo, so
//! an edited pipeline can still take an older run back.

use std::{sync::Arc, time::Duration};

use super::{
    RunResult,
    ending::superseded,
    history::{Account, History, Remaining},
    undo::{Remains, Undoable},
    unit::Shared,
};
use crate::{
    Error, ErrorRecord,
    context::Emit,
    event::{EventKind, StepOutcome},
};

impl Shared {
    /// Undoes everything that `history` says may have had an effect, last first, and says so. Events come as in any
    /// run; what was done before is said to be kept, and then to be undone.
    pub(super) async fn go_back(
        self: &Arc<Self>,
        history: &History,
        cause: &str,
        undo_deadline: Duration,
    ) -> RunResult {
        self.say_steps(history, cause);
        let (list, mut remains) = what_remains(history.effects());
        remains.extend(Arc::clone(self).undo(cause.to_owned(), list, undo_deadline).await);
        let result = if self.is_ousted() { superseded() } else { verdict(history, cause, remains) };
        self.say_end(result).await
    }

    /// Says that everything was done, which was all that was missing.
    pub(super) async fn only_end(&self, history: &History) -> RunResult {
        for step in &history.plan.steps {
            let kind = EventKind::StepFinished { outcome: StepOutcome::Kept, took: Duration::ZERO };
            self.emitter.emit(Some(&step.name), kind);
        }
        self.say_end(RunResult::Succeeded).await
    }

    async fn say_end(&self, result: RunResult) -> RunResult {
        self.emitter.seal();
        if !self.is_ousted() {
            self.note_end(result.clone()).await;
        }
        let took = self.emitter.elapsed();
        self.emitter.emit(None, EventKind::RunFinished { result: result.clone(), took });
        result
    }

    fn say_steps(&self, history: &History, cause: &str) {
        let effects = history.effects();
        for step in &self.plan.summary.steps {
            let has_effect = effects.iter().any(|remaining| remaining.step == step.name);
            let outcome =
                if has_effect { StepOutcome::Kept } else { StepOutcome::Skipped { because: cause.to_owned() } };
            self.emitter.emit(Some(&step.name), EventKind::StepFinished { outcome, took: Duration::ZERO });
        }
    }
}

/// What is undone, last first, and what nothing undoes.
fn what_remains(effects: Vec<Remaining>) -> (Vec<Undoable>, Remains) {
    let (mut list, mut remains) = (Vec::new(), Remains::default());
    for remaining in effects {
        match remaining.undo {
            Some(undo) => list.push(Undoable { step: remaining.step, undo }),
            None if remaining.done => {}
            None => remains.add_unknown(&remaining.step, remaining.class, remaining.effect),
        }
    }
    (list, remains)
}

/// The result of a run whose records are damaged and that nobody undoes: what can still be read of what it did.
pub(super) fn left_as_it_is(known: &Account, damage: &Error) -> RunResult {
    let (list, unknown) = what_remains(known.effects());
    let mut remains = Remains::default();
    for Undoable { step, undo } in list {
        let command = format!("`{step}`: {}", undo.description);
        remains.add(step, command);
    }
    remains.extend(unknown);
    let lost = "what is damaged or missing in its records";
    remains.add(lost.to_owned(), format!("{lost} is not known: compare the environment with the last release"));
    let Remains { remaining, commands } = remains;
    let cause = ErrorRecord::from(damage).message;
    RunResult::NeedsOperator { failed: "its records".to_owned(), cause, remaining, commands }
}

fn verdict(history: &History, cause: &str, Remains { remaining, commands }: Remains) -> RunResult {
    let (failed, cause) =
        history.first_failure().unwrap_or_else(|| ("the process that ran it".to_owned(), cause.to_owned()));
    if remaining.is_empty() {
        RunResult::RolledBack { failed, cause }
    } else {
        RunResult::NeedsOperator { failed, cause, remaining, commands }
    }
}
