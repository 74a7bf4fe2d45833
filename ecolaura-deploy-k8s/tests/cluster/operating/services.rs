//! Looking back, undoing, pausing, restarting, scaling. No pod has to run: there are none, or nobody waits for them.

use ecolaura_deploy_core::{
    Context, ErrorKind,
    backend::{FailureCause, RolloutState, Track},
    vocabulary::ServiceName,
};
use ecolaura_deploy_k8s::{
    Connection,
    access::{Needs, Subject},
};
use kube::{
    api::{Patch, PatchParams, PostParams},
    config::KubeConfigOptions,
};

use super::*;

fn web() -> ServiceName {
    "web".parse().unwrap()
}

impl Bench {
    async fn generation(&self) -> i64 {
        self.deployments().get("web").await.unwrap().metadata.generation.unwrap()
    }

    async fn image(&self) -> String {
        let image = &self.deployment().await["spec"]["template"]["spec"]["containers"][0]["image"];
        image.as_str().unwrap().to_owned()
    }

    async fn apply_at(&self, cx: &Context, objects: &[Value]) -> AppliedWorkload {
        let (_files, request) = self.request(objects);
        self.cluster.apply(cx, &request).await.unwrap()
    }

    async fn create(&self, path: &str, object: &Value) {
        let request = kube::core::Request::new(format!("/apis/{path}"));
        let request = request.create(&PostParams::default(), object.to_string().into_bytes()).unwrap();
        self.client.request::<Value>(request).await.unwrap();
    }

    /// A workload of another kind, that nobody waits for.
    async fn create_other(&self, kind: &str, name: &str) {
        let mut object = deployment(None, 'a');
        (object["kind"], object["metadata"]["name"]) = (json!(kind), json!(name));
        if kind == "StatefulSet" {
            (object["spec"]["serviceName"], object["spec"]["replicas"]) = (json!("none"), json!(0));
        }
        let plural = format!("{}s", kind.to_lowercase());
        self.create(&format!("apps/v1/namespaces/{}/{plural}", self.namespace.name), &object).await;
    }
}

fn autoscaler() -> Value {
    json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "by-load"},
        "spec": {"minReplicas": 1, "maxReplicas": 10, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}]}})
}

#[test]
fn a_revision_that_is_kept_is_brought_back() {
    on_a_control_plane(async |bench| {
        let (cluster, shop, cx) = (&bench.cluster, &bench.namespace.name, cx().with_epoch(7));
        let mut first = deployment(Some(0), 'a');
        first["metadata"]["annotations"] = json!({"kubernetes.io/change-cause": "the first"});
        bench.apply_at(&cx, &[first.clone()]).await;
        bench.apply_at(&cx, &[deployment(Some(0), 'b')]).await;

        let history = cluster.history(&cx, shop, &web()).await.unwrap();
        let found: Vec<_> =
            history.revisions.iter().map(|found| (found.revision, found.live, found.images.clone())).collect();
        let image = |letter: &str| vec![format!("test/none@sha256:{}", letter.repeat(64))];
        assert_eq!(found, [(1, None, image("a")), (2, Some(Track::Stable), image("b"))]);
        assert!(history.revisions.iter().all(|found| found.epoch == Some(7) && found.time.is_some() && !found.changed));
        assert_eq!(history.before(), Some(1));
        let table = history.to_string();
        assert!(table.contains("the first") && table.contains("test/none@sha256:aaaaaaaaaaaa "), "{table}");
        println!("{table}");

        let error = cluster.undo_to(&cx, shop, &web(), 9).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(
            error.report().contains("revision 9 of web") && error.report().contains("kept: 1, 2 (live)"),
            "{}",
            error.report()
        );

        cluster.undo_to(&cx, shop, &web(), 1).await.unwrap();
        assert!(bench.image().await.ends_with(&"a".repeat(64)));
        assert_eq!(cluster.history(&cx, shop, &web()).await.unwrap().revisions[0].live, Some(Track::Stable));
        let before = bench.generation().await;
        cluster.undo_to(&cx, shop, &web(), 1).await.unwrap();
        assert_eq!(bench.generation().await, before, "it is so already; nothing toggles");
        assert_eq!(actions(&bench.plan_by(cluster, &[first]).await), [(Action::NoOp, "web")]);

        let theirs = json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "other:1"}]}}}});
        bench.deployments().patch("web", &PatchParams::default(), &Patch::Strategic(theirs)).await.unwrap();
        assert!(cluster.history(&cx, shop, &web()).await.unwrap().revisions[0].changed);
    });
}

