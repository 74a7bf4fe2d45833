//! What is done to a service beside its manifests, and whose fields are whose: on a real API server.

mod owners;
mod pods;
mod services;

use ecolaura_deploy_core::{
    Result,
    backend::{AppliedWorkload, ApplyRequest, ClusterPlan, ClusterTarget as _, Placement, Workload},
    plan::Action,
};
use ecolaura_deploy_k8s::KubernetesCluster;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::ConfigMap};
use kube::{Api, Client};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Scratch, Servers, control_plane, cx, name, runtime};

struct Bench {
    servers: Servers,
    namespace: Scratch,
    cluster: KubernetesCluster,
    client: Client,
}

impl Bench {
    async fn new(servers: &Servers) -> Self {
        let cluster = KubernetesCluster::new(name("cluster"), servers.connection().await);
        let (namespace, client) = (servers.namespace().await, servers.client().await);
        Self { servers: servers.clone(), namespace, cluster, client }
    }

    fn request(&self, objects: &[Value]) -> (TempDir, ApplyRequest) {
        let files = tempfile::tempdir().unwrap();
        for (index, object) in objects.iter().enumerate() {
            std::fs::write(files.path().join(format!("{index}.json")), object.to_string()).unwrap();
        }
        let workload = Workload::new(self.namespace.name.clone(), [files.path()]).named(name("shop"));
        (files, ApplyRequest::new(workload, Placement::Replace))
    }

    async fn plan_by(&self, cluster: &KubernetesCluster, objects: &[Value]) -> ClusterPlan {
        let (_files, request) = self.request(objects);
        cluster.plan(&cx(), &request).await.unwrap()
    }

    async fn apply_by(&self, cluster: &KubernetesCluster, objects: &[Value]) -> Result<AppliedWorkload> {
        let (_files, request) = self.request(objects);
        cluster.apply(&cx(), &request).await
    }

    async fn map(&self, name: &str) -> ConfigMap {
        Api::namespaced(self.client.clone(), self.namespace.name.as_str()).get(name).await.unwrap()
    }

    fn deployments(&self) -> Api<Deployment> {
        Api::namespaced(self.client.clone(), self.namespace.name.as_str())
    }

    async fn deployment(&self) -> Value {
        serde_json::to_value(self.deployments().get("web").await.unwrap()).unwrap()
    }
}

fn on_a_control_plane(test: impl AsyncFnOnce(Bench)) {
    let Some(servers) = control_plane() else { return };
    runtime().block_on(async { test(Bench::new(&servers).await).await });
}

fn map(name: &str, data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

/// No pod of it ever runs.
fn deployment(replicas: Option<u32>, image: char) -> Value {
    let image = format!("test/none@sha256:{}", image.to_string().repeat(64));
    let mut deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"nodeSelector": {"nowhere": "x"}, "containers": [{"name": "web", "image": image}]}}}});
    if let Some(replicas) = replicas {
        deployment["spec"]["replicas"] = json!(replicas);
    }
    deployment
}

fn actions(plan: &ClusterPlan) -> Vec<(Action, &str)> {
    plan.changes.iter().map(|change| (change.action, change.object.rsplit('/').next().unwrap())).collect()
}

fn details(plan: &ClusterPlan) -> Vec<&str> {
    plan.changes.iter().flat_map(|change| &change.details).map(String::as_str).collect()
}
