use super::*;
use crate::{store::ObjectRunStore, vocabulary::ReleaseSequence};

fn memory() -> Arc<dyn RunStore> {
    Arc::new(ObjectRunStore::memory())
}

fn release(sequence: u64) -> Release {
    Release::new(ReleaseSequence(sequence), format!("commit {sequence}"))
}

fn of_run(run: &str, epoch: u64) -> Context {
    Context::new("dev".parse().unwrap()).with_run(run, epoch)
}

async fn history(store: &Arc<dyn RunStore>) -> Vec<u64> {
    let dev = "dev".parse().unwrap();
    let all = StoredReleases::new(store.as_ref(), &dev).all().await.unwrap();
    all.into_iter().map(|(_, release)| release.sequence.0).collect()
}

#[tokio::test]
async fn an_older_release_follows_only_on_a_way_back_to_what_was_live() {
    let store = memory();
    let (forward, back) = (RecordRelease::new(Arc::clone(&store)), RecordRelease::new(Arc::clone(&store)).going_back());
    for sequence in [1, 3] {
        forward.apply(&of_run(&format!("r{sequence}"), sequence), release(sequence)).await.unwrap();
    }
    for (step, sequence, told) in
        [(&forward, 1, "release r1 is older than r3"), (&forward, 2, "is older than r3"), (&back, 2, "was never live")]
    {
        let cx = of_run("r4", 4);
        let planned = step.plan(&cx, Planned::Known(release(sequence))).await.unwrap_err();
        let applied = step.apply(&cx, release(sequence)).await.unwrap_err();
        for error in [planned, applied] {
            assert_eq!(error.kind(), ErrorKind::Conflict);
            assert!(error.report().contains(told), "{}", error.report());
        }
    }
    assert_eq!(history(&store).await, [1, 3]);
    back.apply(&of_run("r4", 4), release(1)).await.unwrap();
    back.apply(&of_run("r5", 5), release(3)).await.unwrap();
    back.apply(&of_run("r6", 6), release(4)).await.unwrap();
    assert_eq!(history(&store).await, [1, 3, 1, 3, 4]);
}

#[tokio::test]
async fn what_was_rolled_back_from_was_live_too() {
    let store = memory();
    let step = RecordRelease::new(Arc::clone(&store)).going_back();
    for (run, sequence) in [1, 2, 1, 3, 2].into_iter().enumerate() {
        step.apply(&of_run(&run.to_string(), 1), release(sequence)).await.unwrap();
    }
    assert_eq!(history(&store).await, [1, 2, 1, 3, 2]);
}

#[tokio::test]
async fn a_run_records_its_release_once() {
    let store = memory();
    let (step, cx) = (RecordRelease::new(Arc::clone(&store)), of_run("r1", 1));
    let intended = step.prepare(&cx, &release(1)).await.unwrap();
    step.apply(&cx, release(1)).await.unwrap();
    // The process ended before the outcome was written; another one goes on.
    let cx = of_run("r1", 2);
    assert_eq!(step.prepare(&cx, &release(1)).await.unwrap(), intended);
    step.apply(&cx, release(1)).await.unwrap();
    assert_eq!(history(&store).await, [1]);
    step.undoer().unwrap().undo(&cx, intended.unwrap()).await.unwrap();
    assert_eq!(history(&store).await, [0; 0]);
}

#[tokio::test]
async fn nobody_takes_back_what_another_recorded() {
    let store = memory();
    let step = RecordRelease::new(Arc::clone(&store));
    let intended = step.prepare(&of_run("r1", 1), &release(1)).await.unwrap().unwrap();
    step.apply(&of_run("r2", 2), release(2)).await.unwrap();
    step.undoer().unwrap().undo(&of_run("r1", 3), intended.clone()).await.unwrap();
    assert_eq!(history(&store).await, [2]);
    let error = step.undoer().unwrap().undo(&of_run("r1", 1), intended).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced);
}

#[tokio::test]
async fn an_older_epoch_records_nothing() {
    let store = memory();
    let step = RecordRelease::new(Arc::clone(&store));
    step.apply(&of_run("r2", 8), release(2)).await.unwrap();
    let error = step.apply(&of_run("r1", 7), release(3)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced);
    assert_eq!(history(&store).await, [2]);
}
