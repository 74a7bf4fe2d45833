//! What is found, and cleaned up, after something was killed.

use std::{fs, path::Path};

use ecolaura_deploy_core::{
    backend::{
        ApplyRequest, ClusterTarget as _, Inspect as _, Leftover, Placement, RolloutState, Traffic, TrafficRequest,
    },
    local::cluster::ProcessCluster,
    vocabulary::PinnedImage,
};

use crate::bench::{Bench, backend, cx, get, kill, pids, roll, runs, runtime, until, workload};

async fn found(cluster: &ProcessCluster) -> Vec<Leftover> {
    cluster.leftovers(&cx()).await.unwrap()
}

async fn kinds(cluster: &ProcessCluster) -> Vec<String> {
    found(cluster).await.into_iter().map(|left| left.kind).collect()
}

async fn clean_all(cluster: &ProcessCluster) {
    let left = found(cluster).await;
    for _ in 0..2 {
        for one in &left {
            cluster.clean(&cx(), one).await.unwrap();
        }
    }
    assert_eq!(found(cluster).await, []);
}

async fn beside(cluster: &ProcessCluster, dir: &Path, image: &PinnedImage) -> TrafficRequest {
    let request = ApplyRequest::new(workload(dir, "backend", image.clone()), Placement::Beside { replicas: Some(1) });
    let applied = cluster.apply(&cx(), &request).await.unwrap();
    assert_eq!(cluster.wait_until_ready(&cx(), &applied).await.unwrap(), RolloutState::Ready);
    TrafficRequest::new(applied, Traffic::Candidate { percent: 50 })
}

pub(crate) fn idle_candidate() {
    let bench = Bench::new();
    let cluster = bench.cluster();
    runtime().block_on(async {
        assert_eq!(found(&cluster).await, []);
        let (one, two) = (bench.images.image("serve v1").await.unwrap(), bench.images.image("serve v2").await.unwrap());
        let stable = roll(&cluster, bench.dir.path(), "backend", &one).await.unwrap();
        assert_eq!(found(&cluster).await, []);
        let stays = pids(&cluster).await;
        let share = beside(&cluster, bench.dir.path(), &two).await;
        let idle = found(&cluster).await;
        assert_eq!((idle.len(), idle[0].object.as_str()), (1, "test/backend revision 2"));

        cluster.shift(&cx(), &share).await.unwrap();
        assert_eq!(found(&cluster).await, [], "it gets requests");
        cluster.clean(&cx(), &idle[0]).await.unwrap();
        assert_eq!(pids(&cluster).await.len(), 3, "and stays, whoever found it idle before");
        cluster.shift(&cx(), &TrafficRequest::new(share.candidate, Traffic::Candidate { percent: 0 })).await.unwrap();
        clean_all(&cluster).await;
        assert_eq!(pids(&cluster).await, stays);
        assert_eq!(get(&stable.addresses[&backend()]).unwrap(), "v1");
    });
}

pub(crate) fn idle_candidate_of_a_killed_agent() {
    let bench = Bench::new();
    let cluster = bench.cluster();
    runtime().block_on(async {
        let (one, two) = (bench.images.image("serve v1").await.unwrap(), bench.images.image("serve v2").await.unwrap());
        roll(&cluster, bench.dir.path(), "backend", &one).await.unwrap();
        beside(&cluster, bench.dir.path(), &two).await;
        let pods = pids(&cluster).await;
        kill(cluster.agent_pid().unwrap());
        until("its pods end too", || !pods.iter().any(|pid| runs(*pid)));
        let kinds = kinds(&cluster).await;
        assert_eq!(kinds.iter().filter(|kind| *kind == "idle candidate").count(), 1, "{kinds:?}");
        assert!(kinds.iter().skip(1).all(|kind| kind == "folder of an ended pod"), "{kinds:?}");
        clean_all(&cluster).await;
        assert_eq!(cluster.agent_pid(), None, "cleaning starts nothing");
        let again = roll(&cluster, bench.dir.path(), "backend", &one).await.unwrap();
        assert_eq!(get(&again.addresses[&backend()]).unwrap(), "v1");
        assert_eq!(pids(&cluster).await.len(), 2);
    });
}

/// The leader of the process group: what guards a pod.
fn guardian(pid: u32) -> u32 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(')').unwrap().1.split_whitespace().nth(2).unwrap().parse().unwrap()
}

/// Processes that nothing else ends if the test fails.
struct Unguarded(Vec<u32>);

impl Drop for Unguarded {
    fn drop(&mut self) {
        self.0.iter().filter(|pid| runs(**pid)).for_each(|pid| kill(*pid));
    }
}

pub(crate) fn orphans() {
    let bench = Bench::new();
    let cluster = bench.cluster();
    runtime().block_on(async {
        let image = bench.images.image("serve v1").await.unwrap();
        roll(&cluster, bench.dir.path(), "backend", &image).await.unwrap();
        let pods = pids(&cluster).await;
        let _unguarded = Unguarded(pods.clone());
        pods.iter().for_each(|pid| kill(guardian(*pid)));
        assert_eq!(found(&cluster).await, [], "an agent runs them");
        kill(cluster.agent_pid().unwrap());
        until("nobody runs the cluster", || cluster.agent_pid().is_none());
        assert!(pods.iter().all(|pid| runs(*pid)));
        let orphans = found(&cluster).await;
        assert_eq!(orphans.len(), 2, "{orphans:?}");
        for orphan in &orphans {
            assert_eq!(orphan.kind, "orphan process");
            assert!(pods.iter().any(|pid| orphan.object.starts_with(&format!("{pid},"))), "{orphan:?}");
        }
        clean_all(&cluster).await;
        until("they end", || !pods.iter().any(|pid| runs(*pid)));
    });
}

pub(crate) fn files() {
    let bench = Bench::new();
    let cluster = bench.cluster();
    runtime().block_on(async {
        let image = bench.images.image("serve v1").await.unwrap();
        roll(&cluster, bench.dir.path(), "backend", &image).await.unwrap();
        let folder = bench.cluster_dir();
        let half = folder.join("images/.0123.1-1.partial");
        let (gone, young) = (folder.join("logs/test/gone"), folder.join("logs/test/young"));
        for made in [&half, &gone, &young] {
            fs::create_dir_all(made).unwrap();
            fs::write(made.join("x"), "x").unwrap();
        }
        let old = fs::metadata(&gone).unwrap().modified().unwrap() - std::time::Duration::from_hours(25);
        for aged in [&gone, &folder.join("logs/test/backend")] {
            fs::File::open(aged).unwrap().set_modified(old).unwrap();
        }
        assert_eq!(found(&cluster).await, [], "an agent runs the cluster and sweeps");
        cluster.stop(&cx()).await.unwrap();
        until("the agent has gone", || cluster.agent_pid().is_none());
        let left = found(&cluster).await;
        let objects: Vec<_> = left.iter().map(|left| (left.kind.as_str(), Path::new(&left.object))).collect();
        assert_eq!(objects, [("logs of a removed service", gone.as_path()), ("unpacked image", half.as_path())]);
        clean_all(&cluster).await;
        assert!(young.exists() && !gone.exists() && !half.exists());
        roll(&cluster, bench.dir.path(), "backend", &image).await.unwrap();
        assert!(folder.join("logs/test/backend").exists());
    });
}
