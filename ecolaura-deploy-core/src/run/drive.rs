//! From a lock to a result: a new run, or one that another process left.

use std::sync::{Arc, atomic::Ordering};

use jiff::Timestamp;
use tokio::{sync::Semaphore, time::Instant};

use super::{
    RunResult, back,
    dispatcher::Dispatcher,
    emitter::Emitter,
    evidence::Evidence,
    history::{Account, History},
    resume::changed_inputs,
    runner::{Finished, Runner, check_environment},
    same,
    unit::Shared,
};
use crate::{
    Context, Effect, Error, ErrorKind, Result,
    context::{Emit, instant_in},
    event::EventKind,
    lock::Epoch,
    pipeline::{Landing, Outputs, Pipeline, RELEASE},
    plan::{self, Plan, PlanProblems},
    store::{self, EnvironmentState, Journal, OpenRun, RecordBody, RunNote, read_chain, read_whole},
    vocabulary::Digest,
};

/// Which way to go on with an open run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Forward,
    Back,
    /// Forward where that is possible, back otherwise.
    Either,
}

/// Where an open run goes from here.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Course {
    Forward,
    /// Everything is undone, because of this.
    Back(String),
    /// Everything is done, and only its last record is missing.
    End,
}

/// An open run, and where its records end.
struct Left {
    history: History,
    records: u64,
    last: Option<Digest>,
}

/// What a run is of, whoever goes on with it.
struct Of<'a> {
    run: &'a str,
    epoch: &'a Epoch,
    plan: Plan,
    journal: Journal,
}

impl Runner {
    /// Runs `plan`, as the only deployer of its environment.
    ///
    /// The lock of the environment comes first, by the [`LockPolicy`](crate::lock::LockPolicy). No environment ever has
    /// to be mended by hand before the next deploy: a run that was left open by a process which is gone, or that waits,
    /// is gone on with in place of `plan` if it is of this very pipeline and its inputs, as [`Runner::resume`] does;
    /// any other one is undone before anything else.
    ///
    /// Fails with [`ErrorKind::Conflict`] naming who holds the environment, or the newer release that is live; with
    /// [`ErrorKind::StalePlan`] naming what moved since the plan was made, an undone run included; with
    /// [`ErrorKind::Corrupt`] naming a damaged record of a run that was left open; or with the store's error. It has
    /// then changed nothing but what it undid. Everything that happens later is in [`Finished::result`].
    ///
    /// # Cancellation
    ///
    /// Cancelling `cx`, or its deadline, ends the running steps within the grace and undoes what was done, or leaves it
    /// to be resumed ([`OnCancel`](super::OnCancel)). Dropping the future cancels what runs, waits for nothing, and
    /// leaves a record that says what was begun; the last event then says [`RunResult::Suspended`].
    pub async fn run(&self, cx: &Context, plan: Plan) -> Result<Finished> {
        check_environment(cx, &plan.pipeline)?;
        let run = self.run_id();
        let epoch = self.acquire(cx, cx.environment(), &run, plan.pipeline.landing).await?;
        let mut state = epoch.state().clone();
        // Boxed, since these futures are large and callers put this one into their own.
        let ended = Box::pin(self.run_locked(cx, plan, &run, (&epoch, &mut state))).await;
        self.release(epoch, state).await;
        ended.map_err(|error| cx.redactor().error(error))
    }

