//! One step: refine, prepare, intent, effect, outcome; attempts, pauses and timeouts around that.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::FutureExt;
use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::{emitter::Emitter, evidence::Evidence};
use crate::{
    Context, Effect, Error, ErrorKind, ErrorRecord, Result,
    context::Emit,
    event::EventKind,
    pipeline::{Node, Output, Outputs},
    plan::{Plan, check_refined},
    step::{Need, UndoRecord},
    store::{Journal, RecordBody},
};

/// What every unit of a run shares.
pub(super) struct Shared {
    pub(super) plan: Plan,
    pub(super) outputs: Outputs,
    pub(super) cx: Context,
    pub(super) journal: Journal,
    pub(super) emitter: Arc<Emitter>,
    pub(super) evidence: Evidence,
    pub(super) permits: Semaphore,
    pub(super) grace: std::time::Duration,
}

/// How a step ended. `undo` is what is known to undo it, also after a failure.
#[derive(Debug)]
pub(super) enum End {
    Done { undo: Option<UndoRecord> },
    Unchanged,
    Failed { error: Error, undo: Option<UndoRecord> },
}

/// What an attempt reached before it ended, kept outside of it so that a timeout or a panic loses nothing.
#[derive(Debug, Default)]
struct Reached {
    intent: bool,
    undo: Option<UndoRecord>,
}

type Progress = Arc<Mutex<Reached>>;

fn reached(progress: &Progress) -> (bool, Option<UndoRecord>) {
    let reached = progress.lock().unwrap_or_else(PoisonError::into_inner);
    (reached.intent, reached.undo.clone())
}

impl Shared {
    pub(super) fn node(&self, index: usize) -> &Node {
        &self.plan.pipeline.nodes[index]
    }

    /// Runs step `index` to its end.
    pub(super) async fn run_step(self: Arc<Self>, index: usize, cancel: CancellationToken) -> End {
        let span = tracing::info_span!("deploy.step", step = %self.node(index).name);
        self.attempts(index, cancel).instrument(span).await
    }

    async fn attempts(&self, index: usize, cancel: CancellationToken) -> End {
        let node = self.node(index);
        let deadline = Instant::now() + node.policy.deadline;
        let mut attempt = 1;
        loop {
            let progress = Progress::default();
            let error = match self.attempt(index, attempt, deadline, &cancel, &progress).await {
                Ok(None) => return End::Unchanged,
                Ok(Some(undo)) => return End::Done { undo },
                Err(error) => error,
            };
            let (begun, undo) = reached(&progress);
            let error =
                if begun || error.effect() == Effect::Unknown { error } else { error.with_effect(Effect::None) };
            let record = ErrorRecord::from(&error);
            let failed = RecordBody::Failed { step: node.name.clone(), attempt, error: record.clone() };
            if let Err(lost) = self.journal.append(failed).await {
                return End::Failed { error: lost.with("after", error.report()).with_effect(error.effect()), undo };
            }
            let pause = node.policy.retry.pause(attempt, &error, node.step.effect_class());
            let Some(delay) = pause.filter(|delay| !cancel.is_cancelled() && Instant::now() + *delay < deadline) else {
                return End::Failed { error, undo };
            };
            self.emitter.emit(Some(&node.name), EventKind::RetryScheduled { attempt, delay, error: record });
            tokio::select! {
                () = cancel.cancelled() => return End::Failed { error, undo },
                () = tokio::time::sleep(delay) => attempt += 1,
            }
        }
    }

