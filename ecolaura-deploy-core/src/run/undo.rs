//! Undoing what was done, in reverse, from data.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::FutureExt;
use tokio::time::{Instant, sleep_until};

use super::{
    RetryPolicy, RunResult,
    unit::{Shared, panic_text, with_grace},
};
use crate::{
    Effect, Error, ErrorKind, ErrorRecord, Result,
    context::{Emit, instant_in},
    event::EventKind,
    step::{EffectClass, ErasedUndoer, UndoRecord},
    store::RecordBody,
};

/// A step's effect that is to be undone.
#[derive(Debug, Clone)]
pub(super) struct Undoable {
    pub(super) step: String,
    pub(super) undo: UndoRecord,
}

/// What could not be undone.
#[derive(Debug, Default)]
pub(super) struct Remains {
    pub(super) remaining: Vec<String>,
    pub(super) commands: Vec<String>,
}

impl Remains {
    pub(super) fn is_empty(&self) -> bool {
        self.remaining.is_empty()
    }

    pub(super) fn add(&mut self, step: String, command: String) {
        self.remaining.push(step);
        self.commands.push(command);
    }

    /// An effect that nothing undoes, of a class that cannot simply be done again.
    pub(super) fn add_unknown(&mut self, step: &str, class: EffectClass, effect: Effect) {
        if matches!(class, EffectClass::Opaque | EffectClass::Probed) {
            let what = match effect {
                Effect::Complete => "was done",
                Effect::Partial => "was partly done",
                _ => "may have been done",
            };
            self.add(step.to_owned(), format!("`{step}` {what} and has nothing that undoes it: look at it"));
        }
    }

    pub(super) fn lost(&mut self, error: &impl std::fmt::Display) {
        let command = format!("the executor lost a task ({error}): compare the run's record with the environment");
        self.add("what the lost task did".to_owned(), command);
    }

    pub(super) fn extend(&mut self, other: Self) {
        self.remaining.extend(other.remaining);
        self.commands.extend(other.commands);
    }
}

impl Shared {
    /// Undoes `list`, first to last, and stops at the first that cannot be undone: what comes after rests on it.
    pub(super) async fn undo(self: Arc<Self>, cause: String, list: Vec<Undoable>, deadline: Duration) -> Remains {
        if list.is_empty() {
            return Remains::default();
        }
        let steps = list.iter().map(|undoable| undoable.step.clone()).collect();
        self.note(RecordBody::UndoPlanned { cause, steps }).await;
        for (index, undoable) in list.iter().enumerate() {
            if let Err(error) = self.undo_one(undoable, deadline).await {
                return remains(&list[index..], &error);
            }
        }
        Remains::default()
    }

    /// Records what happens while stopping and undoing. A store that fails now must not keep the old release from
    /// coming back.
    pub(super) async fn note(&self, body: RecordBody) {
        if let Err(error) = self.journal.append(body).await {
            self.emitter.emit(None, EventKind::Warning { message: format!("not recorded: {}", error.report()) });
        }
    }

    /// Records the end. If that fails the run stays open, and whoever comes next ends it.
    pub(super) async fn note_end(&self, result: RunResult) {
        match self.journal.append(RecordBody::RunFinished { result }).await {
            Ok(_) => self.ended.store(true, Ordering::Relaxed),
            Err(error) => {
                let message = format!("the end is not recorded, and the next run will do that: {}", error.report());
                self.emitter.emit(None, EventKind::Warning { message });
            }
        }
    }

    async fn undo_one(&self, undoable: &Undoable, deadline: Duration) -> Result<()> {
        let step = &undoable.step;
        self.note(RecordBody::UndoIntent { step: step.clone(), undo: undoable.undo.clone() }).await;
        if self.is_ousted() {
            return Err(Error::new(ErrorKind::Fenced, "run.undo", "another process works on the environment"));
        }
        self.emitter.emit(Some(step), EventKind::UndoStarted);
        let began = Instant::now();
        let result = self.execute(undoable, deadline).await;
        if result.as_ref().is_err_and(|error| error.kind() == ErrorKind::Fenced) {
            self.journal.give_up();
        }
        let error = result.as_ref().err().map(ErrorRecord::from);
        self.note(RecordBody::UndoDone { step: step.clone(), error: error.clone() }).await;
        self.emitter.emit(Some(step), EventKind::UndoFinished { error, took: began.elapsed() });
        result
    }

    async fn execute(&self, undoable: &Undoable, deadline: Duration) -> Result<()> {
        let key = &undoable.undo.key;
        let Some(undoer) = self.plan.pipeline.undoers.get(key) else {
            let message = format!("no backend here undoes `{}` on `{}`", key.kind, key.target);
            return Err(Error::new(ErrorKind::Unsupported, "run.undo", message)
                .advice("add the backend to the pipeline with `Pipeline::undoer`"));
        };
        let end = instant_in(deadline);
        let mut attempt = 1;
        loop {
            let Err(error) = self.attempt_undo(undoer.as_ref(), undoable, attempt, end).await else { return Ok(()) };
            let pause = RetryPolicy::default().pause(attempt, &error, EffectClass::Converging);
            match pause.filter(|pause| instant_in(*pause) < end) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(error),
            }
            attempt += 1;
        }
    }

    /// With a context of its own: neither the cancel nor the deadline of the run reaches it.
    async fn attempt_undo(
        &self,
        undoer: &dyn ErasedUndoer,
        undoable: &Undoable,
        attempt: u32,
        end: Instant,
    ) -> Result<()> {
        let left = end.saturating_duration_since(Instant::now());
        let cx = self.cx.for_undo(&undoable.step, attempt).with_deadline_in(left);
        let work = AssertUnwindSafe(undoer.undo(&cx, &undoable.undo)).catch_unwind();
        match with_grace(work, sleep_until(end), self.grace).await {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => Err(Error::internal("run.undo", format!("undoing panicked: {}", panic_text(&*panic)))
                .with_effect(Effect::Unknown)),
            Err(()) => Err(Error::new(ErrorKind::Timeout, "run.undo", format!("not undone within {left:?}"))
                .with_effect(Effect::Unknown)),
        }
    }
}

/// What remains of `list`, whose first could not be undone because of `error`, and what to do: first things first.
fn remains(list: &[Undoable], error: &Error) -> Remains {
    let mut remains = Remains::default();
    for (index, Undoable { step, undo }) in list.iter().enumerate() {
        let why = if index == 0 { format!(" (failed: {})", error.report()) } else { String::new() };
        remains.add(step.clone(), format!("`{step}`: {}{why}", undo.description));
    }
    remains
}