    async fn run_locked(
        &self,
        cx: &Context,
        plan: Plan,
        run: &str,
        (epoch, state): (&Epoch, &mut EnvironmentState),
    ) -> Result<Finished> {
        let deadline = self.deadline_of(cx);
        let undone = match self.settle(cx, &plan.pipeline, (epoch, state)).await? {
            Settled::Finished(finished) => return Ok(finished),
            Settled::Undone(what) => what,
        };
        let now = plan::build(&self.context(cx), Arc::clone(&plan.pipeline)).await?;
        if now.digest() != plan.digest() {
            return Err(stale(&plan, &now, undone.as_deref()));
        }
        let environment = cx.environment();
        let journal =
            Journal::new(Arc::clone(&self.store), Arc::clone(&self.clock), environment, run, self.nonces.next())
                .redacting(cx.redactor());
        let known = now.known();
        let shared = self.shared(cx, Of { run, epoch, plan: now, journal });
        let summary = shared.plan.summary.clone();
        let started = RecordBody::RunStarted {
            pipeline: summary.pipeline.clone(),
            environment: environment.clone(),
            plan: summary.clone(),
            known,
            landing: shared.plan.pipeline.landing,
            library: env!("CARGO_PKG_VERSION").to_owned(),
            epoch: epoch.number(),
        };
        if let Err(error) = shared.journal.append(started).await {
            // It may be there all the same, and then somebody has to end it.
            if error.effect() != Effect::None {
                *state = std::mem::take(state).begun(self.open(run, (&shared, self.clock.now())));
            }
            return Err(error);
        }
        // Whoever takes the lock from here on finds the record; whoever took it before is found here.
        if let Err(fenced) = epoch.check().await {
            let (failed, cause) = ("its lock".to_owned(), fenced.report());
            // For whoever reads the records; it began nothing.
            let _ = shared
                .journal
                .append(RecordBody::RunFinished { result: RunResult::RolledBack { failed, cause } })
                .await;
            return Err(fenced);
        }
        let dispatcher = Dispatcher::new(Arc::clone(&shared), self.policy());
        shared.emitter.emit(None, EventKind::Planned { plan: summary });
        shared.emitter.emit(None, EventKind::RunStarted);
        shared.warn_all(epoch.warnings());
        let result = to_the_end(cx, dispatcher, deadline).await;
        self.note(state, run, &result, (&shared, self.clock.now()));
        Ok(Finished { run: run.to_owned(), result, outputs: shared })
    }

    /// Notes in the state how a run ended. A run whose end is not in its records is open: whoever comes next ends it.
    fn note(&self, state: &mut EnvironmentState, run: &str, result: &RunResult, (of, since): (&Shared, Timestamp)) {
        let state_before = std::mem::take(state);
        *state = match result {
            result if !result.is_over() || !of.ended.load(Ordering::Relaxed) => {
                state_before.begun(self.open(run, (of, since)))
            }
            result => state_before.ended(RunNote::new(run, result.clone(), self.clock.now())),
        };
    }

    fn open(&self, run: &str, (of, since): (&Shared, Timestamp)) -> OpenRun {
        OpenRun {
            run: run.to_owned(),
            epoch: of.cx.epoch(),
            pipeline: Some(of.plan.summary.pipeline.clone()),
            landing: of.plan.pipeline.landing,
            since: Some(since),
            holder: Some(self.holder.clone()),
        }
    }

    /// Goes on with the run that was left open in the environment, on this machine or another: `None` if there is none.
    /// `pipeline` must be the one that it was begun with.
    ///
    /// What is recorded as done stays, and is done again where the real system says that it is not there. An effect
    /// that was begun and has no outcome is treated by its [`EffectClass`](crate::step::EffectClass): done again, done
    /// again under the same key, looked up, asked for; where nobody can tell, the run goes back and ends as
    /// [`RunResult::NeedsOperator`]. A run that was going back goes on going back. Maintenance windows are looked at
    /// again; an approval counts for the plan that it was given for.
    ///
    /// Fails with [`ErrorKind::Conflict`], naming each difference, for another pipeline, environment, release, or other
    /// inputs of what is done; with the errors of [`Runner::run`] otherwise. Nothing is changed then. Resuming is
    /// resumable itself.
    pub async fn resume(&self, cx: &Context, pipeline: Pipeline) -> Result<Option<Finished>> {
        Box::pin(self.go_on(cx, pipeline, Way::Forward)).await
    }

    /// Undoes the run that was left open in the environment: `None` if there is none. `pipeline` only needs the backends
    /// whose effects are undone, as steps or by [`Pipeline::undoer`]; it may be a newer one.
    ///
    /// Fails as [`Runner::resume`] does, save for differences.
    pub async fn roll_back(&self, cx: &Context, pipeline: Pipeline) -> Result<Option<Finished>> {
        Box::pin(self.go_on(cx, pipeline, Way::Back)).await
    }

    /// Closes the run that was left open in the environment: [`Runner::resume`] where that is not refused for a
    /// difference, [`Runner::roll_back`] otherwise. `None` if there is none.
    pub async fn recover(&self, cx: &Context, pipeline: Pipeline) -> Result<Option<Finished>> {
        Box::pin(self.go_on(cx, pipeline, Way::Either)).await
    }

