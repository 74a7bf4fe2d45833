//! Numbers and timestamps events, and hands them to the sink in order.

use std::{
    collections::HashSet,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::time::Instant;

use crate::{
    clock::Clock,
    context::Emit,
    event::{Event, EventKind, EventSink},
    redact::Redactor,
    vocabulary::{EnvironmentName, Name},
};

struct State {
    seq: u64,
    /// `None` after the sink panicked or the run finished.
    sink: Option<Arc<dyn EventSink>>,
    /// Steps between start and finish, and steps being undone: only they may speak.
    active: HashSet<String>,
    /// Those of `active` that are being undone.
    undoing: HashSet<String>,
    /// Whether nothing begins any more.
    sealed: bool,
}

pub(crate) struct Emitter {
    run: String,
    environment: EnvironmentName,
    pipeline: Name,
    clock: Arc<dyn Clock>,
    began: Instant,
    redactor: Redactor,
    state: Mutex<State>,
}

impl Emitter {
    pub(crate) fn new(
        run: &str,
        environment: &EnvironmentName,
        pipeline: &Name,
        clock: Arc<dyn Clock>,
        sink: Arc<dyn EventSink>,
    ) -> Self {
        Self {
            run: run.to_owned(),
            environment: environment.clone(),
            pipeline: pipeline.clone(),
            clock,
            began: Instant::now(),
            redactor: Redactor::new(),
            state: Mutex::new(State {
                seq: 0,
                sink: Some(sink),
                active: HashSet::new(),
                undoing: HashSet::new(),
                sealed: false,
            }),
        }
    }

    /// Says nothing of what `redactor` knows.
    pub(crate) fn redacting(self, redactor: Redactor) -> Self {
        Self { redactor, ..self }
    }

    pub(crate) fn elapsed(&self) -> std::time::Duration {
        self.began.elapsed()
    }

    /// From here on nothing begins. Answers what is at work: steps, and steps being undone.
    pub(crate) fn seal(&self) -> (HashSet<String>, HashSet<String>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.sealed = true;
        let undoing = state.undoing.clone();
        (state.active.difference(&undoing).cloned().collect(), undoing)
    }
}

impl State {
    fn admit(&mut self, step: Option<&str>, kind: &EventKind) -> bool {
        let Some(step) = step else { return true };
        match kind {
            EventKind::StepStarted | EventKind::UndoStarted if self.sealed => false,
            EventKind::StepStarted => {
                self.active.insert(step.to_owned());
                true
            }
            EventKind::UndoStarted => {
                self.undoing.insert(step.to_owned());
                self.active.insert(step.to_owned());
                true
            }
            EventKind::StepFinished { .. } => {
                self.active.remove(step);
                true
            }
            // Whoever sealed has said the end of what was at work.
            EventKind::UndoFinished { .. } => {
                self.active.remove(step);
                self.undoing.remove(step)
            }
            _ => self.active.contains(step),
        }
    }
}

impl Emit for Emitter {
    fn emit(&self, step: Option<&str>, kind: EventKind) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.admit(step, &kind) {
            return;
        }
        let Some(sink) = state.sink.clone() else { return };
        let last = matches!(kind, EventKind::RunFinished { .. });
        let event = Event {
            schema: Event::SCHEMA,
            run: self.run.clone(),
            environment: self.environment.clone(),
            pipeline: self.pipeline.clone(),
            seq: state.seq,
            at: self.clock.now(),
            elapsed: self.began.elapsed(),
            step: step.map(str::to_owned),
            kind: self.redactor.event(kind),
        };
        state.seq += 1;
        let panicked = catch_unwind(AssertUnwindSafe(|| sink.emit(&event))).is_err();
        if panicked || last {
            state.sink = None;
        }
        if panicked {
            tracing::error!(run = %self.run, "an event sink panicked and was detached");
        }
    }
}
