//! Events: the only thing that leaves the engine while it runs. Terminal, JSON lines, report and tests consume the
//! same stream.
//!
//! Promises, each with a test: the first event is [`EventKind::Planned`], the last [`EventKind::RunFinished`], also
//! after a panic, a cancel or a timeout; `seq` has no gap; every start has exactly one finish.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    error::ErrorRecord,
    plan::PlanSummary,
    run::RunResult,
    vocabulary::{EnvironmentName, Name},
};

/// Which line of a child's output it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// How a step ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
#[non_exhaustive]
pub enum StepOutcome {
    /// It did what was planned.
    Done,
    /// There was nothing to do.
    Unchanged,
    /// An earlier process of the same run had done it.
    Kept,
    /// It failed; the error says what is known of its effect.
    Failed {
        /// Why.
        error: ErrorRecord,
    },
    /// It was not started, because of what is named.
    Skipped {
        /// The step that failed or the cancellation.
        because: String,
    },
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum EventKind {
    /// The plan that is about to run.
    Planned {
        /// Its steps and changes.
        plan: PlanSummary,
    },
    /// The run began.
    RunStarted,
    /// A run that another process left goes on. Comes in place of [`EventKind::RunStarted`].
    RunResumed {
        /// When the run began.
        since: Timestamp,
        /// How many steps are done already.
        kept: usize,
        /// Whether it is undone, and why; it goes forward otherwise.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        undo: Option<String>,
    },
    /// A step's first attempt begins.
    StepStarted,
    /// How far a long operation is.
    Progress {
        /// What is counted: `bytes`, `files`, `pods`.
        unit: String,
        /// How many are done.
        done: u64,
        /// Of how many, if known.
        total: Option<u64>,
    },
    /// A line that says what a step is doing: `2 of 3 updated replicas are available`.
    Status {
        /// The line.
        message: String,
    },
    /// A line that a child process printed.
    Output {
        /// Which stream.
        stream: Stream,
        /// The line, without its end.
        line: String,
    },
    /// Something that is not an error and should be read.
    Warning {
        /// What.
        message: String,
    },
    /// What a gate or a check found.
    Evidence {
        /// A title, such as `scan of ecolaura/backend`.
        title: String,
        /// Lines for people.
        lines: Vec<String>,
    },
    /// An attempt failed and another follows.
    RetryScheduled {
        /// The attempt that failed, from 1.
        attempt: u32,
        /// How long until the next.
        delay: Duration,
        /// Why it failed.
        error: ErrorRecord,
    },
    /// The run was asked to stop.
    CancelRequested {
        /// By whom or what.
        cause: String,
    },
    /// A step ended. Exactly one for each [`EventKind::StepStarted`], and one for each step that never started.
    StepFinished {
        /// How.
        #[serde(flatten)]
        outcome: StepOutcome,
        /// How long it took.
        took: Duration,
    },
    /// A step's effect begins to be undone.
    UndoStarted,
    /// A step's effect was undone, or not.
    UndoFinished {
        /// Why not.
        error: Option<ErrorRecord>,
        /// How long it took.
        took: Duration,
    },
    /// The last event.
    RunFinished {
        /// How it ended.
        result: RunResult,
        /// How long the run took.
        took: Duration,
    },
}

/// One event of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Event {
    /// The version of this form; a newer one only adds.
    pub schema: u32,
    /// The run.
    pub run: String,
    /// The environment it runs for.
    pub environment: EnvironmentName,
    /// The pipeline.
    pub pipeline: Name,
    /// Its place in the run, from 0, without a gap.
    pub seq: u64,
    /// The wall clock.
    pub at: Timestamp,
    /// Since the run began.
    pub elapsed: Duration,
    /// The step it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// What happened.
    #[serde(flatten)]
    pub kind: EventKind,
}

impl Event {
    /// The version of the form that this library writes.
    pub const SCHEMA: u32 = 1;
}

/// Consumes events. It is called in order, never concurrently, and must not block; a sink that panics is detached.
pub trait EventSink: fmt::Debug + Send + Sync + 'static {
    /// Takes one event.
    fn emit(&self, event: &Event);
}

/// Hands each event to several sinks, in order. A sink that panics is detached; the others go on.
#[derive(Debug, Clone, Default)]
pub struct FanOut(Vec<Arc<Branch>>);

#[derive(Debug)]
struct Branch {
    sink: Arc<dyn EventSink>,
    detached: AtomicBool,
}

impl FanOut {
    /// All of `sinks`.
    pub fn new(sinks: impl IntoIterator<Item = Arc<dyn EventSink>>) -> Self {
        let branch = |sink| Arc::new(Branch { sink, detached: AtomicBool::new(false) });
        Self(sinks.into_iter().map(branch).collect())
    }
}

impl EventSink for FanOut {
    fn emit(&self, event: &Event) {
        for branch in self.0.iter().filter(|branch| !branch.detached.load(Ordering::Relaxed)) {
            if catch_unwind(AssertUnwindSafe(|| branch.sink.emit(event))).is_err() {
                branch.detached.store(true, Ordering::Relaxed);
                tracing::error!(run = %event.run, "an event sink panicked and was detached");
            }
        }
    }
}

/// Calls a closure with each event.
///
/// ```
/// use std::sync::Arc;
/// use ecolaura_deploy_core::event::{EventKind, EventSink, FnSink};
/// let sink: Arc<dyn EventSink> = Arc::new(FnSink::new(|event| {
///     if matches!(event.kind, EventKind::StepStarted) && event.step.as_deref() == Some("migrate") {
///         std::process::abort();
///     }
/// }));
/// ```
pub struct FnSink<F>(F);

impl<F: Fn(&Event) + Send + Sync + 'static> FnSink<F> {
    /// Calls `call`.
    pub fn new(call: F) -> Self {
        Self(call)
    }
}

impl<F> fmt::Debug for FnSink<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FnSink").finish_non_exhaustive()
    }
}

impl<F: Fn(&Event) + Send + Sync + 'static> EventSink for FnSink<F> {
    fn emit(&self, event: &Event) {
        (self.0)(event);
    }
}

/// Drops every event.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoEvents;

impl EventSink for NoEvents {
    fn emit(&self, _event: &Event) {}
}

/// Keeps every event, for tests and reports.
#[derive(Debug, Default)]
pub struct RecordingSink(std::sync::Mutex<Vec<Event>>);

impl RecordingSink {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// A copy of what was recorded.
    pub fn events(&self) -> Vec<Event> {
        self.0.lock().map(|events| events.clone()).unwrap_or_default()
    }
}

impl EventSink for RecordingSink {
    fn emit(&self, event: &Event) {
        if let Ok(mut events) = self.0.lock() {
            events.push(event.clone());
        }
    }
}

#[cfg(test)]
mod tests;
