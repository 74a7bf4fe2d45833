//! What every call gets first: cancellation, deadline, events, clock, limits, and who it works for.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use async_trait::async_trait;
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::{
    Error, ErrorKind, Result,
    clock::{Clock, SystemClock},
    event::{EventKind, Stream},
    redact::Redactor,
    vocabulary::{Digest, EnvironmentName, Fingerprint},
};

/// Bounds on what a run may use at once. All are finite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Steps running at the same time.
    pub parallel_steps: NonZeroUsize,
    /// Transfers (blobs, files) of one step at the same time.
    pub parallel_transfers: NonZeroUsize,
    /// Bytes of a command's output kept as evidence.
    pub captured_output: NonZeroUsize,
}

impl Default for Limits {
    fn default() -> Self {
        let number = |n| NonZeroUsize::new(n).unwrap_or(NonZeroUsize::MIN);
        Self { parallel_steps: number(8), parallel_transfers: number(16), captured_output: number(64 * 1024) }
    }
}

/// Takes what a step says while it runs; the executor's end of it numbers and timestamps.
pub(crate) trait Emit: Send + Sync {
    fn emit(&self, step: Option<&str>, kind: EventKind);
}

/// Looks up the output of an earlier success with the same inputs.
#[async_trait]
pub(crate) trait Recall: Send + Sync {
    async fn recall(&self, kind: &str, fingerprint: &Fingerprint) -> Option<serde_json::Value>;
}

#[derive(Clone)]
struct Shared {
    environment: EnvironmentName,
    clock: Arc<dyn Clock>,
    limits: Limits,
    redactor: Redactor,
    emit: Option<Arc<dyn Emit>>,
    recall: Option<Arc<dyn Recall>>,
    run: Arc<str>,
    epoch: u64,
    plan: Option<Digest>,
}

/// The first argument of every backend call. Cheap to clone.
///
/// ```
/// # async fn example() -> ecolaura_deploy_core::Result<()> {
/// use ecolaura_deploy_core::Context;
/// let cx = Context::new("dev".parse()?).with_deadline_in(std::time::Duration::from_secs(30));
/// cx.check("example.start")?;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Context {
    shared: Arc<Shared>,
    cancel: CancellationToken,
    deadline: Option<Instant>,
    step: Option<Arc<str>>,
    attempt: u32,
    undoing: bool,
    prior: Option<Arc<serde_json::Value>>,
}

/// The instant in `time`; a time that no clock can hold is 30 years.
pub(crate) fn instant_in(time: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(time).unwrap_or_else(|| now + Duration::from_hours(30 * 365 * 24))
}

impl std::fmt::Debug for Context {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("environment", &self.shared.environment)
            .field("run", &self.shared.run)
            .field("step", &self.step)
            .field("attempt", &self.attempt)
            .finish_non_exhaustive()
    }
}

impl Context {
    /// A context for `environment` with the machine's clock, default limits, no deadline, and nobody listening.
    pub fn new(environment: EnvironmentName) -> Self {
        Self {
            shared: Arc::new(Shared {
                environment,
                clock: Arc::new(SystemClock),
                limits: Limits::default(),
                redactor: Redactor::new(),
                emit: None,
                recall: None,
                run: Arc::from("none"),
                epoch: 0,
                plan: None,
            }),
            cancel: CancellationToken::new(),
            deadline: None,
            step: None,
            attempt: 1,
            undoing: false,
            prior: None,
        }
    }

    fn shared(mut self, change: impl FnOnce(&mut Shared)) -> Self {
        change(Arc::make_mut(&mut self.shared));
        self
    }

