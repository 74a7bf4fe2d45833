//! What was seen, in words.

use jiff::Timestamp;

use super::{Commands, Finding, Severity, Subject, held::Held, runs::RunSeen};
use crate::{
    ErrorKind,
    backend::{Inspect, Leftover},
    report::wording::{count, size},
    run::RunResult,
    store::Fault,
};

/// A run that did not end.
pub(super) fn open_run(seen: &RunSeen, place: String, (commands, held): (&Commands, Option<&Held>)) -> Finding {
    let mut known = vec![began(seen)];
    known.extend(seen.begun().into_iter().map(|(step, attempt, record)| {
        let at = moment(record.at);
        format!("`{step}` was begun at {at} (attempt {attempt}); whether it took effect is not recorded")
    }));
    if let Some((cause, steps)) = seen.account.undoing() {
        let left = match steps.is_empty() {
            true => "nothing is left to undo".to_owned(),
            false => format!("still to be undone: {}", quoted(&steps)),
        };
        known.push(format!("It was being undone ({cause}); {left}"));
    }
    if let Some(RunResult::Suspended { reason }) = &seen.result {
        known.push(format!("It waits: {reason}"));
    }
    let works = held.is_some_and(|held| held.works_on(&seen.run));
    Finding {
        severity: if works { Severity::Note } else { Severity::Warning },
        what: format!("open run {}", seen.run),
        place,
        known,
        action: what_to_do(seen, commands, works),
        fixable: false,
        subject: Subject::Run { run: seen.run.clone() },
    }
}

fn what_to_do(seen: &RunSeen, commands: &Commands, works: bool) -> String {
    let Commands { resume, roll_back, .. } = commands;
    if works {
        return "let it end: its deployer lives".to_owned();
    }
    if seen.chain.records.is_empty() && seen.chain.faults.is_empty() {
        return "nothing can be gone on with or undone; the next run begins without it".to_owned();
    }
    if !seen.chain.faults.is_empty() {
        let how = "while its records are damaged nobody goes on with it or undoes it, and no other run can begin";
        return format!("see to its records, which come below: {how}");
    }
    match seen.account.undoing().is_some() {
        true => format!("`{roll_back}` finishes the undoing; the next run does it first by itself"),
        false => format!("`{resume}` goes on with it, `{roll_back}` undoes it; the next run undoes it first by itself"),
    }
}

/// A run whose last records are gone, while the environment's state says that it is over.
pub(super) fn without_end(seen: &RunSeen, place: String) -> Finding {
    let state = "The environment counts it as over, so nobody goes on with it or undoes it";
    Finding {
        severity: Severity::Warning,
        what: format!("run {} without its end", seen.run),
        place,
        known: vec![began(seen), state.to_owned()],
        action: "restore its last records from a copy if you want to know how it ended; no other run needs them"
            .to_owned(),
        fixable: false,
        subject: Subject::Run { run: seen.run.clone() },
    }
}

fn began(seen: &RunSeen) -> String {
    let Some(first) = seen.first() else { return "None of its records can be read".to_owned() };
    let last = seen.last().unwrap_or(first);
    let times = format!("began at {}, its last record is of {}", moment(first), moment(last));
    let ended = seen.account.ended();
    match seen.began() {
        Some((pipeline, epoch, steps)) => {
            let epoch = Some(epoch).filter(|epoch| *epoch > 0).map(|epoch| format!(" under epoch {epoch}"));
            let epoch = epoch.unwrap_or_default();
            format!("The run of pipeline `{pipeline}`{epoch} {times}; {ended} of {steps} steps have an outcome")
        }
        None => format!(
            "The run {times}; {} an outcome",
            if ended == 1 { "1 step has".to_owned() } else { format!("{ended} steps have") }
        ),
    }
}

fn quoted(names: &[impl std::fmt::Display]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// The newest run, if it ended with something that could not be undone.
pub(super) fn needs_operator(seen: &RunSeen, place: String) -> Option<Finding> {
    let Some(RunResult::NeedsOperator { failed, cause, remaining, commands }) = &seen.result else { return None };
    // What to do names what remains.
    let left = if commands.is_empty() { remaining } else { commands };
    let mut known = vec![format!("`{failed}` failed: {cause}")];
    known.extend(left.iter().map(|left| format!("Not undone: {left}")));
    Some(Finding {
        severity: Severity::Problem,
        what: format!("run {} that could not be undone", seen.run),
        place,
        known,
        action: "undo what remains, in this order, then run again".to_owned(),
        fixable: false,
        subject: Subject::Run { run: seen.run.clone() },
    })
}

/// A record that is damaged, missing, or of a newer program.
pub(super) fn fault(seen: &RunSeen, fault: &Fault, commands: &Commands) -> Finding {
    let known = vec![
        format!("{} of the run can be read", count(seen.chain.records.len(), "other record")),
        match &seen.result {
            Some(result) => format!("The run ended: {}", ended(result)),
            None if seen.open => "The run is open".to_owned(),
            None if seen.chain.blind => {
                "Whether the run ended cannot be told; the environment counts it as over".to_owned()
            }
            None => "The run did not end; the environment counts it as over".to_owned(),
        },
    ];
    let mut finding = faulty(fault, known);
    if fault.error.kind() == ErrorKind::Corrupt {
        let restore = "restore it from a copy";
        finding.action = match (seen.open, &commands.give_up, &seen.run) {
            (true, give_up, run) => {
                format!("{restore}, or close the run as it is with `{give_up} {run}` and look at what it did")
            }
            _ => format!("{restore} if you want to read it; no other run needs it"),
        };
    }
    finding
}

/// The same of a record that is no run's.
pub(super) fn stray_fault(fault: &Fault) -> Finding {
    let known = match fault.key.split('/').nth(2) {
        Some("state") => "It is a snapshot; what it says can be made again from older ones and from the runs",
        Some("releases") => "It says which release was live; older ones can be read",
        Some("epochs") if fault.key.ends_with("/first") => {
            "It holds the number of the first epoch, and nothing once there is one; it can be removed"
        }
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
