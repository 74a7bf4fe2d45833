//! What is told to people, without secrets: the texts that others wrote. Names of steps, objects and environments stay,
//! since readers find each other by them.

use super::Redactor;
use crate::{
    Error, ErrorRecord,
    event::{EventKind, StepOutcome},
    plan::{Change, PlanSummary},
    run::RunResult,
    store::RecordBody,
};

impl Redactor {
    fn clean(&self, text: &mut String) {
        if let std::borrow::Cow::Owned(clean) = self.redact(text) {
            *text = clean;
        }
    }

    fn clean_all(&self, texts: &mut [String]) {
        texts.iter_mut().for_each(|text| self.clean(text));
    }

    fn clean_record(&self, error: &mut ErrorRecord) {
        self.clean(&mut error.message);
        error.advice.iter_mut().for_each(|advice| self.clean(advice));
    }

    /// The same error, and one without a source where that told a secret.
    pub(crate) fn error(&self, error: Error) -> Error {
        let report = error.report();
        if matches!(self.redact(&report), std::borrow::Cow::Borrowed(_)) {
            return error;
        }
        error.map_texts(|text| self.clean(text))
    }

    pub(crate) fn result(&self, mut result: RunResult) -> RunResult {
        match &mut result {
            RunResult::Succeeded | RunResult::SucceededExcept { .. } => {}
            RunResult::RolledBack { cause, .. } => self.clean(cause),
            RunResult::NeedsOperator { cause, remaining, commands, .. } => {
                self.clean(cause);
                self.clean_all(remaining);
                self.clean_all(commands);
            }
            RunResult::Suspended { reason } => self.clean(reason),
        }
        result
    }

    pub(crate) fn event(&self, mut kind: EventKind) -> EventKind {
        match &mut kind {
            EventKind::Planned { plan } => self.clean_plan(plan),
            EventKind::RunResumed { undo: Some(text), .. }
            | EventKind::Status { message: text }
            | EventKind::Output { line: text, .. }
            | EventKind::Warning { message: text }
            | EventKind::CancelRequested { cause: text }
            | EventKind::StepFinished { outcome: StepOutcome::Skipped { because: text }, .. } => self.clean(text),
            EventKind::Evidence { title, lines } => {
                self.clean(title);
                self.clean_all(lines);
            }
            EventKind::RetryScheduled { error, .. }
            | EventKind::StepFinished { outcome: StepOutcome::Failed { error }, .. }
            | EventKind::UndoFinished { error: Some(error), .. } => self.clean_record(error),
            EventKind::RunFinished { result, .. } => {
                let told = std::mem::replace(result, RunResult::Succeeded);
                *result = self.result(told);
            }
            _ => {}
        }
        kind
    }

    fn clean_plan(&self, plan: &mut PlanSummary) {
        for step in &mut plan.steps {
            self.clean_all(&mut step.warnings);
            for Change { object, reason, details, .. } in &mut step.changes {
                self.clean(object);
                self.clean(reason);
                self.clean_all(details);
            }
        }
    }

    /// What steps give, what undoes them, and the plan that a resumed run is held to are data, and stay as they are.
    pub(crate) fn record(&self, mut body: RecordBody) -> RecordBody {
        match &mut body {
            RecordBody::Failed { error, .. } | RecordBody::UndoDone { error: Some(error), .. } => {
                self.clean_record(error);
            }
            RecordBody::CancelRequested { cause } | RecordBody::UndoPlanned { cause, .. } => self.clean(cause),
            RecordBody::RunFinished { result } => {
                let told = std::mem::replace(result, RunResult::Succeeded);
                *result = self.result(told);
            }
            _ => {}
        }
        body
    }
}
