//! One step: refine, prepare, intent, effect, outcome; attempts, pauses and timeouts around that.

use std::{
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::{
    emitter::Emitter,
    evidence::Evidence,
    progress::{Progress, is_interrupted},
};
use crate::{
    Context, Effect, Error, ErrorKind, ErrorRecord, Result, Retry,
    context::{Emit, instant_in},
    event::EventKind,
    pipeline::{ErasedPlan, Node, Output, Outputs},
    plan::{Plan, check_refined},
    step::{EffectClass, Need, Probed, UndoRecord},
    store::{Journal, RecordBody},
    vocabulary::{Digest, Fingerprint},
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
    /// Cancelled when the lock of the environment is lost.
    pub(super) lost: CancellationToken,
    /// Whether the run is to stop resumable: what is interrupted will be tried again by whoever goes on.
    pub(super) suspending: AtomicBool,
    /// Whether the end of the run is recorded.
    pub(super) ended: AtomicBool,
}

/// Where a step begins: at the first attempt, or where an earlier process of the run left it.
#[derive(Debug, Clone, Default)]
pub(super) struct Begin {
    /// Attempts of earlier processes.
    pub(super) attempts: u32,
    /// What they may have left behind.
    pub(super) left: Option<Effect>,
    /// What undoes that.
    pub(super) undo: Option<UndoRecord>,
    /// Whether the real system is asked first.
    pub(super) ask: bool,
    /// The place of the record that says so.
    pub(super) at: u64,
}

/// How a step ended. `undo` is what is known to undo it, `at` the place of the record that says so.
#[derive(Debug)]
pub(super) enum End {
    Done {
        undo: Option<UndoRecord>,
        at: u64,
    },
    Unchanged,
    NotBegun,
    Failed {
        error: Error,
        undo: Option<UndoRecord>,
        at: u64,
    },
    /// It was stopped, and whoever goes on with the run tries again.
    Interrupted {
        error: Error,
    },
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
    /// Whether it is the first one of this process.
    first: bool,
    /// That of the step.
    deadline: Instant,
}

/// The place of a record that could not be written: after all others.
const UNRECORDED: u64 = u64::MAX;

impl Shared {
    /// Whether another process works on the environment, or may: this one must stop, and undo nothing.
    pub(super) fn is_ousted(&self) -> bool {
        self.journal.is_superseded() || self.lost.is_cancelled()
    }

    pub(super) fn node(&self, index: usize) -> &Node {
        &self.plan.pipeline.nodes[index]
    }

    /// Runs step `index` to its end, and hands over its permit: what waits for it starts only after this end was seen.
    /// Does not panic.
    pub(super) async fn run_step(
        self: Arc<Self>,
        index: usize,
        begin: Begin,
        cancel: CancellationToken,
    ) -> (End, Permit) {
        let span = tracing::info_span!("deploy.step", step = %self.node(index).name);
        let Begin { attempts, left, undo, ask, .. } = begin;
        let progress = Progress::resumed(left, undo, ask);
        let mut permit = None;
        let work = AssertUnwindSafe(self.attempts((index, attempts), &cancel, &progress, &mut permit));
        let end = work.catch_unwind().instrument(span).await.unwrap_or_else(|panic| {
            let message = format!("the step's bookkeeping panicked: {}", panic_text(&*panic));
            let (error, undo) = progress.judge(Error::internal("run.step", message).with_effect(Effect::Unknown));
            End::Failed { error, undo, at: UNRECORDED }
        });
        (end, permit)
    }

    /// Attempts, after `before` ones of earlier processes, which do not count for the retries.
    async fn attempts(
        &self,
        (index, before): (usize, u32),
        cancel: &CancellationToken,
        progress: &Progress,
        permit: &mut Permit,
    ) -> End {
        let node = self.node(index);
        let deadline = instant_in(node.policy.deadline);
        let mut attempt = before + 1;
        loop {
            let at = At { index, attempt, first: attempt == before + 1, deadline };
            let error = match self.attempt(at, cancel, progress, permit).await {
                Ok(Passed::NotBegun) => return End::NotBegun,
                Ok(Passed::Unchanged) => return End::Unchanged,
                Ok(Passed::Done { at }) => return End::Done { undo: progress.undo(), at },
                Err(error) => error,
            };
            let asked = progress.asks();
            let (error, undo) = progress.judge(error);
            // Asking changes nothing, so it may be repeated whatever the effect was.
            let class = if asked { EffectClass::Pure } else { node.step.effect_class() };
            let pause = node.policy.retry.pause(attempt - before, &error, class);
            let pause = pause.filter(|delay| !cancel.is_cancelled() && instant_in(*delay) < deadline);
            let interrupted = self.suspending.load(Ordering::Relaxed) && is_interrupted(&error);
            let failed = RecordBody::Failed {
                step: node.name.clone(),
                attempt,
                error: ErrorRecord::from(&error),
                undo: undo.clone(),
                again: pause.is_some() || interrupted,
            };
            let at = match self.journal.append(failed).await {
                Ok(at) => at,
                Err(lost) => {
                    return End::Failed { error: error.with("not recorded", lost.report()), undo, at: UNRECORDED };
                }
            };
            if interrupted {
                return End::Interrupted { error };
            }
            let Some(delay) = pause else { return End::Failed { error, undo, at } };
            *permit = None;
            let record = ErrorRecord::from(&error);
            self.emitter.emit(Some(&node.name), EventKind::RetryScheduled { attempt, delay, error: record });
            tokio::select! {
                biased;
                () = cancel.cancelled() => {
                    let suspending = self.suspending.load(Ordering::Relaxed);
                    return if suspending { End::Interrupted { error } } else { End::Failed { error, undo, at } };
                }
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
        At { index, attempt, first, deadline }: At,
        cancel: &CancellationToken,
        progress: &Progress,
        permit: &mut Permit,
    ) -> Result<Passed> {
        let node = self.node(index);
        *permit = self.permit(deadline, cancel).await?;
        if permit.is_none() {
            let cancelled = || Error::new(ErrorKind::Cancelled, "run.step", "cancelled before the next attempt");
            return if first { Ok(Passed::NotBegun) } else { Err(cancelled()) };
        }
        if first {
            self.emitter.emit(Some(&node.name), EventKind::StepStarted);
        }
        let end = deadline.min(instant_in(node.policy.attempt_timeout));
        let left = end.saturating_duration_since(Instant::now());
        let cx = self.cx.for_attempt(&node.name, attempt, cancel.clone()).with_deadline_in(left);
        let stop = async {
            tokio::select! {
                biased;
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
        if progress.asks()
            && let Some(output) = self.ask(node, cx, progress).await?
        {
            let at = self.record_done(index, attempt, &output, progress.undo()).await?;
            self.outputs.set(index, output.value);
            return Ok(Passed::Done { at });
        }
        let refined = node.step.refine(cx, &self.outputs).await?;
        check_refined(&node.name, &self.plan.summary.steps[index].changes, &refined.plan.changes)?;
        let ErasedPlan { need, output, fingerprint, .. } = refined.plan;
        if let (Need::Nothing, Some(output)) = (need, output) {
            let fingerprint = fingerprint.as_ref().map(Fingerprint::digest);
            return self.nothing_left(index, attempt, (output, fingerprint), progress).await;
        }
        let prior = progress.has_left().then(|| progress.undo()).flatten();
        if !progress.has_left() {
            progress.prepared(node.step.prepare(cx, &self.outputs).await?);
        }
        let intent = RecordBody::Intent {
            step: node.name.clone(),
            attempt,
            effect: node.step.effect_class(),
            inputs: refined.inputs,
            fingerprint: fingerprint.as_ref().map(Fingerprint::digest),
            undo: progress.undo(),
        };
        self.journal.append(intent).await?;
        if self.lost.is_cancelled() {
            return Err(Error::new(ErrorKind::Fenced, "run.step", "the lock of the environment was lost"));
        }
        progress.begin_effect();
        let cx = cx.clone().with_prior(prior.map(|undo| undo.data));
        let success = node.step.apply(&cx, &self.outputs).await?;
        progress.extend(success.undo.clone());
        let output = success.outcome?;
        // First, so that what is recorded as done is remembered whoever is killed in between.
        if let Some(fingerprint) = fingerprint {
            self.remember(node, &fingerprint, &output).await;
        }
        let at = self.record_done(index, attempt, &output, success.undo).await?;
        self.outputs.set(index, output.value);
        Ok(Passed::Done { at })
    }

    /// Asks the real system what an earlier process did: its output, if all of it is there.
    async fn ask(&self, node: &Node, cx: &Context, progress: &Progress) -> Result<Option<Output>> {
        let cx = cx.clone().with_prior(progress.undo().map(|undo| undo.data));
        match node.step.probe(&cx, &self.outputs).await? {
            Probed::Done(output) => return Ok(Some(output)),
            Probed::NotDone => progress.answered(None),
            Probed::Partial => progress.answered(Some(Effect::Partial)),
            Probed::Unknown => {
                progress.answered(Some(Effect::Unknown));
                let message = "an earlier process may have done it, and the system cannot tell whether it did";
                return Err(Error::new(ErrorKind::Conflict, "run.resume", message).with_effect(Effect::Unknown));
            }
        }
        Ok(None)
    }

    /// Nothing is left to do: because there never was, or because an earlier attempt did it and its answer was lost.
    async fn nothing_left(
        &self,
        index: usize,
        attempt: u32,
        (output, fingerprint): (Output, Option<Digest>),
        progress: &Progress,
    ) -> Result<Passed> {
        let passed = if progress.has_left() {
            Passed::Done { at: self.record_done(index, attempt, &output, progress.undo()).await? }
        } else {
            let step = self.node(index).name.clone();
            self.journal.append(RecordBody::Unchanged { step, output: output.json.clone(), fingerprint }).await?;
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

    async fn remember(&self, node: &Node, fingerprint: &Fingerprint, output: &Output) {
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