    /// Closes the run that was left open in the environment although its records are damaged, and undoes nothing: so the
    /// next deploy can start. `run` names it, so that nobody closes another one than they looked at. The result is a
    /// [`RunResult::NeedsOperator`] with what can still be read of what it did, and how each of it is undone.
    ///
    /// Fails with [`ErrorKind::InvalidInput`] if `run` is not the open one, or if its records are whole:
    /// [`Runner::roll_back`] undoes it then. Deletes nothing.
    pub async fn give_up(&self, cx: &Context, run: &str) -> Result<RunResult> {
        let epoch = self.acquire(cx, cx.environment(), run, Landing::Unnumbered).await?;
        let mut state = epoch.state().clone();
        let given_up = self.give_up_locked(cx, run, &mut state).await;
        self.release(epoch, state).await;
        given_up
    }

    async fn give_up_locked(&self, cx: &Context, run: &str, state: &mut EnvironmentState) -> Result<RunResult> {
        let open = state.open.as_ref().map(|open| open.run.as_str());
        if open != Some(run) {
            let found = open.map_or_else(|| "no run is open".to_owned(), |open| format!("run `{open}` is open"));
            return Err(Error::invalid("run.give_up", format!("{found} in {}, not `{run}`", cx.environment())));
        }
        let chain = read_whole(self.store.as_ref(), cx.environment(), run).await?;
        let Some(damage) = chain.faults.first() else {
            return Err(Error::invalid("run.give_up", format!("the records of run `{run}` are whole"))
                .advice("undo it with `Runner::roll_back`, or go on with `Runner::resume`"));
        };
        let result = back::left_as_it_is(&Account::of(&chain.records), &damage.error);
        *state = std::mem::take(state).ended(RunNote::new(run, result.clone(), self.clock.now()));
        Ok(result)
    }

    /// What the environment has: who works on it, what is open, what is live. Reads only.
    pub async fn environment(&self, cx: &Context) -> Result<EnvironmentState> {
        store::state(self.store.as_ref(), cx.environment()).await
    }

    async fn go_on(&self, cx: &Context, pipeline: Pipeline, way: Way) -> Result<Option<Finished>> {
        check_environment(cx, &pipeline)?;
        let Some(open) = self.environment(cx).await?.open else { return Ok(None) };
        let Some(left) = self.left(cx, &open.run).await? else { return Ok(None) };
        let course = self.course(cx, (&open.run, &left.history), &pipeline, way).await?;
        let landing = if course == Course::Forward { left.history.landing } else { Landing::Unnumbered };
        let epoch = self.acquire(cx, cx.environment(), &open.run, landing).await?;
        let mut state = epoch.state().clone();
        let ended =
            Box::pin(self.go_on_locked(cx, Arc::new(pipeline), (&open.run, left, course), (&epoch, &mut state))).await;
        self.release(epoch, state).await;
        ended.map_err(|error| cx.redactor().error(error))
    }

    /// Where the run goes from here. Fails if it should go forward and cannot.
    async fn course(
        &self,
        cx: &Context,
        (run, history): (&str, &History),
        pipeline: &Pipeline,
        way: Way,
    ) -> Result<Course> {
        if way == Way::Back {
            return Ok(Course::Back("it was asked for".to_owned()));
        }
        if let Some(cause) = history.going_back(RELEASE) {
            return Ok(Course::Back(cause));
        }
        match (self.fits(cx, (run, history), pipeline).await, way) {
            (Ok(()), _) => Ok(Course::Forward),
            (Err(error), Way::Either) if error.kind() == ErrorKind::Conflict => {
                Ok(if history.lacks_only_its_end() { Course::End } else { Course::Back(error.report()) })
            }
            (Err(error), _) => Err(error),
        }
    }

    async fn fits(&self, cx: &Context, (run, history): (&str, &History), pipeline: &Pipeline) -> Result<()> {
        PlanProblems::of(pipeline)?;
        same::check(run, history, pipeline)?;
        same::check_inputs(run, &changed_inputs(&self.context(cx), pipeline, history).await?)
    }

