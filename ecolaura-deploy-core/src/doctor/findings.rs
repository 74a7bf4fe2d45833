//! What was seen, in words.

use jiff::Timestamp;

use super::{
    Finding, Severity, Subject,
    held::Held,
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
pub(super) fn open_run(seen: &RunSeen, place: String, (calls, held): (&Calls, Option<&Held>)) -> Finding {
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
    let works = held.is_some_and(|held| held.works_on(&seen.run));
    let action = match seen.undoing.is_some() {
        _ if works => "let it end: its deployer lives".to_owned(),
        true => format!("`{roll_back}` finishes the undoing; the next run does it first by itself"),
        false => format!("`{resume}` goes on with it, `{roll_back}` undoes it; the next run undoes it first by itself"),
    };
    Finding {
        severity: if works { Severity::Note } else { Severity::Warning },
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
    let known = vec![
        format!("{} of the run can be read", count(seen.whole, "other record")),
        match &seen.result {
            Some(result) => format!("The run ended: {}", ended(result)),
            None if seen.is_in_the_dark() => "Whether the run ended cannot be told".to_owned(),
            None => "The run did not end".to_owned(),
        },
    ];
    faulty(fault, known)
}

/// The same of a record that is no run's.
pub(super) fn stray_fault(fault: &Fault) -> Finding {
    let known = match fault.key.split('/').nth(2) {
        Some("state") => "It is a snapshot; what it says can be made again from older ones and from the runs",
        Some("releases") => "It says which release was live; older ones can be read",
        Some("epochs") => "It is of the environment's lock; it counts as taken by somebody unknown",
        _ => "Nothing rests on it",
    };
    faulty(fault, vec![known.to_owned()])
}

fn faulty(fault: &Fault, known: Vec<String>) -> Finding {
    let key = &fault.key;
    let what = match fault.bytes {
        _ if fault.error.kind() == ErrorKind::Unsupported => "record of a newer program",
        Some(_) => "damaged record",
        None => "gap before record",
    };
    // Where it is stands apart.
    let message = fault.error.message().replace(&format!("record `{key}`, "), "");
    let message = message.replace(&format!("record `{key}`"), "the record").replace(&format!("`{key}`"), "it");
    let name = key.splitn(3, '/').nth(2).unwrap_or(key);
    Finding {
        severity: Severity::Problem,
        what: format!("{what} {name}"),
        place: key.clone(),
        known: std::iter::once(message).chain(known).collect(),
        action: fault.error.advice_text().unwrap_or_default().to_owned(),
        fixable: false,
        subject: Subject::Record { key: key.clone() },
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
            Some(_) => format!("{}, once that is over", leftover.action),
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
