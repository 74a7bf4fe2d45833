//! What others own, what cannot change, what has to come first, and what has to go: on a real API server.

use ecolaura_deploy_core::{
    ErrorKind, Result,
    backend::{AppliedWorkload, ApplyRequest, ClusterPlan, ClusterTarget as _, Placement, RolloutState, Workload},
    plan::Action,
};
use ecolaura_deploy_k8s::KubernetesCluster;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::ConfigMap};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::support::{Scratch, Servers, cx, name, runtime, servers};

struct Bench {
    servers: Servers,
    namespace: Scratch,
    cluster: KubernetesCluster,
    client: Client,
}

impl Bench {
    async fn new(servers: &Servers) -> Self {
        let (namespace, cluster, client) = (servers.namespace().await, servers.cluster().await, servers.client().await);
        Self { servers: servers.clone(), namespace, cluster, client }
    }

    fn request(&self, objects: &[Value]) -> (tempfile::TempDir, ApplyRequest) {
        let files = tempfile::tempdir().unwrap();
        for (index, object) in objects.iter().enumerate() {
            std::fs::write(files.path().join(format!("{index}.json")), object.to_string()).unwrap();
        }
        let workload = Workload::new(self.namespace.name.clone(), [files.path()]).named(name("shop"));
        (files, ApplyRequest::new(workload, Placement::Replace))
    }

    async fn plan_by(&self, cluster: &KubernetesCluster, objects: &[Value]) -> Result<ClusterPlan> {
        let (_files, request) = self.request(objects);
        cluster.plan(&cx(), &request).await
    }

    async fn plan(&self, objects: &[Value]) -> ClusterPlan {
        self.plan_by(&self.cluster, objects).await.unwrap()
    }

    async fn apply_by(&self, cluster: &KubernetesCluster, objects: &[Value]) -> Result<AppliedWorkload> {
        let (_files, request) = self.request(objects);
        cluster.apply(&cx(), &request).await
    }

    async fn apply(&self, objects: &[Value]) -> AppliedWorkload {
        self.apply_by(&self.cluster, objects).await.unwrap()
    }

    fn maps(&self) -> Api<ConfigMap> {
        Api::namespaced(self.client.clone(), self.namespace.name.as_str())
    }

    fn deployments(&self) -> Api<Deployment> {
        Api::namespaced(self.client.clone(), self.namespace.name.as_str())
    }

    async fn deployment(&self) -> Value {
        serde_json::to_value(self.deployments().get("web").await.unwrap()).unwrap()
    }
}

fn on_a_cluster(test: impl AsyncFnOnce(Bench)) {
    let Some(servers) = servers() else { return };
    runtime().block_on(async { test(Bench::new(&servers).await).await });
}

fn map(name: &str, value: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"value": value}})
}

/// No pod of it ever runs: these tests are about objects.
fn deployment(replicas: u32) -> Value {
    let image = format!("test/none@sha256:{}", "0".repeat(64));
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"nodeSelector": {"nowhere": "x"}, "containers": [{"name": "web", "image": image}]}}}})
}

fn actions(plan: &ClusterPlan) -> Vec<(Action, &str)> {
    plan.changes.iter().map(|change| (change.action, change.object.rsplit('/').next().unwrap())).collect()
}

#[test]
fn what_is_as_it_should_be_is_not_written() {
    on_a_cluster(async |bench| {
        let objects = [map("alone", "1"), deployment(0)];
        bench.apply(&objects).await;
        let versions = async || {
            let maps = bench.maps().list(&ListParams::default()).await.unwrap();
            let maps =
                maps.into_iter().map(|map| (map.metadata.name, map.metadata.resource_version)).collect::<Vec<_>>();
            (maps, bench.deployment().await["metadata"]["generation"].clone())
        };
        let before = versions().await;
        bench.apply(&objects).await;
        assert_eq!(versions().await, before);
        assert_eq!(actions(&bench.plan(&objects).await), [(Action::NoOp, "alone"), (Action::NoOp, "web")]);
    });
}

#[test]
fn what_leaves_the_manifests_leaves_the_cluster_unless_it_is_kept() {
    on_a_cluster(async |bench| {
        let mut kept = map("kept", "1");
        kept["metadata"]["annotations"] = json!({"deploy.ecolaura.io/on-remove": "keep"});
        let taken = map("taken", "1");
        bench.apply(&[map("stays", "1"), map("goes", "1"), kept, taken]).await;
        let release = json!({"metadata": {"labels": {"deploy.ecolaura.io/workload": "other"}}});
        bench.maps().patch("taken", &PatchParams::default(), &Patch::Merge(release)).await.unwrap();
        let left = [map("stays", "1")];
        let plan = bench.plan(&left).await;
        assert_eq!(actions(&plan), [(Action::NoOp, "stays"), (Action::Delete, "goes")]);
        assert!(
            plan.warnings.iter().any(|warning| warning.contains("kept") && warning.contains("on-remove")),
            "{:?}",
            plan.warnings
        );
        assert!(
            plan.warnings.iter().any(|warning| warning.contains("taken") && warning.contains("not of this workload"))
        );
        bench.apply(&left).await;
        let there = async |name: &str| bench.maps().get_opt(name).await.unwrap().is_some();
        assert!(there("stays").await && there("kept").await && there("taken").await && !there("goes").await);
    });
}

