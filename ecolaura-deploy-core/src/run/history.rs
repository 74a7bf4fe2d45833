//! What the records of a run say: how far each step came, what was undone, and whether the run goes forward. Pure.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::RunResult;
use crate::{
    Effect, Error, ErrorKind, ErrorRecord, Result,
    pipeline::Landing,
    plan::{PlanSummary, StepSummary},
    step::{EffectClass, UndoRecord},
    store::{Record, RecordBody},
    vocabulary::Digest,
};

/// How far a step came.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Past {
    /// An effect may have happened, and its outcome is not known.
    Begun { attempt: u32, effect: EffectClass, undo: Option<UndoRecord>, at: u64 },
    /// It happened.
    Done { output: serde_json::Value, undo: Option<UndoRecord>, at: u64 },
    /// There was nothing to do.
    Unchanged { output: serde_json::Value },
    /// It failed; `again` if another attempt was to follow.
    Failed { attempt: u32, error: ErrorRecord, undo: Option<UndoRecord>, again: bool, at: u64 },
}

/// What a run was, as far as it is written down.
#[derive(Debug, Clone)]
pub(crate) struct History {
    pub(super) plan: PlanSummary,
    pub(super) known: BTreeMap<String, serde_json::Value>,
    pub(super) landing: Landing,
    pub(super) started: Timestamp,
    /// Where a record says an earlier time than the one before it.
    pub(super) clock_went_back: Option<(Timestamp, Timestamp)>,
    account: Account,
}

/// What records say that was done, whether they begin with the plan or not.
#[derive(Debug, Clone, Default)]
pub(crate) struct Account {
    steps: BTreeMap<String, Past>,
    /// What undoes each step, as the last intent said.
    prepared: BTreeMap<String, UndoRecord>,
    /// The class of each step's last effect.
    classes: BTreeMap<String, EffectClass>,
    /// What each step read beyond its inputs, before its last effect or when it had nothing to do.
    fingerprints: BTreeMap<String, Digest>,
    /// Steps whose effects are gone again.
    undone: BTreeSet<String>,
    /// Steps that were to be undone, by the cause.
    planned: Vec<(String, Vec<String>)>,
    /// Why the whole run was to end.
    cancelled: Option<String>,
    /// How it ended, if it did.
    pub(crate) result: Option<RunResult>,
}

impl History {
    /// Folds the records of one run; `None` if there are none: it never began.
    pub(crate) fn of(records: &[Record]) -> Result<Option<Self>> {
        let Some(first) = records.first() else { return Ok(None) };
        let RecordBody::RunStarted { plan, known, landing, .. } = &first.body else {
            let message = format!("run `{}` does not begin with its plan", first.run);
            return Err(Error::new(ErrorKind::Corrupt, "store.read", message));
        };
        let mut pairs = records.windows(2).map(|pair| (pair[0].at, pair[1].at));
        Ok(Some(Self {
            plan: plan.clone(),
            known: known.clone(),
            landing: *landing,
            started: first.at,
            clock_went_back: pairs.find(|(before, after)| after < before),
            account: Account::of(records),
        }))
    }

    /// Whether nothing is left to do: it ended and does not wait.
    pub(crate) fn is_over(&self) -> bool {
        self.account.result.as_ref().is_some_and(RunResult::is_over)
    }

    /// Whether every step is done, had nothing to do, or was passed over as planned.
    pub(super) fn lacks_only_its_end(&self) -> bool {
        let through = |step: &StepSummary| self.output(step).is_some() || step.skipped;
        self.account.undone.is_empty() && self.plan.steps.iter().all(through)
    }

    pub(super) fn past(&self, step: &str) -> Option<&Past> {
        self.account.steps.get(step)
    }

    /// What a step that is done, had nothing to do, or was passed over, read beyond its inputs.
    pub(super) fn fingerprint(&self, step: &StepSummary) -> Option<Digest> {
        match self.past(&step.name) {
            Some(Past::Done { .. } | Past::Unchanged { .. }) => self.account.fingerprints.get(&step.name).copied(),
            None if step.skipped => step.fingerprint,
            _ => None,
        }
    }

    /// The output of a step that is done, or was passed over.
    pub(super) fn output(&self, step: &StepSummary) -> Option<&serde_json::Value> {
        match self.past(&step.name) {
            Some(Past::Done { output, .. } | Past::Unchanged { output }) => Some(output),
            None if step.skipped => self.known.get(&step.name),
            _ => None,
        }
    }

