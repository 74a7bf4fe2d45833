//! A cancel, and a dropped future, at each point where the run waits.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use ecolaura_deploy_core::{
    ErrorKind, Result,
    event::{EventKind, EventSink, FanOut, FnSink, RecordingSink},
    run::{RunResult, Runner},
    store::{Created, ObjectRunStore, RecordBody, RunStore, read_run},
    testing::{Fault, recording},
};
use tokio_util::sync::CancellationToken;

use crate::world::{Ledger, Ran, check_intents, cx, diamond, run_with, try_run_with};

/// A store whose calls are await points.
#[derive(Debug)]
struct Ticking(ObjectRunStore, Ledger);

#[async_trait]
impl RunStore for Ticking {
    async fn create(&self, key: &str, body: Bytes) -> Result<Created> {
        self.1.tick().await;
        let created = self.0.create(key, body).await;
        self.1.tick().await;
        created
    }
    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        self.0.get(key).await
    }
    async fn list(&self, prefix: &str) -> Result<Vec<String>> {
        self.0.list(prefix).await
    }
    async fn remove(&self, key: &str) -> Result<()> {
        self.0.remove(key).await
    }
}

/// A store each of whose writes is an await point.
pub(crate) fn ticking(ledger: &Ledger) -> Arc<dyn RunStore> {
    Arc::new(Ticking(ObjectRunStore::memory(), ledger.clone()))
}

/// Cancels at the `n`th await point; whether the run came that far.
async fn cancelled_at(n: usize, fault: Option<(&str, Fault)>) -> bool {
    let (ledger, token) = (Ledger::default(), CancellationToken::new());
    let cancel = token.clone();
    ledger.on_tick(move |tick| {
        if tick == n {
            cancel.cancel();
        }
    });
    let cx = cx().with_cancellation(token);
    let ran = match try_run_with(&cx, &ledger, diamond(&ledger, fault), ticking(&ledger)).await {
        Ok(ran) => ran,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Cancelled, "{n}: {}", error.report());
            assert!(ledger.log().is_empty(), "{n}: it had not begun");
            return true;
        }
    };
    ran.check(&format!("cancel at {n}"));
    check_cancelled(&ran, n, fault.is_some());
    ledger.ticks() > n
}

