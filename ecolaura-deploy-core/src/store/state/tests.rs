use std::sync::Arc;

use super::*;
use crate::{
    clock::FixedClock,
    store::{Journal, NewRelease, ObjectRunStore},
    vocabulary::Release,
};

type Store = Arc<dyn RunStore>;

fn memory() -> Store {
    Arc::new(ObjectRunStore::memory())
}

fn dev() -> EnvironmentName {
    "dev".parse().unwrap()
}

fn now() -> Timestamp {
    "2026-11-24T10:00:00Z".parse().unwrap()
}

/// An epoch that `run` had and nobody released.
async fn epoch(store: &Store, number: u64, run: &str) {
    let holder = serde_json::json!({"host": "h", "pid": 1, "proof": ""});
    let held = serde_json::json!({
        "schema": 1, "nonce": "n", "epoch": number, "run": run, "holder": holder, "since": now(), "term_ms": 60_000,
        "landing": Landing::Forward(ReleaseSequence(number)),
    });
    let key = format!("environments/dev/epochs/{number:010}/held");
    store.create(&key, seal::seal(&held).unwrap().0.into()).await.unwrap();
}

/// The records of a run, with its end if it has one.
async fn run(store: &Store, run: &str, result: Option<RunResult>) {
    let journal = Journal::new(Arc::clone(store), Arc::new(FixedClock::new(now())), &dev(), run, 7);
    journal.append(RecordBody::CancelRequested { cause: "a test".to_owned() }).await.unwrap();
    if let Some(result) = result {
        journal.append(RecordBody::RunFinished { result }).await.unwrap();
    }
}

async fn snapshot(store: &Store, number: u64, runs: u64, open: Option<&str>) -> EnvironmentState {
    let open = open.map(|run| OpenRun {
        run: run.to_owned(),
        epoch: number,
        pipeline: None,
        landing: Landing::Unnumbered,
        since: Some(now()),
        holder: None,
    });
    let state = EnvironmentState { schema: SCHEMA, epoch: number, runs, open, ..EnvironmentState::default() };
    write_state(store.as_ref(), &dev(), state.clone()).await.unwrap();
    state
}

async fn release(store: &Store, sequence: u64) {
    let (dev, release) = (dev(), Release::new(ReleaseSequence(sequence), format!("commit {sequence}")));
    let releases = StoredReleases::new(store.as_ref(), &dev);
    let new = NewRelease { release: &release, by: format!("r{sequence}/record"), epoch: 0 };
    releases.append(releases.newest().await.unwrap(), new).await.unwrap();
}

async fn read(store: &Store) -> EnvironmentState {
    state(store.as_ref(), &dev()).await.unwrap()
}

/// Flips a bit of the object.
async fn damage(store: &Store, key: &str) {
    let mut line = store.get(key).await.unwrap().unwrap().to_vec();
    line[30] ^= 1;
    store.remove(key).await.unwrap();
    store.create(key, line.into()).await.unwrap();
}

#[tokio::test]
async fn an_empty_store_has_an_empty_state() {
    assert_eq!(read(&memory()).await, EnvironmentState::default());
}

#[tokio::test]
async fn what_came_after_the_snapshot_is_read_from_the_records() {
    let store = memory();
    let written = snapshot(&store, 5, 3, None).await;
    assert_eq!(read(&store).await, written);

    epoch(&store, 6, "r4").await;
    assert_eq!(read(&store).await, EnvironmentState { epoch: 6, ..written }, "it began nothing");
    run(&store, "r4", None).await;
    let found = read(&store).await;
    let open = found.open.unwrap();
    assert_eq!((open.run.as_str(), open.epoch, open.since, found.runs), ("r4", 6, Some(now()), 4));
    assert_eq!(open.landing, Landing::Forward(ReleaseSequence(6)));

    run(&store, "r5", Some(RunResult::Succeeded)).await;
    epoch(&store, 7, "r5").await;
    let found = read(&store).await;
    assert_eq!(found.last, Some(RunNote::new("r5", RunResult::Succeeded, now())));
    assert_eq!((found.runs, found.open.unwrap().run.as_str()), (5, "r4"));
}

