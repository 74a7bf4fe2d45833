//! Presentations of the event stream: a fold into one value, plain lines, a terminal, JSON lines, one HTML file.
//!
//! All of them are [`EventSink`](crate::event::EventSink)s or read a [`RunReport`], and know nothing but the events:
//! what they show while a run lasts can be made again from the recorded stream.
//!
//! ```
//! use ecolaura_deploy_core::{event::{EventSink, RecordingSink}, report::RunReport};
//! let events = RecordingSink::new();
//! // … a run emits into `events` …
//! assert!(RunReport::from_events(&events.events()).is_none());
//! ```

mod closing;
mod fold;
#[cfg(feature = "html")]
pub mod html;
pub mod json;
mod kept;
mod narrate;
pub mod plain;
#[cfg(test)]
mod sample;
mod style;
#[cfg(feature = "terminal")]
pub mod terminal;
pub(crate) mod wording;

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use self::{
    closing::{Closing, Tone},
    fold::ReportBuilder,
    kept::Kept,
    style::Style,
};
use crate::{
    ErrorKind, ErrorRecord,
    event::{Event, StepOutcome, Stream},
    plan::{Action, PlanSummary},
    run::RunResult,
    vocabulary::{EnvironmentName, Name},
};

/// What became of one run, as far as its events tell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RunReport {
    /// The run.
    pub run: String,
    /// The environment it was for.
    pub environment: EnvironmentName,
    /// The pipeline.
    pub pipeline: Name,
    /// The wall clock at the first event.
    pub began: Timestamp,
    /// What was planned; none if the stream was joined later.
    pub plan: Option<PlanSummary>,
    /// The steps: those of the plan in its order, then any others in the order in which they appeared.
    pub steps: Vec<StepReport>,
    /// Warnings that belong to no step.
    pub warnings: Vec<String>,
    /// Who asked the run to stop.
    pub cancelled: Option<String>,
    /// How it ended; none while it runs, or if the stream broke off.
    pub result: Option<RunResult>,
    /// How long it took, or has lasted.
    pub took: Duration,
    /// How many events were folded.
    pub events: u64,
}

/// What became of one step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StepReport {
    /// Its name, without the environment.
    pub name: String,
    /// Its kind, if the plan is known.
    pub kind: Option<String>,
    /// The group that is undone together, if the plan is known.
    pub group: Option<Name>,
    /// How it ended; none if it did not.
    pub outcome: Option<StepOutcome>,
    /// When it started, since the run began; none if it did not.
    pub started: Option<Duration>,
    /// How long it took, over all attempts; zero until it ended.
    pub took: Duration,
    /// Attempts that failed and were followed by another.
    pub retries: Vec<RetryReport>,
    /// Where the last attempt was.
    pub progress: Option<Progress>,
    /// Its warnings.
    pub warnings: Vec<String>,
    /// Its last status lines.
    pub statuses: Kept<String, 0, 20>,
    /// The first and the last lines that its children printed.
    pub output: Kept<OutputLine, 40, 160>,
    /// What its gates and checks found.
    pub evidence: Vec<Evidence>,
    /// Its undoing; none if that was not begun.
    pub undo: Option<UndoReport>,
}

/// An attempt that failed and was followed by another.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RetryReport {
    /// The attempt that failed, from 1.
    pub attempt: u32,
    /// When it had failed, since the run began.
    pub at: Duration,
    /// How long until the next.
    pub delay: Duration,
    /// Why it failed.
    pub error: ErrorRecord,
}

/// How far a long operation is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Progress {
    /// What is counted.
    pub unit: String,
    /// How many are done.
    pub done: u64,
    /// Of how many, if known.
    pub total: Option<u64>,
}

/// A line that a child printed, without control characters and at most 2,000 characters long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OutputLine {
    /// Where it was printed.
    pub stream: Stream,
    /// The line.
    pub line: String,
}

/// What a gate or a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Evidence {
    /// A title.
    pub title: String,
    /// Lines for people.
    pub lines: Vec<String>,
}

/// The undoing of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct UndoReport {
    /// When it began, since the run began.
    pub started: Duration,
    /// How long it took; none if it did not end.
    pub took: Option<Duration>,
    /// Why it failed.
    pub error: Option<ErrorRecord>,
}

/// A bar of the timeline.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Span<'a> {
    /// The step.
    pub step: &'a str,
    /// Whether the step was being undone, not done.
    pub undo: bool,
    /// When it began, since the run began.
    pub started: Duration,
    /// How long it lasted, to the end of the run if it did not end itself.
    pub took: Duration,
}

