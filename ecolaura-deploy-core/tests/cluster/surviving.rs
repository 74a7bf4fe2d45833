//! What serves on, and what ends, when something is killed.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    os::unix::net::UnixListener,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ecolaura_deploy_core::{
    Effect, ErrorKind,
    backend::{ApplyRequest, ClusterTarget as _, Placement},
    local::cluster::ProcessCluster,
    plan::Action,
};

use crate::{
    bench::{Bench, backend, cx, get, kill, load, name, pids, roll, runs, runtime, until, workload},
    deployer::Deployer,
};

pub(crate) fn killed_deployer() {
    let bench = Bench::new();
    let first = Deployer::start(bench.dir.path(), "agent", "serve v1");
    let (address, old) = (first.address.clone(), first.pids.clone());
    let stop = Arc::new(AtomicBool::new(false));
    let asking = load(&address, &stop);
    first.kill();
    let second = Deployer::start(bench.dir.path(), "agent", "serve v2");
    assert_eq!(second.address, address);
    until("the old pods end", || !old.iter().any(|pid| runs(*pid)));
    second.kill();
    assert_eq!(get(&address).unwrap(), "v2");
    stop.store(true, Ordering::Relaxed);
    let tally = asking.join().unwrap();
    assert_eq!(tally.keys().collect::<Vec<_>>(), ["v1", "v2"], "{tally:?}");
}

pub(crate) fn unchanged_run() {
    let bench = Bench::new();
    let first = Deployer::start(bench.dir.path(), "agent", "serve v1");
    let (address, pids) = (first.address.clone(), first.pids.clone());
    first.kill();
    runtime().block_on(async {
        let cluster = bench.cluster();
        let image = bench.images.image("serve v1").await.unwrap();
        let request = ApplyRequest::new(workload(bench.dir.path(), "backend", image), Placement::Replace);
        let plan = cluster.plan(&cx(), &request).await.unwrap();
        assert!(plan.changes.iter().all(|change| change.action == Action::NoOp), "{plan:?}");
    });
    let second = Deployer::start(bench.dir.path(), "agent", "serve v1");
    assert_eq!((&second.address, &second.pids), (&address, &pids));
    second.kill();
}

pub(crate) fn killed_agent() {
    let bench = Bench::new();
    let cluster = bench.cluster();
    runtime().block_on(async {
        let (one, two) = (bench.images.image("serve v1").await.unwrap(), bench.images.image("serve v2").await.unwrap());
        let first = roll(&cluster, bench.dir.path(), "backend", &one).await.unwrap();
        let snapshot = cluster.status(&cx(), &name("test")).await.unwrap().snapshot;
        let second = roll(&cluster, bench.dir.path(), "backend", &two).await.unwrap();
        let (agent, old) = (cluster.agent_pid().unwrap(), pids(&cluster).await);
        kill(agent);
        until("its pods end too", || !old.iter().any(|pid| runs(*pid)));
        let status = cluster.status(&cx(), &name("test")).await.unwrap();
        assert!(status.pods.is_empty() && cluster.agent_pid().is_none(), "looking starts nothing");
        assert_eq!(status.snapshot.revisions[&backend()], Some(2));
        let again = roll(&cluster, bench.dir.path(), "backend", &two).await.unwrap();
        assert_eq!(again, second);
        assert_eq!(get(&again.addresses[&backend()]).unwrap(), "v2");
        kill(cluster.agent_pid().unwrap());
        cluster.restore(&cx(), &snapshot).await.unwrap();
        assert_eq!(get(&first.addresses[&backend()]).unwrap(), "v1");
        assert_eq!(pids(&cluster).await.len(), 2);
    });
}

pub(crate) fn taken_over() {
    let bench = Bench::new();
    let cluster = bench.cluster();
    runtime().block_on(async {
        let (one, two) = (bench.images.image("serve v1").await.unwrap(), bench.images.image("serve v2").await.unwrap());
        let apply = async |epoch, image| {
            let request = ApplyRequest::new(workload(bench.dir.path(), "backend", image), Placement::Replace);
            cluster.apply(&cx().with_epoch(epoch), &request).await
        };
        let applied = apply(28_000_005, one).await.unwrap();
        kill(cluster.agent_pid().unwrap());
        let error = apply(28_000_004, two.clone()).await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Fenced, Effect::None), "{error:?}");
        assert!(error.report().contains("epoch 28000004 of test"), "{}", error.report());
        let snapshot = cluster.status(&cx(), &name("test")).await.unwrap().snapshot;
        assert_eq!(snapshot.revisions[&backend()], Some(applied.revisions[&backend()]));
        apply(28_000_006, two).await.unwrap();
    });
}

