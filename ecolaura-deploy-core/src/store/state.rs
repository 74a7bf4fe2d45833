//! What an environment is at: a snapshot that is written at the end of each epoch, and what came after it.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Created, Record, RecordBody, RunStore, StoredReleases, read_run, seal};
use crate::{
    Error, ErrorKind, Result,
    lock::{self, Holder, Keys, Seen},
    pipeline::Landing,
    run::RunResult,
    vocabulary::{EnvironmentName, Name, ReleaseSequence},
};

/// The version of the form of snapshots.
const SCHEMA: u32 = 1;

/// The state of an environment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct EnvironmentState {
    pub(crate) schema: u32,
    /// The newest epoch that it covers.
    pub epoch: u64,
    /// When it was written down, by the wall clock of who wrote it.
    pub at: Option<Timestamp>,
    /// How many runs there were.
    pub runs: u64,
    /// The last run that ended.
    pub last: Option<RunNote>,
    /// The run that began and did not end.
    pub open: Option<OpenRun>,
    /// What is live.
    pub live: Option<LiveRelease>,
    /// What was damaged, and what it was replaced by. Nothing that is damaged is deleted.
    #[serde(skip)]
    pub warnings: Vec<String>,
}

/// A run that ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RunNote {
    /// Its id.
    pub run: String,
    /// How it ended.
    pub result: RunResult,
    /// When, by the wall clock.
    pub at: Timestamp,
}

impl RunNote {
    pub(crate) fn new(run: impl Into<String>, result: RunResult, at: Timestamp) -> Self {
        Self { run: run.into(), result, at }
    }
}

/// A run that did not end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OpenRun {
    /// Its id.
    pub run: String,
    /// The newest epoch that worked on it.
    pub epoch: u64,
    /// Its pipeline, if that can be read.
    pub pipeline: Option<Name>,
    /// What it brings.
    pub landing: Landing,
    /// When it began, by the wall clock.
    pub since: Option<Timestamp>,
    /// Who worked on it last.
    pub holder: Option<Holder>,
}

/// The newest release record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct LiveRelease {
    /// The number of the record.
    pub number: u64,
    /// The release.
    pub sequence: ReleaseSequence,
    /// What it was made of.
    pub source: String,
}

impl EnvironmentState {
    /// The same after `open` began, or went on.
    pub(crate) fn begun(mut self, open: OpenRun) -> Self {
        if !self.knows(&open.run) {
            self.runs += 1;
        }
        self.open = Some(open);
        self
    }

    /// The same after a run ended.
    pub(crate) fn ended(mut self, note: RunNote) -> Self {
        if !self.knows(&note.run) {
            self.runs += 1;
        }
        self.open.take_if(|open| open.run == note.run);
        self.last = Some(note);
        self
    }

    /// Whether `run` is counted.
    fn knows(&self, run: &str) -> bool {
        self.open.as_ref().is_some_and(|open| open.run == run) || self.last.as_ref().is_some_and(|last| last.run == run)
    }
}

fn prefix(environment: &EnvironmentName) -> String {
    format!("environments/{environment}/state")
}

/// The numbers of the snapshots, newest first.
async fn snapshots(store: &dyn RunStore, environment: &EnvironmentName) -> Result<Vec<u64>> {
    let names = store.names(&prefix(environment)).await?;
    let mut numbers: Vec<u64> = names.iter().filter_map(|name| name.parse().ok()).collect();
    numbers.sort_unstable_by(|a, b| b.cmp(a));
    Ok(numbers)
}

fn key(environment: &EnvironmentName, number: u64) -> String {
    format!("{}/{number:010}", prefix(environment))
}

/// The newest epoch that a snapshot covers, also one that is damaged; 0 if there is none.
pub(crate) async fn newest_snapshot(store: &dyn RunStore, environment: &EnvironmentName) -> Result<u64> {
    Ok(snapshots(store, environment).await?.first().copied().unwrap_or_default())
}

/// The newest snapshot that can be read, and what is wrong with newer ones.
async fn read_newest(
    store: &dyn RunStore,
    environment: &EnvironmentName,
) -> Result<(Option<EnvironmentState>, Vec<String>)> {
    let mut damage = Vec::new();
    for number in snapshots(store, environment).await? {
        let key = key(environment, number);
        let Some(line) = store.get(&key).await? else { continue };
        match seal::open::<EnvironmentState>(&key, &line, SCHEMA) {
            Ok((state, _)) => return Ok((Some(state), damage)),
            Err(error) if error.kind() == ErrorKind::Corrupt => damage.push(error.report()),
            Err(error) => return Err(error),
        }
    }
    Ok((None, damage))
}

/// The number of the release record that the newest snapshot names.
pub(super) async fn newest_release(store: &dyn RunStore, environment: &EnvironmentName) -> Result<Option<u64>> {
    let (state, _) = read_newest(store, environment).await?;
    Ok(state.and_then(|state| state.live).map(|live| live.number))
}

/// What `environment` is at: the newest snapshot, the runs of later epochs, and the newest release. Takes as long
/// whether there were ten runs or ten thousand. Reads only.
///
/// A snapshot that is damaged or missing is made up for from older ones and from the records, with a warning in
/// [`EnvironmentState::warnings`]. Fails with [`ErrorKind::Unsupported`] if a newer program wrote what is needed.
pub async fn state(store: &dyn RunStore, environment: &EnvironmentName) -> Result<EnvironmentState> {
    let (found, damage) = read_newest(store, environment).await?;
    let rebuild = found.is_none();
    let mut state = found.unwrap_or_default();
    state.warnings = damage;
    for seen in later(store, environment, state.epoch).await? {
        state = with_epoch(store, environment, state, &seen).await?;
    }
    if rebuild {
        state = with_all(store, environment, state).await?;
    }
    with_live(store, environment, state).await
}

