//! What was seen, in words.

use jiff::Timestamp;

use super::{
    Finding, Severity, Subject,
    runs::{Fault, RunSeen},
};
use crate::{
    ErrorKind,
    backend::{Inspect, Leftover},
    report::wording::{count, size},
    run::RunResult,
};

/// How callers are told to go on with a run.
#[derive(Debug, Clone)]
pub(super) struct Calls {
    pub(super) resume: String,
    pub(super) roll_back: String,
}

impl Default for Calls {
    fn default() -> Self {
        Self { resume: "Runner::resume".to_owned(), roll_back: "Runner::roll_back".to_owned() }
    }
}

/// A run that did not end.
pub(super) fn open_run(seen: &RunSeen, place: String, calls: &Calls) -> Finding {
    let mut known = vec![began(seen)];
    known.extend(seen.begun.iter().map(|(step, (attempt, at))| {
        format!("`{step}` was begun at {} (attempt {attempt}); whether it took effect is not recorded", moment(*at))
    }));
    if let Some(cause) = &seen.undoing {
        let left = match seen.to_undo.is_empty() {
            true => "nothing is left to undo".to_owned(),
            false => format!("still to be undone: {}", quoted(&seen.to_undo)),
        };
        known.push(format!("It was being undone ({cause}); {left}"));
    }
    if let Some(RunResult::Suspended { reason }) = &seen.result {
        known.push(format!("It waits: {reason}"));
    }
    let Calls { resume, roll_back } = calls;
    let action = match seen.undoing.is_some() {
        true => format!("`{roll_back}` finishes the undoing; the next run does it first by itself"),
        false => format!("`{resume}` goes on with it, `{roll_back}` undoes it; the next run undoes it first by itself"),
    };
    Finding {
        severity: Severity::Warning,
        what: format!("open run {}", seen.run),
        place,
        known,
        action,
        fixable: false,
        subject: Subject::Run { run: seen.run.clone() },
    }
}

fn began(seen: &RunSeen) -> String {
    let pipeline = seen.pipeline.as_ref().map(|name| format!(" of pipeline `{name}`")).unwrap_or_default();
    let began = seen.began.map(|at| format!(" began at {}", moment(at))).unwrap_or_default();
    let last = seen.last.map(|at| format!(", its last record is of {}", moment(at))).unwrap_or_default();
    let epoch = seen.epoch.filter(|epoch| *epoch > 0).map(|epoch| format!(" under epoch {epoch}")).unwrap_or_default();
    format!("The run{pipeline}{began}{epoch}{last}; {} of {} steps have an outcome", seen.ended, seen.steps)
}

fn quoted(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// The newest run, if it ended with something that could not be undone.
pub(super) fn needs_operator(seen: &RunSeen, place: String) -> Option<Finding> {
    let Some(RunResult::NeedsOperator { failed, cause, remaining, commands }) = &seen.result else { return None };
    let mut known = vec![format!("`{failed}` failed: {cause}")];
    known.extend(remaining.iter().map(|remaining| format!("Not undone: {remaining}")));
    let action = match commands.is_empty() {
        true => "undo what remains, in this order, then run again".to_owned(),
        false => format!("in this order, then run again: {}", quoted(commands)),
    };
    Some(Finding {
        severity: Severity::Problem,
        what: format!("run {} that could not be undone", seen.run),
        place,
        known,
        action,
        fixable: false,
        subject: Subject::Run { run: seen.run.clone() },
    })
}

/// A record that is damaged, missing, or of a newer program.
pub(super) fn fault(seen: &RunSeen, fault: &Fault) -> Finding {
    let newer = fault.error.kind() == ErrorKind::Unsupported;
    let mut known = vec![fault.error.message().to_owned()];
    known.extend(fault.bytes.map(|bytes| {
        format!("The record has {}; {} of the run are whole", size(bytes as u64), count(seen.whole, "other record"))
    }));
    known.push(match &seen.result {
        Some(result) => format!("The run ended: {}", ended(result)),
        None if seen.is_in_the_dark() => "Whether the run ended cannot be told".to_owned(),
        None => "The run did not end".to_owned(),
    });
    let what = match fault.bytes {
        _ if newer => "record of a newer program",
        Some(_) => "damaged record",
        None => "gap before record",
    };
    Finding {
        severity: Severity::Problem,
        what: format!("{what} {}", fault.key),
        place: fault.key.clone(),
        known,
        action: fault.error.advice_text().unwrap_or_default().to_owned(),
        fixable: false,
        subject: Subject::Record { key: fault.key.clone() },
    }
}

fn ended(result: &RunResult) -> String {
    match result {
        RunResult::Succeeded => "it succeeded".to_owned(),
        RunResult::SucceededExcept { groups } => format!("it succeeded, {} groups excepted", groups.len()),
        RunResult::RolledBack { .. } => "it was rolled back".to_owned(),
        RunResult::NeedsOperator { .. } => "something could not be undone".to_owned(),
        RunResult::Suspended { reason } => format!("it waits, {reason}"),
    }
}

/// What nobody uses, or what may be `in_use` after all.
pub(super) fn left_over(backend: &dyn Inspect, leftover: Leftover, in_use: Option<&str>) -> Finding {
    let mut known = vec![leftover.found.clone()];
    known.extend(leftover.bytes.filter(|bytes| *bytes > 0).map(|bytes| format!("It takes {}", size(bytes))));
    known.extend(leftover.since.map(|since| format!("Unchanged since {}", moment(since))));
    known.extend(in_use.map(|why| format!("It may be in use: {why}")));
    Finding {
        severity: if in_use.is_some() { Severity::Note } else { Severity::Warning },
        what: format!("{} {}", leftover.kind, leftover.object),
        place: backend.name().to_string(),
        known,
        action: match in_use {
            Some(_) => format!("{}, once that run is over", leftover.action),
            None => leftover.action.clone(),
        },
        fixable: in_use.is_none(),
        subject: Subject::Leftover { backend: backend.name().clone(), leftover },
    }
}

/// To the second: more is of no use to people.
pub(super) fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}
