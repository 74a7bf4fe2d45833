//! What is written down, in which form, and how it is read back and checked.
//!
//! A record is one JSON object of one line: `schema`, `run`, `seq`, `at`, `nonce`, `prev` (the checksum of the record
//! before), `body`, and last `checksum`, the SHA-256 over everything before its comma. Keys:
//! `environments/ENV/runs/RUN/SEQ`, `environments/ENV/releases/NUMBER`, `evidence/KIND/FINGERPRINT`.

use std::collections::BTreeMap;

use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{RunStore, seal};
use crate::{
    Error, ErrorKind, ErrorRecord, Result,
    lock::Holder,
    pipeline::Landing,
    plan::PlanSummary,
    run::RunResult,
    step::{EffectClass, UndoRecord},
    vocabulary::{Digest, EnvironmentName, Name},
};

/// The version of the form of records. A reader refuses a newer one.
pub const SCHEMA: u32 = 1;

/// One fact of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
#[non_exhaustive]
pub enum RecordBody {
    /// The run began.
    RunStarted {
        /// The pipeline.
        pipeline: Name,
        /// The environment.
        environment: EnvironmentName,
        /// The plan that runs, whole: whoever goes on may do no more than it announced.
        plan: PlanSummary,
        /// The outputs that were known from the start, of the steps that the plan passes over.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        known: BTreeMap<String, serde_json::Value>,
        /// Which release it brings.
        #[serde(default)]
        landing: Landing,
        /// The version of this library.
        library: String,
        /// The fencing token.
        epoch: u64,
    },
    /// Another process goes on with the run, from here on under its own token. Whoever wrote the records before can
    /// write no more.
    Resumed {
        /// The new fencing token.
        epoch: u64,
        /// Who goes on.
        by: Holder,
        /// Whether everything is undone from here on.
        undo: bool,
    },
    /// An effect is about to happen. What undoes it is known from here on.
    Intent {
        /// The step.
        step: String,
        /// From 1.
        attempt: u32,
        /// What a resumed run may do about it.
        effect: EffectClass,
        /// The digest over the real inputs.
        inputs: Digest,
        /// The digest over what it reads beyond them, such as files.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fingerprint: Option<Digest>,
        /// What undoes it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        undo: Option<UndoRecord>,
    },
    /// An effect happened.
    Done {
        /// The step.
        step: String,
        /// The attempt.
        attempt: u32,
        /// What it gave.
        output: serde_json::Value,
        /// What undoes it, if that is more than the intent knew.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        undo: Option<UndoRecord>,
    },
    /// There was nothing to do.
    Unchanged {
        /// The step.
        step: String,
        /// What it gives.
        output: serde_json::Value,
        /// The digest over what it read beyond its inputs.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fingerprint: Option<Digest>,
    },
    /// An attempt failed.
    Failed {
        /// The step.
        step: String,
        /// The attempt.
        attempt: u32,
        /// Why, and what is known of the effect, earlier attempts included.
        error: ErrorRecord,
        /// Whether another attempt follows.
        #[serde(default)]
        again: bool,
        /// What undoes it, if it may have had an effect.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        undo: Option<UndoRecord>,
    },
    /// The run was asked to stop.
    CancelRequested {
        /// By whom or what.
        cause: String,
    },
    /// These steps will be undone, in this order.
    UndoPlanned {
        /// Why.
        cause: String,
        /// The steps.
        steps: Vec<String>,
    },
    /// An undoing is about to happen.
    UndoIntent {
        /// The step that is undone.
        step: String,
        /// How.
        undo: UndoRecord,
    },
    /// An undoing happened, or not.
    UndoDone {
        /// The step that was undone.
        step: String,
        /// Why not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<ErrorRecord>,
    },
    /// The last record, unless a suspended run is resumed.
    RunFinished {
        /// How it ended.
        result: RunResult,
    },
}

/// A record with everything that proves its place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Record {
    /// [`SCHEMA`] when it was written.
    pub schema: u32,
    /// The run.
    pub run: String,
    /// Its place in the run, from 0.
    pub seq: u64,
    /// The wall clock.
    pub at: Timestamp,
    /// Unique to this record.
    pub nonce: String,
    /// The checksum of the record before; the first has none.
    pub prev: Option<Digest>,
    /// What is recorded.
    pub body: RecordBody,
}

impl Record {
    /// The line that is stored, and its checksum.
    pub(crate) fn seal(&self) -> Result<(Vec<u8>, Digest)> {
        seal::seal(self)
    }

    /// Reads and checks a stored line. Fails with [`ErrorKind::Corrupt`] naming key and bytes, and with
    /// [`ErrorKind::Unsupported`] naming both versions when it is of a newer form.
    pub fn open(key: &str, line: &[u8]) -> Result<(Self, Digest)> {
        seal::open(key, line, SCHEMA)
    }
}

