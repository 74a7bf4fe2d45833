//! With pods that run: what is said while they change.

use std::{collections::BTreeSet, sync::Arc};

use ecolaura_deploy_core::{
    Context, Error,
    backend::RolloutState,
    event::{EventKind, RecordingSink},
    pipeline::{Pipeline, constant},
    run::Runner,
    steps,
    store::ObjectRunStore,
    vocabulary::ServiceName,
};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};

use super::*;
use crate::support::{image, servers};

fn workload(kind: &str, name: &str, image: &str) -> Value {
    let mut object = json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": name}}, "template": {"metadata": {"labels": {"app": name}},
            "spec": {"terminationGracePeriodSeconds": 1, "containers": [{"name": "web", "image": image,
                "env": [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}, {"name": "PORT", "value": "8080"}]}]}}}});
    if kind != "DaemonSet" {
        object["spec"]["replicas"] = json!(2);
    }
    if kind == "StatefulSet" {
        object["spec"]["serviceName"] = json!("none");
    }
    object
}

impl Bench {
    async fn pods(&self, app: &str) -> BTreeSet<String> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), self.namespace.name.as_str());
        let found = pods.list(&ListParams::default().labels(&format!("app={app}"))).await.unwrap();
        let alive = found.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
        alive.filter_map(|pod| pod.metadata.uid).collect()
    }

    /// Restarts a service and follows it; what was said.
    async fn restarted(&self, service: &ServiceName) -> Vec<String> {
        let (cluster, shop, service) = (self.cluster.clone(), self.namespace.name.clone(), service.clone());
        let run = move |cx: Context, (): ()| {
            let (cluster, shop, service) = (cluster.clone(), shop.clone(), service.clone());
            async move {
                cluster.restart(&cx, &shop, &service).await?;
                match cluster.progress(&cx, &shop, &service).await? {
                    RolloutState::Ready => Ok(()),
                    state => Err(Error::internal("test.restart", format!("{state:?}"))),
                }
            }
        };
        let mut pipeline = Pipeline::new("restart".parse().unwrap(), "test".parse().unwrap());
        pipeline.add("restart", steps::call("restart", run), constant(()));
        let sink = Arc::new(RecordingSink::new());
        let runner = Runner::new(Arc::new(ObjectRunStore::memory())).events(Arc::<RecordingSink>::clone(&sink));
        let plan = runner.plan(&cx(), pipeline).await.unwrap();
        assert!(runner.run(&cx(), plan).await.unwrap().succeeded());
        let said = |kind| match kind {
            EventKind::Status { message } => Some(message),
            _ => None,
        };
        sink.events().into_iter().filter_map(|event| said(event.kind)).collect()
    }
}

#[test]
fn pods_are_started_anew_and_counted_while_they_are() {
    let Some(servers) = servers() else { return };
    runtime().block_on(async {
        let mut bench = Bench::new(&servers).await;
        bench.cluster = servers.cluster().await;
        let (one, two) = (image(&servers, "serve v1").await.to_string(), image(&servers, "serve v2").await.to_string());
        let kinds = [("Deployment", "web"), ("StatefulSet", "data"), ("DaemonSet", "agents")];
        let all = |image: &str| kinds.map(|(kind, name)| workload(kind, name, image));
        let applied = bench.apply_by(&bench.cluster, &all(&one)).await.unwrap();
        assert_eq!(bench.cluster.wait_until_ready(&cx(), &applied).await.unwrap(), RolloutState::Ready);
        let shop = &bench.namespace.name;
        for ((kind, name), end) in kinds.into_iter().zip([
            "rolled out: 2 available replicas of revision 1",
            "rolled out: 2 available replicas",
            "rolled out: 1 available pod, one for each node",
        ]) {
            let service: ServiceName = name.parse().unwrap();
            let before = bench.pods(name).await;
            let said = bench.restarted(&service).await;
            println!("{}", said.join("\n"));
            assert!(before.is_disjoint(&bench.pods(name).await), "each is another pod");
            assert_eq!(said[0], format!("{kind} {shop}/{name}: its pods start anew"));
            assert_eq!(*said.last().unwrap(), format!("{kind} {shop}/{name}: {end}"));
            assert!(said.len() > 2, "it says how far it is: {said:?}");
            assert!(said.windows(2).all(|pair| pair[0] != pair[1]), "nothing twice: {said:?}");
            assert_eq!(bench.cluster.status_line(&cx(), shop, &service).await.unwrap(), *said.last().unwrap());
        }

        let web = "web".parse().unwrap();
        let applied = bench.apply_by(&bench.cluster, &all(&two)).await.unwrap();
        assert_eq!(bench.cluster.wait_until_ready(&cx(), &applied).await.unwrap(), RolloutState::Ready);
        bench.cluster.scale(&cx(), shop, &web, 3).await.unwrap();
        assert_eq!(bench.cluster.progress(&cx(), shop, &web).await.unwrap(), RolloutState::Ready);
        assert_eq!(bench.pods("web").await.len(), 3);
        bench.cluster.undo_to(&cx(), shop, &web, 1).await.unwrap();
        assert!(
            bench.deployment().await["spec"]["template"]["spec"]["containers"][0]["image"]
                .as_str()
                .unwrap()
                .ends_with(&one)
        );
        assert_eq!(bench.pods("web").await.len(), 3, "as many as there were");
    });
}
