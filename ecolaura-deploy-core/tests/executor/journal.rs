//! A run store that fails, panics, loses answers, or belongs to somebody else.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use bytes::Bytes;
use ecolaura_deploy_core::{
    Effect, Error, ErrorKind, Result,
    event::{EventSink, RecordingSink},
    run::{RunResult, Runner},
    store::{Created, ObjectRunStore, RunStore, read_run},
    testing::{Fault, recording},
};

use crate::world::{Ledger, check_intents, cx, diamond};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Trouble {
    /// Nothing is stored.
    Fails,
    /// It is stored, and the answer is an error.
    LosesAnswer,
    Panics,
    /// Every write from here on fails.
    Dies,
    /// Another process was faster.
    Foreign,
}

#[derive(Debug)]
struct Troubled {
    store: ObjectRunStore,
    trouble: Trouble,
    at: usize,
    writes: AtomicUsize,
}

fn unavailable() -> Error {
    Error::new(ErrorKind::Unavailable, "store.create", "the disk does not answer").with_effect(Effect::Unknown)
}

#[async_trait]
impl RunStore for Troubled {
    async fn create(&self, key: &str, body: Bytes) -> Result<Created> {
        let n = self.writes.fetch_add(1, Ordering::SeqCst);
        match self.trouble {
            Trouble::Fails if n == self.at => return Err(unavailable()),
            Trouble::Dies if n >= self.at => return Err(unavailable()),
            Trouble::Panics if n == self.at => panic!("a bug in a store"),
            Trouble::Foreign if n == self.at => {
                self.store.create(key, Bytes::from_static(b"not ours")).await?;
            }
            _ => {}
        }
        let created = self.store.create(key, body).await?;
        if self.trouble == Trouble::LosesAnswer && n == self.at { Err(unavailable()) } else { Ok(created) }
    }
    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        self.store.get(key).await
    }
    async fn list(&self, prefix: &str) -> Result<Vec<String>> {
        self.store.list(prefix).await
    }
    async fn remove(&self, key: &str) -> Result<()> {
        self.store.remove(key).await
    }
}

/// Runs with `trouble` at write `at`; the result, or none when the run was refused at once.
async fn run(trouble: Trouble, at: usize, fault: Option<(&str, Fault)>) -> (Option<RunResult>, Ledger, usize) {
    let (ledger, sink) = (Ledger::default(), Arc::new(RecordingSink::new()));
    let store = Arc::new(Troubled { store: ObjectRunStore::memory(), trouble, at, writes: AtomicUsize::new(0) });
    let runner = Runner::new(Arc::clone(&store) as Arc<dyn RunStore>).events(Arc::clone(&sink) as Arc<dyn EventSink>);
    let plan = runner.plan(&cx(), diamond(&ledger, fault)).await.unwrap();
    let case = format!("{trouble:?} at {at}");
    let result = match runner.run(&cx(), plan).await {
        Err(error) => {
            assert!(ledger.log().is_empty() && sink.events().is_empty(), "{case}: {}", error.report());
            None
        }
        Ok(finished) => {
            let events = sink.events();
            assert_eq!(recording::broken_promises(&events), [""; 0], "{case}\n{}", recording::lines(&events));
            if trouble != Trouble::Foreign {
                let records = read_run(store.as_ref(), cx().environment(), &finished.run).await.expect(&case);
                // An undoing may go on without its intent when just that write failed; an effect may not.
                if ledger.undone().is_empty() {
                    check_intents(&records, &ledger, &case);
                }
            }
            Some(finished.result)
        }
    };
    (result, ledger, store.writes.load(Ordering::SeqCst))
}

#[tokio::test(start_paused = true)]
async fn a_write_that_fails_once_is_a_failed_step_or_a_warning() {
    for trouble in [Trouble::Fails, Trouble::LosesAnswer, Trouble::Panics] {
        for fault in [None, Some(("migrate", Fault::FailAfter))] {
            for at in 0.. {
                let (result, ledger, writes) = run(trouble, at, fault).await;
                if writes <= at {
                    break;
                }
                let case = format!("{trouble:?} at {at}: {result:?}");
                match result {
                    Some(RunResult::Succeeded) => assert_eq!(ledger.done().len(), 9, "{case}"),
                    // Undone, or refused before it began.
                    Some(RunResult::RolledBack { .. }) | None => assert!(ledger.done().is_empty(), "{case}"),
                    Some(RunResult::SucceededExcept { .. }) => {
                        assert!(fault.is_none() && ledger.done().len() >= 5, "{case}");
                    }
                    _ => panic!("{case}"),
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_store_that_dies_does_not_keep_the_old_release_from_coming_back() {
    for at in 1.. {
        let (result, ledger, writes) = run(Trouble::Dies, at, None).await;
        if writes <= at {
            break;
        }
        match result {
            Some(RunResult::Succeeded) => assert_eq!(ledger.done().len(), 9, "only the last record was lost"),
            Some(RunResult::RolledBack { .. }) => assert!(ledger.done().is_empty(), "{at}: {:?}", ledger.done()),
            Some(RunResult::SucceededExcept { .. }) => assert!(!ledger.undone().is_empty(), "{at}"),
            None => assert!(ledger.log().is_empty(), "{at}: it was refused before it began"),
            other => panic!("{at}: {other:?}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_finds_another_writer_stops_and_undoes_nothing() {
    for fault in [None, Some(("migrate", Fault::FailAfter))] {
        for at in 1.. {
            let (result, ledger, writes) = run(Trouble::Foreign, at, fault).await;
            if writes <= at {
                break;
            }
            let done = ledger.done();
            if let Some(RunResult::Suspended { reason }) = &result {
                assert!(reason.contains("another process"), "{reason}");
                let undone = ledger.undone();
                assert!(fault.is_some() || undone.is_empty(), "{at}: {undone:?}");
            } else if result.is_none() {
                assert!(done.is_empty(), "{at}: it was refused before it began");
            } else {
                // What is remembered for next time is nobody's record, and the last record needs no sequel.
                let ended = matches!(result, Some(RunResult::Succeeded | RunResult::RolledBack { .. }));
                assert!(ended && (done.len() == 9 || done.is_empty()), "{at}: {result:?}");
            }
        }
    }
}
