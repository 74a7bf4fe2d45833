//! The fold of events into reports.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{
    Evidence, OutputLine, Progress, RetryReport, RunReport, StepReport, UndoReport,
    wording::{clean, clean_error, one_line, output_line},
};
use crate::{
    event::{Event, EventKind, EventSink, StepOutcome},
    plan::PlanSummary,
};

/// Folds events into reports as they come. Keeps one report for each run; memory is bounded by the steps, not by what
/// they print.
#[derive(Debug, Default)]
pub struct ReportBuilder(Mutex<Runs>);

impl ReportBuilder {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// A copy of the report of each run so far, in the order in which they began.
    pub fn reports(&self) -> Vec<RunReport> {
        self.lock().0.iter().map(|run| run.report.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Runs> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventSink for ReportBuilder {
    fn emit(&self, event: &Event) {
        self.lock().apply(event);
    }
}

/// The runs of a stream.
#[derive(Debug, Default)]
pub(super) struct Runs(Vec<Folding>);

#[derive(Debug)]
struct Folding {
    report: RunReport,
    index: HashMap<String, usize>,
}

impl Runs {
    /// Folds `event` into the report of its run, and shows that.
    pub(super) fn apply(&mut self, event: &Event) -> &RunReport {
        let place = self.0.iter().rposition(|run| run.report.run == event.run).unwrap_or_else(|| {
            self.0.push(Folding::new(event));
            self.0.len() - 1
        });
        let run = &mut self.0[place];
        run.apply(event);
        &run.report
    }

    /// Forgets a run that has ended.
    pub(super) fn forget(&mut self, run: &str) {
        self.0.retain(|folding| folding.report.run != run);
    }

    pub(super) fn into_reports(self) -> Vec<RunReport> {
        self.0.into_iter().map(|run| run.report).collect()
    }
}

impl Folding {
    fn new(first: &Event) -> Self {
        let report = RunReport {
            run: first.run.clone(),
            environment: first.environment.clone(),
            pipeline: first.pipeline.clone(),
            began: first.at,
            plan: None,
            steps: Vec::new(),
            warnings: Vec::new(),
            cancelled: None,
            result: None,
            took: first.elapsed,
            events: 0,
        };
        Self { report, index: HashMap::new() }
    }

    fn apply(&mut self, event: &Event) {
        self.report.events += 1;
        self.report.took = self.report.took.max(event.elapsed);
        match (&event.kind, &event.step) {
            (EventKind::Planned { plan }, _) => self.plan(plan),
            (EventKind::CancelRequested { cause }, _) => self.report.cancelled = Some(one_line(cause)),
            (EventKind::RunFinished { result, took }, _) => {
                self.report.result = Some(result.clone());
                self.report.took = *took;
            }
            (EventKind::Warning { message }, None) => add_once(&mut self.report.warnings, message),
            (_, Some(step)) => self.step(step).apply(event),
            (_, None) => {}
        }
    }

    fn plan(&mut self, plan: &PlanSummary) {
        for summary in &plan.steps {
            let step = self.step(&summary.name);
            step.kind = Some(summary.kind.clone());
            step.group = Some(summary.group.clone());
        }
        self.report.plan = Some(plan.clone());
    }

    fn step(&mut self, name: &str) -> &mut StepReport {
        let steps = &mut self.report.steps;
        let place = match self.index.get(name) {
            Some(place) => *place,
            None => {
                steps.push(StepReport::new(name));
                self.index.insert(name.to_owned(), steps.len() - 1);
                steps.len() - 1
            }
        };
        &mut steps[place]
    }
}

impl StepReport {
    fn apply(&mut self, event: &Event) {
        match &event.kind {
            EventKind::StepStarted => self.started = Some(event.elapsed),
            EventKind::Progress { unit, done, total } => {
                self.progress = Some(Progress { unit: unit.clone(), done: *done, total: *total });
            }
            EventKind::Status { message } => self.statuses.push(one_line(message)),
            EventKind::Output { stream, line } => {
                self.output.push(OutputLine { stream: *stream, line: output_line(line) });
            }
            EventKind::Warning { message } => add_once(&mut self.warnings, message),
            EventKind::Evidence { title, lines } => {
                let lines = lines.iter().map(|line| output_line(line)).collect();
                self.evidence.push(Evidence { title: one_line(title), lines });
            }
            EventKind::RetryScheduled { attempt, delay, error } => {
                self.progress = None;
                let error = clean_error(error);
                self.retries.push(RetryReport { attempt: *attempt, at: event.elapsed, delay: *delay, error });
            }
            EventKind::StepFinished { outcome, took } => {
                self.took = *took;
                self.outcome = Some(clean_outcome(outcome));
            }
            EventKind::UndoStarted => {
                self.undo = Some(UndoReport { started: event.elapsed, took: None, error: None });
            }
            EventKind::UndoFinished { error, took } => {
                let started = self.undo.as_ref().map_or(event.elapsed.saturating_sub(*took), |undo| undo.started);
                let error = error.as_ref().map(clean_error);
                self.undo = Some(UndoReport { started, took: Some(*took), error });
            }
            EventKind::Planned { .. }
            | EventKind::RunStarted
            | EventKind::RunResumed { .. }
            | EventKind::CancelRequested { .. }
            | EventKind::RunFinished { .. } => {}
        }
    }
}

fn clean_outcome(outcome: &StepOutcome) -> StepOutcome {
    match outcome {
        StepOutcome::Failed { error } => StepOutcome::Failed { error: clean_error(error) },
        StepOutcome::Skipped { because } => StepOutcome::Skipped { because: one_line(because) },
        StepOutcome::Done | StepOutcome::Unchanged | StepOutcome::Kept => outcome.clone(),
    }
}

fn add_once(warnings: &mut Vec<String>, message: &str) {
    let message = clean(message);
    if !warnings.contains(&message) {
        warnings.push(message);
    }
}

#[cfg(test)]
mod tests;
