//! What is left when something ends.

use super::bench::{Bench, address, name, runs, service, until_gone};
use crate::{
    ErrorKind,
    backend::Track,
    local::{
        cluster::{
            ProcessCluster,
            agent::protocol::Request,
            link::{Host, Link},
        },
        registry::LayoutRegistry,
    },
};

#[tokio::test]
async fn processes_end_with_their_owner() {
    let mut bench = Bench::new();
    bench.roll(service("serve v1")).await;
    let pids = bench.pids(Track::Stable).await;
    assert!(pids.len() == 2 && pids.iter().all(|pid| runs(*pid)));
    let error = Host::start(&bench.folder).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.report().contains(&format!("process {}", std::process::id())), "{}", error.report());
    let other = Bench::new();
    bench.link = other.link;
    until_gone(&pids).await;
    assert!(!bench.folder.file("pods").join("backend").exists());
}

#[test]
fn a_program_that_would_run_itself_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let registry = std::sync::Arc::new(LayoutRegistry::new(dir.path(), "registry".parse().unwrap()));
    let error = ProcessCluster::with_agent(dir.path(), registry, "local".parse().unwrap()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(error.report().contains("run_agent_if_asked"), "{}", error.report());
}

#[tokio::test]
async fn what_was_stopped_is_kept_and_started_again_by_the_next_roll_out() {
    let mut bench = Bench::new();
    let first = bench.roll(service("serve v1")).await;
    let second = bench.roll(service("serve v2")).await;
    let pids = bench.pids(Track::Stable).await;
    for _ in 0..2 {
        bench.call::<()>(Request::Stop).await.unwrap();
        assert!(!pids.iter().any(|pid| runs(*pid)), "stopping returns when they are gone");
        assert!(bench.status().await.pods.is_empty());
        assert!(super::load::get(&address(&first), "/").await.is_err());
    }
    let folder = bench.folder.clone();
    drop(std::mem::replace(&mut bench.link, Bench::new().link));
    bench.link = Link::Own(Host::start(&folder).unwrap());
    assert!(bench.status().await.pods.is_empty(), "opening starts nothing");
    let again = bench.roll(service("serve v2")).await;
    assert_eq!(again, second);
    let mut snapshot = bench.status().await.snapshot;
    snapshot.revisions.insert(name("backend"), first.revisions.get(&name("backend")).copied());
    snapshot.state = serde_json::Value::Null;
    bench.restore(&snapshot).await.unwrap();
    assert_eq!(super::load::get(&address(&first), "/").await.unwrap().1, "v1");
}

#[tokio::test]
async fn a_process_of_a_killed_predecessor_ends_and_a_stranger_does_not() {
    use crate::local::cluster::supervise::end_leftover;
    let dir = tempfile::tempdir().unwrap();
    let mut child = std::process::Command::new("sleep").arg("600").spawn().unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    let began = stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap().to_owned();
    let file = dir.path().join("pid");
    for text in [format!("{} 1", child.id()), "x".to_owned(), String::new(), "1 0".to_owned()] {
        std::fs::write(&file, text).unwrap();
        assert_eq!(end_leftover(&file), None);
    }
    assert!(runs(child.id()));
    std::fs::write(&file, format!("{} {began}", child.id())).unwrap();
    assert_eq!(end_leftover(&file), Some(child.id()));
    child.wait().unwrap();
}
