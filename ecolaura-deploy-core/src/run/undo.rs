//! Undoing what was done, in reverse, from data.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{RetryPolicy, unit::Shared};
use crate::{
    Error, ErrorKind, ErrorRecord, Result,
    context::Emit,
    event::EventKind,
    step::{EffectClass, UndoRecord},
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

    /// Records what happens while undoing. A store that fails now must not keep the old release from coming back.
    async fn note(&self, body: RecordBody) {
        if let Err(error) = self.journal.append(body).await {
            self.emitter.emit(None, EventKind::Warning { message: format!("not recorded: {}", error.report()) });
        }
    }

    async fn undo_one(&self, undoable: &Undoable, deadline: Duration) -> Result<()> {
        let step = &undoable.step;
        self.note(RecordBody::UndoIntent { step: step.clone(), undo: undoable.undo.clone() }).await;
        self.emitter.emit(Some(step), EventKind::UndoStarted);
        let began = Instant::now();
        let result = self.execute(undoable, deadline).await;
        let error = result.as_ref().err().map(ErrorRecord::from);
        self.note(RecordBody::UndoDone { step: step.clone(), error: error.clone() }).await;
        self.emitter.emit(Some(step), EventKind::UndoFinished { error, took: began.elapsed() });
        result
    }

    async fn execute(&self, undoable: &Undoable, deadline: Duration) -> Result<()> {
        let record = &undoable.undo;
        let Some(undoer) = self.plan.pipeline.undoers.get(&record.key) else {
            let message = format!("no backend here undoes `{}` on `{}`", record.key.kind, record.key.target);
            return Err(Error::new(ErrorKind::Unsupported, "run.undo", message)
                .advice("add the backend to the pipeline with `Pipeline::undoer`"));
        };
        let mut attempt = 1;
        loop {
            let cx = self.cx.for_attempt(&undoable.step, attempt, CancellationToken::new()).with_deadline_in(deadline);
            let work = futures_util::FutureExt::catch_unwind(std::panic::AssertUnwindSafe(undoer.undo(&cx, record)));
            let result = match tokio::time::timeout(deadline, work).await {
                Ok(Ok(result)) => result,
                Ok(Err(_)) => Err(Error::internal("run.undo", "undoing panicked")),
                Err(_) => Err(Error::new(ErrorKind::Timeout, "run.undo", format!("not undone within {deadline:?}"))),
            };
            let Err(error) = result else { return Ok(()) };
            match RetryPolicy::default().pause(attempt, &error, EffectClass::Converging) {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(error),
            }
            attempt += 1;
        }
    }
}

fn remains(list: &[Undoable], error: &Error) -> Remains {
    let remaining = list.iter().map(|undoable| undoable.step.clone()).collect();
    let mut commands: Vec<String> = error.advice_text().map(str::to_owned).into_iter().collect();
    commands.extend(list.iter().map(|undoable| format!("`{}`: {}", undoable.step, undoable.undo.description)));
    Remains { remaining, commands }
}