    async fn go_on_locked(
        &self,
        cx: &Context,
        pipeline: Arc<Pipeline>,
        (run, left, course): (&str, Left, Course),
        (epoch, state): (&Epoch, &mut EnvironmentState),
    ) -> Result<Option<Finished>> {
        let deadline = self.deadline_of(cx);
        let (undo, ends) = (matches!(course, Course::Back(_)), course == Course::End);
        let Some((history, journal)) = self.take_over(cx, (run, left), epoch, undo).await? else { return Ok(None) };
        let back = match course {
            Course::Back(cause) => Some(cause),
            Course::Forward | Course::End => history.going_back(RELEASE),
        };
        if back.is_some() || ends {
            let of = (run, &history, back.as_deref());
            return Ok(Some(self.close(cx, pipeline, of, (epoch, journal, state)).await));
        }
        let plan = Plan::recorded(pipeline, history.plan.clone(), &history.known)?;
        let shared = self.shared(cx, Of { run, epoch, plan, journal });
        let starts = shared.starts(&history).await?;
        let mut dispatcher = Dispatcher::new(Arc::clone(&shared), self.policy());
        let kept = starts.iter().filter(|start| start.is_kept()).count();
        shared.say_resumed(&history, kept, None);
        shared.warn_all(epoch.warnings());
        dispatcher.go_on(starts);
        let result = to_the_end(cx, dispatcher, deadline).await;
        self.note(state, run, &result, (&shared, history.started));
        Ok(Some(Finished { run: run.to_owned(), result, outputs: shared }))
    }

    /// Ends a run without running anything: undoes it because of `back`, or only says that it succeeded.
    async fn close(
        &self,
        cx: &Context,
        pipeline: Arc<Pipeline>,
        (run, history, back): (&str, &History, Option<&str>),
        (epoch, journal, state): (&Epoch, Journal, &mut EnvironmentState),
    ) -> Finished {
        let plan = Plan::of_another(pipeline, history.plan.clone());
        let kept = if back.is_some() { 0 } else { history.plan.steps.len() };
        let shared = self.shared(cx, Of { run, epoch, plan, journal });
        shared.say_resumed(history, kept, back.map(str::to_owned));
        shared.warn_all(epoch.warnings());
        let result = match back {
            Some(cause) => shared.go_back(history, cause, self.policy().undo_deadline).await,
            None => shared.only_end(history).await,
        };
        let result = cx.redactor().result(result);
        self.note(state, run, &result, (&shared, history.started));
        Finished { run: run.to_owned(), result, outputs: shared }
    }

    /// Goes on with the run that was left open if it is of this pipeline, and undoes it otherwise.
    async fn settle(
        &self,
        cx: &Context,
        pipeline: &Arc<Pipeline>,
        (epoch, state): (&Epoch, &mut EnvironmentState),
    ) -> Result<Settled> {
        let Some(run) = state.open.as_ref().map(|open| open.run.clone()) else { return Ok(Settled::Undone(None)) };
        let Some(left) = self.left(cx, &run).await? else {
            // Its records are gone, or say that it is over.
            state.open = None;
            return Ok(Settled::Undone(None));
        };
        let course = self.course(cx, (&run, &left.history), pipeline, Way::Either).await?;
        let (goes_on, ends) = (course == Course::Forward, course == Course::End);
        let finished = self.go_on_locked(cx, Arc::clone(pipeline), (&run, left, course), (epoch, state)).await?;
        match finished {
            Some(finished) if goes_on => Ok(Settled::Finished(finished)),
            Some(Finished { result: RunResult::Suspended { reason }, .. }) => {
                Err(Error::new(ErrorKind::Fenced, "run.start", reason).with("run", run))
            }
            _ if ends => Ok(Settled::Undone(None)),
            _ => Ok(Settled::Undone(Some(format!("run `{run}`, which was left open, was undone")))),
        }
    }

    /// Writes into the records of `run` that this epoch goes on with it: from then on nobody else can. `None` if there
    /// is nothing to go on with. What was read before is read again only if somebody wrote meanwhile.
    async fn take_over(
        &self,
        cx: &Context,
        (run, left): (&str, Left),
        epoch: &Epoch,
        undo: bool,
    ) -> Result<Option<(History, Journal)>> {
        let mut found = Some(left);
        while let Some(Left { history, records, last }) = found {
            let (store, clock) = (Arc::clone(&self.store), Arc::clone(&self.clock));
            let journal = Journal::new(store, clock, cx.environment(), run, self.nonces.next())
                .behind(records, last)
                .redacting(cx.redactor());
            journal.flush_last().await?;
            let (by, number) = (self.holder.clone(), epoch.number());
            match journal.append(RecordBody::Resumed { epoch: number, by, undo }).await {
                Ok(_) => {
                    epoch.check().await?;
                    return Ok(Some((history, journal)));
                }
                // Whoever wrote meanwhile is older than this epoch, or this epoch is over.
                Err(error) if error.kind() == ErrorKind::Fenced => epoch.check().await?,
                Err(error) => return Err(error),
            }
            found = self.left(cx, run).await?;
        }
        Ok(None)
    }

