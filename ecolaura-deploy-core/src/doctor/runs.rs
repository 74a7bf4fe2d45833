//! Which runs are looked at, and what their records show, damaged ones too.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::Doctor;
use crate::{
    Result,
    lock::{self, Keys},
    run::{Account, RunResult},
    store::{Chain, EnvironmentState, Record, RecordBody, RunStore, read_whole},
    vocabulary::{EnvironmentName, Name},
};

/// How many of the newest runs are always looked at, and how many of the newest releases.
pub(super) const NEWEST: usize = 50;

/// One run.
#[derive(Debug)]
pub(super) struct RunSeen {
    pub(super) run: String,
    pub(super) chain: Chain,
    pub(super) account: Account,
    /// How it ended, as its records say, or else the environment's state.
    pub(super) result: Option<RunResult>,
    /// Whether it can be gone on with.
    pub(super) open: bool,
}

impl RunSeen {
    /// With the environment's state, if that can be read, and whether no other run is newer.
    fn new(run: String, chain: Chain, (state, newest): (Option<&EnvironmentState>, bool)) -> Self {
        let mut account = Account::of(&chain.records);
        let last = state.and_then(|state| state.last.as_ref()).filter(|last| last.run == run);
        let result = account.result.take().or_else(|| last.map(|last| last.result.clone()));
        let over = result.as_ref().is_some_and(RunResult::is_over);
        let open = match state {
            Some(state) => state.open.as_ref().is_some_and(|open| open.run == run),
            None => newest && !chain.blind && !chain.records.is_empty(),
        };
        Self { run, chain, account, result, open: open && !over }
    }

    /// The pipeline, the epoch that began, and the number of steps, if its first record can be read.
    pub(super) fn began(&self) -> Option<(&Name, u64, usize)> {
        match &self.chain.records.first()?.body {
            RecordBody::RunStarted { pipeline, plan, epoch, .. } => Some((pipeline, *epoch, plan.steps.len())),
            _ => None,
        }
    }

    pub(super) fn first(&self) -> Option<Timestamp> {
        self.chain.records.first().map(|record| record.at)
    }

    pub(super) fn last(&self) -> Option<Timestamp> {
        self.chain.records.last().map(|record| record.at)
    }

    /// What was begun and has no outcome: the step, the attempt, and when.
    pub(super) fn begun(&self) -> Vec<(&str, u32, &Record)> {
        let record = |at: u64| self.chain.records.iter().find(|record| record.seq == at);
        self.account.begun().filter_map(|(step, attempt, at)| Some((step, attempt, record(at)?))).collect()
    }

    /// Whether its records stop before its end although it cannot be gone on with, and nothing else tells why.
    pub(super) fn lacks_its_end(&self) -> bool {
        let Chain { records, faults, .. } = &self.chain;
        !self.open && self.result.is_none() && faults.is_empty() && !records.is_empty()
    }
}

/// The runs to look at, oldest first, and how many there are besides.
pub(super) struct Chosen {
    pub(super) runs: Vec<String>,
    pub(super) unread: usize,
}

impl Doctor {
    /// Every run that there is, oldest first.
    pub(super) async fn names(&self) -> Result<Vec<String>> {
        self.store.names(&format!("environments/{}/runs", self.environment)).await
    }

    /// The newest of `runs`, and those that the present state rests on however old they are: the open one, the last that
    /// ended, and those of every epoch that is still there, among which are all since the newest snapshot.
    pub(super) async fn choose(&self, mut runs: Vec<String>, state: Option<&EnvironmentState>) -> Result<Chosen> {
        let older = if self.everything { 0 } else { runs.len().saturating_sub(NEWEST) };
        let newest = runs.split_off(older);
        let needed = needed(self.store.as_ref(), &self.environment, state).await?;
        // One of which no record is left is open all the same.
        let open = state.and_then(|state| state.open.as_ref()).map(|open| open.run.clone());
        let lost = open.filter(|open| !runs.contains(open) && !newest.contains(open));
        runs.retain(|run| needed.contains(run));
        let unread = older - runs.len();
        Ok(Chosen { runs: runs.into_iter().chain(newest).chain(lost).collect(), unread })
    }

    /// What the records of `run` show. What cannot be read is among the faults of its chain.
    pub(super) async fn read(&self, run: String, known: (Option<&EnvironmentState>, bool)) -> Result<RunSeen> {
        let chain = read_whole(self.store.as_ref(), &self.environment, &run).await?;
        Ok(RunSeen::new(run, chain, known))
    }
}

async fn needed(
    store: &dyn RunStore,
    environment: &EnvironmentName,
    state: Option<&EnvironmentState>,
) -> Result<BTreeSet<String>> {
    let open = state.and_then(|state| state.open.as_ref()).map(|open| open.run.clone());
    let last = state.and_then(|state| state.last.as_ref()).map(|last| last.run.clone());
    let mut needed: BTreeSet<String> = open.into_iter().chain(last).collect();
    let keys = Keys::new(environment);
    for number in lock::numbers(store, &keys).await? {
        // What cannot be read of the lock is told with its records.
        let seen = lock::see(store, &keys, number).await.ok().flatten();
        needed.extend(seen.and_then(|seen| seen.run));
    }
    Ok(needed)
}
