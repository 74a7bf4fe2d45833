//! Two versions side by side.

use super::{
    bench::{Bench, address, name, service, until_gone},
    load::{Load, get},
};
use crate::{
    ErrorKind,
    backend::{RolloutState, Track, Traffic},
};

#[tokio::test(flavor = "multi_thread")]
async fn blue_green_switches_at_once_and_loses_nothing() {
    let bench = Bench::new();
    let stable = bench.roll(service("serve blue")).await;
    let blue = bench.pids(Track::Stable).await;
    let load = Load::start(&address(&stable));
    let candidate = bench.beside(service("serve green"), None).await;
    assert_eq!(candidate.track, Track::Candidate);
    assert_eq!(bench.wait(&candidate).await, RolloutState::Ready);
    assert_eq!(load.more(5).await.into_keys().collect::<Vec<_>>(), ["blue"]);
    let green = bench.pids(Track::Candidate).await;
    bench.shift(&candidate, Traffic::Candidate { percent: 100 }).await.unwrap();
    assert_eq!(load.more(5).await.into_keys().collect::<Vec<_>>(), ["green"]);
    bench.shift(&candidate, Traffic::Candidate { percent: 0 }).await.unwrap();
    assert_eq!(load.more(5).await.into_keys().collect::<Vec<_>>(), ["blue"]);
    bench.shift(&candidate, Traffic::Candidate { percent: 100 }).await.unwrap();
    for _ in 0..2 {
        bench.shift(&candidate, Traffic::Promote).await.unwrap();
        assert_eq!(bench.pids(Track::Stable).await, green, "promoting starts no pod anew");
        until_gone(&blue).await;
    }
    assert_eq!(load.more(5).await.into_keys().collect::<Vec<_>>(), ["green"]);
    let tally = load.end().await;
    assert_eq!(tally.keys().collect::<Vec<_>>(), ["blue", "green"], "{tally:?}");
    assert_eq!(bench.status().await.snapshot.revisions[&name("backend")], Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_gets_its_share_and_grows_when_it_is_promoted() {
    let bench = Bench::new();
    let stable = bench.roll(service("serve old")).await;
    let candidate = bench.beside(service("serve new"), Some(1)).await;
    assert_eq!(bench.beside(service("serve new"), Some(1)).await, candidate);
    assert_eq!(bench.wait(&candidate).await, RolloutState::Ready);
    bench.shift(&candidate, Traffic::Candidate { percent: 30 }).await.unwrap();
    let mut new = 0;
    for _ in 0..100 {
        new += usize::from(get(&address(&stable), "/").await.unwrap().1 == "new");
    }
    assert_eq!(new, 30);
    let load = Load::start(&address(&stable));
    bench.shift(&candidate, Traffic::Promote).await.unwrap();
    assert_eq!(bench.pids(Track::Stable).await.len(), 2);
    assert_eq!(load.more(5).await.into_keys().collect::<Vec<_>>(), ["new"]);
    let tally = load.end().await;
    assert!(!tally.keys().any(|text| text.starts_with("failed")), "{tally:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_discarded_candidate_gets_nothing_more_and_ends() {
    let bench = Bench::new();
    let stable = bench.roll(service("serve old")).await;
    let snapshot = bench.status().await.snapshot;
    let load = Load::start(&address(&stable));
    for restore in [false, true] {
        let candidate = bench.beside(service("serve new"), Some(1)).await;
        assert_eq!(bench.wait(&candidate).await, RolloutState::Ready);
        bench.shift(&candidate, Traffic::Candidate { percent: 50 }).await.unwrap();
        assert!(load.more(10).await.contains_key("new"));
        if restore {
            bench.restore(&snapshot).await.unwrap();
        } else {
            bench.shift(&candidate, Traffic::Discard).await.unwrap();
            bench.shift(&candidate, Traffic::Discard).await.unwrap();
        }
        assert!(bench.pids(Track::Candidate).await.is_empty());
        assert_eq!(load.more(5).await.into_keys().collect::<Vec<_>>(), ["old"]);
        let error = bench.shift(&candidate, Traffic::Candidate { percent: 5 }).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
    let tally = load.end().await;
    assert_eq!(tally.keys().collect::<Vec<_>>(), ["new", "old"], "{tally:?}");
}

#[tokio::test]
async fn a_candidate_that_cannot_start_is_not_promoted() {
    let bench = Bench::new();
    let stable = bench.roll(service("serve old")).await;
    let pids = bench.pids(Track::Stable).await;
    let candidate = bench.beside(service("crash"), Some(1)).await;
    assert!(matches!(bench.wait(&candidate).await, RolloutState::Failed { .. }));
    let error = bench.shift(&candidate, Traffic::Promote).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RolloutFailed);
    bench.shift(&candidate, Traffic::Candidate { percent: 100 }).await.unwrap();
    assert_eq!(get(&address(&stable), "/").await.unwrap().1, "old");
    assert_eq!(bench.pids(Track::Stable).await, pids);
}
