//! What comes between: another roll-out, a namespace that goes, an autoscaler, servers that stop in the middle, tokens
//! that are taken back. Pods are pretended.
//!
//! After servers stopped, the cluster's own controllers take minutes to be as quick as before. So this is the long tier:
//!
//! ```text
//! ECOLAURA_LONG=1 .ci/with-servers --no-node cargo test -p ecolaura-deploy-k8s --test cluster -- interrupted
//! ```

use std::{
    path::PathBuf,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use async_trait::async_trait;
use ecolaura_deploy_core::{
    Context, Effect, ErrorKind, Result, Secret,
    backend::{
        AppliedWorkload, ApplyRequest, ClusterTarget as _, FailureCause, Placement, RolloutState, Traffic,
        TrafficRequest, Workload,
    },
    plan::Action,
};
use ecolaura_deploy_k8s::{Connect, KubernetesCluster, Token, TokenSource};
use futures_util::StreamExt as _;
use k8s_openapi::api::{
    apps::v1::Deployment,
    authentication::v1::TokenRequest,
    core::v1::{ConfigMap, Namespace, Pod, Secret as KubernetesSecret, ServiceAccount},
    rbac::v1::ClusterRoleBinding,
};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchParams},
    core::WatchEvent,
};
use serde_json::{Value, json};

use crate::support::{
    PRETENDED, Pretended, Scratch, Servers, control_plane, control_plane_alone, name, pretend, runtime,
};

/// After several restarts the cluster's own controllers wait for up to a minute before they ask the server again.
fn cx() -> Context {
    crate::support::cx().with_deadline_in(Duration::from_mins(6))
}

/// Long for a verdict that needs no waiting, and enough for a busy machine.
const SOON: Duration = Duration::from_secs(30);

struct Bench {
    servers: Servers,
    client: Client,
    namespace: Scratch,
    cluster: KubernetesCluster,
}

impl Bench {
    async fn new(servers: Servers) -> Self {
        let (namespace, client) = (servers.namespace().await, servers.client().await);
        let cluster = servers.cluster().await.settle(Duration::from_millis(100));
        Self { servers, client, namespace, cluster }
    }

    fn pretend(&self) -> Pretended {
        pretend(self.client.clone(), &self.namespace.name)
    }

    fn request(&self, objects: &[Value], placement: Placement) -> (tempfile::TempDir, ApplyRequest) {
        let files = tempfile::tempdir().unwrap();
        for (index, object) in objects.iter().enumerate() {
            std::fs::write(files.path().join(format!("{index}.json")), object.to_string()).unwrap();
        }
        let workload = Workload::new(self.namespace.name.clone(), [files.path()]).named(name("shop"));
        (files, ApplyRequest::new(workload, placement))
    }

    async fn apply(&self, objects: &[Value], placement: Placement) -> Result<AppliedWorkload> {
        let (_files, request) = self.request(objects, placement);
        self.cluster.apply(&cx(), &request).await
    }

    async fn plan(&self, objects: &[Value]) -> Result<Vec<(Action, String)>> {
        let (_files, request) = self.request(objects, Placement::Replace);
        let plan = self.cluster.plan(&cx(), &request).await?;
        Ok(plan.changes.into_iter().map(|change| (change.action, change.object)).collect())
    }

    /// Waits for `applied` beside whatever the test does.
    fn waits(&self, applied: &AppliedWorkload) -> tokio::task::JoinHandle<Result<RolloutState>> {
        waits(&self.cluster, applied)
    }

    async fn deployment(&self, name: &str) -> Option<Value> {
        let api = Api::<Deployment>::namespaced(self.client.clone(), self.namespace.name.as_str());
        api.get_opt(name).await.unwrap().map(|found| serde_json::to_value(found).unwrap())
    }
}

fn waits(cluster: &KubernetesCluster, applied: &AppliedWorkload) -> tokio::task::JoinHandle<Result<RolloutState>> {
    let (cluster, applied) = (cluster.clone(), applied.clone());
    tokio::spawn(async move { cluster.wait_until_ready(&cx(), &applied).await })
}

/// Whether the long tier is asked for.
fn is_long() -> bool {
    let long = std::env::var("ECOLAURA_LONG").is_ok_and(|long| long == "1");
    if !long {
        eprintln!("left out: it belongs to the long tier, ECOLAURA_LONG=1");
    }
    long
}

