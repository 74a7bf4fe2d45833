//! Fields that kubectl wrote on the client's side.

use std::{io::Write as _, process::Stdio};

use kube::api::{Patch, PatchParams, PostParams};

use super::*;

const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

impl Bench {
    /// As `kubectl apply` makes an object: by a create, with a note of what it applied.
    async fn create_as_kubectl(&self, object: &Value) {
        let mut object = object.clone();
        object["metadata"]["annotations"] = json!({LAST_APPLIED: object.to_string()});
        let params = PostParams { field_manager: Some("kubectl-client-side-apply".to_owned()), dry_run: false };
        let (client, namespace) = (self.client.clone(), self.namespace.name.as_str());
        if object["kind"] == "ConfigMap" {
            let map = serde_json::from_value(object).unwrap();
            Api::<ConfigMap>::namespaced(client, namespace).create(&params, &map).await.unwrap();
        } else {
            let deployment = serde_json::from_value(object).unwrap();
            self.deployments().create(&params, &deployment).await.unwrap();
        }
    }

    /// By the real program, if it is there.
    fn kubectl_apply(&self, object: &Value) -> bool {
        let mut kubectl = std::process::Command::new("kubectl");
        kubectl.arg("--kubeconfig").arg(&self.servers.kubeconfig);
        kubectl.args(["--namespace", self.namespace.name.as_str(), "apply", "-f", "-"]);
        let Ok(mut child) = kubectl.stdin(Stdio::piped()).stdout(Stdio::null()).spawn() else {
            println!("left out: no kubectl; .ci/with-servers --peers builds one");
            return false;
        };
        child.stdin.take().unwrap().write_all(object.to_string().as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
        true
    }

    fn migrating(&self) -> KubernetesCluster {
        self.cluster.clone().migrate_client_side_ownership()
    }
}

fn managers(map: &ConfigMap) -> Vec<&str> {
    let entries = map.metadata.managed_fields.iter().flatten();
    entries.filter_map(|entry| entry.manager.as_deref()).collect()
}

#[test]
fn a_field_of_kubectl_stays_until_its_ownership_is_migrated() {
    on_a_control_plane(async |bench| {
        bench.create_as_kubectl(&map("old", &json!({"kept": "1", "dropped": "1"}))).await;
        let theirs = PatchParams { field_manager: Some("somebody".to_owned()), ..PatchParams::default() };
        let maps: Api<ConfigMap> = Api::namespaced(bench.client.clone(), bench.namespace.name.as_str());
        maps.patch("old", &theirs, &Patch::Merge(json!({"data": {"theirs": "1"}}))).await.unwrap();
        let wanted = [map("old", &json!({"kept": "1"}))];

        let plan = bench.plan_by(&bench.cluster, &wanted).await;
        let warned = plan.warnings.iter().find(|warning| warning.contains("kubectl-client-side-apply")).unwrap();
        assert!(
            warned.contains("data.dropped of ConfigMap") && warned.contains("migrate_client_side_ownership"),
            "{warned}"
        );
        bench.apply_by(&bench.cluster, &wanted).await.unwrap();
        assert!(bench.map("old").await.data.unwrap().contains_key("dropped"), "it is another's");

        let plan = bench.plan_by(&bench.migrating(), &wanted).await;
        assert_eq!(actions(&plan), [(Action::Update, "old")]);
        assert_eq!(details(&plan), ["data.dropped removed", "takes over 2 fields from kubectl-client-side-apply"]);
        assert!(plan.warnings.iter().all(|warning| !warning.contains("kubectl")), "{:?}", plan.warnings);
        assert!(managers(&bench.map("old").await).contains(&"kubectl-client-side-apply"), "a plan writes nothing");

        bench.apply_by(&bench.migrating(), &wanted).await.unwrap();
        let after = bench.map("old").await;
        assert_eq!(managers(&after), ["ecolaura-deploy", "somebody"]);
        assert_eq!(after.data.unwrap().into_keys().collect::<Vec<_>>(), ["kept", "theirs"]);
        assert!(!after.metadata.annotations.unwrap().contains_key(LAST_APPLIED));

        assert_eq!(actions(&bench.plan_by(&bench.migrating(), &wanted).await), [(Action::NoOp, "old")]);
        bench.apply_by(&bench.migrating(), &wanted).await.unwrap();
        assert_eq!(bench.map("old").await.metadata.resource_version, after.metadata.resource_version);
    });
}

#[test]
fn a_value_that_kubectl_wrote_is_changed_by_whoever_migrates() {
    on_a_control_plane(async |bench| {
        let mut theirs = deployment(Some(0), 'a');
        theirs["spec"]["template"]["spec"]["containers"][0]["env"] =
            json!([{"name": "A", "value": "1"}, {"name": "B", "value": "1"}]);
        theirs["spec"]["minReadySeconds"] = json!(3);
        bench.create_as_kubectl(&theirs).await;
        let mut wanted = deployment(Some(0), 'b');
        wanted["spec"]["template"]["spec"]["containers"][0]["env"] = json!([{"name": "A", "value": "2"}]);
        let refused = bench.apply_by(&bench.cluster, &[wanted.clone()]).await.unwrap_err();
        assert!(refused.report().contains("kubectl-client-side-apply"), "{}", refused.report());
        let plan = bench.plan_by(&bench.migrating(), &[wanted.clone()]).await;
        assert!(details(&plan).contains(&"spec.minReadySeconds removed"), "{:?}", details(&plan));
        assert!(details(&plan).contains(&"spec.template.spec.containers[web].env[B] removed"), "{:?}", details(&plan));
        bench.apply_by(&bench.migrating(), &[wanted.clone()]).await.unwrap();
        let after = bench.deployment().await;
        let container = &after["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(container["env"], json!([{"name": "A", "value": "2"}]));
        assert!(after["spec"].get("minReadySeconds").is_none(), "{after}");
        assert_eq!(actions(&bench.plan_by(&bench.migrating(), &[wanted]).await), [(Action::NoOp, "web")]);
    });
}

/// Once kubectl owns them no more nobody would, and without a number there is one pod.
#[test]
fn replicas_of_an_autoscaler_outlive_the_one_who_wrote_them() {
    on_a_control_plane(async |bench| {
        bench.create_as_kubectl(&deployment(Some(4), 'a')).await;
        let scaler = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"},
            "spec": {"minReplicas": 1, "maxReplicas": 10, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
                "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}]}});
        for _ in 0..2 {
            bench.apply_by(&bench.migrating(), &[deployment(None, 'a'), scaler.clone()]).await.unwrap();
            assert_eq!(bench.deployment().await["spec"]["replicas"], 4);
        }
    });
}

#[test]
fn what_the_real_kubectl_applied_is_taken_over() {
    on_a_control_plane(async |bench| {
        if !bench.kubectl_apply(&map("old", &json!({"kept": "1", "dropped": "1"}))) {
            return;
        }
        assert!(managers(&bench.map("old").await).contains(&"kubectl-client-side-apply"));
        let wanted = [map("old", &json!({"kept": "2"}))];
        bench.apply_by(&bench.migrating(), &wanted).await.unwrap();
        let after = bench.map("old").await;
        assert_eq!(after.data.clone().unwrap().into_iter().collect::<Vec<_>>(), [("kept".to_owned(), "2".to_owned())]);
        assert_eq!(managers(&after), ["ecolaura-deploy"]);
        assert_eq!(actions(&bench.plan_by(&bench.migrating(), &wanted).await), [(Action::NoOp, "old")]);
    });
}
