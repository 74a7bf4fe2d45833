//! Decides what starts, what stops and what is undone. One task owns this state.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::{
    task::JoinSet,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    RunResult,
    undo::{Remains, Undoable},
    unit::{End, Shared},
};
use crate::{
    Effect, Error, ErrorKind, ErrorRecord, Result,
    context::Emit,
    event::{EventKind, StepOutcome},
    pipeline::release_group,
    plan::graph_digest,
    step::EffectClass,
    store::RecordBody,
    vocabulary::Name,
};

enum Message {
    Ended { index: usize, end: End, took: Duration },
    Undone { remains: Remains },
}

/// Why a group does not go on.
#[derive(Debug, Clone)]
struct Stop {
    failed: String,
    cause: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waiting { missing: usize },
    Running,
    Over,
}

struct Dispatcher {
    shared: Arc<Shared>,
    states: Vec<State>,
    /// For each step, those that wait for it.
    dependents: Vec<Vec<usize>>,
    ready: VecDeque<usize>,
    tasks: JoinSet<Message>,
    /// Steps running in each group, and the token that ends them.
    running: BTreeMap<Name, (usize, CancellationToken)>,
    stopped: BTreeMap<Name, Stop>,
    suspended: Option<String>,
    /// What was done and can be undone, in order of completion.
    done: Vec<(usize, Undoable)>,
    remains: Remains,
    undo_deadline: Duration,
    release: Name,
}