fn on_a_control_plane(test: impl AsyncFnOnce(Bench)) {
    if !is_long() {
        return;
    }
    let Some(servers) = control_plane() else { return };
    runtime().block_on(async { test(Bench::new(servers).await).await });
}

fn alone(test: impl AsyncFnOnce(Bench)) {
    if !is_long() {
        return;
    }
    let Some(servers) = control_plane_alone() else { return };
    runtime().block_on(async { test(Bench::new(servers).await).await });
}

/// A Deployment and its Service, whose pods run when somebody pretends that they do.
fn web(version: char) -> [Value; 2] {
    let image = format!("test/web@sha256:{}", version.to_string().repeat(64));
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}},
                "spec": {"nodeName": PRETENDED, "containers": [{"name": "web", "image": image}]}}}});
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}});
    [deployment, service]
}

/// Restarts the API server, which is away for a second at least.
async fn restart() {
    let program = std::env::var("ECOLAURA_TEST_RESTART_APISERVER").unwrap();
    let restarted =
        tokio::task::spawn_blocking(move || Command::new(program).arg("1").output().unwrap()).await.unwrap();
    assert!(restarted.status.success(), "{}", String::from_utf8_lossy(&restarted.stderr));
}

fn superseded(state: Result<RolloutState>, words: &[&str]) {
    let RolloutState::Failed { cause, chain } = state.unwrap() else { panic!("it is ready") };
    assert_eq!(cause, FailureCause::Superseded, "{chain:?}");
    let text = chain.join(" > ");
    assert!(words.iter().all(|word| text.contains(word)), "{text}");
}

#[test]
fn a_roll_out_that_another_one_supersedes_says_so_and_leaves_it_alone() {
    on_a_control_plane(async |bench| {
        let first = bench.apply(&web('1'), Placement::Replace).await.unwrap();
        let waiting = bench.waits(&first);
        let second = bench.apply(&web('2'), Placement::Replace).await.unwrap();
        let state = tokio::time::timeout(SOON, waiting).await.unwrap().unwrap();
        superseded(state, &["Deployment", "web", "runs revision 2, this roll-out made 1"]);
        let _pretended = bench.pretend();
        assert_eq!(bench.waits(&second).await.unwrap().unwrap(), RolloutState::Ready);
        // Whoever asks later hears the same.
        superseded(bench.cluster.wait_until_ready(&cx(), &first).await, &["this roll-out made 1"]);
    });
}

#[test]
fn a_deployment_that_somebody_deletes_in_the_middle_is_missed() {
    on_a_control_plane(async |bench| {
        let applied = bench.apply(&web('1'), Placement::Replace).await.unwrap();
        let waiting = bench.waits(&applied);
        let api = Api::<Deployment>::namespaced(bench.client.clone(), bench.namespace.name.as_str());
        api.delete("web", &DeleteParams::default()).await.unwrap();
        let state = tokio::time::timeout(SOON, waiting).await.unwrap().unwrap();
        superseded(state, &["Deployment", "web"]);
    });
}

#[test]
fn a_namespace_that_goes_is_known_at_once() {
    on_a_control_plane(async |bench| {
        let namespace = bench.namespace.name.as_str();
        // Something keeps it from being gone.
        let held = json!({"metadata": {"name": "held", "finalizers": ["example.com/held"]}});
        let maps = Api::<ConfigMap>::namespaced(bench.client.clone(), namespace);
        maps.create(&PostParams::default(), &serde_json::from_value(held).unwrap()).await.unwrap();
        let applied = bench.apply(&web('1'), Placement::Replace).await.unwrap();
        let waiting = bench.waits(&applied);
        let namespaces = Api::<Namespace>::all(bench.client.clone());
        namespaces.delete(namespace, &DeleteParams::default()).await.unwrap();
        // Which of its objects goes first, and when, is up to the server, which may have been restarted just now.
        superseded(waiting.await.unwrap(), &[&format!("{namespace}/web")]);
        while bench.deployment("web").await.is_some() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let began = Instant::now();
        for error in
            [bench.plan(&web('2')).await.unwrap_err(), bench.apply(&web('2'), Placement::Replace).await.unwrap_err()]
        {
            assert_eq!(error.kind(), ErrorKind::Conflict, "{}", error.report());
            assert_eq!(error.effect(), Effect::None, "{}", error.report());
            let report = error.report();
            assert!(report.contains("is being terminated") && report.contains(namespace), "{report}");
        }
        assert!(began.elapsed() < SOON, "it was tried for {:?}", began.elapsed());
        let patch = Patch::Merge(json!({"metadata": {"finalizers": null}}));
        maps.patch("held", &PatchParams::default(), &patch).await.unwrap();
    });
}