fn check_cancelled(ran: &Ran, n: usize, fails: bool) {
    let asked = ran.events.iter().any(|event| matches!(event.kind, EventKind::CancelRequested { .. }));
    let recorded = ran.records.iter().any(|record| matches!(record.body, RecordBody::CancelRequested { .. }));
    assert_eq!(asked, recorded, "{n}");
    match &ran.result {
        // Too late to matter.
        RunResult::Succeeded => assert!(!asked && !fails, "{n}\n{}", ran.lines()),
        RunResult::RolledBack { cause, .. } => {
            assert!(fails || cause == "the run was cancelled", "{n}: {cause}");
            assert!(ran.ledger.done().is_empty(), "{n}: {:?}\n{}", ran.ledger.done(), ran.lines());
        }
        other => panic!("{n}: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn cancelled_at_each_await() {
    let mut n = 0;
    while cancelled_at(n, None).await {
        n += 1;
    }
    assert!(n > 60, "only {n} points");
}

#[tokio::test(start_paused = true)]
async fn cancelled_at_each_await_of_a_run_that_fails_and_is_undone() {
    let mut n = 0;
    while cancelled_at(n, Some(("migrate", Fault::FailAfter))).await {
        n += 1;
    }
    assert!(n > 60, "only {n} points");
}

#[tokio::test(start_paused = true)]
async fn cancelled_at_each_event() {
    for n in 0.. {
        let (ledger, token, store) = (Ledger::default(), CancellationToken::new(), ObjectRunStore::memory());
        let (sink, cancel) = (Arc::new(RecordingSink::new()), token.clone());
        let at = FnSink::new(move |event| {
            if event.seq == n {
                cancel.cancel();
            }
        });
        let events = FanOut::new([Arc::clone(&sink) as Arc<dyn EventSink>, Arc::new(at)]);
        let runner = Runner::new(Arc::new(store.clone())).events(Arc::new(events));
        let cx = cx().with_cancellation(token.clone());
        let plan = runner.plan(&cx, diamond(&ledger, None)).await.unwrap();
        let finished = runner.run(&cx, plan).await.unwrap();
        let records = read_run(&store, cx.environment(), &finished.run).await.unwrap();
        let ran = Ran { result: finished.result, events: sink.events(), records, ledger };
        ran.check(&format!("event {n}"));
        check_cancelled(&ran, usize::try_from(n).unwrap(), false);
        if !token.is_cancelled() {
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_was_cancelled_before_it_began_begins_nothing() {
    let (ledger, token) = (Ledger::default(), CancellationToken::new());
    let cx = cx().with_cancellation(token.clone());
    let runner = Runner::new(Arc::new(ObjectRunStore::memory()));
    let plan = runner.plan(&cx, diamond(&ledger, None)).await.unwrap();
    token.cancel();
    let error = runner.run(&cx, plan).await.unwrap_err();
    assert_eq!(error.kind(), ecolaura_deploy_core::ErrorKind::Cancelled, "{}", error.report());
    assert!(ledger.log().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_step_that_ignores_the_cancel_is_left_after_the_grace() {
    let (ledger, token) = (Ledger::default(), CancellationToken::new());
    let cancel = token.clone();
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(20)).await;
        cancel.cancel();
    });
    let began = tokio::time::Instant::now();
    let pipeline = diamond(&ledger, Some(("roll", Fault::Hang)));
    let ran = run_with(&cx().with_cancellation(token), &ledger, pipeline, ticking(&ledger)).await;
    ran.check("ignored cancel");
    assert!(ledger.done().is_empty());
    assert_eq!(began.elapsed().as_secs(), 50, "20 s of work, 30 s of grace");
    assert!(
        ran.lines().contains("roll: failed, effect unknown: did not end within 30s of the cancel"),
        "{}",
        ran.lines()
    );
}

/// Drops the run at the `n`th await point; whether it came that far.
async fn dropped_at(n: usize, fault: Option<(&str, Fault)>) -> bool {
    let ledger = Ledger::default();
    let (store, sink) = (ticking(&ledger), Arc::new(RecordingSink::new()));
    let runner = Runner::new(Arc::clone(&store)).events(Arc::clone(&sink) as Arc<dyn EventSink>);
    let plan = runner.plan(&cx(), diamond(&ledger, fault)).await.unwrap();
    let reached = Arc::new(tokio::sync::Notify::new());
    let notify = Arc::clone(&reached);
    ledger.on_tick(move |tick| {
        if tick == n {
            notify.notify_one();
        }
    });
    let cx = cx();
    let dropped = tokio::select! {
        biased;
        () = reached.notified() => true,
        finished = runner.run(&cx, plan) => finished.map(|_| false).unwrap(),
    };
    let (log, events) = (ledger.log(), sink.events());
    tokio::time::sleep(Duration::from_hours(1)).await;
    if dropped {
        assert_eq!(ledger.log(), log, "{n}: something went on");
        assert_eq!(sink.events(), events, "{n}: somebody spoke");
    }
    check_dropped(n, store.as_ref(), &ledger, &sink).await;
    dropped
}

async fn check_dropped(n: usize, store: &dyn RunStore, ledger: &Ledger, sink: &RecordingSink) {
    let events = sink.events();
    // Dropped before the first record: nothing was said and nothing done.
    let Some(run) = events.first().map(|event| event.run.clone()) else {
        assert!(ledger.log().is_empty(), "{n}");
        return;
    };
    assert_eq!(recording::broken_promises(&events), [""; 0], "{n}\n{}", recording::lines(&events));
    let records = read_run(store, cx().environment(), &run).await.unwrap();
    check_intents(&records, ledger, &format!("drop at {n}"));
}

#[tokio::test(start_paused = true)]
async fn dropped_at_each_await() {
    for fault in [None, Some(("migrate", Fault::FailAfter))] {
        let mut n = 0;
        while dropped_at(n, fault).await {
            n += 1;
        }
        assert!(n > 60, "only {n} points");
    }
}
