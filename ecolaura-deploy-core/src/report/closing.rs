//! The end of a run in words: what happened, why, what to do.

use serde::Serialize;

use super::{
    RunReport, StepReport,
    wording::{clean, duration, one_line},
};
use crate::{plan::PlanSummary, run::RunResult, vocabulary::Name};

/// How an end should feel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tone {
    /// Everything is as it should be.
    Good,
    /// Nothing is wrong; somebody is waited for, or the end is not known yet.
    Waiting,
    /// The release is out, a part of it is not.
    Partial,
    /// It failed, and everything is as it was before.
    Failed,
    /// It failed, and somebody must finish it by hand.
    Operator,
}

/// The end of a run in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Closing {
    /// How it should feel.
    pub tone: Tone,
    /// The end in a few words, without the environment: `rolled back after 2 min 5 s`.
    pub headline: String,
    /// What happened, in a sentence.
    pub what: String,
    /// Why, from the cause outwards; empty if all went well.
    pub why: Vec<String>,
    /// What to do, in sentences; empty if there is nothing.
    pub next: Vec<String>,
    /// What remains to be undone, in that order.
    pub remaining: Vec<String>,
    /// The commands that finish it.
    pub commands: Vec<String>,
}

impl Closing {
    pub(super) fn of(run: &RunReport) -> Self {
        match &run.result {
            Some(RunResult::Succeeded) => succeeded(run),
            Some(RunResult::SucceededExcept { groups }) => except(run, groups),
            Some(RunResult::RolledBack { failed, cause }) => rolled_back(run, failed, cause),
            Some(RunResult::NeedsOperator { failed, cause, remaining, commands }) => Self {
                remaining: remaining.iter().map(|item| one_line(item)).collect(),
                commands: commands.iter().map(|command| clean(command)).collect(),
                ..needs_operator(run, failed, cause)
            },
            Some(RunResult::Suspended { reason }) => suspended(run, reason),
            None => unfinished(run),
        }
    }

    fn new(tone: Tone, headline: String, what: String) -> Self {
        Self { tone, headline, what, why: vec![], next: vec![], remaining: vec![], commands: vec![] }
    }
}

fn succeeded(run: &RunReport) -> Closing {
    let took = duration(run.took);
    if run.plan.as_ref().is_some_and(PlanSummary::is_noop) && run.totals().done == 0 {
        let what = "Everything was as planned already; nothing was changed.".to_owned();
        return Closing::new(Tone::Good, format!("nothing to do, looked for {took}"), what);
    }
    let what = format!("The release is in {}.", run.environment);
    Closing::new(Tone::Good, format!("done in {took}"), what)
}

fn except(run: &RunReport, groups: &[Name]) -> Closing {
    let names: Vec<_> = groups.iter().map(|group| format!("`{group}`")).collect();
    let noun = if groups.len() == 1 { "group" } else { "groups" };
    let names = names.join(", ");
    let failed: Vec<_> = run
        .steps
        .iter()
        .filter(|step| step.error().is_some() && step.group.as_ref().is_none_or(|group| groups.contains(group)))
        .collect();
    Closing {
        why: failed.iter().filter_map(|step| Some(format!("{}: {}", step.name, step.error()?.message))).collect(),
        next: advice(failed.iter().copied()),
        ..Closing::new(
            Tone::Partial,
            format!("done in {}, except {noun} {names}", duration(run.took)),
            format!("The release is in {}; {noun} {names} failed and {} undone.", run.environment, was(groups.len())),
        )
    }
}

fn was(number: usize) -> &'static str {
    if number == 1 { "was" } else { "were" }
}

fn rolled_back(run: &RunReport, failed: &str, cause: &str) -> Closing {
    let undone = match run.totals().undone {
        0 => "nothing had to be undone".to_owned(),
        1 => "the one step that had an effect was undone".to_owned(),
        n => format!("the {n} steps that had an effect were undone, last first"),
    };
    Closing {
        why: why(run, failed, cause),
        next: match run.step(failed) {
            Some(step) => advice([step]),
            None => vec!["Run again when it may go on: what is in place already is not done twice.".to_owned()],
        },
        ..Closing::new(
            Tone::Failed,
            format!("rolled back after {}", duration(run.took)),
            format!("{}; {undone}.", ended_by(run, failed)),
        )
    }
}

fn needs_operator(run: &RunReport, failed: &str, cause: &str) -> Closing {
    let mut why = why(run, failed, cause);
    for step in &run.steps {
        if let Some(error) = step.undo.as_ref().and_then(|undo| undo.error.as_ref()) {
            why.push(format!("undo of {}: {}", step.name, error.message));
        }
    }
    let what = format!("{}, and not everything could be undone.", ended_by(run, failed));
    let next = vec!["Undo what remains, in this order, then run again.".to_owned()];
    let headline = format!("an operator is needed, after {}", duration(run.took));
    Closing { why, next, ..Closing::new(Tone::Operator, headline, what) }
}

fn ended_by(run: &RunReport, failed: &str) -> String {
    match run.step(failed) {
        Some(step) => format!("Step `{}` failed", step.name),
        None => format!("The run was ended by {}", one_line(failed)),
    }
}

fn why(run: &RunReport, failed: &str, cause: &str) -> Vec<String> {
    let cause = clean(cause);
    let known = run.step(failed).and_then(StepReport::error).map(|error| error.message.clone());
    // The step's own record is the fuller one, unless the result says something else.
    match known {
        Some(message) if message.contains(&cause) => vec![message],
        Some(message) if !cause.contains(&message) => vec![cause, message],
        _ => vec![cause],
    }
}

fn advice<'a>(failed: impl IntoIterator<Item = &'a StepReport>) -> Vec<String> {
    let mut next: Vec<String> =
        failed.into_iter().filter_map(|step| step.error()?.advice.as_deref().map(sentence)).collect();
    next.dedup();
    next.push(match next.is_empty() {
        true => "Mend the cause, then run again: what is in place already is not done twice.".to_owned(),
        false => "Then run again: what is in place already is not done twice.".to_owned(),
    });
    next
}

pub(super) fn sentence(text: &str) -> String {
    let text = one_line(text);
    let mut chars = text.chars();
    let start: String = chars.next().into_iter().flat_map(char::to_uppercase).collect();
    let end = if text.ends_with(['.', '!', '?', '`']) { "" } else { "." };
    format!("{start}{}{end}", chars.as_str())
}

fn suspended(run: &RunReport, reason: &str) -> Closing {
    Closing {
        why: vec![clean(reason)],
        next: vec!["Run again to go on from here.".to_owned()],
        ..Closing::new(
            Tone::Waiting,
            format!("waiting, after {}", duration(run.took)),
            "The run waits and can be continued; what was done stays.".to_owned(),
        )
    }
}

fn unfinished(run: &RunReport) -> Closing {
    let running: Vec<_> = run.steps.iter().filter(|step| step.started.is_some() && step.outcome.is_none()).collect();
    let names: Vec<_> = running.iter().map(|step| format!("`{}`", step.name)).collect();
    let at = if names.is_empty() { "between steps".to_owned() } else { format!("in {}", names.join(", ")) };
    Closing {
        next: vec!["If the process has ended, run again: the record says where to go on.".to_owned()],
        ..Closing::new(
            Tone::Waiting,
            format!("not finished after {}", duration(run.took)),
            format!("The events end {at}; the run goes on, or its process was stopped."),
        )
    }
}