#[tokio::test]
async fn a_run_that_a_later_epoch_closed_is_not_open() {
    let store = memory();
    snapshot(&store, 5, 3, Some("r3")).await;
    let back = RunResult::RolledBack { failed: "a".to_owned(), cause: "b".to_owned() };
    run(&store, "r3", Some(back.clone())).await;
    epoch(&store, 6, "r4").await;
    let found = read(&store).await;
    assert_eq!((found.open, found.runs), (None, 3));
    assert_eq!(found.last, Some(RunNote::new("r3", back, now())));
}

#[tokio::test]
async fn a_run_that_waits_is_open() {
    let store = memory();
    run(&store, "r1", Some(RunResult::Suspended { reason: "approval".to_owned() })).await;
    epoch(&store, 1, "r1").await;
    let found = read(&store).await;
    assert_eq!((found.open.unwrap().run.as_str(), found.last, found.runs), ("r1", None, 1));
}

#[tokio::test]
async fn a_damaged_snapshot_is_made_up_for_from_the_one_before() {
    let store = memory();
    snapshot(&store, 5, 3, None).await;
    run(&store, "r4", None).await;
    epoch(&store, 6, "r4").await;
    snapshot(&store, 6, 4, Some("r4")).await;
    let whole = read(&store).await;
    damage(&store, "environments/dev/state/0000000006").await;
    let found = read(&store).await;
    assert!(found.warnings[0].contains("state/0000000006") && found.warnings[0].contains("bytes 0.."), "{found:?}");
    assert_eq!((found.runs, found.epoch, found.open.unwrap().run), (4, 6, whole.open.unwrap().run));
    assert!(store.get("environments/dev/state/0000000006").await.unwrap().is_some(), "nothing is deleted");
}

#[tokio::test]
async fn without_any_snapshot_the_records_tell() {
    for lost in ["damaged", "missing"] {
        let store = memory();
        for earlier in ["r1", "r2"] {
            run(&store, earlier, Some(RunResult::Succeeded)).await;
        }
        run(&store, "r3", None).await;
        release(&store, 7).await;
        snapshot(&store, 5, 3, Some("r3")).await;
        damage(&store, "environments/dev/state/0000000005").await;
        if lost == "missing" {
            store.remove("environments/dev/state/0000000005").await.unwrap();
        }
        let found = read(&store).await;
        assert_eq!((found.runs, found.open.unwrap().run.as_str()), (3, "r3"), "{lost}");
        assert_eq!(found.live.unwrap().sequence, ReleaseSequence(7), "{lost}");
        assert_eq!(found.warnings.len(), usize::from(lost == "damaged"), "{lost}: {:?}", found.warnings);
    }
}

#[tokio::test]
async fn a_run_whose_records_are_damaged_is_open_and_told() {
    let store = memory();
    run(&store, "r1", Some(RunResult::Succeeded)).await;
    epoch(&store, 1, "r1").await;
    damage(&store, "environments/dev/runs/r1/00000001").await;
    let found = read(&store).await;
    assert_eq!((found.open.unwrap().run.as_str(), found.last), ("r1", None));
    assert!(found.warnings[0].contains("runs/r1/00000001"), "{:?}", found.warnings);
}

#[tokio::test]
async fn a_newer_schema_is_refused_with_both_versions() {
    let store = memory();
    let newer = seal::seal(&serde_json::json!({"schema": 9, "epoch": 5})).unwrap().0;
    store.create("environments/dev/state/0000000005", newer.into()).await.unwrap();
    let error = state(store.as_ref(), &dev()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("schema 9") && error.message().contains("knows 1"), "{}", error.report());
}

#[tokio::test]
async fn what_is_live_is_the_newest_record_whatever_the_snapshot_says() {
    let store = memory();
    release(&store, 1).await;
    snapshot(&store, 5, 1, None).await;
    for sequence in [2, 3] {
        release(&store, sequence).await;
    }
    let live = read(&store).await.live.unwrap();
    assert_eq!((live.number, live.sequence.0, live.source.as_str()), (3, 3, "commit 3"));

    // One that is damaged is told, and what the snapshot knew stays.
    damage(&store, "environments/dev/releases/00000003").await;
    let found = read(&store).await;
    assert_eq!(found.live.unwrap().sequence, ReleaseSequence(1));
    assert!(found.warnings[0].contains("releases/00000003"), "{:?}", found.warnings);

    // One that was taken back is gone.
    for number in 1..4 {
        store.remove(&format!("environments/dev/releases/{number:08}")).await.unwrap();
    }
    assert_eq!(read(&store).await.live, None);
}