    pub(super) fn is_undone(&self, step: &str) -> bool {
        self.account.undone.contains(step)
    }

    /// Why all of it is being undone, if it is: `release` is the group that takes everything with it.
    pub(super) fn going_back(&self, release: &str) -> Option<String> {
        let group = |name: &str| self.plan.steps.iter().find(|step| step.name == name).map(|step| step.group.as_str());
        let undoing =
            self.account.planned.iter().find(|(_, steps)| steps.iter().any(|step| group(step) == Some(release)));
        let failed = self.plan.steps.iter().filter(|step| step.group.as_str() == release).find_map(|step| {
            match self.past(&step.name) {
                Some(Past::Failed { error, again: false, .. }) if !waits(error) => {
                    Some(format!("`{}` failed: {}", step.name, error.message))
                }
                _ => None,
            }
        });
        self.account.cancelled.clone().or_else(|| undoing.map(|(cause, _)| cause.clone())).or(failed)
    }

    /// The step that failed first, and why, for the result of a run that goes back.
    pub(super) fn first_failure(&self) -> Option<(String, String)> {
        let failed = self.account.steps.iter().filter_map(|(step, past)| match past {
            Past::Failed { error, again: false, at, .. } if !waits(error) => Some((*at, step, &error.message)),
            _ => None,
        });
        failed.min_by_key(|(at, ..)| *at).map(|(_, step, message)| (step.clone(), message.clone()))
    }

    /// Everything that may have had an effect which is not undone yet, last first.
    pub(super) fn effects(&self) -> Vec<Remaining> {
        self.account.effects()
    }
}

impl Account {
    pub(crate) fn of(records: &[Record]) -> Self {
        let mut account = Self::default();
        let deeds = records.iter().filter(|record| !matches!(record.body, RecordBody::RunStarted { .. }));
        deeds.for_each(|record| account.take(record));
        account
    }

    fn take(&mut self, record: &Record) {
        let at = record.seq;
        // Only of the last record it counts that it is the end.
        self.result = None;
        match record.body.clone() {
            RecordBody::Intent { step, attempt, effect, undo, fingerprint, .. } => {
                if let Some(fingerprint) = fingerprint {
                    self.fingerprints.insert(step.clone(), fingerprint);
                }
                self.undone.remove(&step);
                self.classes.insert(step.clone(), effect);
                match undo.clone() {
                    Some(undo) => _ = self.prepared.insert(step.clone(), undo),
                    None => _ = self.prepared.remove(&step),
                }
                self.steps.insert(step, Past::Begun { attempt, effect, undo, at });
            }
            RecordBody::Done { step, output, undo, .. } => {
                let undo = undo.or_else(|| self.prepared.get(&step).cloned());
                self.steps.insert(step, Past::Done { output, undo, at });
            }
            RecordBody::Unchanged { step, output, fingerprint } => {
                if let Some(fingerprint) = fingerprint {
                    self.fingerprints.insert(step.clone(), fingerprint);
                }
                self.steps.insert(step, Past::Unchanged { output });
            }
            RecordBody::Failed { step, attempt, error, undo, again } => {
                self.steps.insert(step, Past::Failed { attempt, error, undo, again, at });
            }
            RecordBody::CancelRequested { cause } => _ = self.cancelled.get_or_insert(cause),
            RecordBody::UndoPlanned { cause, steps } => self.planned.push((cause, steps)),
            RecordBody::UndoDone { step, error: None } => _ = self.undone.insert(step),
            RecordBody::RunFinished { result } => self.result = Some(result),
            RecordBody::Resumed { undo: true, by, .. } => {
                self.cancelled.get_or_insert(format!("{by} took it back"));
            }
            RecordBody::RunStarted { .. }
            | RecordBody::Resumed { .. }
            | RecordBody::UndoIntent { .. }
            | RecordBody::UndoDone { .. } => {}
        }
    }

    /// What was begun and has no outcome: the step, the attempt, and the place of the record.
    pub(crate) fn begun(&self) -> impl Iterator<Item = (&str, u32, u64)> {
        self.steps.iter().filter_map(|(step, past)| match past {
            Past::Begun { attempt, at, .. } => Some((step.as_str(), *attempt, *at)),
            _ => None,
        })
    }

    /// How many steps are done, or had nothing to do.
    pub(crate) fn ended(&self) -> usize {
        self.steps.values().filter(|past| matches!(past, Past::Done { .. } | Past::Unchanged { .. })).count()
    }

