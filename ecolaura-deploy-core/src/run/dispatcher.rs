//! Decides what starts, what stops and what is undone. One task owns this state.

use std::{collections::VecDeque, pin::pin, sync::Arc, time::Duration};

use tokio::{
    task::{JoinError, JoinSet},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    RunResult,
    groups::{Groups, RELEASE, Stop},
    undo::{Remains, Undoable},
    unit::{End, Permit, Shared},
};
use crate::{
    Effect, Error, ErrorKind, ErrorRecord, Result,
    context::Emit,
    event::{EventKind, StepOutcome},
    plan::graph_digest,
    step::{EffectClass, UndoRecord},
    store::RecordBody,
};

enum Message {
    Ended { index: usize, end: End, took: Duration, permit: Permit },
    Undone { remains: Remains },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Waiting { missing: usize },
    Running,
    Over,
}

/// Something done that can be undone.
struct Done {
    step: usize,
    /// The place of its record: the order of completion that every process sees.
    at: u64,
    undoable: Undoable,
}

pub(super) struct Dispatcher {
    pub(super) shared: Arc<Shared>,
    pub(super) states: Vec<State>,
    /// For each step, those that wait for it.
    dependents: Vec<Vec<usize>>,
    ready: VecDeque<usize>,
    tasks: JoinSet<Message>,
    pub(super) groups: Groups,
    /// Cancelled when the run's future is dropped.
    pub(super) all: CancellationToken,
    pub(super) suspended: Option<String>,
    /// What failed first.
    pub(super) first: Option<Stop>,
    done: Vec<Done>,
    pub(super) remains: Remains,
    pub(super) undo_deadline: Duration,
    pub(super) over: bool,
}

/// Runs the plan to its end.
pub(super) async fn run(
    shared: &Arc<Shared>,
    cancel: CancellationToken,
    deadline: Instant,
    undo_deadline: Duration,
) -> Result<RunResult> {
    let pipeline = &shared.plan.pipeline;
    shared
        .journal
        .append(RecordBody::RunStarted {
            pipeline: pipeline.name.clone(),
            environment: pipeline.environment.clone(),
            plan: shared.plan.digest(),
            graph: graph_digest(&pipeline.nodes),
            steps: pipeline.step_names().map(str::to_owned).collect(),
            library: env!("CARGO_PKG_VERSION").to_owned(),
            epoch: shared.cx.epoch(),
        })
        .await?;
    let mut dispatcher = Dispatcher::new(Arc::clone(shared), undo_deadline);
    shared.emitter.emit(None, EventKind::Planned { plan: shared.plan.summary.clone() });
    shared.emitter.emit(None, EventKind::RunStarted);
    dispatcher.forward(cancel, deadline).await;
    Ok(dispatcher.finish().await)
}

impl Dispatcher {
    fn new(shared: Arc<Shared>, undo_deadline: Duration) -> Self {
        let nodes = &shared.plan.pipeline.nodes;
        let mut dependents = vec![Vec::new(); nodes.len()];
        let mut states = Vec::with_capacity(nodes.len());
        let mut ready = VecDeque::new();
        for (index, node) in nodes.iter().enumerate() {
            node.needs.iter().for_each(|need| dependents[*need].push(index));
            states.push(State::Waiting { missing: node.needs.len() });
            if node.needs.is_empty() {
                ready.push_back(index);
            }
        }
        let all = CancellationToken::new();
        Self {
            groups: Groups::new(nodes, &all),
            shared,
            states,
            dependents,
            ready,
            tasks: JoinSet::new(),
            all,
            suspended: None,
            first: None,
            done: Vec::new(),
            remains: Remains::default(),
            undo_deadline,
            over: false,
        }
    }