#[test]
fn a_paused_roll_out_is_told_at_once_and_goes_on_when_it_is_resumed() {
    on_a_control_plane(async |bench| {
        let (cluster, shop, cx) = (&bench.cluster, &bench.namespace.name, cx());
        bench.apply_at(&cx, &[deployment(Some(0), 'a')]).await;
        for _ in 0..2 {
            cluster.pause(&cx, shop, &web()).await.unwrap();
            assert_eq!(bench.generation().await, 2, "the second time there is nothing to do");
        }
        assert_eq!(actions(&bench.plan_by(cluster, &[deployment(Some(0), 'a')]).await), [(Action::NoOp, "web")]);
        let applied = bench.apply_at(&cx, &[deployment(Some(0), 'b')]).await;
        let state = cluster.wait_until_ready(&cx, &applied).await.unwrap();
        let RolloutState::Failed { cause: FailureCause::Paused, chain } = state else { panic!("{state:?}") };
        assert!(chain.join(": ").contains("resume it"), "{chain:?}");
        let line = cluster.status_line(&cx, shop, &web()).await.unwrap();
        assert!(line.ends_with("its roll-out is paused: resume it"), "{line}");
        for refused in [cluster.restart(&cx, shop, &web()).await, cluster.undo_to(&cx, shop, &web(), 1).await] {
            let error = refused.unwrap_err();
            assert!(
                error.kind() == ErrorKind::Conflict && error.report().contains("resume it first"),
                "{}",
                error.report()
            );
        }
        cluster.resume(&cx, shop, &web()).await.unwrap();
        assert_eq!(cluster.wait_until_ready(&cx, &applied).await.unwrap(), RolloutState::Ready);
        assert_eq!(actions(&bench.plan_by(cluster, &[deployment(Some(0), 'b')]).await), [(Action::NoOp, "web")]);
        let resumed = bench.generation().await;
        cluster.resume(&cx, shop, &web()).await.unwrap();
        assert_eq!(bench.generation().await, resumed);
        // What the manifests say of it has the last word.
        cluster.pause(&cx, shop, &web()).await.unwrap();
        let mut going = deployment(Some(0), 'b');
        going["spec"]["paused"] = json!(false);
        bench.apply_at(&cx, &[going]).await;
        assert_ne!(bench.deployment().await["spec"]["paused"], true);
    });
}

#[test]
fn a_restart_is_nothing_that_an_apply_undoes_or_shows() {
    on_a_control_plane(async |bench| {
        let (cluster, shop, cx) = (&bench.cluster, &bench.namespace.name, cx());
        let wanted = [deployment(Some(0), 'a')];
        bench.apply_at(&cx, &wanted).await;
        cluster.restart(&cx, shop, &web()).await.unwrap();
        let restarted = async || {
            let deployment = bench.deployment().await;
            deployment["spec"]["template"]["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"].clone()
        };
        let first = restarted().await;
        assert!(first.is_string());
        assert_eq!(actions(&bench.plan_by(cluster, &wanted).await), [(Action::NoOp, "web")]);
        let before = bench.generation().await;
        bench.apply_at(&cx, &wanted).await;
        assert_eq!(bench.generation().await, before);
        bench.apply_at(&cx, &[deployment(Some(0), 'b')]).await;
        assert_eq!(restarted().await, first, "nor does a new revision");
        cluster.restart(&cx, shop, &web()).await.unwrap();
        assert_ne!(restarted().await, first);
        for kind in ["StatefulSet", "DaemonSet"] {
            let name: ServiceName = kind.to_lowercase().parse().unwrap();
            bench.create_other(kind, name.as_str()).await;
            cluster.restart(&cx, shop, &name).await.unwrap();
            let error = cluster.pause(&cx, shop, &name).await.unwrap_err();
            assert!(
                error.kind() == ErrorKind::Unsupported && error.report().contains("partition"),
                "{}",
                error.report()
            );
            assert_eq!(cluster.history(&cx, shop, &name).await.unwrap_err().kind(), ErrorKind::Unsupported);
            let error = cluster.progress(&cx, shop, &name).await.unwrap_err();
            assert!(error.report().contains("others rolled it out"), "{}", error.report());
        }
    });
}

