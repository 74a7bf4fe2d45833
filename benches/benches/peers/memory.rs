//! The memory of waiting for a roll-out of thousands of pods. The pods only pretend, by kwok.

use std::{path::Path, time::Duration};

use ecolaura_deploy_benches::{
    programs::{self, Peers},
    table::{Goal, OURS, Records, Row, Unit},
};
use ecolaura_deploy_core::{
    backend::{AppliedWorkload, ApplyRequest, ClusterTarget as _, Placement, RolloutState, Workload},
    vocabulary::Name,
};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Node};
use kube::{
    Api,
    api::{DeleteParams, PostParams},
};
use serde_json::json;

use crate::{
    options::Options,
    servers::{Servers, cx, name},
};

/// The argument by which this program waits, and does nothing else.
pub(crate) const WAITER: &str = "wait-for";

const HELM: &str = "helm upgrade --wait";
const KUBECTL: &str = "kubectl rollout status";
const HELM_TIMEOUT: &str = "5m";
const NODE: &str = "bench-fake";

const OWN: &str = "own pods";
const OTHERS: &str = "other pods";

pub(crate) async fn measure(options: &Options, servers: &Servers, peers: &Peers) -> Vec<Row> {
    let (Some(kwok), Some(helm), Some(kubectl)) = (&peers.kwok, &peers.helm, &peers.kubectl) else {
        println!("  left out: it takes kwok, helm and kubectl");
        return Vec::new();
    };
    let kwok = programs::start(
        kwok,
        [
            "--kubeconfig",
            servers.kubeconfig(),
            "--manage-all-nodes=false",
            "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
            // By its Lease the node stays ready while all else is busy.
            "--node-lease-duration-seconds=40",
        ],
    );
    let nodes = Api::<Node>::all(servers.client().await);
    make_node(&nodes).await;
    let namespace = servers.namespace().await;
    let of_helm = servers.namespace().await;
    let bench = |namespace| Bench { servers, namespace, helm, kubectl };
    let mut records = Records::default();
    bench(&namespace).own_pods(options.pods, &mut records).await;
    bench(&namespace).other_pods(&mut records).await;
    bench(&of_helm).own_pods_of_helm(options.pods, &mut records).await;
    kwok.kill().await;
    nodes.delete(NODE, &DeleteParams::default()).await.unwrap();
    servers.clean(vec![namespace, of_helm]).await;
    let row = |title: String, what, peer| records.row(title, Unit::MiB, what, (peer, what), Goal::None);
    let pods = options.pods;
    vec![
        row(format!("peak memory, a roll-out of {pods} pods"), OWN, HELM),
        row(format!("peak memory, a roll-out of {pods} pods"), OWN, KUBECTL),
        row(format!("peak memory, one of 3 among {pods}"), OTHERS, HELM),
        row(format!("peak memory, one of 3 among {pods}"), OTHERS, KUBECTL),
    ]
}

async fn make_node(nodes: &Api<Node>) {
    let node = json!({
        "metadata": {"name": NODE, "annotations": {"kwok.x-k8s.io/node": "fake"}, "labels": {"kubernetes.io/hostname": NODE}},
        "spec": {"taints": [{"key": "kwok.x-k8s.io/node", "value": "fake", "effect": "NoSchedule"}]},
    });
    nodes.create(&PostParams::default(), &serde_json::from_value(node).unwrap()).await.unwrap();
    let ready = |node: &Node| {
        let conditions = node.status.iter().flat_map(|status| status.conditions.iter().flatten());
        conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
    };
    while !ready(&nodes.get(NODE).await.unwrap()) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

struct Bench<'a> {
    servers: &'a Servers,
    namespace: &'a Name,
    helm: &'a Path,
    kubectl: &'a Path,
}

