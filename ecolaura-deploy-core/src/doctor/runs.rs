//! Runs as their records show them, damaged ones too.

use std::collections::BTreeMap;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use jiff::Timestamp;

use crate::{
    Context, Error, ErrorKind, Result,
    run::RunResult,
    store::{Record, RecordBody, RunStore, run_prefix},
    vocabulary::{Digest, EnvironmentName, Name},
};

/// How many records are read at the same time.
pub(super) const READS: usize = 16;

/// What the records of one run say.
#[derive(Debug, Default)]
pub(super) struct RunSeen {
    pub(super) run: String,
    pub(super) pipeline: Option<Name>,
    pub(super) epoch: Option<u64>,
    pub(super) began: Option<Timestamp>,
    pub(super) last: Option<Timestamp>,
    pub(super) steps: usize,
    /// How many steps have an outcome.
    pub(super) ended: usize,
    /// What was begun and has no outcome: the attempt, and when.
    pub(super) begun: BTreeMap<String, (u32, Timestamp)>,
    /// Why it is undone, if that began.
    pub(super) undoing: Option<String>,
    /// The steps that are still to be undone, in order.
    pub(super) to_undo: Vec<String>,
    pub(super) result: Option<RunResult>,
    pub(super) faults: Vec<Fault>,
    /// How many records are whole.
    pub(super) whole: usize,
    /// Whether what is damaged or missing may be the end.
    blind: bool,
}

/// A record that is not as it should be.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) key: String,
    /// How many there are; `None` if it is another that is missing.
    pub(super) bytes: Option<usize>,
    pub(super) error: Error,
}

impl RunSeen {
    /// Whether it can be gone on with.
    pub(super) fn is_open(&self) -> bool {
        match &self.result {
            Some(result) => !result.is_over(),
            None => !self.blind && self.whole > 0,
        }
    }

    /// Whether it cannot be told if it ended.
    pub(super) fn is_in_the_dark(&self) -> bool {
        self.result.is_none() && self.blind
    }

    fn fold(&mut self, record: Record) {
        self.whole += 1;
        self.last = Some(record.at);
        self.began.get_or_insert(record.at);
        // Only of the last record it counts that it is the end.
        self.result = None;
        match record.body {
            RecordBody::RunStarted { pipeline, plan, epoch, .. } => {
                (self.pipeline, self.epoch, self.steps) = (Some(pipeline), Some(epoch), plan.steps.len());
            }
            RecordBody::Intent { step, attempt, .. } => _ = self.begun.insert(step, (attempt, record.at)),
            RecordBody::Done { step, .. } | RecordBody::Unchanged { step, .. } => {
                self.begun.remove(&step);
                self.ended += 1;
            }
            RecordBody::Failed { step, .. } => _ = self.begun.remove(&step),
            RecordBody::UndoPlanned { cause, steps } => (self.undoing, self.to_undo) = (Some(cause), steps),
            RecordBody::UndoDone { step, error: None } => self.to_undo.retain(|other| *other != step),
            RecordBody::RunFinished { result } => self.result = Some(result),
            _ => {}
        }
    }
}

/// Every run of the environment, oldest first. What cannot be read is among its faults.
pub(super) async fn read(
    cx: &Context,
    operation: &'static str,
    store: &dyn RunStore,
    environment: &EnvironmentName,
) -> Result<Vec<RunSeen>> {
    let mut runs = Vec::new();
    for run in store.names(&format!("environments/{environment}/runs")).await? {
        cx.check(operation)?;
        runs.push(read_one(store, environment, &run).await?);
    }
    Ok(runs)
}

async fn read_one(store: &dyn RunStore, environment: &EnvironmentName, run: &str) -> Result<RunSeen> {
    let keys = store.list(&run_prefix(environment, run)).await?;
    let get = async |key: String| {
        let line = store.get(&key).await?;
        Ok::<_, Error>((key, line))
    };
    let mut lines = stream::iter(keys).map(get).buffered(READS);
    let mut seen = RunSeen { run: run.to_owned(), ..RunSeen::default() };
    let mut chain = Chain::default();
    while let Some((key, line)) = lines.try_next().await? {
        let Some(line) = line else { continue };
        match Record::open(&key, &line) {
            Ok((record, checksum)) => {
                seen.faults.extend(chain.follow(&key, &record, checksum, run));
                seen.blind = false;
                seen.fold(record);
            }
            Err(error) => {
                chain.lose();
                seen.blind = true;
                seen.faults.push(Fault { key, bytes: Some(line.len()), error });
            }
        }
    }
    Ok(seen)
}

/// What the next record must follow.
#[derive(Debug, Default)]
struct Chain {
    next: u64,
    prev: Option<Digest>,
    /// The record before cannot be read, so what this one says of it proves nothing.
    lost: bool,
}

impl Chain {
    fn lose(&mut self) {
        self.next += 1;
        self.lost = true;
    }

    fn follow(&mut self, key: &str, record: &Record, checksum: Digest, run: &str) -> Option<Fault> {
        let (next, prev, lost) = (self.next, self.prev, self.lost);
        *self = Self { next: record.seq + 1, prev: Some(checksum), lost: false };
        let message = if record.run != run {
            format!("record `{key}` is of run `{}`", record.run)
        } else if record.seq > next {
            match record.seq - next {
                1 => format!("1 record before `{key}` is missing: {next}"),
                missing => format!("{missing} records before `{key}` are missing, from {next} on"),
            }
        } else if record.seq < next || (!lost && record.prev != prev) {
            format!("record `{key}` does not follow the one before it")
        } else {
            return None;
        };
        let error = Error::new(ErrorKind::Corrupt, "store.read", message)
            .advice("restore what is missing from a copy; nothing was changed");
        Some(Fault { key: key.to_owned(), bytes: None, error })
    }
}
