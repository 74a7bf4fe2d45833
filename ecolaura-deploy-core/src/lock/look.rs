//! Reading a lock without touching it.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    Gone, Holder, LockPolicy, claims,
    layout::{self, Held, Keys},
    process::{Machine, ThisMachine},
};
use crate::{ErrorKind, Result, pipeline::Landing, store::RunStore, vocabulary::EnvironmentName};

/// The newest epoch of an environment, as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Seen {
    /// Its number.
    pub epoch: u64,
    /// Who took it. Without what is damaged or missing, here and in the next three.
    pub holder: Option<Holder>,
    /// For which run.
    pub run: Option<String>,
    /// Since when, by its own clock.
    pub since: Option<Timestamp>,
    /// What it brings.
    pub landing: Landing,
    /// Whether it is done.
    pub released: bool,
    /// The newest sign of life.
    pub last_beat: Option<u64>,
    /// How long it may be silent.
    pub term: Duration,
    /// What is damaged.
    pub damage: Option<String>,
    pub(super) nonce: Option<String>,
}

impl Seen {
    /// Whether its holder is gone. A run of this very process that was dropped is gone too.
    pub fn is_gone(&self, environment: &EnvironmentName) -> Gone {
        self.is_gone_on(&ThisMachine, environment)
    }

    pub(super) fn is_gone_on(&self, machine: &dyn Machine, environment: &EnvironmentName) -> Gone {
        match (&self.holder, &self.nonce) {
            (Some(holder), Some(nonce)) => claims::is_gone(machine, environment, holder, nonce),
            _ => Gone::CannotTell,
        }
    }

    /// `run r1 (release r7) of host:42 since 2026-11-24T10:00:00Z`, as far as it is known.
    pub(super) fn who(&self) -> String {
        let run = self.run.as_ref().map_or_else(|| "an unknown run".to_owned(), |run| format!("run {run}"));
        let release = self.landing.sequence().map(|sequence| format!(" (release {sequence})"));
        let holder = self.holder.as_ref().map(|holder| format!(" of {holder}"));
        let since = self.since.map(|since| format!(" since {since}"));
        [Some(run), release, holder, since].into_iter().flatten().collect()
    }
}

/// Who holds `environment`, or held it last; `None` if nobody ever did. Reads only.
///
/// Fails with [`ErrorKind::Unsupported`] if a newer program that holds it writes another form; a damaged object is
/// told in [`Seen::damage`].
pub async fn look(store: &dyn RunStore, environment: &EnvironmentName) -> Result<Option<Seen>> {
    look_at(store, &Keys::new(environment)).await
}

pub(super) async fn look_at(store: &dyn RunStore, keys: &Keys) -> Result<Option<Seen>> {
    for number in numbers(store, keys).await?.into_iter().rev() {
        if let Some(seen) = see(store, keys, number).await? {
            return Ok(Some(seen));
        }
    }
    Ok(None)
}

/// The numbers of the epochs, oldest first. A create that was killed may leave an empty one.
pub(crate) async fn numbers(store: &dyn RunStore, keys: &Keys) -> Result<Vec<u64>> {
    Ok(numbered(&store.names(&keys.epochs()).await?))
}

/// The numbers among the names of epochs, oldest first.
pub(super) fn numbered(names: &[String]) -> Vec<u64> {
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| name.parse().ok()).collect();
    numbers.sort_unstable();
    numbers
}

/// The epoch `number`; `None` if nothing is there.
pub(crate) async fn see(store: &dyn RunStore, keys: &Keys, number: u64) -> Result<Option<Seen>> {
    let objects = store.list(&keys.epoch(number)).await?;
    if objects.is_empty() {
        return Ok(None);
    }
    let released = objects.contains(&keys.released(number));
    let (held, damage) = match layout::read::<Held>(store, &keys.held(number)).await {
        Ok(held) => (held, None),
        Err(error) if error.kind() == ErrorKind::Corrupt => (None, Some(error.report())),
        // What a newer program says of an epoch that is over does not matter here.
        Err(error) if error.kind() == ErrorKind::Unsupported && released => (None, Some(error.report())),
        Err(error) => return Err(error),
    };
    let missing = || held.is_none().then(|| format!("`{}` is missing", keys.held(number)));
    Ok(Some(Seen {
        epoch: number,
        holder: held.as_ref().map(|held| held.holder.clone()),
        run: held.as_ref().map(|held| held.run.clone()),
        since: held.as_ref().map(|held| held.since),
        landing: held.as_ref().map(|held| held.landing).unwrap_or_default(),
        released,
        last_beat: layout::newest_beat(&objects),
        term: held.as_ref().map_or(LockPolicy::default().term, |held| Duration::from_millis(held.term_ms)),
        damage: damage.or_else(missing),
        nonce: held.map(|held| held.nonce),
    }))
}
