//! What others do to the objects in the middle of a roll-out.

use std::time::{Duration, Instant};

use ecolaura_deploy_core::{
    Effect, ErrorKind, Result,
    backend::{ClusterTarget as _, FailureCause, Placement, RolloutState},
    plan::Action,
};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Namespace},
};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::json;

use super::{on_a_control_plane, web};
use crate::support::cx;

/// Long for a verdict that needs no waiting, and enough for a busy machine.
const SOON: Duration = Duration::from_secs(30);

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
        // What is in it goes only once its pods have ended, and nobody ends these.
        let state = tokio::time::timeout(SOON, waiting).await.unwrap().unwrap();
        superseded(state, &[&format!("{namespace}/web"), "Namespace", "somebody else deletes it"]);
        assert!(bench.deployment("web").await.is_some());
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
