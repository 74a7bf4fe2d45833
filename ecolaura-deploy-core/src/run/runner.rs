//! The way in: plan a pipeline, run a plan.

use std::{sync::Arc, time::Duration};

use super::{RunResult, dispatcher::Policy, evidence::Evidence, unit::Shared};
use crate::{
    Context, Error, Result,
    clock::{Clock, SystemClock},
    event::{EventSink, NoEvents},
    lock::{Holder, LockPolicy, Machine, ThisMachine},
    nonce::{NonceSource, RandomNonces},
    pipeline::{Handle, Pipeline},
    plan::{self, Plan},
    store::{Guarded, RunStore},
};

/// Plans and runs pipelines with one run store.
///
/// ```
/// # async fn example() -> ecolaura_deploy_core::Result<()> {
/// use std::sync::Arc;
/// use ecolaura_deploy_core::{Context, pipeline::{Pipeline, constant}, run::Runner, steps, store::ObjectRunStore};
/// let mut pipeline = Pipeline::new("ecolaura".parse()?, "dev".parse()?);
/// let answer = pipeline.add("answer", steps::call("answer", |_cx, ()| async { Ok(42_u64) }), constant(()));
///
/// let runner = Runner::new(Arc::new(ObjectRunStore::memory()));
/// let cx = Context::new("dev".parse()?);
/// let plan = runner.plan(&cx, pipeline).await?;
/// let finished = runner.run(&cx, plan).await?;
/// assert_eq!(finished.output(&answer), Some(42));
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Runner {
    pub(super) store: Arc<dyn RunStore>,
    pub(super) events: Arc<dyn EventSink>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) nonces: Arc<dyn NonceSource>,
    pub(super) holder: Holder,
    pub(super) machine: Arc<dyn Machine>,
    pub(super) lock: LockPolicy,
    pub(super) on_wait: OnWait,
    on_cancel: OnCancel,
    pub(super) deadline: Duration,
    pub(super) grace: Duration,
    undo_deadline: Duration,
}

/// What becomes of a run that is cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnCancel {
    /// What runs is asked to end, and everything is undone.
    #[default]
    Undo,
    /// What runs may end within the grace, and is then asked to; nothing is undone, and nothing more is begun. The run
    /// ends as [`RunResult::Suspended`], and [`Runner::resume`] goes on with it.
    Suspend,
}

/// Takes what a deployer says while it waits for another one.
#[derive(Clone)]
pub(super) struct OnWait(pub(super) Arc<dyn Fn(&str) + Send + Sync>);

impl std::fmt::Debug for OnWait {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OnWait")
    }
}

/// A run that ended.
#[derive(Debug)]
#[non_exhaustive]
pub struct Finished {
    /// Its id.
    pub run: String,
    /// How it ended.
    pub result: RunResult,
    pub(super) outputs: Arc<Shared>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("cx", &self.cx).finish_non_exhaustive()
    }
}

impl Finished {
    /// What the step of `handle` gave; `None` if it did not come that far, or is of another pipeline.
    pub fn output<T>(&self, handle: &Handle<T>) -> Option<T> {
        (handle.position().0 == self.outputs.plan.pipeline.id).then(|| handle.read(&self.outputs.outputs))?
    }

    /// Whether it stopped because another deployer works on the environment by now, or may. The run is that one's to
    /// end, and [`Finished::result`] is [`RunResult::Suspended`].
    pub fn was_superseded(&self) -> bool {
        !self.result.is_over() && self.outputs.is_ousted()
    }

    /// Whether everything was done.
    pub fn succeeded(&self) -> bool {
        self.result == RunResult::Succeeded
    }
}

impl Runner {
    /// Runs with `store`: no events, the machine's clock, 2 hours for a run, 30 seconds of grace after a cancel, 10
    /// minutes for each undoing.
    pub fn new(store: Arc<dyn RunStore>) -> Self {
        Self {
            store: Arc::new(Guarded(store)),
            events: Arc::new(NoEvents),
            clock: Arc::new(SystemClock),
            nonces: Arc::new(RandomNonces),
            holder: Holder::this_process(),
            machine: Arc::new(ThisMachine),
            lock: LockPolicy::default(),
            on_wait: OnWait(Arc::new(|message| tracing::info!("{message}"))),
            on_cancel: OnCancel::Undo,
            deadline: Duration::from_hours(2),
            grace: Duration::from_secs(30),
            undo_deadline: Duration::from_mins(10),
        }
    }

    /// With a sink for events.
    pub fn events(mut self, events: Arc<dyn EventSink>) -> Self {
        self.events = events;
        self
    }

    /// With another clock.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// With other random numbers, for tests.
    pub fn nonces(mut self, nonces: Arc<dyn NonceSource>) -> Self {
        self.nonces = nonces;
        self
    }

    /// As another process than this one, for tests and for programs that run for others.
    pub fn holder(mut self, holder: Holder) -> Self {
        self.holder = holder;
        self
    }

    /// On another machine than this one, which tells which processes have ended.
    #[cfg(feature = "test-util")]
    pub(crate) fn machine(mut self, machine: Arc<dyn Machine>) -> Self {
        self.machine = machine;
        self
    }

    /// With another way to wait for whoever works on the environment.
    pub fn lock(mut self, lock: LockPolicy) -> Self {
        self.lock = lock;
        self
    }

    /// With a listener for what is said while it waits for another deployer: who holds the environment, since when.
    pub fn on_wait(mut self, listener: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.on_wait = OnWait(Arc::new(listener));
        self
    }

    /// With another answer to a cancel.
    pub fn on_cancel(mut self, on_cancel: OnCancel) -> Self {
        self.on_cancel = on_cancel;
        self
    }

    /// With at most this much time for a run, undoing not included.
    pub fn deadline(mut self, time: Duration) -> Self {
        self.deadline = time;
        self
    }

    /// With this much time for running work to end after a cancel or after its own deadline.
    pub fn grace(mut self, time: Duration) -> Self {
        self.grace = time;
        self
    }

    /// With at most this much time for each undoing.
    pub fn undo_deadline(mut self, time: Duration) -> Self {
        self.undo_deadline = time;
        self
    }

    pub(super) fn policy(&self) -> Policy {
        Policy { undo_deadline: self.undo_deadline, suspend: self.on_cancel == OnCancel::Suspend }
    }

    pub(super) fn context(&self, cx: &Context) -> Context {
        let evidence = Arc::new(Evidence(Arc::clone(&self.store)));
        cx.clone().with_clock(Arc::clone(&self.clock)).with_recall(evidence).with_deadline_in(self.deadline)
    }

    /// What running `pipeline` would do. Changes nothing. Fails with all problems at once, each with its step; the
    /// source of the error is a [`plan::PlanProblems`].
    pub async fn plan(&self, cx: &Context, pipeline: Pipeline) -> Result<Plan> {
        check_environment(cx, &pipeline)?;
        let plan = plan::build(&self.context(cx), Arc::new(pipeline)).await;
        plan.map_err(|error| cx.redactor().error(error))
    }
}

pub(super) fn check_environment(cx: &Context, pipeline: &Pipeline) -> Result<()> {
    if cx.environment() == &pipeline.environment {
        return Ok(());
    }
    let message = format!("the pipeline is for `{}`, the context for `{}`", pipeline.environment, cx.environment());
    Err(Error::invalid("plan", message))
}