    /// One attempt within its permit and its timeout. `Ok(None)`: nothing to do.
    async fn attempt(
        &self,
        index: usize,
        attempt: u32,
        deadline: Instant,
        cancel: &CancellationToken,
        progress: &Progress,
    ) -> Result<Option<Option<UndoRecord>>> {
        let node = self.node(index);
        let permit = tokio::select! {
            biased;
            () = cancel.cancelled() => return Err(Error::new(ErrorKind::Cancelled, "run.step", "cancelled before it began")),
            permit = timeout_at(deadline, self.permits.acquire()) => permit,
        };
        let Ok(Ok(_permit)) = permit else {
            return Err(Error::new(ErrorKind::Timeout, "run.step", "no permit within the step's deadline"));
        };
        if attempt == 1 {
            self.emitter.emit(Some(&node.name), EventKind::StepStarted);
        }
        let end = deadline.min(Instant::now() + node.policy.attempt_timeout);
        let cx = self
            .cx
            .for_attempt(&node.name, attempt, cancel.clone())
            .with_deadline_in(end.saturating_duration_since(Instant::now()));
        let work = AssertUnwindSafe(self.effect(index, attempt, &cx, progress)).catch_unwind();
        let cancelled = async {
            cancel.cancelled().await;
            tokio::time::sleep(self.grace).await;
        };
        let stopped = |kind, message: String| {
            let effect = if reached(progress).0 { Effect::Unknown } else { Effect::None };
            Err(Error::new(kind, "run.step", message).with_effect(effect))
        };
        tokio::select! {
            biased;
            result = timeout_at(end, work) => match result {
                Ok(Ok(result)) => result,
                Ok(Err(panic)) => stopped(ErrorKind::Internal, format!("the step panicked: {}", panic_text(&*panic))),
                Err(_) => stopped(ErrorKind::Timeout, format!("no end within {:?}", node.policy.attempt_timeout.min(node.policy.deadline))),
            },
            () = cancelled => stopped(ErrorKind::Cancelled, format!("did not end within {:?} of the cancel", self.grace)),
        }
    }

    async fn effect(
        &self,
        index: usize,
        attempt: u32,
        cx: &Context,
        progress: &Progress,
    ) -> Result<Option<Option<UndoRecord>>> {
        let node = self.node(index);
        let announced = &self.plan.summary.steps[index].changes;
        let refined = node.step.refine(cx, &self.outputs).await?;
        check_refined(&node.name, announced, &refined.plan.changes)?;
        if let (Need::Nothing, Some(output)) = (refined.plan.need, refined.plan.output) {
            self.journal.append(RecordBody::Unchanged { step: node.name.clone(), output: output.json.clone() }).await?;
            self.outputs.set(index, output.value);
            return Ok(None);
        }
        let undo = node.step.prepare(cx, &self.outputs).await?;
        let intent = RecordBody::Intent {
            step: node.name.clone(),
            attempt,
            effect: node.step.effect_class(),
            inputs: refined.inputs,
            undo: undo.clone(),
        };
        self.journal.append(intent).await?;
        *progress.lock().unwrap_or_else(PoisonError::into_inner) = Reached { intent: true, undo };
        let success = node.step.apply(cx, &self.outputs).await?;
        if success.undo.is_some() {
            progress.lock().unwrap_or_else(PoisonError::into_inner).undo.clone_from(&success.undo);
        }
        self.record_success(index, attempt, success.outcome?, success.undo, refined.plan.fingerprint, progress).await
    }

    async fn record_success(
        &self,
        index: usize,
        attempt: u32,
        output: Output,
        extended: Option<UndoRecord>,
        fingerprint: Option<crate::vocabulary::Fingerprint>,
        progress: &Progress,
    ) -> Result<Option<Option<UndoRecord>>> {
        let node = self.node(index);
        let done = RecordBody::Done { step: node.name.clone(), attempt, output: output.json.clone(), undo: extended };
        self.journal.append(done).await.map_err(|error| error.with_effect(Effect::Complete))?;
        if let Some(fingerprint) = fingerprint {
            let kept = self.evidence.remember(node.step.kind(), &fingerprint, self.cx.run_id(), &output.json).await;
            if let Err(error) = kept {
                let message = format!("the result is not remembered for next time: {}", error.report());
                self.emitter.emit(Some(&node.name), EventKind::Warning { message });
            }
        }
        self.outputs.set(index, output.value);
        Ok(Some(reached(progress).1))
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