    /// The same with another clock.
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        self.shared(|shared| shared.clock = clock)
    }

    /// The same with other limits.
    pub fn with_limits(self, limits: Limits) -> Self {
        self.shared(|shared| shared.limits = limits)
    }

    /// The same with a redactor that knows secrets already, or that others share.
    pub fn with_redactor(self, redactor: Redactor) -> Self {
        self.shared(|shared| shared.redactor = redactor)
    }

    /// The same with a token that the caller cancels.
    pub fn with_cancellation(mut self, token: CancellationToken) -> Self {
        self.cancel = token;
        self
    }

    /// The same with a deadline, unless the present one is earlier.
    pub fn with_deadline_in(mut self, time: Duration) -> Self {
        let deadline = instant_in(time);
        self.deadline = Some(self.deadline.map_or(deadline, |present| present.min(deadline)));
        self
    }

    pub(crate) fn with_emit(self, emit: Arc<dyn Emit>) -> Self {
        self.shared(|shared| shared.emit = Some(emit))
    }

    pub(crate) fn with_recall(self, recall: Arc<dyn Recall>) -> Self {
        self.shared(|shared| shared.recall = Some(recall))
    }

    pub(crate) fn with_plan(self, plan: Digest) -> Self {
        self.shared(|shared| shared.plan = Some(plan))
    }

    /// The same under another fencing token, for callers that lock an environment by themselves. In a run it is set.
    pub fn with_epoch(self, epoch: u64) -> Self {
        self.shared(|shared| shared.epoch = epoch)
    }

    pub(crate) fn with_run(self, run: &str, epoch: u64) -> Self {
        self.shared(|shared| {
            shared.run = Arc::from(run);
            shared.epoch = epoch;
        })
    }

    pub(crate) fn for_attempt(&self, step: &str, attempt: u32, cancel: CancellationToken) -> Self {
        Self { step: Some(Arc::from(step)), attempt, cancel, ..self.clone() }
    }

    pub(crate) fn with_prior(self, prior: Option<serde_json::Value>) -> Self {
        Self { prior: prior.map(Arc::new), ..self }
    }

    /// For undoing `step`: fresh, so that neither the cancel nor the deadline of what failed reaches it.
    pub(crate) fn for_undo(&self, step: &str, attempt: u32) -> Self {
        Self { deadline: None, undoing: true, ..self.for_attempt(step, attempt, CancellationToken::new()) }
    }

    /// The environment that is deployed to.
    pub fn environment(&self) -> &EnvironmentName {
        &self.shared.environment
    }

    /// The run's id; `none` outside a run.
    pub fn run_id(&self) -> &str {
        &self.shared.run
    }

    /// The fencing token of the environment's lock; 0 outside a run. See [`crate::fence`].
    pub fn epoch(&self) -> u64 {
        self.shared.epoch
    }

    /// The digest of the plan that runs; `None` outside a run. Approvals are bound to it.
    pub fn plan_digest(&self) -> Option<Digest> {
        self.shared.plan
    }

    /// The attempt, from 1.
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The step's name; empty outside a step.
    pub fn step(&self) -> &str {
        self.step.as_deref().unwrap_or_default()
    }

    /// The key of this effect: the same for every attempt of a step in a run, different for any other, its undoing
    /// included.
    pub fn effect_key(&self) -> String {
        let undo = if self.undoing { "/undo" } else { "" };
        format!("{}/{}{undo}", self.run_id(), self.step())
    }

    /// What [`Step::prepare`](crate::step::Step::prepare) answered before an earlier attempt of this step that may have
    /// had an effect, in this process or in one that is gone. `None` in a first attempt: the present state is the
    /// prior one then.
    pub fn prior<U: DeserializeOwned>(&self) -> Option<U> {
        serde_json::from_value(self.prior.as_deref()?.clone()).ok()
    }

    /// The clock.
    pub fn clock(&self) -> &dyn Clock {
        self.shared.clock.as_ref()
    }

    /// The limits.
    pub fn limits(&self) -> Limits {
        self.shared.limits
    }

    /// What is taken out of everything that a run says and records. Whoever hands out a secret registers it here.
    pub fn redactor(&self) -> &Redactor {
        &self.shared.redactor
    }

    /// The token that is cancelled when the work should stop.
    pub fn cancellation(&self) -> &CancellationToken {
        &self.cancel
    }

    /// The time that is left, if there is a deadline.
    pub fn remaining(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Fails with [`ErrorKind::Cancelled`] or [`ErrorKind::Timeout`] if the work should not go on.
    pub fn check(&self, operation: &'static str) -> Result<()> {
        if self.cancel.is_cancelled() {
            return Err(Error::new(ErrorKind::Cancelled, operation, "the run was cancelled"));
        }
        match self.remaining() {
            Some(Duration::ZERO) => Err(Error::new(ErrorKind::Timeout, operation, "the deadline has passed")),
            _ => Ok(()),
        }
    }

    /// Waits for `work` until the deadline or a cancel, whichever comes first. `work` is then dropped.
    pub async fn bounded<T>(&self, operation: &'static str, work: impl Future<Output = T>) -> Result<T> {
        let deadline = async {
            match self.deadline {
                Some(deadline) => tokio::time::sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(Error::new(ErrorKind::Cancelled, operation, "the run was cancelled")),
            value = work => Ok(value),
            () = deadline => Err(Error::new(ErrorKind::Timeout, operation, "the deadline has passed")),
        }
    }

    /// Sleeps for `time`, or fails as [`Context::bounded`] does.
    pub async fn sleep(&self, operation: &'static str, time: Duration) -> Result<()> {
        self.bounded(operation, tokio::time::sleep(time)).await
    }

    /// The output of an earlier success of a step of `kind` whose inputs had this fingerprint. The caller checks
    /// that what it names still exists.
    pub async fn recall<T: DeserializeOwned>(&self, kind: &str, fingerprint: &Fingerprint) -> Option<T> {
        let value = self.shared.recall.as_ref()?.recall(kind, fingerprint).await?;
        serde_json::from_value(value).ok()
    }

    fn emit(&self, kind: EventKind) {
        if let Some(emit) = &self.shared.emit {
            emit.emit(self.step.as_deref(), kind);
        }
    }

    /// Says how far the work is.
    pub fn progress(&self, unit: &str, done: u64, total: Option<u64>) {
        self.emit(EventKind::Progress { unit: unit.to_owned(), done, total });
    }

    /// Says in one line what the work is at.
    pub fn status(&self, message: impl Into<String>) {
        self.emit(EventKind::Status { message: message.into() });
    }

    /// Says something that is not an error and should be read.
    pub fn warn(&self, message: impl Into<String>) {
        self.emit(EventKind::Warning { message: message.into() });
    }

    /// Hands on a line of a child's output.
    pub fn output(&self, stream: Stream, line: impl Into<String>) {
        self.emit(EventKind::Output { stream, line: line.into() });
    }

    /// Shows what a gate or a check found.
    pub fn evidence(&self, title: impl Into<String>, lines: Vec<String>) {
        self.emit(EventKind::Evidence { title: title.into(), lines });
    }
}

/// Renders `value` for a record.
pub(crate) fn to_json<T: Serialize>(operation: &'static str, value: &T) -> Result<serde_json::Value> {
    serde_json::to_value(value)
        .map_err(|error| Error::internal(operation, "a value could not be written as JSON").with_source(error))
}