pub(crate) fn idle_agent() {
    let bench = Bench::new();
    let cluster = bench.cluster().idle(Some(Duration::from_secs(2)));
    runtime().block_on(async {
        let image = bench.images.image("serve v1").await.unwrap();
        let applied = roll(&cluster, bench.dir.path(), "backend", &image).await.unwrap();
        let (agent, pods) = (cluster.agent_pid().unwrap(), pids(&cluster).await);
        // A request counts as use: for longer than the idle time it stays.
        for _ in 0..8 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            assert_eq!(get(&applied.addresses[&backend()]).unwrap(), "v1");
        }
        until("the agent ends", || !runs(agent));
        assert!(!pods.iter().any(|pid| runs(*pid)), "its pods ended before it");
        let request = ApplyRequest::new(workload(bench.dir.path(), "backend", image.clone()), Placement::Replace);
        let plan = cluster.plan(&cx(), &request).await.unwrap();
        assert!(plan.changes.iter().any(|change| change.reason.contains("started")), "{plan:?}");
        assert_eq!(roll(&cluster, bench.dir.path(), "backend", &image).await.unwrap(), applied);
    });
}

pub(crate) fn stopped() {
    let bench = Bench::new();
    let cluster = bench.cluster();
    runtime().block_on(async {
        cluster.stop(&cx()).await.unwrap();
        let image = bench.images.image("serve v1").await.unwrap();
        let applied = roll(&cluster, bench.dir.path(), "backend", &image).await.unwrap();
        let (agent, pods) = (cluster.agent_pid().unwrap(), pids(&cluster).await);
        for _ in 0..2 {
            cluster.stop(&cx()).await.unwrap();
            assert!(cluster.agent_pid().is_none());
            assert!(!pods.iter().any(|pid| runs(*pid)));
            assert!(get(&applied.addresses[&backend()]).is_err());
        }
        until("the agent has gone", || !runs(agent));
    });
}

pub(crate) fn two_clients() {
    let bench = Bench::new();
    runtime().block_on(async {
        let (one, two) = (bench.images.image("serve v1").await.unwrap(), bench.images.image("serve v2").await.unwrap());
        let (left, right) = (bench.cluster(), bench.cluster());
        let (first, second) = tokio::join!(
            roll(&left, bench.dir.path(), "backend", &one),
            roll(&right, bench.dir.path(), "other", &two),
        );
        assert_eq!(get(&first.unwrap().addresses[&backend()]).unwrap(), "v1");
        assert_eq!(get(second.unwrap().addresses.values().next().unwrap()).unwrap(), "v2");
        assert_eq!(left.agent_pid(), right.agent_pid());
        assert_eq!(pids(&left).await.len(), 4);
    });
}

/// Stands in for an agent of an older library: it knows how to say so, and how to stop.
fn old_agent(dir: &std::path::Path) -> std::thread::JoinHandle<()> {
    std::fs::create_dir_all(dir).unwrap();
    let mut lock = File::create(dir.join("lock")).unwrap();
    lock.lock().unwrap();
    write!(lock, "agent {}", std::process::id()).unwrap();
    let socket = dir.join("agent.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        loop {
            let (mut stream, _) = listener.accept().unwrap();
            let mut length = [0; 4];
            stream.read_exact(&mut length).unwrap();
            let mut message = vec![0; u32::from_be_bytes(length) as usize];
            stream.read_exact(&mut message).unwrap();
            let stop = String::from_utf8(message).unwrap().contains("\"stop\":true");
            let answer: &[u8] = if stop { b"{\"answer\":null}" } else { b"{\"other_protocol\":\"0.0.1/0\"}" };
            stream.write_all(&u32::try_from(answer.len()).unwrap().to_be_bytes()).unwrap();
            stream.write_all(answer).unwrap();
            if stop {
                std::fs::remove_file(&socket).unwrap();
                drop(lock);
                return;
            }
        }
    })
}

pub(crate) fn other_version() {
    let bench = Bench::new();
    let old = old_agent(&bench.cluster_dir());
    let cluster = bench.cluster();
    runtime().block_on(async {
        let error = cluster.status(&cx(), &name("test")).await.unwrap_err();
        assert!(error.report().contains("0.0.1/0"), "{}", error.report());
        let image = bench.images.image("serve v1").await.unwrap();
        let applied = roll(&cluster, bench.dir.path(), "backend", &image).await.unwrap();
        assert_eq!(get(&applied.addresses[&backend()]).unwrap(), "v1");
    });
    old.join().unwrap();
}

pub(crate) fn killed_program() {
    let bench = Bench::new();
    let deployer = Deployer::start(bench.dir.path(), "own", "serve v1");
    let pods = deployer.pids.clone();
    assert!(pods.len() == 2 && pods.iter().all(|pid| runs(*pid)));
    deployer.kill();
    until("its pods end", || !pods.iter().any(|pid| runs(*pid)));
}

pub(crate) fn deep_folder() {
    let bench = Bench::new();
    let deep = bench.cluster_dir().join("a-folder-with-quite-a-long-name/".repeat(5));
    let cluster = ProcessCluster::with_agent(deep, bench.images.registry.clone(), name("local")).unwrap();
    runtime().block_on(async {
        let image = bench.images.image("serve v1").await.unwrap();
        let applied = roll(&cluster, bench.dir.path(), "backend", &image).await.unwrap();
        assert_eq!(get(&applied.addresses[&backend()]).unwrap(), "v1");
        cluster.stop(&cx()).await.unwrap();
    });
}