#[test]
fn a_field_of_another_manager_is_left_alone_until_it_may_be_taken() {
    on_a_cluster(async |bench| {
        bench.apply(&[map("shared", "ours")]).await;
        let theirs = json!({"data": {"value": "theirs"}});
        let params = PatchParams { field_manager: Some("somebody".to_owned()), ..PatchParams::default() };
        bench.maps().patch("shared", &params, &Patch::Merge(theirs)).await.unwrap();
        let changed = [map("shared", "ours again"), map("new", "1")];
        for error in [
            bench.plan_by(&bench.cluster, &changed).await.unwrap_err(),
            bench.apply_by(&bench.cluster, &changed).await.unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Conflict);
            let report = error.report();
            assert!(
                report.contains("somebody") && report.contains("data.value") && report.contains("0.json, document 1"),
                "{report}"
            );
        }
        assert!(bench.maps().get_opt("new").await.unwrap().is_none(), "nothing was half applied");
        let taking = bench.cluster.clone().take_over_fields();
        bench.apply_by(&taking, &changed).await.unwrap();
        assert_eq!(bench.maps().get("shared").await.unwrap().data.unwrap()["value"], "ours again");
    });
}

/// Of many objects what was applied before is listed, and that of others is in no such list.
#[test]
fn among_many_objects_those_of_others_are_seen() {
    on_a_cluster(async |bench| {
        let mut objects: Vec<Value> = (0..20).map(|number| map(&format!("map-{number:02}"), "ours")).collect();
        bench.apply(&objects[..18]).await;
        let params = PatchParams::apply("somebody");
        bench.maps().patch("map-18", &params, &Patch::Apply(map("map-18", "theirs"))).await.unwrap();
        let error = bench.plan_by(&bench.cluster, &objects).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.report().contains("map-18: `data.value` belongs to \"somebody\""), "{}", error.report());
        assert!(bench.maps().get_opt("map-19").await.unwrap().is_none(), "nothing was half applied");
        objects[18] = map("map-18", "theirs");
        objects[18]["data"]["more"] = json!("ours");
        bench.maps().delete("map-01", &DeleteParams::default()).await.unwrap();
        let plan = bench.plan(&objects).await;
        let action = |name: &str| actions(&plan).into_iter().find(|(_, object)| *object == name).unwrap().0;
        assert_eq!(
            ["map-00", "map-01", "map-18", "map-19"].map(action),
            [Action::NoOp, Action::Create, Action::Update, Action::Create]
        );
        bench.apply(&objects).await;
        assert!(bench.plan(&objects).await.changes.iter().all(|change| change.action == Action::NoOp));
    });
}

