//! One step: refine, prepare, intent, effect, outcome; attempts, pauses and timeouts around that.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures_util::FutureExt;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::{emitter::Emitter, evidence::Evidence, progress::Progress};
use crate::{
    Context, Effect, Error, ErrorKind, ErrorRecord, Result, Retry,
    context::{Emit, instant_in},
    event::EventKind,
    pipeline::{ErasedPlan, Node, Output, Outputs},
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
    pub(super) permits: Arc<Semaphore>,
    pub(super) grace: Duration,
}

/// How a step ended. `undo` is what is known to undo it, `at` the place of the record that says so.
#[derive(Debug)]
pub(super) enum End {
    Done { undo: Option<UndoRecord>, at: u64 },
    Unchanged,
    NotBegun,
    Failed { error: Error, undo: Option<UndoRecord>, at: u64 },
}

/// What an attempt came to.
enum Passed {
    Done { at: u64 },
    Unchanged,
    NotBegun,
}

/// A place among the steps that run.
pub(super) type Permit = Option<OwnedSemaphorePermit>;

/// An attempt of a step.
#[derive(Clone, Copy)]
struct At {
    index: usize,
    attempt: u32,
    /// That of the step.
    deadline: Instant,
}

/// The place of a record that could not be written: after all others.
const UNRECORDED: u64 = u64::MAX;

impl Shared {
    pub(super) fn node(&self, index: usize) -> &Node {
        &self.plan.pipeline.nodes[index]
    }

    /// Runs step `index` to its end, and hands over its permit: what waits for it starts only after this end was seen.
    /// Does not panic.
    pub(super) async fn run_step(self: Arc<Self>, index: usize, cancel: CancellationToken) -> (End, Permit) {
        let span = tracing::info_span!("deploy.step", step = %self.node(index).name);
        let progress = Progress::default();
        let mut permit = None;
        let work = AssertUnwindSafe(self.attempts(index, &cancel, &progress, &mut permit));
        let end = work.catch_unwind().instrument(span).await.unwrap_or_else(|panic| {
            let message = format!("the step's bookkeeping panicked: {}", panic_text(&*panic));
            let (error, undo) = progress.judge(Error::internal("run.step", message).with_effect(Effect::Unknown));
            End::Failed { error, undo, at: UNRECORDED }
        });
        (end, permit)
    }

    async fn attempts(
        &self,
        index: usize,
        cancel: &CancellationToken,
        progress: &Progress,
        permit: &mut Permit,
    ) -> End {
        let node = self.node(index);
        let deadline = instant_in(node.policy.deadline);
        let mut attempt = 1;
        loop {
            let error = match self.attempt(At { index, attempt, deadline }, cancel, progress, permit).await {
                Ok(Passed::NotBegun) => return End::NotBegun,
                Ok(Passed::Unchanged) => return End::Unchanged,
                Ok(Passed::Done { at }) => return End::Done { undo: progress.undo(), at },
                Err(error) => error,
            };
            let (error, undo) = progress.judge(error);
            let record = ErrorRecord::from(&error);
            let failed =
                RecordBody::Failed { step: node.name.clone(), attempt, error: record.clone(), undo: undo.clone() };
            let at = match self.journal.append(failed).await {
                Ok(at) => at,
                Err(lost) => {
                    return End::Failed { error: error.with("not recorded", lost.report()), undo, at: UNRECORDED };
                }
            };
            let pause = node.policy.retry.pause(attempt, &error, node.step.effect_class());
            let Some(delay) = pause.filter(|delay| !cancel.is_cancelled() && instant_in(*delay) < deadline) else {
                return End::Failed { error, undo, at };
            };
            *permit = None;
            self.emitter.emit(Some(&node.name), EventKind::RetryScheduled { attempt, delay, error: record });
            tokio::select! {
                biased;
                () = cancel.cancelled() => return End::Failed { error, undo, at },
                () = tokio::time::sleep(delay) => attempt += 1,
            }
        }
    }

    /// A place among the steps that run; `None` if a cancel came first.
    async fn permit(&self, deadline: Instant, cancel: &CancellationToken) -> Result<Permit> {
        let permit = tokio::select! {
            biased;
            () = cancel.cancelled() => return Ok(None),
            permit = timeout_at(deadline, Arc::clone(&self.permits).acquire_owned()) => permit,
        };
        match permit {
            Ok(Ok(permit)) => Ok(Some(permit)),
            _ => Err(Error::new(ErrorKind::Timeout, "run.step", "too much else ran until the step's deadline")
                .advice("raise the step's deadline or the limit on parallel steps")),
        }
    }

