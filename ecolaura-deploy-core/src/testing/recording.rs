//! What a run said, as lines to compare and as promises to check.

use std::{collections::BTreeMap, fmt::Write as _};

pub use crate::event::RecordingSink;
use crate::{
    ErrorRecord,
    event::{Event, EventKind, StepOutcome},
    run::RunResult,
};

/// One line for each event, without times and identifiers: what two runs of the same kind have in common.
///
/// ```text
/// planned: build, push
/// run started
/// build: started
/// build: done
/// ```
pub fn lines(events: &[Event]) -> String {
    events.iter().fold(String::new(), |mut text, event| {
        let step = event.step.as_ref().map(|step| format!("{step}: ")).unwrap_or_default();
        let _ = writeln!(text, "{step}{}", line(&event.kind));
        text
    })
}

fn line(kind: &EventKind) -> String {
    match kind {
        EventKind::Planned { plan } => {
            let steps: Vec<_> = plan.steps.iter().map(|step| step.name.as_str()).collect();
            format!("planned: {}", steps.join(", "))
        }
        EventKind::RunStarted => "run started".to_owned(),
        EventKind::RunResumed { kept, undo: None, .. } => format!("run resumed, {kept} kept"),
        EventKind::RunResumed { undo: Some(cause), .. } => format!("run goes back: {cause}"),
        EventKind::StepStarted => "started".to_owned(),
        EventKind::Progress { unit, done, total } => {
            format!("{done} of {} {unit}", total.map_or_else(|| "?".to_owned(), |total| total.to_string()))
        }
        EventKind::Status { message } => format!("says {message}"),
        EventKind::Output { line, .. } => format!("prints {line}"),
        EventKind::Warning { message } => format!("warns {message}"),
        EventKind::Evidence { title, .. } => format!("evidence {title}"),
        EventKind::RetryScheduled { attempt, delay, error } => {
            format!("attempt {attempt} failed, next in {delay:?}: {}", error.message)
        }
        EventKind::CancelRequested { cause } => format!("cancel: {cause}"),
        EventKind::StepFinished { outcome, .. } => outcome_line(outcome),
        EventKind::UndoStarted => "undo started".to_owned(),
        EventKind::UndoFinished { error, .. } => undo_line(error.as_ref()),
        EventKind::RunFinished { result, .. } => result_line(result),
    }
}

fn outcome_line(outcome: &StepOutcome) -> String {
    match outcome {
        StepOutcome::Done => "done".to_owned(),
        StepOutcome::Unchanged => "unchanged".to_owned(),
        StepOutcome::Kept => "kept".to_owned(),
        StepOutcome::Failed { error } => {
            let effect = format!("{:?}", error.effect).to_lowercase();
            format!("failed, effect {effect}: {}", error.message)
        }
        StepOutcome::Skipped { because } => format!("skipped: {because}"),
    }
}

fn undo_line(error: Option<&ErrorRecord>) -> String {
    error.map_or_else(|| "undone".to_owned(), |error| format!("not undone: {}", error.message))
}

fn result_line(result: &RunResult) -> String {
    match result {
        RunResult::Succeeded => "run succeeded".to_owned(),
        RunResult::SucceededExcept { groups } => {
            let groups: Vec<_> = groups.iter().map(crate::vocabulary::Name::as_str).collect();
            format!("run succeeded except {}", groups.join(", "))
        }
        RunResult::RolledBack { failed, .. } => format!("run rolled back: {failed} failed"),
        RunResult::NeedsOperator { failed, remaining, .. } => {
            format!("run needs an operator: {failed} failed, {} remains", remaining.join(", "))
        }
        RunResult::Suspended { reason } => format!("run suspended: {reason}"),
    }
}

/// The events whose step is `step`.
pub fn of_step<'a>(events: &'a [Event], step: &str) -> Vec<&'a EventKind> {
    events.iter().filter(|event| event.step.as_deref() == Some(step)).map(|event| &event.kind).collect()
}

/// The steps whose effects were undone, in order.
pub fn undone(events: &[Event]) -> Vec<&str> {
    let undone = |event: &&Event| matches!(event.kind, EventKind::UndoFinished { error: None, .. });
    events.iter().filter(undone).filter_map(|event| event.step.as_deref()).collect()
}

/// What of a run's promises its events break; empty if none. They must be all events of one run that ended.
///
/// The first is the plan, the last the result; the numbers have no gap; every step of the plan ends exactly once, and
/// begins at most once, before that; what is undone was begun, and its undoing begins and ends once; nobody speaks for
/// a step that is not at work.
pub fn broken_promises(events: &[Event]) -> Vec<String> {
    let mut broken = Vec::new();
    if !matches!(events.first().map(|event| &event.kind), Some(EventKind::Planned { .. })) {
        broken.push("the first event is not the plan".to_owned());
    }
    if !matches!(events.last().map(|event| &event.kind), Some(EventKind::RunFinished { .. })) {
        broken.push("the last event is not the result".to_owned());
    }
    for (expected, event) in (0..).zip(events) {
        if event.seq != expected {
            broken.push(format!("event {expected} has the number {}", event.seq));
        }
    }
    let mut steps: BTreeMap<&str, Life> = BTreeMap::new();
    for event in events {
        match &event.kind {
            EventKind::Planned { plan } => steps.extend(plan.steps.iter().map(|s| (s.name.as_str(), Life::default()))),
            EventKind::RunFinished { .. } if event.seq + 1 != events.len() as u64 => {
                broken.push("there are events after the result".to_owned());
            }
            kind => {
                if let Some(step) = &event.step {
                    broken.extend(steps.entry(step).or_default().live(step, kind));
                }
            }
        }
    }
    broken.extend(steps.iter().filter_map(|(step, life)| life.open(step)));
    broken
}

#[derive(Default, Clone, Copy, PartialEq)]
enum Life {
    #[default]
    Waiting,
    Running,
    NeverRan,
    Over,
    Undoing,
    Undone,
}

impl Life {
    fn live(&mut self, step: &str, kind: &EventKind) -> Option<String> {
        let next = match (*self, kind) {
            (Self::Waiting, EventKind::StepStarted) => Self::Running,
            // What another process did, or may have done, can be undone here.
            (
                Self::Waiting,
                EventKind::StepFinished { outcome: StepOutcome::Kept | StepOutcome::Failed { .. }, .. },
            ) => Self::Over,
            (Self::Waiting, EventKind::StepFinished { .. }) => Self::NeverRan,
            (Self::Running, EventKind::StepFinished { outcome, .. })
                if !matches!(outcome, StepOutcome::Skipped { .. }) =>
            {
                Self::Over
            }
            (Self::Over, EventKind::UndoStarted) => Self::Undoing,
            (Self::Undoing, EventKind::UndoFinished { .. }) => Self::Undone,
            (at_work @ (Self::Running | Self::Undoing), kind) if !is_turn(kind) => at_work,
            _ => return Some(format!("`{step}` out of turn: {}", line(kind))),
        };
        *self = next;
        None
    }

    fn open(self, step: &str) -> Option<String> {
        match self {
            Self::Waiting | Self::Running => Some(format!("`{step}` never ends")),
            Self::Undoing => Some(format!("the undoing of `{step}` never ends")),
            Self::NeverRan | Self::Over | Self::Undone => None,
        }
    }
}

fn is_turn(kind: &EventKind) -> bool {
    matches!(
        kind,
        EventKind::StepStarted
            | EventKind::StepFinished { .. }
            | EventKind::UndoStarted
            | EventKind::UndoFinished { .. }
    )
}
