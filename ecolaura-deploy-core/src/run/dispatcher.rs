//! Decides what starts, what stops and what is undone. One task owns this state.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    pin::pin,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{
    task::{JoinError, JoinSet},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use super::{
    groups::{Groups, RELEASE, Stop},
    history::waits,
    resume::Start,
    undo::{Remains, Undoable},
    unit::{Begin, End, Permit, Shared},
};
use crate::{
    Effect, Error, ErrorKind, ErrorRecord,
    context::{Emit, instant_in},
    event::{EventKind, StepOutcome},
    step::UndoRecord,
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
    /// Where each step that was begun by an earlier process goes on.
    begin: BTreeMap<usize, Begin>,
    tasks: JoinSet<Message>,
    pub(super) groups: Groups,
    /// Cancelled when the run's future is dropped.
    pub(super) all: CancellationToken,
    pub(super) suspended: Option<String>,
    /// What failed first.
    pub(super) first: Option<Stop>,
    done: Vec<Done>,
    pub(super) remains: Remains,
    pub(super) policy: Policy,
    /// When what runs is asked to end, in a run that is being suspended.
    impatient: Option<Instant>,
    pub(super) over: bool,
}

/// How a run ends when it is asked to, or fails.
#[derive(Debug, Clone, Copy)]
pub(super) struct Policy {
    /// For each undoing.
    pub(super) undo_deadline: Duration,
    /// Whether a cancel leaves everything as it is, to be resumed.
    pub(super) suspend: bool,
}