    /// One attempt within its permit and its timeout.
    async fn attempt(
        &self,
        At { index, attempt, deadline }: At,
        cancel: &CancellationToken,
        progress: &Progress,
        permit: &mut Permit,
    ) -> Result<Passed> {
        let node = self.node(index);
        *permit = self.permit(deadline, cancel).await?;
        if permit.is_none() {
            let cancelled = || Error::new(ErrorKind::Cancelled, "run.step", "cancelled before the next attempt");
            return if attempt == 1 { Ok(Passed::NotBegun) } else { Err(cancelled()) };
        }
        if attempt == 1 {
            self.emitter.emit(Some(&node.name), EventKind::StepStarted);
        }
        let end = deadline.min(instant_in(node.policy.attempt_timeout));
        let left = end.saturating_duration_since(Instant::now());
        let cx = self.cx.for_attempt(&node.name, attempt, cancel.clone()).with_deadline_in(left);
        let stop = async {
            tokio::select! {
                () = cancel.cancelled() => ErrorKind::Cancelled,
                () = tokio::time::sleep_until(end) => ErrorKind::Timeout,
            }
        };
        let work = AssertUnwindSafe(Box::pin(self.effect(index, attempt, &cx, progress))).catch_unwind();
        match with_grace(work, stop, self.grace).await {
            Ok(Ok(result)) => result,
            Ok(Err(panic)) => {
                let message = format!("the step panicked: {}", panic_text(&*panic));
                Err(Error::internal("run.step", message).with_effect(Effect::Unknown))
            }
            Err(ErrorKind::Timeout) => Err(timed_out(left, self.grace)),
            Err(kind) => {
                let message = format!("did not end within {:?} of the cancel", self.grace);
                Err(Error::new(kind, "run.step", message).with_effect(Effect::Unknown))
            }
        }
    }

    async fn effect(&self, index: usize, attempt: u32, cx: &Context, progress: &Progress) -> Result<Passed> {
        let node = self.node(index);
        progress.begin_attempt();
        let refined = node.step.refine(cx, &self.outputs).await?;
        check_refined(&node.name, &self.plan.summary.steps[index].changes, &refined.plan.changes)?;
        let ErasedPlan { need, output, fingerprint, .. } = refined.plan;
        if let (Need::Nothing, Some(output)) = (need, output) {
            return self.nothing_left(index, attempt, output, progress).await;
        }
        if !progress.has_left() {
            progress.prepared(node.step.prepare(cx, &self.outputs).await?);
        }
        let intent = RecordBody::Intent {
            step: node.name.clone(),
            attempt,
            effect: node.step.effect_class(),
            inputs: refined.inputs,
            undo: progress.undo(),
        };
        self.journal.append(intent).await?;
        progress.begin_effect();
        let success = node.step.apply(cx, &self.outputs).await?;
        progress.extend(success.undo.clone());
        let output = success.outcome?;
        let at = self.record_done(index, attempt, &output, success.undo).await?;
        if let Some(fingerprint) = fingerprint {
            self.remember(node, &fingerprint, &output).await;
        }
        self.outputs.set(index, output.value);
        Ok(Passed::Done { at })
    }

    /// Nothing is left to do: because there never was, or because an earlier attempt did it and its answer was lost.
    async fn nothing_left(&self, index: usize, attempt: u32, output: Output, progress: &Progress) -> Result<Passed> {
        let passed = if progress.has_left() {
            Passed::Done { at: self.record_done(index, attempt, &output, progress.undo()).await? }
        } else {
            let step = self.node(index).name.clone();
            self.journal.append(RecordBody::Unchanged { step, output: output.json.clone() }).await?;
            Passed::Unchanged
        };
        self.outputs.set(index, output.value);
        Ok(passed)
    }

    async fn record_done(&self, index: usize, attempt: u32, output: &Output, undo: Option<UndoRecord>) -> Result<u64> {
        let step = self.node(index).name.clone();
        let done = RecordBody::Done { step, attempt, output: output.json.clone(), undo };
        let recorded = self.journal.append(done).await;
        recorded.map_err(|error| error.with_effect(Effect::Complete).with_retry(Retry::Never))
    }

    async fn remember(&self, node: &Node, fingerprint: &crate::vocabulary::Fingerprint, output: &Output) {
        let kept = self.evidence.remember(node.step.kind(), fingerprint, self.cx.run_id(), &output.json).await;
        if let Err(error) = kept {
            let message = format!("the result is not remembered for next time: {}", error.report());
            self.emitter.emit(Some(&node.name), EventKind::Warning { message });
        }
    }
}

/// Waits for `work`; once `stop` came, for `grace` more. Then `work` is dropped and what stopped it is the error.
pub(super) async fn with_grace<T, S>(
    work: impl Future<Output = T>,
    stop: impl Future<Output = S>,
    grace: Duration,
) -> std::result::Result<T, S> {
    let stopped = async {
        let why = stop.await;
        tokio::time::sleep(grace).await;
        why
    };
    tokio::select! {
        biased;
        value = work => Ok(value),
        why = stopped => Err(why),
    }
}

/// A timeout may be tried again where the effect class makes that safe.
fn timed_out(limit: Duration, grace: Duration) -> Error {
    Error::new(ErrorKind::Timeout, "run.step", format!("no end within {limit:?} and {grace:?} of grace"))
        .with_effect(Effect::Unknown)
        .with_retry(Retry::After(None))
}

pub(crate) fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}