#[test]
fn replicas_that_were_set_by_hand_stay_until_the_manifests_say_another_number() {
    on_a_control_plane(async |bench| {
        let (cluster, shop, cx) = (&bench.cluster, &bench.namespace.name, cx());
        bench.apply_at(&cx, &[deployment(None, 'a')]).await;
        let replicas = async || bench.deployment().await["spec"]["replicas"].clone();
        for _ in 0..2 {
            cluster.scale(&cx, shop, &web(), 0).await.unwrap();
            assert_eq!((replicas().await, bench.generation().await), (json!(0), 2));
        }
        bench.apply_at(&cx, &[deployment(None, 'b')]).await;
        assert_eq!(replicas().await, 0, "the manifests say nothing of it");
        cluster.undo_to(&cx, shop, &web(), 1).await.unwrap();
        assert_eq!(replicas().await, 0, "an undo does not either");

        let wanted = [deployment(Some(2), 'a')];
        bench.apply_at(&cx, &wanted).await;
        cluster.scale(&cx, shop, &web(), 3).await.unwrap();
        let plan = bench.plan_by(cluster, &wanted).await;
        assert_eq!(details(&plan), ["spec.replicas 3 → 2"]);
        bench.apply_at(&cx, &wanted).await;
        assert_eq!(replicas().await, 2);

        bench.create(&format!("autoscaling/v2/namespaces/{shop}/horizontalpodautoscalers"), &autoscaler()).await;
        let error = cluster.scale(&cx, shop, &web(), 5).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(
            error.report().contains(&format!(
                "HorizontalPodAutoscaler {shop}/by-load sets the replicas of Deployment {shop}/web"
            )),
            "{}",
            error.report()
        );
        assert_eq!(replicas().await, 2);
    });
}

#[test]
fn what_cannot_be_is_refused() {
    on_a_control_plane(async |bench| {
        let (cluster, shop) = (&bench.cluster, &bench.namespace.name);
        let error = cluster.scale(&cx(), shop, &web(), 1).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(
            error.report().contains(&format!("there is no Deployment, StatefulSet or DaemonSet `web` in `{shop}`")),
            "{}",
            error.report()
        );
        assert_eq!(cluster.history(&cx(), shop, &web()).await.unwrap_err().kind(), ErrorKind::NotFound);
        bench.apply_at(&cx().with_epoch(8), &[deployment(Some(0), 'a')]).await;
        let late = cx().with_epoch(7);
        for refused in [
            cluster.scale(&late, shop, &web(), 1).await,
            cluster.restart(&late, shop, &web()).await,
            cluster.pause(&late, shop, &web()).await,
            cluster.resume(&late, shop, &web()).await,
            cluster.undo_to(&late, shop, &web(), 1).await,
        ] {
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::Fenced);
        }
        assert_eq!(bench.generation().await, 1);
        assert_eq!(cluster.scale(&cx(), shop, &web(), u32::MAX).await.unwrap_err().kind(), ErrorKind::InvalidInput);
        bench.create_other("DaemonSet", "agents").await;
        let error = cluster.scale(&cx(), shop, &"agents".parse().unwrap(), 1).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
    });
}

#[test]
fn the_rights_to_operate_are_enough() {
    on_a_control_plane(async |bench| {
        let (shop, cx) = (&bench.namespace.name, cx());
        bench.apply_at(&cx, &[deployment(Some(0), 'a')]).await;
        let config = kube::config::Kubeconfig::read_from(&bench.servers.kubeconfig).unwrap();
        let mut config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await.unwrap();
        config.auth_info.impersonate = Some(format!("operator-of-{shop}"));
        let connection = Connection::new(Client::try_from(config).unwrap(), "the server");
        let cluster = KubernetesCluster::new(name("cluster"), connection.clone());
        let error = cluster.pause(&cx, shop, &web()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);

        let needs = Needs::to_operate(shop.as_str());
        for object in needs.rules("operator", &Subject::User(format!("operator-of-{shop}"))).objects() {
            let plural = format!("{}s", object["kind"].as_str().unwrap().to_lowercase());
            bench.create(&format!("rbac.authorization.k8s.io/v1/namespaces/{shop}/{plural}"), &object).await;
        }
        while needs.missing(&cx, &connection, "operator").await.unwrap().is_some() {
            cx.sleep("test.rights", std::time::Duration::from_millis(50)).await.unwrap();
        }
        cluster.pause(&cx, shop, &web()).await.unwrap();
        cluster.resume(&cx, shop, &web()).await.unwrap();
        cluster.restart(&cx, shop, &web()).await.unwrap();
        cluster.scale(&cx, shop, &web(), 1).await.unwrap();
        cluster.scale(&cx, shop, &web(), 0).await.unwrap();
        assert_eq!(cluster.history(&cx, shop, &web()).await.unwrap().revisions.len(), 1);
        assert_eq!(cluster.progress(&cx, shop, &web()).await.unwrap(), RolloutState::Ready);
        let line = cluster.status_line(&cx, shop, &web()).await.unwrap();
        assert_eq!(line, format!("Deployment {shop}/web: rolled out: 0 available replicas of revision 1"));
    });
}
