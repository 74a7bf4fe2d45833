//! From the last ready pod to the verdict, and from a bad image to the verdict, beside Helm and kubectl.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
};

use ecolaura_deploy_benches::{
    programs::{self, Peers},
    table::{Goal, OURS, Row, Unit, by_turns},
};
use ecolaura_deploy_core::{
    backend::{
        ApplyRequest, ClusterTarget as _, FailureCause, ImageBuilder as _, ImageEntry, ImageSpec, Placement,
        Registry as _, RolloutState, Workload,
    },
    local::image::LayoutBuilder,
    oci::OciRegistry,
    vocabulary::{Digest, Name, Platform},
};
use futures_util::TryStreamExt as _;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{
    Api, Client,
    runtime::{WatchStreamExt as _, watcher},
};
use tokio::time::{Duration, Instant};

use crate::{
    options::Options,
    servers::{Servers, cx, name},
};

const HELM: &str = "helm upgrade --wait";
const KUBECTL: &str = "kubectl rollout status";

const EXTRA: &str = "after the last pod was ready";
const WHOLE: &str = "from the start";

const PODS: usize = 3;

/// After which a peer that waits for a bad image is stopped: it would wait for ten minutes.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long the verdict takes after the last pod became ready, as a watch of its own saw it.
pub(crate) async fn verdict(options: &Options, servers: &Servers, peers: &Peers) -> Vec<Row> {
    let bench = Bench { servers, peers, image: image(servers).await };
    let mut namespaces = Vec::new();
    let records = by_turns(options.rounds, &sides(peers), async |side| {
        let namespace = servers.namespace().await;
        namespaces.push(namespace.clone());
        let observed = tokio::spawn(last_ready(servers.client().await, namespace.clone()));
        let began = Instant::now();
        let at = bench.roll_out(side, &namespace, &bench.image).await;
        let last = observed.await.unwrap();
        bench.check(&namespace).await;
        let extra = if at < last { -(last - at).as_secs_f64() } else { (at - last).as_secs_f64() };
        vec![(EXTRA, extra), (WHOLE, (at - began).as_secs_f64())]
    })
    .await;
    servers.clean(namespaces).await;
    let row = |what, peer, goal| {
        records.row(format!("verdict on {PODS} pods, {what}"), Unit::Seconds, what, (peer, what), goal)
    };
    vec![
        row(EXTRA, HELM, Goal::Ratio(0.1)),
        row(EXTRA, KUBECTL, Goal::None),
        row(WHOLE, HELM, Goal::None),
        row(WHOLE, KUBECTL, Goal::None),
    ]
}

/// How long it takes until it is known that an image is not there.
pub(crate) async fn bad_image(options: &Options, servers: &Servers, peers: &Peers) -> Vec<Row> {
    const KNOWN: &str = "known";
    let image = format!("{}/test/backend@{}", servers.registry, Digest::of("nothing"));
    let bench = Bench { servers, peers, image };
    let mut namespaces = Vec::new();
    let mut turn = async |side: &'static str| {
        let namespace = servers.namespace().await;
        namespaces.push(namespace.clone());
        let began = Instant::now();
        let at = bench.notice(side, &namespace).await;
        vec![(KNOWN, (at - began).as_secs_f64())]
    };
    let mut records = by_turns(options.rounds, &[OURS], &mut turn).await;
    // They have not noticed by then, and once is enough to see that.
    for side in sides(peers).into_iter().filter(|side| *side != OURS) {
        let [(_, took)] = turn(side).await[..] else { continue };
        println!("  {side}: stopped after {took:.1} s");
        (0..options.rounds).for_each(|_| records.add(KNOWN, side, PATIENCE.as_secs_f64()));
        records.cap(KNOWN, side);
    }
    servers.clean(namespaces).await;
    let row = |peer, goal| records.row("a bad image is known".to_owned(), Unit::Seconds, KNOWN, (peer, KNOWN), goal);
    vec![row(HELM, Goal::AtMost(3.0)), row(KUBECTL, Goal::AtMost(3.0))]
}

fn sides(peers: &Peers) -> Vec<&'static str> {
    let there = [(OURS, true), (HELM, peers.helm.is_some()), (KUBECTL, peers.kubectl.is_some())];
    there.into_iter().filter_map(|(side, there)| there.then_some(side)).collect()
}

struct Bench<'a> {
    servers: &'a Servers,
    peers: &'a Peers,
    image: String,
}

