//! The way in: plan a pipeline, run a plan.

use std::{sync::Arc, time::Duration};

use tokio::sync::Semaphore;

use super::{RunResult, dispatcher, emitter::Emitter, evidence::Evidence, unit::Shared};
use crate::{
    Context, Error, ErrorKind, Result,
    clock::{Clock, SystemClock},
    context::instant_in,
    event::{EventSink, NoEvents},
    pipeline::{Handle, Outputs, Pipeline},
    plan::{self, Plan},
    store::{Journal, RunStore},
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
    store: Arc<dyn RunStore>,
    events: Arc<dyn EventSink>,
    clock: Arc<dyn Clock>,
    deadline: Duration,
    grace: Duration,
    undo_deadline: Duration,
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
            store,
            events: Arc::new(NoEvents),
            clock: Arc::new(SystemClock),
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

    fn context(&self, cx: &Context) -> Context {
        cx.clone().with_clock(Arc::clone(&self.clock)).with_recall(Arc::new(Evidence(Arc::clone(&self.store))))
    }

    /// What running `pipeline` would do. Changes nothing. Fails with all problems at once, each with its step; the
    /// source of the error is a [`plan::PlanProblems`].
    pub async fn plan(&self, cx: &Context, pipeline: Pipeline) -> Result<Plan> {
        check_environment(cx, &pipeline)?;
        plan::build(&self.context(cx).with_deadline_in(self.deadline), Arc::new(pipeline)).await
    }

    /// Runs `plan`. Fails with [`ErrorKind::StalePlan`] naming what moved, or with the store's error, and has then
    /// changed nothing; everything that happens later is in [`Finished::result`].
    ///
    /// # Cancellation
    ///
    /// Cancelling `cx`, or its deadline, ends the running steps within the grace and undoes what was done. Dropping the
    /// future cancels what runs, waits for nothing, and leaves a record that says what was begun; the last event then
    /// says [`RunResult::Suspended`].
    pub async fn run(&self, cx: &Context, plan: Plan) -> Result<Finished> {
        let deadline = instant_in(cx.remaining().map_or(self.deadline, |left| left.min(self.deadline)));
        let planning = self.context(cx).with_deadline_in(self.deadline);
        let now = plan::build(&planning, Arc::clone(&plan.pipeline)).await?;
        if now.digest() != plan.digest() {
            return Err(stale(&plan, &now));
        }
        let run = run_id(self.clock.as_ref());
        let pipeline = &now.pipeline;
        let emitter = Arc::new(Emitter::new(
            &run,
            &pipeline.environment,
            &pipeline.name,
            Arc::clone(&self.clock),
            Arc::clone(&self.events),
        ));
        let journal = Journal::new(Arc::clone(&self.store), Arc::clone(&self.clock), &pipeline.environment, &run);
        let shared = Arc::new(Shared {
            outputs: Outputs::new(pipeline.nodes.len()),
            cx: planning.with_run(&run, 0).with_plan(now.digest()).with_emit(emitter.clone()),
            journal,
            emitter,
            evidence: Evidence(Arc::clone(&self.store)),
            permits: Arc::new(Semaphore::new(cx.limits().parallel_steps.get().min(Semaphore::MAX_PERMITS))),
            grace: self.grace,
            plan: now,
        });
        let result = dispatcher::run(&shared, cx.cancellation().clone(), deadline, self.undo_deadline).await?;
        Ok(Finished { run, result, outputs: shared })
    }
}

fn check_environment(cx: &Context, pipeline: &Pipeline) -> Result<()> {
    if cx.environment() == &pipeline.environment {
        return Ok(());
    }
    let message = format!("the pipeline is for `{}`, the context for `{}`", pipeline.environment, cx.environment());
    Err(Error::invalid("plan", message))
}

fn stale(old: &Plan, new: &Plan) -> Error {
    let moved = plan::moved(old, new);
    Error::new(ErrorKind::StalePlan, "run.start", format!("since the plan was made: {}", moved.join("; ")))
        .advice("plan again and read the new plan")
}

/// Sorts by time: `20261124T101530123Z-1f2e3d4c`.
fn run_id(clock: &dyn Clock) -> String {
    let at = clock.now().strftime("%Y%m%dT%H%M%S%3fZ");
    format!("{at}-{}", &crate::store::nonce()[..8])
}