#[test]
fn replicas_that_an_autoscaler_set_are_fought_over_by_nobody() {
    on_a_control_plane(async |bench| {
        let scaler = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"},
            "spec": {"minReplicas": 1, "maxReplicas": 10, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
                "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}]}});
        let with_scaler = |version| [web(version).as_slice(), std::slice::from_ref(&scaler)].concat();
        let _pretended = bench.pretend();
        bench.apply(&with_scaler('1'), Placement::Replace).await.unwrap();
        // As its controller writes it.
        let scale = async |replicas: u32| {
            let params =
                PatchParams { field_manager: Some("kube-controller-manager".to_owned()), ..PatchParams::default() };
            let api = Api::<Deployment>::namespaced(bench.client.clone(), bench.namespace.name.as_str());
            api.patch_scale("web", &params, &Patch::Merge(json!({"spec": {"replicas": replicas}}))).await.unwrap();
        };
        let replicas = async || bench.deployment("web").await.unwrap()["spec"]["replicas"].as_u64();
        scale(7).await;
        let plan = bench.plan(&with_scaler('1')).await.unwrap();
        assert!(plan.iter().all(|(action, _)| *action == Action::NoOp), "{plan:?}");
        let before = bench.deployment("web").await.unwrap()["metadata"]["generation"].clone();
        bench.apply(&with_scaler('1'), Placement::Replace).await.unwrap();
        assert_eq!(bench.deployment("web").await.unwrap()["metadata"]["generation"], before, "nothing was written");
        let applied = bench.apply(&with_scaler('2'), Placement::Replace).await.unwrap();
        assert_eq!(replicas().await, Some(7));
        // It scales again while the roll-out is waited for.
        let waiting = bench.waits(&applied);
        scale(4).await;
        assert_eq!(waiting.await.unwrap().unwrap(), RolloutState::Ready);
        assert_eq!(replicas().await, Some(4));
    });
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

#[test]
fn an_api_server_that_restarts_is_waited_for_in_every_phase() {
    alone(async |bench| {
        let mut pretended = Some(bench.pretend());
        let stable = bench.apply(&web('1'), Placement::Replace).await.unwrap();
        assert_eq!(bench.waits(&stable).await.unwrap().unwrap(), RolloutState::Ready);
        let snapshot = bench.cluster.status(&cx(), &bench.namespace.name).await.unwrap().snapshot;
        through_a_restart("plan", async || bench.plan(&web('2')).await).await;
        // The candidate is not ready before its wait.
        drop(pretended.take());
        let beside = Placement::Beside { replicas: Some(1) };
        let candidate = through_a_restart("apply", async || bench.apply(&web('2'), beside).await).await;
        let pods = Api::<Pod>::namespaced(bench.client.clone(), bench.namespace.name.as_str());
        let version = pods.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
        let waiting = bench.waits(&candidate);
        tokio::time::sleep(Duration::from_millis(500)).await;
        let map = json!({"metadata": {"name": "later"}});
        let maps = Api::<ConfigMap>::namespaced(bench.client.clone(), bench.namespace.name.as_str());
        maps.create(&PostParams::default(), &serde_json::from_value(map).unwrap()).await.unwrap();
        restart().await;
        // What the watches of the wait were at is not kept any more.
        assert_eq!(watch_from(&pods, &version).await, Some(410));
        assert!(!waiting.is_finished());
        pretended = Some(bench.pretend());
        assert_eq!(waiting.await.unwrap().unwrap(), RolloutState::Ready);
        let to = |percent| TrafficRequest::new(candidate.clone(), Traffic::Candidate { percent });
        through_a_restart("shift", async || {
            bench.cluster.shift(&cx(), &to(100)).await?;
            bench.cluster.shift(&cx(), &to(0)).await
        })
        .await;
        through_a_restart("restore", async || bench.cluster.restore(&cx(), &snapshot).await).await;
        assert!(bench.deployment("web-candidate").await.is_none());
        let plan = bench.plan(&web('1')).await.unwrap();
        assert!(plan.iter().all(|(action, _)| *action == Action::NoOp), "{plan:?}");
        drop(pretended);
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

/// Makes tokens of a service account, each of which is good as long as its Secret is there.
#[derive(Debug)]
struct Bound {
    client: Silent,
    namespace: String,
    made: AtomicU32,
}

/// A client says nothing of itself.
#[derive(Clone)]
struct Silent(Client);

impl std::fmt::Debug for Silent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Client")
    }
}

impl Bound {
    fn secrets(&self) -> Api<KubernetesSecret> {
        Api::namespaced(self.client.0.clone(), &self.namespace)
    }
}

#[async_trait]
impl TokenSource for Bound {
    async fn token(&self) -> Result<Token> {
        let name = format!("bound-{}", self.made.fetch_add(1, Ordering::SeqCst) + 1);
        let secret = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
        let made = self.secrets().create(&PostParams::default(), &secret).await.unwrap();
        let request: TokenRequest = serde_json::from_value(json!({"spec": {"audiences": [], "boundObjectRef":
            {"kind": "Secret", "apiVersion": "v1", "name": name, "uid": made.metadata.uid}}}))
        .unwrap();
        let accounts = Api::<ServiceAccount>::namespaced(self.client.0.clone(), &self.namespace);
        let answer = accounts.create_token_request("deployer", &PostParams::default(), &request).await.unwrap();
        Ok(Token::new(Secret::new(answer.status.unwrap().token.unwrap())))
    }
}

async fn account(client: &Client, namespace: &str) {
    let account = json!({"metadata": {"name": "deployer"}});
    let accounts = Api::<ServiceAccount>::namespaced(client.clone(), namespace);
    accounts.create(&PostParams::default(), &serde_json::from_value(account).unwrap()).await.unwrap();
    let binding = json!({"metadata": {"name": namespace}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "name": "deployer", "namespace": namespace}]});
    let bindings = Api::<ClusterRoleBinding>::all(client.clone());
    bindings.create(&PostParams::default(), &serde_json::from_value(binding).unwrap()).await.unwrap();
}

#[test]
fn a_token_that_is_taken_back_in_the_middle_of_a_wait_is_renewed() {
    alone(async |bench| {
        let namespace = bench.namespace.name.as_str();
        account(&bench.client, namespace).await;
        let source = Arc::new(Bound {
            client: Silent(bench.client.clone()),
            namespace: namespace.to_owned(),
            made: AtomicU32::new(0),
        });
        let (server, authority) = bench.servers.address();
        let connect = Connect::tokens(server, source.clone()).certificate_authority(authority);
        let connection = connect.connect(&cx()).await.unwrap();
        // The right comes a moment after the binding.
        while connection.check(&cx()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let cluster = KubernetesCluster::new(name("cluster"), connection);
        let (_files, request) = bench.request(&web('1'), Placement::Replace);
        let applied = cluster.apply(&cx(), &request).await.unwrap();
        let waiting = waits(&cluster, &applied);
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(source.made.load(Ordering::SeqCst), 1);
        source.secrets().delete("bound-1", &DeleteParams::default()).await.unwrap();
        // Watches that stand are not asked for a token again; these end.
        restart().await;
        let _pretended = bench.pretend();
        assert_eq!(waiting.await.unwrap().unwrap(), RolloutState::Ready);
        assert_eq!(source.made.load(Ordering::SeqCst), 2);
        let bindings = Api::<ClusterRoleBinding>::all(bench.client.clone());
        bindings.delete(namespace, &DeleteParams::default()).await.unwrap();
    });
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
fn a_store_that_stands_still_for_some_seconds_is_waited_for() {
    alone(async |bench| {
        let _pretended = bench.pretend();
        let first = bench.apply(&web('1'), Placement::Replace).await.unwrap();
        assert_eq!(bench.waits(&first).await.unwrap().unwrap(), RolloutState::Ready);
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
        let plan = bench.plan(&web('2')).await.unwrap();
        assert!(plan.iter().all(|(action, _)| *action == Action::NoOp), "{plan:?}");
    });
}