impl Bench<'_> {
    /// Rolls out and waits; when that was over.
    async fn roll_out(&self, side: &str, namespace: &Name, image: &str) -> Instant {
        let files = Files::new(image);
        match (side, &self.peers.helm, &self.peers.kubectl) {
            (HELM, Some(helm), _) => self.helm(helm, namespace, &files, Duration::from_mins(2)).await.checked().at,
            (KUBECTL, _, Some(kubectl)) => {
                self.kubectl(kubectl, namespace, &files, Duration::from_mins(2)).await.checked().at
            }
            _ => {
                let state = self.ours(namespace, &files).await;
                let at = Instant::now();
                assert_eq!(state, RolloutState::Ready);
                at
            }
        }
    }

    /// Rolls out what cannot become ready; when that was known, or was not waited for any longer.
    async fn notice(&self, side: &str, namespace: &Name) -> Instant {
        let files = Files::new(&self.image);
        let ended = match (side, &self.peers.helm, &self.peers.kubectl) {
            (HELM, Some(helm), _) => self.helm(helm, namespace, &files, PATIENCE).await,
            (KUBECTL, _, Some(kubectl)) => self.kubectl(kubectl, namespace, &files, PATIENCE).await,
            _ => {
                let state = self.ours(namespace, &files).await;
                let at = Instant::now();
                assert!(
                    matches!(state, RolloutState::Failed { cause: FailureCause::ImageMissing, .. }),
                    "an image that is not there: {state:?}"
                );
                return at;
            }
        };
        assert!(!ended.succeeded, "{side} says that it is ready: {}", ended.said);
        ended.at
    }

    async fn ours(&self, namespace: &Name, files: &Files) -> RolloutState {
        let (cx, cluster) = (cx(), self.servers.cluster().await);
        let workload = Workload::new(namespace.clone(), [files.manifest()]).named(name("web"));
        let applied = cluster.apply(&cx, &ApplyRequest::new(workload, Placement::Replace)).await.unwrap();
        cluster.wait_until_ready(&cx, &applied).await.unwrap()
    }

    async fn helm(&self, helm: &Path, namespace: &Name, files: &Files, timeout: Duration) -> programs::Ended {
        let (chart, timeout) = (files.chart(), format!("{}s", timeout.as_secs()));
        let target = ["--kubeconfig", self.servers.kubeconfig(), "--namespace", namespace.as_str()];
        let arguments = ["upgrade", "--install", "web", &chart, "--wait", "--timeout", &timeout];
        programs::run(helm, arguments.into_iter().chain(target)).await
    }

    async fn kubectl(&self, kubectl: &Path, namespace: &Name, files: &Files, timeout: Duration) -> programs::Ended {
        let (manifest, timeout) = (files.manifest(), format!("--timeout={}s", timeout.as_secs()));
        let target = || ["--kubeconfig", self.servers.kubeconfig(), "--namespace", namespace.as_str()].into_iter();
        let apply = ["apply", "--server-side", "-f", manifest.to_str().unwrap()];
        programs::run(kubectl, target().chain(apply)).await.checked();
        programs::run(kubectl, target().chain(["rollout", "status", "deployment/web", &timeout])).await
    }

    /// That all pods of the image are ready, whoever rolled them out.
    async fn check(&self, namespace: &Name) {
        let api = Api::<Deployment>::namespaced(self.servers.client().await, namespace.as_str());
        let found = serde_json::to_value(api.get("web").await.unwrap()).unwrap();
        assert_eq!(found["status"]["availableReplicas"], PODS);
        assert_eq!(found["spec"]["template"]["spec"]["containers"][0]["image"], self.image);
    }
}

/// When the last pod was seen to become ready.
async fn last_ready(client: Client, namespace: Name) -> Instant {
    let api = Api::<Pod>::namespaced(client, namespace.as_str());
    let mut pods = std::pin::pin!(watcher(api, watcher::Config::default()).default_backoff().applied_objects());
    let mut ready = BTreeMap::new();
    while let Some(pod) = pods.try_next().await.unwrap() {
        let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
        if conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True") {
            ready.entry(pod.metadata.name).or_insert_with(Instant::now);
        }
        if ready.len() == PODS {
            break;
        }
    }
    ready.into_values().max().unwrap()
}

/// The same Deployment as a manifest and as a chart.
struct Files(tempfile::TempDir);

impl Files {
    fn new(image: &str) -> Self {
        let files = tempfile::tempdir().unwrap();
        let templates = files.path().join("chart/templates");
        std::fs::create_dir_all(&templates).unwrap();
        std::fs::write(files.path().join("chart/Chart.yaml"), "apiVersion: v2\nname: web\nversion: 1.0.0\n").unwrap();
        std::fs::write(files.path().join("web.yaml"), deployment(image)).unwrap();
        std::fs::write(templates.join("web.yaml"), deployment(image)).unwrap();
        Self(files)
    }

    fn manifest(&self) -> PathBuf {
        self.0.path().join("web.yaml")
    }

    fn chart(&self) -> String {
        self.0.path().join("chart").display().to_string()
    }
}

fn deployment(image: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: {PODS}
  selector:
    matchLabels:
      app: web
  template:
    metadata:
      labels:
        app: web
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: web
        image: {image}
        ports:
        - name: http
          containerPort: 8080
        env:
        - name: PORT
          value: \"8080\"
        - name: POD_IP
          valueFrom:
            fieldRef:
              fieldPath: status.podIP
        readinessProbe:
          periodSeconds: 1
          httpGet:
            path: /healthz
            port: http
"
    )
}

/// A small server in the real registry, as an image without anything else.
async fn image(servers: &Servers) -> String {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("server");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../ecolaura-deploy-core/tests/pod/server.rs");
    let arguments = ["--edition", "2024", "-Cstrip=symbols", "-Ctarget-feature=+crt-static", source, "-o"];
    let compiled = Command::new("rustc").args(arguments).arg(&program).status().unwrap();
    assert!(compiled.success(), "{source} does not compile");
    let entry = ImageEntry::new(&program, "/app/server").mode(0o755);
    let spec = ImageSpec::new(Platform::current()).layer([entry]).entrypoint(["/app/server", "serve", "v1"]);
    let built = LayoutBuilder::new(dir.path().join("built"), name("builder")).build(&cx(), &spec).await.unwrap();
    let registry = OciRegistry::new(name("registry"), &servers.registry).unwrap();
    let pinned = registry.push(&cx(), &built, &"test/backend".parse().unwrap()).await.unwrap();
    format!("{}/{}@{}", servers.registry, pinned.repository, pinned.digest)
}
