//! What comes between: another roll-out, a namespace that goes, an autoscaler, tokens that are taken back, servers that
//! stop in the middle. Pods are pretended.

mod between;
mod outages;
mod relay;
mod tokens;

use std::time::Duration;

use ecolaura_deploy_core::{
    Result,
    backend::{AppliedWorkload, ApplyRequest, ClusterTarget as _, Placement, RolloutState, Workload},
    plan::Action,
};
use ecolaura_deploy_k8s::KubernetesCluster;
use k8s_openapi::api::apps::v1::Deployment;
use kube::{Api, Client};
use serde_json::{Value, json};

use crate::support::{PRETENDED, Pretended, Scratch, Servers, control_plane, cx, name, pretend, runtime};

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

fn on_a_control_plane(test: impl AsyncFnOnce(Bench)) {
    let Some(servers) = control_plane() else { return };
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