/// The epochs after `epoch`, oldest first.
async fn later(store: &dyn RunStore, environment: &EnvironmentName, epoch: u64) -> Result<Vec<Seen>> {
    let (keys, mut later) = (Keys::new(environment), Vec::new());
    for number in lock::numbers(store, &keys).await?.into_iter().filter(|number| *number > epoch) {
        later.extend(lock::see(store, &keys, number).await?);
    }
    Ok(later)
}

/// With what was done in an epoch that wrote no snapshot: to its own run, and to the one that it found open.
async fn with_epoch(
    store: &dyn RunStore,
    environment: &EnvironmentName,
    mut state: EnvironmentState,
    seen: &Seen,
) -> Result<EnvironmentState> {
    state.epoch = seen.epoch;
    state.warnings.extend(seen.damage.clone());
    if let Some(open) = state.open.clone() {
        state = with_run(store, environment, state, open).await?;
    }
    let run = match &seen.run {
        Some(run) => Some(run.clone()),
        None => store.names(&runs(environment)).await?.pop(),
    };
    let Some(run) = run else { return Ok(state) };
    let (epoch, landing, since) = (seen.epoch, seen.landing, seen.since);
    let open = OpenRun { run, epoch, pipeline: None, landing, since, holder: seen.holder.clone() };
    with_run(store, environment, state, open).await
}

/// With what the records of `open` say. What cannot be read is open.
async fn with_run(
    store: &dyn RunStore,
    environment: &EnvironmentName,
    mut state: EnvironmentState,
    open: OpenRun,
) -> Result<EnvironmentState> {
    match read_run(store, environment, &open.run).await {
        Ok(records) => Ok(fold(state, open, &records)),
        Err(error) if error.kind() == ErrorKind::Corrupt => {
            state.warnings.push(error.report());
            Ok(state.begun(open))
        }
        Err(error) => Err(error),
    }
}

fn fold(state: EnvironmentState, mut open: OpenRun, records: &[Record]) -> EnvironmentState {
    let (Some(first), Some(last)) = (records.first(), records.last()) else { return state };
    if let RecordBody::RunFinished { result } = &last.body
        && result.is_over()
    {
        return state.ended(RunNote::new(open.run, result.clone(), last.at));
    }
    open.since = Some(first.at);
    if let RecordBody::RunStarted { pipeline, .. } = &first.body {
        open.pipeline = Some(pipeline.clone());
    }
    state.begun(open)
}

fn runs(environment: &EnvironmentName) -> String {
    format!("environments/{environment}/runs")
}

/// Without any snapshot: how many runs there were, and what became of the newest, whose ids sort by time.
async fn with_all(
    store: &dyn RunStore,
    environment: &EnvironmentName,
    mut state: EnvironmentState,
) -> Result<EnvironmentState> {
    let runs = store.names(&runs(environment)).await?;
    let Some(newest) = runs.last() else { return Ok(state) };
    if !state.knows(newest) {
        let (run, epoch) = (newest.clone(), state.epoch);
        let open = OpenRun { run, epoch, pipeline: None, landing: Landing::Unnumbered, since: None, holder: None };
        state = with_run(store, environment, state, open).await?;
    }
    state.runs = runs.len() as u64;
    Ok(state)
}

/// With the newest release. One that is damaged is told, and what was known before stays.
async fn with_live(
    store: &dyn RunStore,
    environment: &EnvironmentName,
    mut state: EnvironmentState,
) -> Result<EnvironmentState> {
    let releases = StoredReleases::new(store, environment);
    let number = releases.newest_after(state.live.as_ref().map(|live| live.number)).await?;
    let newest = match number {
        Some(number) => releases.get(number).await,
        None => Ok(None),
    };
    match newest {
        Ok(newest) => {
            let live = |record: super::StoredRelease| LiveRelease {
                number: record.number,
                sequence: record.release.sequence,
                source: record.release.source,
            };
            state.live = newest.map(live);
        }
        Err(error) if error.kind() == ErrorKind::Corrupt => state.warnings.push(error.report()),
        Err(error) => return Err(error),
    }
    Ok(state)
}

/// Writes the snapshot of `state.epoch`, with what is live now. Fails with [`ErrorKind::Conflict`] if another snapshot
/// of that epoch is there.
pub(crate) async fn write_state(
    store: &dyn RunStore,
    environment: &EnvironmentName,
    mut state: EnvironmentState,
) -> Result<()> {
    state.schema = SCHEMA;
    let state = with_live(store, environment, state).await?;
    let key = key(environment, state.epoch);
    match super::settle(store, &key, seal::seal(&state)?.0).await? {
        Created::Yes => Ok(()),
        Created::Exists => {
            let message = format!("another wrote `{key}`");
            Err(Error::new(ErrorKind::Conflict, "store.state", message))
        }
    }
}

/// Removes all but the newest `keep` snapshots. What cannot be removed stays for the next time.
pub(crate) async fn prune_states(store: &dyn RunStore, environment: &EnvironmentName, keep: usize) {
    for old in snapshots(store, environment).await.unwrap_or_default().into_iter().skip(keep) {
        let _ = store.remove(&key(environment, old)).await;
    }
}

#[cfg(test)]
mod tests;