/// Runs the plan to its end.
pub(super) async fn run(
    shared: &Arc<Shared>,
    cancel: CancellationToken,
    deadline: Duration,
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
    shared.emitter.emit(None, EventKind::Planned { plan: shared.plan.summary.clone() });
    shared.emitter.emit(None, EventKind::RunStarted);
    let mut dispatcher = Dispatcher::new(Arc::clone(shared), undo_deadline);
    dispatcher.forward(cancel, Instant::now() + deadline).await;
    let result = dispatcher.finish().await;
    if let Err(error) = shared.journal.append(RecordBody::RunFinished { result: result.clone() }).await {
        shared.emitter.emit(None, EventKind::Warning { message: format!("not recorded: {}", error.report()) });
    }
    shared.emitter.emit(None, EventKind::RunFinished { result: result.clone(), took: shared.emitter.elapsed() });
    Ok(result)
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
        Self {
            shared,
            states,
            dependents,
            ready,
            tasks: JoinSet::new(),
            running: BTreeMap::new(),
            stopped: BTreeMap::new(),
            suspended: None,
            done: Vec::new(),
            remains: Remains::default(),
            undo_deadline,
            release: release_group(),
        }
    }

    async fn forward(&mut self, cancel: CancellationToken, deadline: Instant) {
        let mut asked = false;
        loop {
            self.start_ready();
            if self.tasks.is_empty() {
                return;
            }
            tokio::select! {
                biased;
                () = cancel.cancelled(), if !asked => {
                    asked = true;
                    self.stop_all("the run was cancelled").await;
                }
                () = sleep_until(deadline), if !asked => {
                    asked = true;
                    self.stop_all("the run's deadline passed").await;
                }
                Some(message) = self.tasks.join_next() => self.take(message),
            }
        }
    }

    fn take(&mut self, message: std::result::Result<Message, tokio::task::JoinError>) {
        match message {
            Ok(Message::Ended { index, end, took }) => self.ended(index, end, took),
            Ok(Message::Undone { remains }) => self.remains.extend(remains),
            Err(error) => {
                let stop = Stop { failed: "the executor".to_owned(), cause: format!("a task was lost: {error}") };
                self.stop_group(&self.release.clone(), stop);
            }
        }
    }

    fn start_ready(&mut self) {
        while let Some(index) = self.ready.pop_front() {
            let group = self.shared.node(index).group.clone();
            if self.states[index] == State::Over {
                continue;
            }
            if let Some(because) = self.why_not(&group) {
                self.skip(index, &because);
            } else if self.shared.plan.summary.steps[index].skipped {
                self.pass_over(index);
            } else {
                self.start(index, group);
            }
        }
    }

    fn why_not(&self, group: &Name) -> Option<String> {
        let stop = self.stopped.get(&self.release).or_else(|| self.stopped.get(group));
        stop.map(|stop| format!("`{}` failed", stop.failed)).or_else(|| self.suspended.clone())
    }

    fn start(&mut self, index: usize, group: Name) {
        self.states[index] = State::Running;
        let entry = self.running.entry(group).or_default();
        entry.0 += 1;
        let (shared, cancel) = (Arc::clone(&self.shared), entry.1.clone());
        self.tasks.spawn(async move {
            let began = Instant::now();
            let end = shared.run_step(index, cancel).await;
            Message::Ended { index, end, took: began.elapsed() }
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

    fn finished(&mut self, index: usize, outcome: StepOutcome, took: Duration) {
        self.states[index] = State::Over;
        self.shared.emitter.emit(Some(&self.shared.node(index).name), EventKind::StepFinished { outcome, took });
    }

    fn release_dependents(&mut self, index: usize) {
        for dependent in self.dependents[index].clone() {
            if let State::Waiting { missing } = &mut self.states[dependent] {
                *missing -= 1;
                if *missing == 0 {
                    self.ready.push_back(dependent);
                }
            }
        }
    }

    fn skip(&mut self, index: usize, because: &str) {
        self.finished(index, StepOutcome::Skipped { because: because.to_owned() }, Duration::ZERO);
        self.skip_dependents(index);
    }

    /// What needs a step that will not be done is not done either, and its group with it.
    fn skip_dependents(&mut self, index: usize) {
        let name = self.shared.node(index).name.clone();
        for dependent in self.dependents[index].clone() {
            if !matches!(self.states[dependent], State::Waiting { .. }) {
                continue;
            }
            let group = self.shared.node(dependent).group.clone();
            self.skip(dependent, &format!("`{name}` was not done"));
            if self.suspended.is_none() {
                let cause = format!("it needs `{name}`");
                self.stop_group(&group, Stop { failed: self.shared.node(dependent).name.clone(), cause });
            }
        }
    }

    fn ended(&mut self, index: usize, end: End, took: Duration) {
        let (name, group) = (self.shared.node(index).name.clone(), self.shared.node(index).group.clone());
        if let Some(entry) = self.running.get_mut(&group) {
            entry.0 -= 1;
        }
        match end {
            End::Done { undo } => {
                self.done.extend(undo.map(|undo| (index, Undoable { step: name, undo })));
                self.finished(index, StepOutcome::Done, took);
                self.release_dependents(index);
            }
            End::Unchanged => {
                self.finished(index, StepOutcome::Unchanged, took);
                self.release_dependents(index);
            }
            End::Failed { error, undo } => self.failed(index, &error, undo, took),
        }
        self.undo_if_quiet(&group);
    }

    fn failed(&mut self, index: usize, error: &Error, undo: Option<crate::step::UndoRecord>, took: Duration) {
        let (name, group) = (self.shared.node(index).name.clone(), self.shared.node(index).group.clone());
        if error.effect() != Effect::None {
            match undo {
                Some(undo) => self.done.push((index, Undoable { step: name.clone(), undo })),
                None => self.note_unknown(index, error),
            }
        }
        self.finished(index, StepOutcome::Failed { error: ErrorRecord::from(error) }, took);
        if error.kind() == ErrorKind::Waiting && error.effect() == Effect::None {
            self.suspended.get_or_insert_with(|| error.report());
        } else {
            self.stop_group(&group, Stop { failed: name, cause: error.report() });
        }
        self.skip_dependents(index);
    }

    /// An effect that nothing undoes, of a class that cannot simply be done again.
    fn note_unknown(&mut self, index: usize, error: &Error) {
        let node = self.shared.node(index);
        if matches!(node.step.effect_class(), EffectClass::Opaque | EffectClass::Probed) {
            self.remains.remaining.push(node.name.clone());
            let what = match error.effect() {
                Effect::Complete => "was done",
                Effect::Partial => "was partly done",
                _ => "may have been done",
            };
            self.remains.commands.push(format!("`{}` {what} and has nothing that undoes it: look at it", node.name));
        }
    }

    fn stop_group(&mut self, group: &Name, stop: Stop) {
        if self.stopped.contains_key(group) {
            return;
        }
        let all = *group == self.release;
        self.stopped.insert(group.clone(), stop);
        for (name, (_, cancel)) in &self.running {
            if all || name == group {
                cancel.cancel();
            }
        }
        let waiting: Vec<usize> = (0..self.states.len())
            .filter(|index| matches!(self.states[*index], State::Waiting { .. }))
            .filter(|index| all || self.shared.node(*index).group == *group)
            .collect();
        for index in waiting {
            if let (State::Waiting { .. }, Some(because)) = (self.states[index], self.why_not(group)) {
                self.skip(index, &because);
            }
        }
        self.undo_if_quiet(group);
    }

    async fn stop_all(&mut self, cause: &str) {
        self.shared.emitter.emit(None, EventKind::CancelRequested { cause: cause.to_owned() });
        if let Err(error) = self.shared.journal.append(RecordBody::CancelRequested { cause: cause.to_owned() }).await {
            let message = format!("not recorded: {}", error.report());
            self.shared.emitter.emit(None, EventKind::Warning { message });
        }
        let stop = Stop { failed: "the run".to_owned(), cause: cause.to_owned() };
        self.stop_group(&self.release.clone(), stop);
    }

    /// A group that failed alone is undone as soon as nothing of it runs.
    fn undo_if_quiet(&mut self, group: &Name) {
        let Some(stop) = self.stopped.get(group) else { return };
        let quiet = self.running.get(group).is_none_or(|(count, _)| *count == 0);
        if !quiet || *group == self.release || self.stopped.contains_key(&self.release) {
            return;
        }
        let cause = format!("`{}` failed: {}", stop.failed, stop.cause);
        let list = self.take_done(|node_group| node_group == group);
        if !list.is_empty() {
            let (shared, deadline) = (Arc::clone(&self.shared), self.undo_deadline);
            self.tasks.spawn(async move { Message::Undone { remains: shared.undo(cause, list, deadline).await } });
        }
    }

    /// What was done in the groups that `which` picks, last first.
    fn take_done(&mut self, which: impl Fn(&Name) -> bool) -> Vec<Undoable> {
        let done = std::mem::take(&mut self.done);
        let (taken, kept): (Vec<_>, Vec<_>) =
            done.into_iter().partition(|(index, _)| which(&self.shared.node(*index).group));
        self.done = kept;
        taken.into_iter().rev().map(|(_, undoable)| undoable).collect()
    }

    async fn finish(mut self) -> RunResult {
        let Some(stop) = self.stopped.get(&self.release).cloned() else { return self.finish_groups() };
        let cause = format!("`{}` failed: {}", stop.failed, stop.cause);
        let list = self.take_done(|_| true);
        let remains = Arc::clone(&self.shared).undo(cause, list, self.undo_deadline).await;
        self.remains.extend(remains);
        self.verdict(stop)
    }

    fn finish_groups(self) -> RunResult {
        if let Some(stop) = self.stopped.values().next().cloned().filter(|_| !self.remains.is_empty()) {
            return self.verdict(stop);
        }
        match self.suspended {
            Some(reason) => RunResult::Suspended { reason },
            None if self.stopped.is_empty() => RunResult::Succeeded,
            None => RunResult::SucceededExcept { groups: self.stopped.into_keys().collect() },
        }
    }

    fn verdict(self, Stop { failed, cause }: Stop) -> RunResult {
        let Remains { remaining, commands } = self.remains;
        if remaining.is_empty() {
            RunResult::RolledBack { failed, cause }
        } else {
            RunResult::NeedsOperator { failed, cause, remaining, commands }
        }
    }
}