#[test]
fn replicas_of_an_autoscaler_stay_as_they_are() {
    on_a_cluster(async |bench| {
        bench.apply(&[deployment(2)]).await;
        let scaler = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"},
            "spec": {"minReplicas": 1, "maxReplicas": 10, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
                "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}]}});
        // The autoscaler set another number meanwhile.
        bench
            .deployments()
            .patch_scale("web", &PatchParams::default(), &Patch::Merge(json!({"spec": {"replicas": 7}})))
            .await
            .unwrap();
        bench.apply(&[deployment(2), scaler]).await;
        assert_eq!(bench.deployment().await["spec"]["replicas"], 7);
        let taking = bench.cluster.clone().take_over_fields();
        bench.apply_by(&taking, &[deployment(3), map("alone", "1")]).await.unwrap();
        assert_eq!(bench.deployment().await["spec"]["replicas"], 3, "without an autoscaler the manifest says it");
    });
}

#[test]
fn what_cannot_change_is_replaced_only_if_that_is_allowed() {
    on_a_cluster(async |bench| {
        bench.apply(&[deployment(0)]).await;
        let uid = bench.deployment().await["metadata"]["uid"].clone();
        let mut other = deployment(0);
        other["spec"]["selector"]["matchLabels"]["tier"] = json!("back");
        other["spec"]["template"]["metadata"]["labels"]["tier"] = json!("back");
        let error = bench.apply_by(&bench.cluster, &[other.clone()]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.report().contains("spec.selector cannot be changed in place"), "{}", error.report());
        let replacing = bench.cluster.clone().replace_immutable();
        let plan = bench.plan_by(&replacing, &[other.clone()]).await.unwrap();
        assert_eq!(actions(&plan), [(Action::Replace, "web")]);
        assert_eq!(bench.deployment().await["metadata"]["uid"], uid);
        bench.apply_by(&replacing, &[other]).await.unwrap();
        assert_ne!(bench.deployment().await["metadata"]["uid"], uid);
    });
}

#[test]
fn a_kind_and_an_object_of_it_come_in_one_go() {
    on_a_cluster(async |bench| {
        let group = format!("{}.example.com", bench.namespace.name);
        let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("widgets.{group}"), "annotations": {"deploy.ecolaura.io/on-remove": "keep"}},
            "spec": {"group": group, "scope": "Namespaced", "names": {"kind": "Widget", "plural": "widgets", "singular": "widget"},
                "versions": [{"name": "v1", "served": true, "storage": true,
                    "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}}}}}]}});
        let widget = json!({"apiVersion": format!("{group}/v1"), "kind": "Widget", "metadata": {"name": "one"}, "spec": {"size": 1}});
        let objects = [widget, definition];
        let plan = bench.plan(&objects).await;
        assert!(plan.changes.iter().all(|change| change.action == Action::Create), "{:?}", plan.changes);
        bench.apply(&objects).await;
        assert_eq!(bench.plan(&objects).await.changes.iter().filter(|change| change.action == Action::NoOp).count(), 2);
        let definitions: Api<
            k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
        > = Api::all(bench.client.clone());
        definitions.delete(&format!("widgets.{group}"), &DeleteParams::default()).await.unwrap();
    });
}

#[test]
fn what_depends_on_something_comes_after_it() {
    on_a_cluster(async |bench| {
        let job = |name: &str, image: &str| {
            json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": name},
                "spec": {"backoffLimit": 0, "activeDeadlineSeconds": 1, "template": {"spec": {"restartPolicy": "Never",
                    "nodeSelector": {"nowhere": "x"}, "containers": [{"name": "a", "image": image}]}}}})
        };
        let image = format!("test/none@sha256:{}", "0".repeat(64));
        let mut dependent = map("after", "1");
        dependent["metadata"]["annotations"] = json!({"deploy.ecolaura.io/depends-on": "job/first"});
        let error = bench.apply_by(&bench.cluster, &[dependent.clone(), job("first", &image)]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::RolloutFailed, "{}", error.report());
        assert!(bench.maps().get_opt("after").await.unwrap().is_none(), "what it depends on failed");
        let error = bench.apply_by(&bench.cluster, &[dependent]).await.unwrap_err();
        assert!(
            error.report().contains("depends on `job/first`, which is not in these manifests"),
            "{}",
            error.report()
        );
    });
}

#[test]
fn what_others_rolled_out_can_be_brought_back() {
    on_a_cluster(async |bench| {
        let mut theirs = deployment(0);
        theirs["spec"]["template"]["spec"]["containers"][0]["image"] = json!("registry.example.com/legacy:v1");
        theirs["metadata"]["annotations"] = json!({"team": "legacy"});
        let theirs: Deployment = serde_json::from_value(theirs).unwrap();
        bench.deployments().create(&PostParams::default(), &theirs).await.unwrap();
        let before = bench.cluster.status(&cx(), &bench.namespace.name).await.unwrap().snapshot;
        assert_eq!(before.revisions.values().collect::<Vec<_>>(), [&Some(0)]);
        let taking = bench.cluster.clone().take_over_fields();
        bench.apply_by(&taking, &[deployment(0)]).await.unwrap();
        let image = |deployment: &Value| deployment["spec"]["template"]["spec"]["containers"][0]["image"].clone();
        assert_ne!(image(&bench.deployment().await), "registry.example.com/legacy:v1");
        taking.restore(&cx(), &before).await.unwrap();
        let after = bench.deployment().await;
        assert_eq!(image(&after), "registry.example.com/legacy:v1");
        assert_eq!(after["metadata"]["annotations"]["team"], "legacy");
    });
}

#[test]
fn a_namespace_is_made_only_if_that_is_asked_for() {
    on_a_cluster(async |bench| {
        let files = tempfile::tempdir().unwrap();
        std::fs::write(files.path().join("map.json"), map("alone", "1").to_string()).unwrap();
        let namespace = name(&format!("{}-made", bench.namespace.name));
        let request = ApplyRequest::new(Workload::new(namespace.clone(), [files.path()]), Placement::Replace);
        let error = bench.cluster.plan(&cx(), &request).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.report().contains(&format!("there is no namespace `{namespace}`")), "{}", error.report());
        let making = bench.cluster.clone().create_namespaces();
        let plan = making.plan(&cx(), &request).await.unwrap();
        assert!(
            plan.changes.iter().any(|change| change.object == format!("Namespace {namespace}")),
            "{:?}",
            plan.changes
        );
        let applied = making.apply(&cx(), &request).await.unwrap();
        assert_eq!(making.wait_until_ready(&cx(), &applied).await.unwrap(), RolloutState::Ready);
        let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(bench.client.clone());
        namespaces.delete(namespace.as_str(), &DeleteParams::default()).await.unwrap();
    });
}

#[test]
fn without_the_right_the_rule_is_named() {
    on_a_cluster(async |bench| {
        let namespace = bench.namespace.name.as_str();
        let error = bench
            .servers
            .as_user("nobody")
            .await
            .plan(&cx(), &bench.request(&[map("alone", "1")]).1)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        let report = error.report();
        assert!(report.contains("nobody") && report.contains(namespace), "{report}");
    });
}