impl Bench<'_> {
    /// Ours rolls out, and kubectl waits for the same pods.
    async fn own_pods(&self, pods: usize, records: &mut Records) {
        let applied = self.apply("crowd", pods).await;
        let (ours, kubectl) = (self.start_ours(&applied), self.start_kubectl("crowd"));
        let (ours, kubectl) = tokio::join!(ours.end_with_memory(), kubectl.end_with_memory());
        self.note(OWN, OURS, &ours.checked(), records);
        self.note(OWN, KUBECTL, &kubectl.checked(), records);
        self.check("crowd", pods).await;
    }

    /// The same for Helm, by itself: it reads all pods again at each change, which slows everybody down.
    async fn own_pods_of_helm(&self, pods: usize, records: &mut Records) {
        let ended = self.helm("crowd", pods).await;
        if !ended.succeeded {
            println!("  {HELM} gave up: {}", ended.said.trim());
            records.cap(OWN, HELM);
        }
        self.note(OWN, HELM, &ended, records);
    }

    /// The thousands are there already. Each rolls out its own three.
    async fn other_pods(&self, records: &mut Records) {
        let applied = self.apply("ours", 3).await;
        let (ours, kubectl) = (self.start_ours(&applied), self.start_kubectl("ours"));
        let (ours, kubectl) = tokio::join!(ours.end_with_memory(), kubectl.end_with_memory());
        self.note(OTHERS, OURS, &ours.checked(), records);
        self.note(OTHERS, KUBECTL, &kubectl.checked(), records);
        self.note(OTHERS, HELM, &self.helm("theirs", 3).await.checked(), records);
    }

    fn note(&self, what: &str, side: &str, ended: &programs::Ended, records: &mut Records) {
        println!("  {what}, {side}: {:.0} MiB in {}", ended.peak, self.namespace);
        records.add(what, side, ended.peak);
    }

    async fn apply(&self, service: &str, pods: usize) -> AppliedWorkload {
        let file = tempfile::NamedTempFile::with_suffix(".yaml").unwrap();
        std::fs::write(file.path(), deployment(service, pods)).unwrap();
        let workload = Workload::new(self.namespace.clone(), [file.path()]).named(name(service));
        let request = ApplyRequest::new(workload, Placement::Replace);
        self.servers.cluster().await.apply(&cx(), &request).await.unwrap()
    }

    async fn check(&self, service: &str, pods: usize) {
        let api = Api::<Deployment>::namespaced(self.servers.client().await, self.namespace.as_str());
        let ready = api.get(service).await.unwrap().status.and_then(|status| status.ready_replicas);
        assert_eq!(ready, i32::try_from(pods).ok(), "all were waited for");
    }

    fn start_kubectl(&self, service: &str) -> programs::Running {
        let of = format!("deployment/{service}");
        programs::start(self.kubectl, self.target().into_iter().chain(["rollout", "status", &of, "--timeout=10m"]))
    }

    async fn helm(&self, service: &str, pods: usize) -> programs::Ended {
        let chart = tempfile::tempdir().unwrap();
        std::fs::create_dir(chart.path().join("templates")).unwrap();
        std::fs::write(chart.path().join("Chart.yaml"), "apiVersion: v2\nname: web\nversion: 1.0.0\n").unwrap();
        std::fs::write(chart.path().join("templates/web.yaml"), deployment(service, pods)).unwrap();
        let arguments =
            ["upgrade", "--install", service, chart.path().to_str().unwrap(), "--wait", "--timeout", HELM_TIMEOUT];
        programs::start(self.helm, arguments.into_iter().chain(self.target())).end_with_memory().await
    }

    fn target(&self) -> [&str; 4] {
        ["--kubeconfig", self.servers.kubeconfig(), "--namespace", self.namespace.as_str()]
    }

    fn start_ours(&self, applied: &AppliedWorkload) -> programs::Running {
        let (own, applied) = (std::env::current_exe().unwrap(), serde_json::to_string(applied).unwrap());
        programs::start(&own, [WAITER, self.servers.kubeconfig(), &applied])
    }
}

/// Waits until what was applied is ready.
pub(crate) async fn wait(arguments: &[String]) {
    let [kubeconfig, applied] = arguments else { return };
    let servers = Servers { kubeconfig: kubeconfig.into(), registry: String::new(), have_node: false };
    let applied: AppliedWorkload = serde_json::from_str(applied).unwrap();
    let state = servers.cluster().await.wait_until_ready(&cx(), &applied).await.unwrap();
    assert_eq!(state, RolloutState::Ready);
}

/// On the node that pretends. The scheduler is left out: by itself it binds fifty pods a second.
fn deployment(service: &str, pods: usize) -> String {
    let digest = "0".repeat(64);
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata:
  name: {service}
spec:
  replicas: {pods}
  selector:
    matchLabels:
      app: {service}
  template:
    metadata:
      labels:
        app: {service}
    spec:
      nodeName: {NODE}
      tolerations:
      - key: kwok.x-k8s.io/node
        operator: Exists
      containers:
      - name: app
        image: registry.example.com/app@sha256:{digest}
"
    )
}