    async fn forward(&mut self, cancel: CancellationToken, deadline: Instant) {
        let mut asked = false;
        let (mut cancelled, mut late) = (pin!(cancel.cancelled()), pin!(sleep_until(deadline)));
        if cancel.is_cancelled() {
            asked = true;
            self.stop_all("a cancel", "the run was cancelled").await;
        }
        loop {
            self.start_ready();
            if self.tasks.is_empty() {
                return;
            }
            tokio::select! {
                biased;
                () = &mut cancelled, if !asked => {
                    asked = true;
                    self.stop_all("a cancel", "the run was cancelled").await;
                }
                () = &mut late, if !asked => {
                    asked = true;
                    self.stop_all("its deadline", "the run's deadline passed").await;
                }
                Some(message) = self.tasks.join_next() => self.take(message),
            }
        }
    }

    fn take(&mut self, message: std::result::Result<Message, JoinError>) {
        match message {
            Ok(Message::Ended { index, end, took, permit }) => {
                self.ended(index, end, took);
                drop(permit);
            }
            Ok(Message::Undone { remains }) => self.remains.extend(remains),
            // Tasks do not panic and are not aborted; should one be lost, nothing may be called done.
            Err(error) => {
                self.remains.lost(&error);
                self.stop(RELEASE, Stop::of_run("the executor", &format!("a task was lost: {error}")));
            }
        }
    }

    fn start_ready(&mut self) {
        while let Some(index) = self.ready.pop_front() {
            if self.states[index] == State::Over {
                continue;
            }
            if self.shared.plan.summary.steps[index].skipped {
                self.pass_over(index);
            } else {
                self.start(index);
            }
        }
    }

    fn start(&mut self, index: usize) {
        self.states[index] = State::Running;
        let cancel = self.groups.enter(self.groups.of(index));
        let shared = Arc::clone(&self.shared);
        self.tasks.spawn(async move {
            let began = Instant::now();
            // Boxed, since tasks are moved around when they are spawned, and this future is large.
            let (end, permit) = Box::pin(shared.run_step(index, cancel)).await;
            Message::Ended { index, end, took: began.elapsed(), permit }
        });
    }

    /// Nothing to do here, as planned: the output is known.
    fn pass_over(&mut self, index: usize) {
        if let Some(output) = &self.shared.plan.steps[index].output {
            self.shared.outputs.set(index, Arc::clone(&output.value));
        }
        self.finished(index, StepOutcome::Unchanged, Duration::ZERO);
        self.release_dependents(index);
    }

    pub(super) fn finished(&mut self, index: usize, outcome: StepOutcome, took: Duration) {
        self.states[index] = State::Over;
        self.shared.emitter.emit(Some(&self.shared.node(index).name), EventKind::StepFinished { outcome, took });
    }

    fn release_dependents(&mut self, index: usize) {
        for dependent in &self.dependents[index] {
            if let State::Waiting { missing } = &mut self.states[*dependent] {
                *missing -= 1;
                if *missing == 0 {
                    self.ready.push_back(*dependent);
                }
            }
        }
    }

    fn skip(&mut self, index: usize, because: &str) {
        self.finished(index, StepOutcome::Skipped { because: because.to_owned() }, Duration::ZERO);
    }

    fn ended(&mut self, index: usize, end: End, took: Duration) {
        let group = self.groups.of(index);
        self.groups.leave(group);
        match end {
            End::Done { undo, at } => {
                self.note_done(index, at, undo);
                self.finished(index, StepOutcome::Done, took);
                self.release_dependents(index);
            }
            End::Unchanged => {
                self.finished(index, StepOutcome::Unchanged, took);
                self.release_dependents(index);
            }
            End::NotBegun => {
                let because = self.groups.stop_of(group).map_or_else(String::new, |stop| stop.because.clone());
                self.skip(index, &because);
            }
            End::Failed { error, undo, at } => self.failed(index, &error, undo, at, took),
        }
        if self.shared.journal.is_superseded() {
            self.stop(RELEASE, Stop::of_run("another process", "another process goes on with this run"));
        }
        self.undo_what_is_quiet();
    }

