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
const READERS: usize = 16;

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
    let Chain { records, last, damage } = read_whole(store, environment, run).await?;
    match damage {
        None => Ok((records, last)),
        Some(damage) => Err(damage),
    }
}

/// What can be read of a run's records.
pub(crate) struct Chain {
    /// Those before the first damage.
    pub(crate) records: Vec<Record>,
    /// The checksum of the last of them.
    pub(crate) last: Option<Digest>,
    /// The first damage.
    pub(crate) damage: Option<Error>,
}

/// The records of a run up to the first damage. Fails where the store does.
pub(crate) async fn read_whole(store: &dyn RunStore, environment: &EnvironmentName, run: &str) -> Result<Chain> {
    let keys = store.list(&run_prefix(environment, run)).await?;
    let mut lines =
        stream::iter(keys).map(|key| async move { store.get(&key).await.map(|line| (key, line)) }).buffered(READERS);
    let mut chain = Chain { records: Vec::new(), last: None, damage: None };
    while let Some((key, line)) = lines.try_next().await? {
        let Some(line) = line else { continue };
        match chain.next(run, &key, &line) {
            Ok((record, checksum)) => {
                chain.last = Some(checksum);
                chain.records.push(record);
            }
            Err(damage) => {
                chain.damage = Some(damage);
                break;
            }
        }
    }
    Ok(chain)
}

impl Chain {
    /// The record in `line`, if it is whole and the next one.
    fn next(&self, run: &str, key: &str, line: &[u8]) -> Result<(Record, Digest)> {
        let whole = self.records.len() as u64;
        let advice = || {
            let text = format!("{whole} records before it are whole");
            format!("{text}; restore it from a copy, or close the run with `Runner::give_up` and look at what it did")
        };
        let (record, checksum) = Record::open(key, line).map_err(|error| match error.kind() {
            ErrorKind::Corrupt => error.advice(advice()),
            _ => error,
        })?;
        if record.seq != whole || record.prev != self.last || record.run != run {
            let message = format!("record `{key}` does not follow record {} of run `{run}`", whole.saturating_sub(1));
            return Err(Error::new(ErrorKind::Corrupt, "store.read", message).advice(advice()));
        }
        Ok((record, checksum))
    }
}