/// Counts over a run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Totals {
    /// Steps that did what was planned.
    pub done: usize,
    /// Steps that had nothing to do.
    pub unchanged: usize,
    /// Steps that an earlier process of the run had done.
    pub kept: usize,
    /// Steps that failed.
    pub failed: usize,
    /// Steps that wait for a person or a window.
    pub waiting: usize,
    /// Steps that were not started.
    pub skipped: usize,
    /// Steps without an end: the run goes on, or its stream broke off.
    pub unfinished: usize,
    /// Steps whose effect was undone.
    pub undone: usize,
    /// Steps whose effect could not be undone.
    pub not_undone: usize,
    /// Attempts that were made again.
    pub retries: usize,
    /// Warnings, of steps and of the run.
    pub warnings: usize,
    /// Planned changes by action, without no-ops.
    pub changes: BTreeMap<Action, usize>,
}

impl RunReport {
    /// The report of the run that the first of `events` belongs to; none without events. Events of other runs are
    /// passed over.
    pub fn from_events(events: &[Event]) -> Option<Self> {
        let run = &events.first()?.run;
        Self::all_from_events(events).into_iter().find(|report| report.run == *run)
    }

    /// A report of each run in `events`, in the order in which they began.
    pub fn all_from_events(events: &[Event]) -> Vec<Self> {
        let mut runs = fold::Runs::default();
        for event in events {
            runs.apply(event);
        }
        runs.into_reports()
    }

    /// The step named `name`, with or without the environment before it.
    pub fn step(&self, name: &str) -> Option<&StepReport> {
        let bare = name.strip_prefix(self.environment.as_str()).and_then(|rest| rest.strip_prefix('/'));
        self.steps.iter().find(|step| step.name == name || Some(step.name.as_str()) == bare)
    }

    /// The counts.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals {
            warnings: self.warnings.len(),
            changes: self.plan.as_ref().map(PlanSummary::counts).unwrap_or_default(),
            ..Totals::default()
        };
        for step in &self.steps {
            totals.count(step);
        }
        totals
    }

    /// When each step ran and was undone, by start.
    pub fn timeline(&self) -> Vec<Span<'_>> {
        let mut spans: Vec<_> = self.steps.iter().flat_map(|step| step.spans(self.took)).collect();
        spans.sort_by_key(|span| span.started);
        spans
    }

    /// What happened, why, and what to do.
    pub fn closing(&self) -> Closing {
        Closing::of(self)
    }
}

impl StepReport {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            kind: None,
            group: None,
            outcome: None,
            started: None,
            took: Duration::ZERO,
            retries: Vec::new(),
            progress: None,
            warnings: Vec::new(),
            statuses: Kept::default(),
            output: Kept::default(),
            evidence: Vec::new(),
            undo: None,
        }
    }

    /// Why it failed, if it did.
    pub fn error(&self) -> Option<&ErrorRecord> {
        match &self.outcome {
            Some(StepOutcome::Failed { error }) => Some(error),
            _ => None,
        }
    }

    /// Whether it ended because a person or a window must come first: nothing is wrong then.
    pub fn waits(&self) -> bool {
        self.error().is_some_and(|error| error.kind == ErrorKind::Waiting)
    }

    /// The attempts that were begun or scheduled; 0 if it did not start.
    pub fn attempts(&self) -> usize {
        if self.started.is_some() { self.retries.len() + 1 } else { 0 }
    }

    fn spans(&self, end: Duration) -> impl Iterator<Item = Span<'_>> {
        let until_end = move |started| end.saturating_sub(started);
        let done = self.started.map(|started| {
            let took = if self.outcome.is_some() { self.took } else { until_end(started) };
            Span { step: &self.name, undo: false, started, took }
        });
        let undo = self.undo.as_ref().map(|undo| {
            let took = undo.took.unwrap_or_else(|| until_end(undo.started));
            Span { step: &self.name, undo: true, started: undo.started, took }
        });
        done.into_iter().chain(undo)
    }
}

impl Totals {
    fn count(&mut self, step: &StepReport) {
        match &step.outcome {
            Some(StepOutcome::Done) => self.done += 1,
            Some(StepOutcome::Unchanged) => self.unchanged += 1,
            Some(StepOutcome::Kept) => self.kept += 1,
            Some(StepOutcome::Failed { .. }) if step.waits() => self.waiting += 1,
            Some(StepOutcome::Failed { .. }) => self.failed += 1,
            Some(StepOutcome::Skipped { .. }) => self.skipped += 1,
            None => self.unfinished += 1,
        }
        match &step.undo {
            Some(UndoReport { took: Some(_), error: None, .. }) => self.undone += 1,
            Some(_) => self.not_undone += 1,
            None => {}
        }
        self.retries += step.retries.len();
        self.warnings += step.warnings.len();
    }
}
