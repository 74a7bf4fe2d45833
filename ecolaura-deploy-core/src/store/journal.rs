//! Appends the records of one run, each durable before the caller goes on.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::Mutex;

use super::{
    Created, RunStore,
    record::{Record, RecordBody, SCHEMA, run_prefix},
};
use crate::{
    Error, ErrorKind, Result,
    clock::Clock,
    redact::Redactor,
    vocabulary::{Digest, EnvironmentName},
};

#[derive(Debug)]
struct Head {
    seq: u64,
    prev: Option<Digest>,
}

/// One writer's end of a run's records.
#[derive(Debug)]
pub(crate) struct Journal {
    store: Arc<dyn RunStore>,
    clock: Arc<dyn Clock>,
    prefix: String,
    run: String,
    nonce: String,
    redactor: Redactor,
    head: Mutex<Head>,
    superseded: AtomicBool,
}

impl Journal {
    /// A new run's. `nonce` is one that no other writer has.
    pub(crate) fn new(
        store: Arc<dyn RunStore>,
        clock: Arc<dyn Clock>,
        environment: &EnvironmentName,
        run: &str,
        nonce: u64,
    ) -> Self {
        Self {
            store,
            clock,
            prefix: run_prefix(environment, run),
            run: run.to_owned(),
            nonce: format!("{nonce:016x}"),
            redactor: Redactor::new(),
            head: Mutex::new(Head { seq: 0, prev: None }),
            superseded: AtomicBool::new(false),
        }
    }

    /// Goes on behind `seq` records, the last of which has the checksum `prev`.
    pub(crate) fn behind(self, seq: u64, prev: Option<Digest>) -> Self {
        Self { head: Mutex::new(Head { seq, prev }), ..self }
    }

    /// Makes the last record durable that another process wrote: it may have died, or been told of an error, before it
    /// was, and what comes behind it must not outlive it.
    pub(crate) async fn flush_last(&self) -> Result<()> {
        let Some(last) = self.head.lock().await.seq.checked_sub(1) else { return Ok(()) };
        let key = format!("{}/{last:08}", self.prefix);
        match self.store.get(&key).await? {
            Some(line) => self.store.create(&key, line).await.map(drop),
            None => Ok(()),
        }
    }

    /// Writes nothing that people are told of what `redactor` knows.
    pub(crate) fn redacting(self, redactor: &Redactor) -> Self {
        Self { redactor: redactor.clone(), ..self }
    }

    /// Writes the next record and answers its place. When this returns the record survives the process.
    ///
    /// A record that was written although its write seemed to fail, or was dropped midway, keeps its place.
    pub(crate) async fn append(&self, body: RecordBody) -> Result<u64> {
        let mut head = self.head.lock().await;
        let (at, body) = (self.clock.now(), self.redactor.record(body));
        let mut record =
            Record { schema: SCHEMA, run: self.run.clone(), seq: 0, at, nonce: String::new(), prev: None, body };
        loop {
            (record.seq, record.prev) = (head.seq, head.prev);
            record.nonce = format!("{}-{}", self.nonce, head.seq);
            let (line, checksum) = record.seal()?;
            let (key, place) = (format!("{}/{:08}", self.prefix, head.seq), head.seq);
            let created = self.store.create(&key, line.into()).await?;
            let (written, checksum) = match created {
                Created::Yes => (true, checksum),
                Created::Exists => {
                    let (found, checksum) = self.own(&key).await?.ok_or_else(|| self.superseded(place))?;
                    // An earlier try of the same record, whose answer was lost.
                    (found.body == record.body, checksum)
                }
            };
            *head = Head { seq: place + 1, prev: Some(checksum) };
            if written {
                return Ok(place);
            }
        }
    }

    /// Whether another process writes this run's records: this one must stop, and undo nothing.
    pub(crate) fn is_superseded(&self) -> bool {
        self.superseded.load(Ordering::Relaxed)
    }

    /// From here on this writer counts as superseded.
    pub(crate) fn give_up(&self) {
        self.superseded.store(true, Ordering::Relaxed);
    }

    fn superseded(&self, seq: u64) -> Error {
        self.give_up();
        let message = format!("another process wrote record {seq} of run `{}`", self.run);
        Error::new(ErrorKind::Fenced, "run.record", message).advice("this process stops; the other one goes on")
    }

    /// The record under `key` with its checksum, if this writer wrote it.
    async fn own(&self, key: &str) -> Result<Option<(Record, Digest)>> {
        let Some(line) = self.store.get(key).await? else { return Ok(None) };
        let found = Record::open(key, &line).ok();
        Ok(found.filter(|(record, _)| record.nonce.starts_with(&self.nonce)))
    }
}

#[cfg(test)]
mod tests {
    use super::{super::*, *};
    use crate::clock::SystemClock;

    fn body(step: &str) -> RecordBody {
        RecordBody::CancelRequested { cause: step.to_owned() }
    }

    async fn three(store: &Arc<dyn RunStore>, environment: &EnvironmentName) -> Vec<String> {
        let journal = Journal::new(Arc::clone(store), Arc::new(SystemClock), environment, "r1", 1);
        for step in ["a", "b", "c"] {
            journal.append(body(step)).await.unwrap();
        }
        store.list("environments/dev/runs/r1").await.unwrap()
    }

    #[tokio::test]
    async fn what_was_appended_is_read_back_in_order() {
        let store: Arc<dyn RunStore> = Arc::new(ObjectRunStore::memory());
        let environment = "dev".parse().unwrap();
        three(&store, &environment).await;
        let records = read_run(store.as_ref(), &environment, "r1").await.unwrap();
        let bodies: Vec<_> = records.into_iter().map(|record| record.body).collect();
        assert_eq!(bodies, [body("a"), body("b"), body("c")]);
    }

    #[tokio::test]
    async fn damage_and_gaps_are_named_and_left_alone() {
        let environment = "dev".parse().unwrap();
        for damage in ["flip", "cut", "missing", "empty"] {
            let store: Arc<dyn RunStore> = Arc::new(ObjectRunStore::memory());
            let keys = three(&store, &environment).await;
            let mut line = store.get(&keys[1]).await.unwrap().unwrap().to_vec();
            store.remove(&keys[1]).await.unwrap();
            match damage {
                "flip" => line[20] ^= 1,
                "cut" => line.truncate(40),
                "empty" => line.clear(),
                _ => {}
            }
            if damage != "missing" {
                store.create(&keys[1], line.into()).await.unwrap();
            }
            let error = read_run(store.as_ref(), &environment, "r1").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{damage}");
            assert!(error.report().contains("runs/r1/"), "{damage}: {}", error.report());
        }
    }

    #[tokio::test]
    async fn a_newer_schema_is_refused_with_both_versions() {
        let error = Record::open("k", b"{\"schema\":7,\"new\":true}").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.report().contains('7') && error.report().contains('1'));
    }

    #[tokio::test]
    async fn two_writers_cannot_both_write_a_record() {
        let store: Arc<dyn RunStore> = Arc::new(ObjectRunStore::memory());
        let environment = "dev".parse().unwrap();
        let first = Journal::new(Arc::clone(&store), Arc::new(SystemClock), &environment, "r1", 1);
        let second = Journal::new(Arc::clone(&store), Arc::new(SystemClock), &environment, "r1", 2);
        first.append(body("a")).await.unwrap();
        assert_eq!(second.append(body("a")).await.unwrap_err().kind(), ErrorKind::Fenced);
    }
}