    /// Why it is undone, if that began, and which steps still are to be, in order.
    pub(crate) fn undoing(&self) -> Option<(&str, Vec<&str>)> {
        let (cause, steps) = self.planned.last()?;
        let left = steps.iter().map(String::as_str).filter(|step| !self.undone.contains(*step));
        Some((cause, left.collect()))
    }

    /// Everything that may have had an effect which is not undone yet, last first.
    pub(super) fn effects(&self) -> Vec<Remaining> {
        let mut found: Vec<_> = self
            .steps
            .iter()
            .filter(|(step, _)| !self.undone.contains(*step))
            .filter_map(|(step, past)| {
                let (effect, undo, at) = match past {
                    Past::Begun { undo, at, .. } => (Effect::Unknown, undo, at),
                    Past::Done { undo, at, .. } => (Effect::Complete, undo, at),
                    Past::Failed { error, undo, at, .. } => (error.effect, undo, at),
                    Past::Unchanged { .. } => return None,
                };
                let done = matches!(past, Past::Done { .. });
                let class = self.classes.get(step).copied().unwrap_or(EffectClass::Opaque);
                let remaining = Remaining { step: step.clone(), undo: undo.clone(), effect, done, class };
                (effect != Effect::None).then_some((*at, remaining))
            })
            .collect();
        found.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        found.into_iter().map(|(_, remaining)| remaining).collect()
    }
}

/// An effect that is not undone.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Remaining {
    pub(super) step: String,
    pub(super) undo: Option<UndoRecord>,
    pub(super) effect: Effect,
    /// Whether its step ended well.
    pub(super) done: bool,
    pub(super) class: EffectClass,
}

/// Whether a failure only means that the step's time has not come.
pub(super) fn waits(error: &ErrorRecord) -> bool {
    error.kind == ErrorKind::Waiting && error.effect == Effect::None
}

/// What a process that goes on with a run does about a step.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Next {
    /// It was done, or there was nothing to do.
    Keep { output: serde_json::Value, undo: Option<UndoRecord>, at: u64 },
    /// It is run, from attempt `attempt`; `left` is what earlier ones may have left behind, and `undo` undoes that.
    Run { attempt: u32, left: Option<Effect>, undo: Option<UndoRecord>, at: u64 },
    /// The real system is asked whether the effect happened, and then it is kept or run.
    Probe { attempt: u32, undo: Option<UndoRecord>, at: u64 },
    /// It failed for good, and may have left something behind.
    Failed { error: ErrorRecord, undo: Option<UndoRecord>, at: u64 },
}

const FRESH: Next = Next::Run { attempt: 1, left: None, undo: None, at: 0 };

/// The decision for a step of `class`, from what is written down of it. What is unknown is asked for, never guessed.
pub(super) fn next(past: Option<&Past>, class: EffectClass) -> Next {
    match past.cloned() {
        None => FRESH,
        Some(Past::Done { output, undo, at }) => Next::Keep { output, undo, at },
        Some(Past::Unchanged { output }) => Next::Keep { output, undo: None, at: 0 },
        Some(Past::Begun { attempt, effect, undo, at }) => unknown(attempt, Effect::Unknown, effect, undo, at),
        Some(Past::Failed { error, .. }) if waits(&error) => FRESH,
        Some(Past::Failed { error, undo, again: false, at, .. }) => Next::Failed { error, undo, at },
        Some(Past::Failed { attempt, error, undo, at, .. }) => match error.effect {
            Effect::None => Next::Run { attempt: attempt + 1, left: None, undo: None, at },
            effect => unknown(attempt, effect, class, undo, at),
        },
    }
}

/// After an attempt of which it is not known how far it came.
fn unknown(attempt: u32, left: Effect, class: EffectClass, undo: Option<UndoRecord>, at: u64) -> Next {
    let attempt = attempt + 1;
    match class {
        EffectClass::Pure => Next::Run { attempt, left: None, undo: None, at },
        EffectClass::Converging | EffectClass::Keyed => Next::Run { attempt, left: Some(left), undo, at },
        EffectClass::Transactional | EffectClass::Probed => Next::Probe { attempt, undo, at },
        EffectClass::Opaque => Next::Failed { error: opaque(left), undo, at },
    }
}

fn opaque(left: Effect) -> ErrorRecord {
    let message = "the process that ran it is gone, and nothing tells whether its effect happened";
    let error = Error::new(ErrorKind::Internal, "run.resume", message)
        .with_effect(left)
        .advice("look at it, and undo by hand what it did");
    ErrorRecord::from(&error)
}

#[cfg(test)]
mod tests;