    fn note_done(&mut self, step: usize, at: u64, undo: Option<UndoRecord>) {
        let undoable = undo.map(|undo| Undoable { step: self.shared.node(step).name.clone(), undo });
        self.done.extend(undoable.map(|undoable| Done { step, at, undoable }));
    }

    fn failed(&mut self, index: usize, error: &Error, undo: Option<UndoRecord>, at: u64, took: Duration) {
        let group = self.groups.of(index);
        if error.effect() != Effect::None {
            match undo {
                Some(undo) => self.note_done(index, at, Some(undo)),
                None => self.note_unknown(index, error),
            }
        }
        let record = ErrorRecord::from(error);
        let cause = record.message.clone();
        self.finished(index, StepOutcome::Failed { error: record }, took);
        let waits = error.kind() == ErrorKind::Waiting && error.effect() == Effect::None;
        if waits && self.groups.stop_of(group).is_none() {
            self.suspended.get_or_insert_with(|| error.report());
            self.skip_behind(index);
        } else {
            self.stop(group, Stop::of_step(&self.shared.node(index).name, cause));
        }
    }

    /// What needs a step that waits is not done in this run; everything else goes on.
    fn skip_behind(&mut self, index: usize) {
        let because = format!("`{}` waits", self.shared.node(index).name);
        let mut behind = VecDeque::from([index]);
        while let Some(index) = behind.pop_front() {
            for dependent in self.dependents[index].clone() {
                if matches!(self.states[dependent], State::Waiting { .. }) {
                    self.skip(dependent, &because);
                    behind.push_back(dependent);
                }
            }
        }
    }

    /// An effect that nothing undoes, of a class that cannot simply be done again.
    fn note_unknown(&mut self, index: usize, error: &Error) {
        let node = self.shared.node(index);
        if matches!(node.step.effect_class(), EffectClass::Opaque | EffectClass::Probed) {
            let what = match error.effect() {
                Effect::Complete => "was done",
                Effect::Partial => "was partly done",
                _ => "may have been done",
            };
            let command = format!("`{}` {what} and has nothing that undoes it: look at it", node.name);
            self.remains.add(node.name.clone(), command);
        }
    }

    /// Nothing of `group`, and of what rests on it, starts any more; what runs is asked to end.
    fn stop(&mut self, group: usize, stop: Stop) {
        if !self.groups.stop(group, &stop) {
            return;
        }
        for index in 0..self.states.len() {
            if let (State::Waiting { .. }, Some(stop)) =
                (self.states[index], self.groups.stop_of(self.groups.of(index)).cloned())
            {
                self.skip(index, &stop.because);
            }
        }
        self.first.get_or_insert(stop);
    }

    async fn stop_all(&mut self, what: &str, cause: &str) {
        self.shared.emitter.emit(None, EventKind::CancelRequested { cause: cause.to_owned() });
        self.shared.note(RecordBody::CancelRequested { cause: cause.to_owned() }).await;
        self.stop(RELEASE, Stop::of_run(what, cause));
    }

    /// Groups that failed without the release are undone as soon as nothing of them runs.
    fn undo_what_is_quiet(&mut self) {
        while self.groups.stop_of(RELEASE).is_none() {
            let Some((groups, stop)) = self.groups.take_quiet() else { return };
            let list = self.take_done(|group| groups.contains(&group));
            if !list.is_empty() {
                let (shared, deadline) = (Arc::clone(&self.shared), self.undo_deadline);
                self.tasks.spawn(async move {
                    Message::Undone { remains: shared.undo(stop.reason(), list, deadline).await }
                });
            }
        }
    }

    /// What was done in the groups that `which` picks, last first.
    pub(super) fn take_done(&mut self, which: impl Fn(usize) -> bool) -> Vec<Undoable> {
        let (mut taken, kept): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.done).into_iter().partition(|done| which(self.groups.of(done.step)));
        self.done = kept;
        taken.sort_by_key(|done| done.at);
        taken.into_iter().rev().map(|done| done.undoable).collect()
    }
}
