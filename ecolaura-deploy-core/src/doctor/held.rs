//! Who holds the environment, in words.

use jiff::Timestamp;
use serde::Deserialize;

use super::fix::NAME;
use super::{Commands, Finding, Severity, Subject, findings::moment};
use crate::{
    Result,
    lock::{self, Gone, Seen},
    report::wording::duration,
    store::{RunStore, SCHEMA, seal},
    vocabulary::EnvironmentName,
};

/// An epoch that is not released.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) seen: Seen,
    pub(super) gone: Gone,
    /// When its last sign of life was given, by its own clock.
    beat: Option<Timestamp>,
}

/// The epoch of `environment` that is not released; `None` if it is free.
pub(super) async fn read(store: &dyn RunStore, environment: &EnvironmentName) -> Result<Option<Held>> {
    let Some(seen) = lock::look(store, environment).await?.filter(|seen| !seen.released) else { return Ok(None) };
    let gone = seen.is_gone(environment);
    let beat = last_beat(store, &folder(environment, seen.epoch)).await?;
    Ok(Some(Held { seen, gone, beat }))
}

fn folder(environment: &EnvironmentName, epoch: u64) -> String {
    format!("environments/{environment}/epochs/{epoch:010}")
}

#[derive(Deserialize)]
struct Beat {
    at: Timestamp,
}

async fn last_beat(store: &dyn RunStore, folder: &str) -> Result<Option<Timestamp>> {
    let keys = store.list(folder).await?;
    let Some(key) = keys.iter().rfind(|key| key.contains("/beat-")) else { return Ok(None) };
    let line = store.get(key).await?;
    Ok(line.and_then(|line| Some(seal::open::<Beat>(key, &line, SCHEMA).ok()?.0.at)))
}

impl Held {
    /// Why what a run works on may be in use; `None` if its holder is gone.
    pub(super) fn in_use(&self, environment: &EnvironmentName) -> Option<String> {
        let by = format!("{}{}", self.who(), self.since_and_why());
        match self.gone {
            Gone::Yes => None,
            Gone::No => Some(format!("{environment} is held by {by}, and its process lives")),
            Gone::CannotTell => Some(format!("{environment} is held by {by}, and its process may live")),
        }
    }

    /// Whether it is known to work on `run`.
    pub(super) fn works_on(&self, run: &str) -> bool {
        self.gone == Gone::No && self.seen.run.as_deref() == Some(run)
    }

    fn who(&self) -> String {
        match &self.seen.holder {
            Some(holder) => format!("process {} of `{}`", holder.pid, holder.host),
            None => "somebody unknown".to_owned(),
        }
    }

    fn since_and_why(&self) -> String {
        let since = self.seen.since.map(|since| format!(" since {}", moment(since)));
        let run = self.seen.run.as_ref().map(|run| match run.as_str() {
            NAME => " for a doctor that cleans up".to_owned(),
            run => format!(" for run {run}"),
        });
        [since, run].into_iter().flatten().collect()
    }

    fn known(&self) -> Vec<String> {
        let beat = match self.beat {
            Some(at) => format!("Its last sign of life is of {}", moment(at)),
            None => "It gave no sign of life yet".to_owned(),
        };
        let lives = match self.gone {
            Gone::Yes => "That process is proven gone: this machine has no such process any more",
            Gone::No => "That process lives, on this machine",
            Gone::CannotTell => "Whether it lives cannot be told from here",
        };
        let mut known = vec![format!("It is held by {}{}", self.who(), self.since_and_why()), beat, lives.to_owned()];
        known.extend(self.seen.damage.clone());
        known
    }

    pub(super) fn finding(&self, environment: &EnvironmentName, commands: &Commands) -> Finding {
        // What the lock waits beyond the term is for signs of life that are on their way.
        let silent = duration(self.seen.term.saturating_add(self.seen.term / 4));
        let Commands { resume, roll_back, .. } = commands;
        let (severity, what, action) = match self.gone {
            Gone::No => (Severity::Note, "held", "let it end".to_owned()),
            Gone::Yes => (
                Severity::Warning,
                "held by nobody",
                format!("the next run takes it over at once, and so do `{resume}` and `{roll_back}`; remove nothing"),
            ),
            Gone::CannotTell => (
                Severity::Note,
                "held, perhaps by nobody",
                format!("a run that waits takes it over when it was silent for {silent}; remove nothing"),
            ),
        };
        Finding {
            severity,
            what: format!("epoch {} of {environment} is {what}", self.seen.epoch),
            place: folder(environment, self.seen.epoch),
            known: self.known(),
            action,
            fixable: false,
            subject: Subject::Epoch { number: self.seen.epoch },
        }
    }
}
