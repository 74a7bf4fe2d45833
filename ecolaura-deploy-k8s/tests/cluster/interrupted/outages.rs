//! Servers that stop in the middle.
//!
//! Each of these tests needs a cluster of its own: after a restart its controllers take minutes to be as quick as before.
//! `.ci/outages` gives each one.

use std::{
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

use ecolaura_deploy_core::{
    Result,
    backend::{AppliedWorkload, ClusterTarget as _, Placement, RolloutState, Traffic, TrafficRequest},
    plan::Action,
};
use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::{
    Api,
    api::{ListParams, PostParams, WatchParams},
    core::WatchEvent,
};
use serde_json::json;

use super::{Bench, on_a_control_plane, web};
use crate::support::{Pretended, cx};

const BESIDE: Placement = Placement::Beside { replicas: Some(1) };

/// Restarts the API server, which is away for a second at least.
async fn restart() {
    let program = std::env::var("ECOLAURA_TEST_RESTART_APISERVER").unwrap();
    let restarted =
        tokio::task::spawn_blocking(move || Command::new(program).arg("1").output().unwrap()).await.unwrap();
    assert!(restarted.status.success(), "{}", String::from_utf8_lossy(&restarted.stderr));
}

/// Does `work` again and again until the API server is back. Each time it has to succeed.
async fn through_a_restart<T>(phase: &str, work: impl AsyncFn() -> Result<T>) -> T {
    let began = Instant::now();
    let restarted = tokio::spawn(restart());
    let mut times = 0;
    loop {
        let done = work().await.unwrap_or_else(|error| panic!("{phase}: {}", error.report()));
        times += 1;
        if restarted.is_finished() {
            restarted.await.unwrap();
            println!(
                "{phase}: {times} times while the API server restarted, in {:.1} s",
                began.elapsed().as_secs_f32()
            );
            return done;
        }
    }
}

/// What is there before a server stops: version 1, ready.
async fn stable(bench: &Bench) -> (AppliedWorkload, Pretended) {
    let pretended = bench.pretend();
    let applied = bench.apply(&web('1'), Placement::Replace).await.unwrap();
    assert_eq!(bench.waits(&applied).await.unwrap().unwrap(), RolloutState::Ready);
    (applied, pretended)
}

/// A candidate beside it, ready too.
async fn candidate(bench: &Bench) -> AppliedWorkload {
    let applied = bench.apply(&web('2'), BESIDE).await.unwrap();
    assert_eq!(bench.waits(&applied).await.unwrap().unwrap(), RolloutState::Ready);
    applied
}

async fn nothing_to_do(bench: &Bench, version: char) {
    let plan = bench.plan(&web(version)).await.unwrap();
    assert!(plan.iter().all(|(action, _)| *action == Action::NoOp), "{plan:?}");
}

#[test]
#[ignore = "it stops the API server: .ci/outages"]
fn a_plan_waits_for_an_api_server_that_restarts() {
    on_a_control_plane(async |bench| {
        let _stable = stable(&bench).await;
        let plan = through_a_restart("plan", async || bench.plan(&web('2')).await).await;
        assert!(plan.iter().any(|(action, object)| *action == Action::Update && object.contains("web")), "{plan:?}");
        nothing_to_do(&bench, '1').await;
    });
}

#[test]
#[ignore = "it stops the API server: .ci/outages"]
fn an_apply_waits_for_an_api_server_that_restarts() {
    on_a_control_plane(async |bench| {
        let _stable = stable(&bench).await;
        let applied = through_a_restart("apply", async || bench.apply(&web('2'), Placement::Replace).await).await;
        assert_eq!(bench.waits(&applied).await.unwrap().unwrap(), RolloutState::Ready);
        nothing_to_do(&bench, '2').await;
    });
}

#[test]
#[ignore = "it stops the API server: .ci/outages"]
fn a_wait_goes_on_with_an_api_server_that_forgot_what_was_watched() {
    on_a_control_plane(async |bench| {
        let (_, pretended) = stable(&bench).await;
        // The next version is not ready before its wait.
        drop(pretended);
        let applied = bench.apply(&web('2'), BESIDE).await.unwrap();
        let namespace = bench.namespace.name.as_str();
        let pods = Api::<Pod>::namespaced(bench.client.clone(), namespace);
        let version = pods.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
        let waiting = bench.waits(&applied);
        tokio::time::sleep(Duration::from_millis(500)).await;
        let map = json!({"metadata": {"name": "later"}});
        let maps = Api::<ConfigMap>::namespaced(bench.client.clone(), namespace);
        maps.create(&PostParams::default(), &serde_json::from_value(map).unwrap()).await.unwrap();
        restart().await;
        assert_eq!(watch_from(&pods, &version).await, Some(410));
        assert!(!waiting.is_finished());
        let _pretended = bench.pretend();
        assert_eq!(waiting.await.unwrap().unwrap(), RolloutState::Ready);
    });
}

#[test]
#[ignore = "it stops the API server: .ci/outages"]
fn a_shift_waits_for_an_api_server_that_restarts() {
    on_a_control_plane(async |bench| {
        let _stable = stable(&bench).await;
        let candidate = candidate(&bench).await;
        let to = |traffic| TrafficRequest::new(candidate.clone(), traffic);
        through_a_restart("shift", async || {
            bench.cluster.shift(&cx(), &to(Traffic::Candidate { percent: 100 })).await?;
            bench.cluster.shift(&cx(), &to(Traffic::Candidate { percent: 0 })).await
        })
        .await;
        bench.cluster.shift(&cx(), &to(Traffic::Discard)).await.unwrap();
        nothing_to_do(&bench, '1').await;
    });
}

#[test]
#[ignore = "it stops the API server: .ci/outages"]
fn a_restore_waits_for_an_api_server_that_restarts() {
    on_a_control_plane(async |bench| {
        let _stable = stable(&bench).await;
        let snapshot = bench.cluster.status(&cx(), &bench.namespace.name).await.unwrap().snapshot;
        candidate(&bench).await;
        through_a_restart("restore", async || bench.cluster.restore(&cx(), &snapshot).await).await;
        assert!(bench.deployment("web-candidate").await.is_none());
        nothing_to_do(&bench, '1').await;
    });
}

/// The code with which the server refuses to watch from a version, if it does.
async fn watch_from(pods: &Api<Pod>, version: &str) -> Option<u16> {
    let mut events = Box::pin(pods.watch(&WatchParams::default().timeout(5), version).await.ok()?);
    match events.next().await? {
        Ok(WatchEvent::Error(status)) => Some(status.code),
        _ => None,
    }
}

/// The etcd of the API server, held while this lives. It goes on when it is dropped.
struct Held(u32);

impl Held {
    fn etcd() -> Self {
        let arguments = |pid: &str| std::fs::read_to_string(PathBuf::from("/proc").join(pid).join("cmdline")).ok();
        let server = arguments(&std::env::var("ECOLAURA_TEST_APISERVER_PID").unwrap()).unwrap();
        let address = server.split('\0').find_map(|word| word.strip_prefix("--etcd-servers=")).unwrap().to_owned();
        let wanted = format!("--listen-client-urls={address}");
        let processes =
            std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let is_etcd = |pid: &String| arguments(pid).is_some_and(|words| words.split('\0').any(|word| word == wanted));
        let held = Self(processes.filter(|pid| pid.parse::<u32>().is_ok()).find(is_etcd).unwrap().parse().unwrap());
        held.signal("-STOP");
        held
    }

    fn signal(&self, signal: &str) {
        assert!(Command::new("kill").args([signal, &self.0.to_string()]).status().unwrap().success());
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.signal("-CONT");
    }
}

/// As when its members choose another leader: nothing can be written, or read for certain, for some seconds.
#[test]
#[ignore = "it stops the store of the API server: .ci/outages"]
fn a_store_that_stands_still_for_some_seconds_is_waited_for() {
    on_a_control_plane(async |bench| {
        let _stable = stable(&bench).await;
        let held = Held::etcd();
        let going_on = tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(6)).await;
            drop(held);
        });
        let began = Instant::now();
        let second = bench.apply(&web('2'), Placement::Replace).await.unwrap();
        assert_eq!(bench.waits(&second).await.unwrap().unwrap(), RolloutState::Ready);
        println!("the store stood still for 6 s: rolled out after {:.1} s", began.elapsed().as_secs_f32());
        going_on.await.unwrap();
        nothing_to_do(&bench, '2').await;
    });
}
