//! What a simulation came to.

use super::{case::Observed, life::Ended, observe};
use crate::{ErrorKind, run::RunResult, testing::invariants};

/// How a case ended, in the words of the fault matrix.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// All promises were kept, and the environment was closed without anybody's help.
    Survived,
    /// All promises were kept, and an operator was asked to act, by name.
    Contained(String),
    /// Promises were broken.
    Failed(Vec<String>),
}

impl Verdict {
    /// Of the promises that were broken, and what an operator was asked to do.
    pub fn of(broken: Vec<String>, asked: Option<String>) -> Self {
        match (broken.is_empty(), asked) {
            (false, _) => Self::Failed(broken),
            (true, Some(asked)) => Self::Contained(asked),
            (true, None) => Self::Survived,
        }
    }

    /// Failed as well if nobody was told all of `told`; if that is nothing, if anybody was asked.
    pub fn telling(self, told: &[&str]) -> Self {
        match self {
            Self::Survived if !told.is_empty() => Self::Failed(vec![format!("nobody was told {}", told.join(", "))]),
            Self::Contained(asked) if told.is_empty() || !told.iter().all(|told| asked.contains(told)) => {
                Self::Failed(vec![format!("an operator was told {asked}, expected was {told:?}")])
            }
            verdict => verdict,
        }
    }
}

impl Observed {
    /// Survived, contained or failed: all invariants but I11, and what the results say of the world.
    pub fn verdict(&self) -> Verdict {
        let mut broken = self.broken();
        let asked = self.asks();
        if asked.is_none() && !self.last().is_some_and(Ended::closes) {
            let ended: Vec<String> = self.processes.iter().map(|(_, ended)| ended.to_string()).collect();
            broken.push(format!("I4: not closed after {} processes: {}", ended.len(), ended.join("; ")));
        }
        if !broken.is_empty() {
            let ended = self.processes.iter().map(|(number, ended)| format!("process {number}: {ended}"));
            broken.extend(ended.chain(self.next.iter().map(|ended| format!("the next deploy: {ended}"))));
        }
        Verdict::of(broken, asked)
    }

    /// What an operator is asked to do, if anything: by whoever worked on the environment last if that ended, otherwise
    /// by the last one that could say anything.
    fn asks(&self) -> Option<String> {
        let over = |ended: &&Ended| ended.closes() || matches!(ended, Ended::Finished(RunResult::NeedsOperator { .. }));
        let speaks = |ended: &&Ended| !matches!(ended, Ended::Killed | Ended::Finished(RunResult::Suspended { .. }));
        let last = self.last().filter(over);
        let last = last.or_else(|| self.processes.iter().map(|(_, ended)| ended).rfind(speaks))?;
        match last {
            Ended::Finished(RunResult::NeedsOperator { failed, cause, commands, .. }) => {
                Some(format!("`{failed}` failed: {cause}; to do: {}", commands.join("; ")))
            }
            Ended::Refused(error) if error.kind() != ErrorKind::Internal => Some(error.report()),
            _ => None,
        }
    }

    fn broken(&self) -> Vec<String> {
        let mut broken = self.moments.clone();
        broken.extend(invariants::acknowledged(&self.disk));
        broken.extend(invariants::damage_kept(&self.disk));
        broken.extend(invariants::applied_once(&self.fakes.migrator.calls(), &self.ledger));
        broken.extend(invariants::one_ending(&self.disk));
        broken.extend(invariants::intents_first(&self.ledger, &self.disk));
        broken.extend(invariants::fenced(&self.ledger));
        broken.extend(invariants::no_secrets(&self.fakes.secrets.values(), self.sinks()));
        broken.extend(self.result_and_world());
        broken.extend(self.wedged());
        broken.extend(self.stuck());
        broken
    }

    fn sinks(&self) -> Vec<(&'static str, String)> {
        let mut sinks: Vec<(&'static str, String)> =
            self.events.iter().map(|(_, event)| ("an event", invariants::event_text(event))).collect();
        let objects = self.disk.objects().into_values();
        sinks.extend(objects.map(|body| ("a record", String::from_utf8_lossy(&body).into_owned())));
        sinks.extend(self.processes.iter().map(|(_, ended)| ("an error", format!("{ended:?}"))));
        sinks.extend(self.next.iter().map(|ended| ("an error", format!("{ended:?}"))));
        sinks
    }

    /// I7 and more: a run that succeeded leaves the new release, one that was rolled back the old one, whole.
    fn result_and_world(&self) -> Vec<String> {
        match self.last() {
            Some(Ended::Finished(RunResult::Succeeded)) => {
                invariants::state("the new release", &self.wanted, &self.found)
            }
            Some(Ended::Finished(RunResult::RolledBack { .. })) => {
                invariants::state("the old release", &self.before, &self.found)
            }
            Some(Ended::Finished(RunResult::NeedsOperator { remaining, commands, .. }))
                if remaining.is_empty() || commands.is_empty() =>
            {
                vec!["I4: an operator is needed, and nothing says for what".to_owned()]
            }
            _ => Vec::new(),
        }
    }

    /// I5, I10: the next deploy succeeds, and leaves the new release and nothing else. Where the store was damaged it may
    /// be refused, by the name of what is damaged.
    fn wedged(&self) -> Vec<String> {
        let damaged = !self.disk.damaged().is_empty();
        match self.next.last() {
            Some(Ended::Finished(RunResult::Succeeded)) => {}
            Some(Ended::Refused(error)) if damaged && error.kind() == ErrorKind::Corrupt => return Vec::new(),
            Some(ended) => return vec![format!("I5: the next deploy ends as {ended}")],
            None => return vec!["I5: there was no next deploy".to_owned()],
        }
        let mut broken = invariants::state("the new release after the next deploy", &self.wanted, &self.afterwards);
        if !damaged {
            broken.extend(invariants::nothing_open(&self.disk));
            broken.extend(invariants::released(&self.disk));
        }
        for namespace in self.subjects.namespaces() {
            let status = observe::cluster_status(&self.fakes, &self.cx, &namespace);
            broken.extend(status.iter().flat_map(invariants::no_candidates));
        }
        broken
    }

    /// I4: every process ends within its deadlines.
    fn stuck(&self) -> Vec<String> {
        let stuck = self.processes.iter().filter_map(|(number, ended)| match ended {
            Ended::Stuck => Some(format!("I4: process {number} does not end")),
            Ended::Panicked => Some(format!("I4: process {number} panicked")),
            _ => None,
        });
        stuck.collect()
    }
}