    /// What can be gone on with of `run`, if anything.
    async fn left(&self, cx: &Context, run: &str) -> Result<Option<Left>> {
        let (records, last) = read_chain(self.store.as_ref(), cx.environment(), run).await?;
        let history = History::of(&records)?.filter(|history| !history.is_over());
        Ok(history.map(|history| Left { history, records: records.len() as u64, last }))
    }

    fn shared(&self, cx: &Context, Of { run, epoch, plan, journal }: Of<'_>) -> Arc<Shared> {
        let pipeline = &plan.pipeline;
        let emitter = Arc::new(
            Emitter::new(
                run,
                &pipeline.environment,
                &plan.summary.pipeline,
                Arc::clone(&self.clock),
                Arc::clone(&self.events),
            )
            .redacting(cx.redactor().clone()),
        );
        let steps = cx.limits().parallel_steps.get().min(Semaphore::MAX_PERMITS);
        Arc::new(Shared {
            outputs: Outputs::new(pipeline.nodes.len()),
            cx: self
                .context(cx)
                .with_run(run, epoch.number())
                .with_plan(plan.digest())
                .with_emit(Arc::clone(&emitter) as Arc<dyn Emit>),
            journal,
            emitter,
            evidence: Evidence(Arc::clone(&self.store)),
            permits: Arc::new(Semaphore::new(steps)),
            grace: self.grace,
            lost: epoch.lost().clone(),
            suspending: false.into(),
            ended: false.into(),
            plan,
        })
    }

    fn deadline_of(&self, cx: &Context) -> Instant {
        instant_in(cx.remaining().map_or(self.deadline, |left| left.min(self.deadline)))
    }

    /// Sorts by time: `20261124T101530123Z-1f2e3d4c`.
    fn run_id(&self) -> String {
        let at = self.clock.now().strftime("%Y%m%dT%H%M%S%3fZ");
        format!("{at}-{:08x}", self.nonces.next() >> 32)
    }
}

async fn to_the_end(cx: &Context, mut dispatcher: Dispatcher, deadline: Instant) -> RunResult {
    dispatcher.forward(cx.cancellation().clone(), deadline).await;
    cx.redactor().result(dispatcher.finish().await)
}

impl Shared {
    fn say_resumed(&self, history: &History, kept: usize, undo: Option<String>) {
        self.emitter.emit(None, EventKind::Planned { plan: history.plan.clone() });
        self.emitter.emit(None, EventKind::RunResumed { since: history.started, kept, undo });
        if let Some((before, after)) = history.clock_went_back {
            let message = format!("the clock went back from {before} to {after} within this run; nothing rests on it");
            self.emitter.emit(None, EventKind::Warning { message });
        }
    }

    fn warn_all(&self, warnings: &[String]) {
        for message in warnings {
            self.emitter.emit(None, EventKind::Warning { message: message.clone() });
        }
    }
}

/// What became of a run that was left open.
enum Settled {
    /// It was gone on with.
    Finished(Finished),
    /// It was undone, if there was one.
    Undone(Option<String>),
}

fn stale(old: &Plan, new: &Plan, undone: Option<&str>) -> Error {
    let moved = undone.map(str::to_owned).into_iter().chain(plan::moved(old, new));
    let message = format!("since the plan was made: {}", moved.collect::<Vec<_>>().join("; "));
    Error::new(ErrorKind::StalePlan, "run.start", message).advice("plan again and read the new plan")
}

/// Callers spawn these.
#[cfg(test)]
mod tests {
    use super::*;

    fn is_send<T: Send>(_: &T) {}

    #[test]
    fn a_run_can_be_spawned() {
        let check = |runner: &'static Runner, cx: &'static Context, plan: Plan, pipeline: fn() -> Pipeline| {
            is_send(&runner.run(cx, plan));
            is_send(&runner.resume(cx, pipeline()));
            is_send(&runner.give_up(cx, ""));
            is_send(&runner.environment(cx));
        };
        let _ = check;
    }
}