impl Dispatcher {
    pub(super) fn new(shared: Arc<Shared>, policy: Policy) -> Self {
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
            begin: BTreeMap::new(),
            tasks: JoinSet::new(),
            all,
            suspended: None,
            first: None,
            done: Vec::new(),
            remains: Remains::default(),
            policy,
            impatient: None,
            over: false,
        }
    }

    /// Takes over where earlier processes of the run left each step.
    pub(super) fn go_on(&mut self, starts: Vec<Start>) {
        self.wait_for_gates(&starts);
        let (mut failed, mut gone) = (Vec::new(), Vec::new());
        for (index, start) in starts.into_iter().enumerate() {
            match start {
                Start::Fresh => {}
                Start::Kept { output, undo, at } => {
                    self.shared.outputs.set(index, output.value);
                    self.note_done(index, at, undo);
                    self.finished(index, StepOutcome::Kept, Duration::ZERO);
                    self.release_dependents(index);
                }
                Start::Gone { because } => {
                    self.skip(index, &because);
                    gone.push((self.groups.of(index), because));
                }
                Start::From(begin) => _ = self.begin.insert(index, begin),
                Start::Failed { error, undo, at } => failed.push((index, error, undo, at)),
            }
        }
        for (index, error, undo, at) in failed {
            self.note_effect(index, error.effect, undo, at);
            let stop = Stop::of_step(&self.shared.node(index).name, error.message.clone());
            self.finished(index, StepOutcome::Failed { error }, Duration::ZERO);
            self.stop(self.groups.of(index), stop);
        }
        for (group, because) in gone {
            self.stop(group, Stop::of_run("an undoing", &because));
        }
        // Of a group that stops, what was begun is not begun again: it is undone.
        let stopped = |index: &usize| self.groups.stop_of(self.groups.of(*index)).is_some();
        let (left, begin) = std::mem::take(&mut self.begin).into_iter().partition(|(index, _)| stopped(index));
        self.begin = begin;
        let left: BTreeMap<usize, Begin> = left;
        for (index, begin) in left {
            self.note_effect(index, begin.left.unwrap_or(Effect::None), begin.undo, begin.at);
        }
        self.undo_what_is_quiet();
    }

    /// What is not done yet and is behind a gate that is asked again waits for it, also where all between them is done.
    fn wait_for_gates(&mut self, starts: &[Start]) {
        let shared = Arc::clone(&self.shared);
        let mut behind: Vec<BTreeSet<usize>> = Vec::with_capacity(starts.len());
        for (index, start) in starts.iter().enumerate() {
            let node = shared.node(index);
            let mut gates: BTreeSet<usize> = node.needs.iter().flat_map(|need| behind[*need].clone()).collect();
            if !start.is_kept() {
                for gate in std::mem::take(&mut gates).into_iter().filter(|gate| !node.needs.contains(gate)) {
                    self.dependents[gate].push(index);
                    if let State::Waiting { missing } = &mut self.states[index] {
                        *missing += 1;
                    }
                }
                if matches!(start, Start::From(_)) && node.step.asks_again() {
                    gates.insert(index);
                }
            }
            behind.push(gates);
        }
    }

    /// Runs to the end, or until a cancel, the deadline, or the loss of the lock.
    pub(super) async fn forward(&mut self, cancel: CancellationToken, deadline: Instant) {
        let mut asked = false;
        let lost = self.shared.lost.clone();
        let (mut cancelled, mut late, mut lost) =
            (pin!(cancel.cancelled()), pin!(sleep_until(deadline)), pin!(lost.cancelled()));
        let mut ousted = false;
        if cancel.is_cancelled() {
            asked = true;
            self.asked("a cancel", "the run was cancelled").await;
        }
        loop {
            self.start_ready();
            if self.tasks.is_empty() {
                return;
            }
            tokio::select! {
                biased;
                () = &mut lost, if !ousted => {
                    ousted = true;
                    self.stop(RELEASE, Stop::of_run("another process", "the lock of the environment was lost"));
                }
                () = &mut cancelled, if !asked => {
                    asked = true;
                    self.asked("a cancel", "the run was cancelled").await;
                }
                () = &mut late, if !asked => {
                    asked = true;
                    self.stop_all("its deadline", "the run's deadline passed").await;
                }
                () = patience(self.impatient), if self.impatient.is_some() => {
                    self.impatient = None;
                    self.all.cancel();
                }
                Some(message) = self.tasks.join_next() => self.take(message),
            }
        }
    }

    /// A cancel: everything is undone, or what runs may end and the rest waits for whoever goes on.
    async fn asked(&mut self, what: &str, cause: &str) {
        if !self.policy.suspend {
            return self.stop_all(what, cause).await;
        }
        self.shared.emitter.emit(None, EventKind::CancelRequested { cause: cause.to_owned() });
        self.shared.suspending.store(true, Ordering::Relaxed);
        self.suspended.get_or_insert_with(|| format!("{cause}; it can be resumed"));
        self.impatient = Some(instant_in(self.shared.grace));
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
        if self.shared.suspending.load(Ordering::Relaxed) {
            return;
        }
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
        let begin = self.begin.remove(&index).unwrap_or_default();
        self.tasks.spawn(async move {
            let began = Instant::now();
            // Boxed, since tasks are moved around when they are spawned, and this future is large.
            let (end, permit) = Box::pin(shared.run_step(index, begin, cancel)).await;
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
            End::Interrupted { error } => {
                self.finished(index, StepOutcome::Failed { error: ErrorRecord::from(&error) }, took);
            }
        }
        if self.shared.is_ousted() {
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
        if error.kind() == ErrorKind::Fenced {
            self.shared.journal.give_up();
        }
        self.note_effect(index, error.effect(), undo, at);
        let record = ErrorRecord::from(error);
        let cause = record.message.clone();
        let waits = waits(&record);
        self.finished(index, StepOutcome::Failed { error: record }, took);
        if waits && self.groups.stop_of(group).is_none() {
            self.suspended.get_or_insert_with(|| error.report());
            self.skip_behind(index);
        } else {
            self.stop(group, Stop::of_step(&self.shared.node(index).name, cause));
        }
    }

    /// What a step that did not end well may have done.
    fn note_effect(&mut self, index: usize, effect: Effect, undo: Option<UndoRecord>, at: u64) {
        match undo {
            _ if effect == Effect::None => {}
            Some(undo) => self.note_done(index, at, Some(undo)),
            None => {
                let node = self.shared.node(index);
                self.remains.add_unknown(&node.name, node.step.effect_class(), effect);
            }
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
                let (shared, deadline) = (Arc::clone(&self.shared), self.policy.undo_deadline);
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

async fn patience(until: Option<Instant>) {
    match until {
        Some(until) => sleep_until(until).await,
        None => std::future::pending().await,
    }
}
