//! Rolling out, changing, going back: under load, nothing is lost.

use super::{
    bench::service,
    bench::{Bench, address, name, probe, until_gone, variable},
    load::{Load, get},
};
use crate::{
    ErrorKind,
    backend::{Placement, RolloutState, Track},
    cluster::desired::RolloutStrategy,
};

#[tokio::test(flavor = "multi_thread")]
async fn updates_back_and_forth_lose_no_request() {
    let bench = Bench::new();
    let first = bench.roll(service("serve v1")).await;
    assert_eq!(first.revisions[&name("backend")], 1);
    let snapshot = bench.status().await.snapshot;
    let load = Load::start(&address(&first));
    load.more(5).await;
    for (mode, strategy) in [("serve v2", (1, 0)), ("serve v3", (0, 1)), ("serve v4", (2, 1))] {
        let mut wanted = service(mode);
        wanted.strategy = RolloutStrategy::RollingUpdate { max_surge: strategy.0, max_unavailable: strategy.1 };
        let applied = bench.roll(wanted).await;
        assert_eq!(applied.addresses, first.addresses);
        let now = load.more(5).await;
        assert_eq!(now.len(), 1, "only {mode} answers once it is ready: {now:?}");
        assert!(mode.ends_with(now.first_key_value().unwrap().0.as_str()));
    }
    bench.restore(&snapshot).await.unwrap();
    assert_eq!(load.more(5).await.into_keys().collect::<Vec<_>>(), ["v1"]);
    let status = bench.status().await;
    assert_eq!(status.snapshot, snapshot);
    assert!(status.pods.iter().all(|pod| pod.revision == 1 && pod.ready && pod.restarts == 0), "{status:?}");
    let tally = load.end().await;
    assert_eq!(tally.keys().collect::<Vec<_>>(), ["v1", "v2", "v3", "v4"], "{tally:?}");
}

#[tokio::test]
async fn the_same_again_changes_nothing() {
    let bench = Bench::new();
    let first = bench.roll(service("serve v1")).await;
    let pids = bench.pids(Track::Stable).await;
    let again = bench.roll(service("serve v1")).await;
    assert_eq!((again, bench.pids(Track::Stable).await), (first.clone(), pids.clone()));
    let mut three = service("serve v1");
    three.replicas = 3;
    let scaled = bench.roll(three).await;
    assert_eq!(scaled.revisions, first.revisions);
    let more = bench.pids(Track::Stable).await;
    assert!(more.len() == 3 && pids.iter().all(|pid| more.contains(pid)), "{pids:?} {more:?}");
}

#[tokio::test]
async fn recreate_ends_the_old_before_the_new_begins() {
    let bench = Bench::new();
    let mut wanted = service("serve v1");
    wanted.strategy = RolloutStrategy::Recreate;
    bench.roll(wanted.clone()).await;
    let old = bench.pids(Track::Stable).await;
    wanted.template.args = service("serve v2").template.args;
    bench.roll(wanted).await;
    until_gone(&old).await;
    let events = bench.status().await.events;
    let place = |wanted: &str, last: bool| {
        let mut found = events.iter().enumerate().filter(|(_, event)| event.ends_with(wanted)).map(|(place, _)| place);
        if last { found.next_back() } else { found.nth(2) }
    };
    assert!(place(": ended", true) < place(": started", false), "{events:#?}");
}

#[tokio::test]
async fn configuration_makes_new_pods_and_reaches_them() {
    let bench = Bench::new();
    let mut wanted = service("serve v1");
    wanted.template.env = vec![variable("COLOUR", "red")];
    let first = bench.roll(wanted.clone()).await;
    wanted.template.env = vec![variable("COLOUR", "blue")];
    let second = bench.roll(wanted).await;
    assert_eq!((first.revisions[&name("backend")], second.revisions[&name("backend")]), (1, 2));
    assert_eq!(get(&address(&second), "/env?COLOUR").await.unwrap().1, "blue");
    assert_eq!(get(&address(&second), "/env?BACKEND_SERVICE_PORT").await.unwrap().1, "8080");
    let mut names: Vec<String> =
        get(&address(&second), "/all-env").await.unwrap().1.split(',').map(str::to_owned).collect();
    names.sort();
    let expected = [
        "BACKEND_SERVICE_HOST",
        "BACKEND_SERVICE_PORT",
        "COLOUR",
        "HOME",
        "HOSTNAME",
        "PATH",
        "POD_IP",
        "PORT",
        "TMPDIR",
    ];
    assert_eq!(names, expected);
}

#[tokio::test]
async fn of_two_roll_outs_the_later_wins_and_the_other_learns_it() {
    let bench = Bench::new();
    bench.roll(service("serve v1")).await;
    let mut slow = service("silent");
    slow.template.readiness = Some(probe("/healthz"));
    let stuck = bench.apply(slow).await;
    let (late, _) = tokio::join!(bench.wait(&stuck), async {
        bench.until("a pod of the stuck one runs", |pods| pods.iter().any(|pod| pod.revision == 2)).await;
        bench.roll(service("serve v3")).await
    });
    let RolloutState::Failed { cause, chain } = late else { panic!("{late:?}") };
    assert_eq!(cause, crate::backend::FailureCause::Superseded);
    assert!(chain[1].contains("revision 3"), "{chain:?}");
}

#[tokio::test]
async fn services_that_were_not_there_go_and_others_stay() {
    let bench = Bench::new();
    let other = |mode: &str| {
        let mut other = service(mode);
        other.name = name("other");
        other.endpoints[0].name = name("other");
        other
    };
    bench.roll(service("serve v1")).await;
    let mut snapshot = bench.status().await.snapshot;
    let applied = bench.try_apply(vec![other("serve o1")], Placement::Replace).await.unwrap();
    assert_eq!(bench.wait(&applied).await, RolloutState::Ready);
    let address = applied.addresses[&name("other")].trim_start_matches("http://").to_owned();
    assert_eq!(get(&address, "/").await.unwrap().1, "o1");
    let pids = bench.pids(Track::Stable).await;
    snapshot.revisions = [(name("other"), None)].into();
    for _ in 0..2 {
        bench.restore(&snapshot).await.unwrap();
        let left = bench.pids(Track::Stable).await;
        assert!(left.len() == 2 && left.iter().all(|pid| pids.contains(pid)));
        assert!(get(&address, "/").await.is_err());
    }
    snapshot.revisions = [(name("backend"), Some(9))].into();
    let error = bench.restore(&snapshot).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.report().contains("backend revision 9"), "{}", error.report());
}