pub(crate) fn run_prefix(environment: &EnvironmentName, run: &str) -> String {
    format!("environments/{environment}/runs/{run}")
}

/// How many records are read at the same time.
pub(crate) const READERS: usize = 16;

/// All records of a run, in order, checked for damage, gaps and foreign insertions. Fails with [`ErrorKind::Corrupt`]
/// naming the record and its bytes, and how many before it are whole; with [`ErrorKind::Unsupported`] naming both
/// versions for a newer form.
pub async fn read_run(store: &dyn RunStore, environment: &EnvironmentName, run: &str) -> Result<Vec<Record>> {
    read_chain(store, environment, run).await.map(|(records, _)| records)
}

/// The same, with the checksum of the last one.
pub(crate) async fn read_chain(
    store: &dyn RunStore,
    environment: &EnvironmentName,
    run: &str,
) -> Result<(Vec<Record>, Option<Digest>)> {
    let chain = read_whole(store, environment, run).await?;
    let whole = chain.whole;
    match chain.faults.into_iter().next().map(|fault| fault.error) {
        None => Ok((chain.records, chain.last)),
        Some(error) if error.kind() == ErrorKind::Corrupt => Err(error
            .with("whole records before it", whole)
            .advice("restore it from a copy, or close the run with `Runner::give_up` and look at what it did")),
        Some(error) => Err(error),
    }
}

/// What can be read of a run's records.
#[derive(Debug, Default)]
pub(crate) struct Chain {
    /// Those that can be read, in order, also behind a fault.
    pub(crate) records: Vec<Record>,
    /// How many of them are before the first fault.
    pub(crate) whole: usize,
    /// The checksum of the last of them.
    pub(crate) last: Option<Digest>,
    /// What is damaged, missing, of another run or of a newer program, in order.
    pub(crate) faults: Vec<Fault>,
    /// Whether the last record is one that cannot be read, so that nobody knows how the run ended.
    pub(crate) blind: bool,
    /// The place of the next record.
    next: u64,
}

/// A record that is not as it should be.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) key: String,
    /// How many there are; `None` if it is another that is missing.
    pub(crate) bytes: Option<usize>,
    pub(crate) error: Error,
}

/// The records of a run, whatever is wrong with some of them. Fails where the store does.
pub(crate) async fn read_whole(store: &dyn RunStore, environment: &EnvironmentName, run: &str) -> Result<Chain> {
    let keys = store.list(&run_prefix(environment, run)).await?;
    let mut lines =
        stream::iter(keys).map(|key| async move { store.get(&key).await.map(|line| (key, line)) }).buffered(READERS);
    let mut chain = Chain::default();
    while let Some((key, line)) = lines.try_next().await? {
        let Some(line) = line else { continue };
        chain.take(run, key, &line);
    }
    Ok(chain)
}

impl Chain {
    fn take(&mut self, run: &str, key: String, line: &[u8]) {
        match Record::open(&key, line).and_then(|found| own(run, &key, line, found)) {
            Ok((record, checksum)) => {
                let error = self.misplaced(&key, &record);
                self.faults.extend(error.map(|error| Fault { key, bytes: None, error }));
                self.whole += usize::from(self.faults.is_empty());
                (self.next, self.last, self.blind) = (record.seq + 1, Some(checksum), false);
                self.records.push(record);
            }
            Err(error) => {
                (self.next, self.blind) = (self.next + 1, true);
                self.faults.push(Fault { key, bytes: Some(line.len()), error });
            }
        }
    }

    /// Why it is not the next one. What it says of one before it that cannot be read proves nothing.
    fn misplaced(&self, key: &str, record: &Record) -> Option<Error> {
        let next = self.next;
        let message = match record.seq.checked_sub(next) {
            Some(0) if self.blind || record.prev == self.last => return None,
            Some(0) | None => format!("record `{key}` does not follow the one before it"),
            Some(1) => format!("1 record before `{key}` is missing: {next}"),
            Some(missing) => format!("{missing} records before `{key}` are missing, from {next} on"),
        };
        let advice = "restore what is missing from a copy; nothing was changed";
        Some(Error::new(ErrorKind::Corrupt, "store.read", message).advice(advice))
    }
}

/// What another run recorded says nothing of this one.
fn own(run: &str, key: &str, line: &[u8], found: (Record, Digest)) -> Result<(Record, Digest)> {
    if found.0.run == run {
        return Ok(found);
    }
    let message = format!("record `{key}`, bytes 0..{}: it is of run `{}`", line.len(), found.0.run);
    Err(Error::new(ErrorKind::Corrupt, "store.read", message)
        .advice("restore the file from a copy; nothing was changed"))
}
