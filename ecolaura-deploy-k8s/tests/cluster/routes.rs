//! Shares that something in front of the pods gives: what stands in the objects of a real API server, step by step. Pods
//! and gateways are pretended.

use std::time::Duration;

use ecolaura_deploy_core::{
    backend::{
        AppliedWorkload, ApplyRequest, ClusterTarget as _, Placement, RolloutState, Traffic, TrafficRequest, Workload,
    },
    plan::Action,
};
use ecolaura_deploy_k8s::KubernetesCluster;
use kube::{
    Api, Client,
    api::{Patch, PatchParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::{Value, json};

use crate::support::{PRETENDED, Pretended, Scratch, control_plane, cx, gateway_kinds, name, pretend, runtime};

const GATEWAY: &str = "gateway.networking.k8s.io/v1";
const ACTION: &str = "alb.ingress.kubernetes.io/actions.";

fn deployment(version: char) -> Value {
    let image = format!("test/web@sha256:{}", version.to_string().repeat(64));
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}},
                "spec": {"nodeName": PRETENDED, "containers": [{"name": "web", "image": image}]}}}})
}

fn service() -> Value {
    json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]}})
}

/// A route with filters, with a backend of somebody else, and with a rule that is not about the service.
fn route() -> Value {
    json!({"apiVersion": GATEWAY, "kind": "HTTPRoute", "metadata": {"name": "front", "annotations": {"ours": "1"}},
    "spec": {"parentRefs": [{"name": "edge"}], "hostnames": ["shop.example.com"], "rules": [
        {"matches": [{"path": {"type": "PathPrefix", "value": "/"}}],
            "filters": [{"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "x-front", "value": "edge"}]}}],
            "backendRefs": [{"name": "web", "port": 80}, {"name": "legacy", "port": 80, "weight": 3}]},
        {"matches": [{"path": {"type": "PathPrefix", "value": "/elsewhere"}}],
            "backendRefs": [{"name": "web", "namespace": "elsewhere", "port": 80}, {"name": "assets", "port": 80}]},
    ]}})
}

/// An Ingress with a forward action for the service and another action, which is not about it.
fn ingress() -> Value {
    let groups = |names: &[&str]| {
        let group = |name: &&str| json!({"serviceName": name, "servicePort": "80", "weight": 1});
        let groups: Vec<Value> = names.iter().map(group).collect();
        json!({"type": "forward", "forwardConfig": {"targetGroups": groups, "targetGroupStickinessConfig": {"enabled": false}}})
    };
    let backend = |name: &str| json!({"service": {"name": name, "port": {"name": "use-annotation"}}});
    let path = |path: &str, name: &str| json!({"path": path, "pathType": "Prefix", "backend": backend(name)});
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
        "metadata": {"name": "front", "annotations": {
            "alb.ingress.kubernetes.io/scheme": "internet-facing",
            format!("{ACTION}to-web"): groups(&["web"]).to_string(),
            format!("{ACTION}assets"): groups(&["assets"]).to_string(),
        }},
        "spec": {"ingressClassName": "alb", "rules": [{"host": "shop.example.com", "http": {"paths": [path("/assets", "assets"), path("/", "to-web")]}}]}})
}

/// What stands in front of the service, and how to read it.
struct Front {
    object: fn() -> Value,
    weights: fn(&Value) -> Vec<(String, u64)>,
    /// Takes the shares out, so that what is left can be compared.
    rest: fn(&mut Value),
    /// What all weights are beside those of the service.
    others: &'static [(&'static str, u64)],
}

const ROUTE: Front = Front {
    object: route,
    weights: |object| pairs(&object["spec"]["rules"][0]["backendRefs"], "name"),
    rest: |object| object["spec"]["rules"][0]["backendRefs"] = Value::Null,
    others: &[("legacy", 300)],
};

const INGRESS: Front = Front {
    object: ingress,
    weights: |object| pairs(&action(object)["forwardConfig"]["targetGroups"], "serviceName"),
    rest: |object| object["metadata"]["annotations"][format!("{ACTION}to-web")] = Value::Null,
    others: &[],
};

fn action(ingress: &Value) -> Value {
    let text = ingress["metadata"]["annotations"][format!("{ACTION}to-web")].as_str().unwrap();
    serde_json::from_str(text).unwrap()
}

fn pairs(list: &Value, name: &str) -> Vec<(String, u64)> {
    let list = list.as_array().unwrap().iter();
    list.map(|item| (item[name].as_str().unwrap().to_owned(), item["weight"].as_u64().unwrap())).collect()
}

struct Bench {
    front: Front,
    client: Client,
    namespace: Scratch,
    cluster: KubernetesCluster,
    files: tempfile::TempDir,
    _pretended: Pretended,
}

/// With the first version applied, and a field of somebody else in what stands in front.
fn behind(front: Front, test: impl AsyncFnOnce(Bench)) {
    let Some(servers) = control_plane() else { return };
    runtime().block_on(async {
        let client = servers.client().await;
        gateway_kinds(&client).await;
        let namespace = servers.namespace().await;
        let pretended = pretend(client.clone(), &namespace.name);
        let cluster = servers.cluster().await.settle(Duration::from_millis(100));
        let files = tempfile::tempdir().unwrap();
        let bench = Bench { front, client, namespace, cluster, files, _pretended: pretended };
        bench.apply('1', Placement::Replace).await;
        let theirs = json!({"metadata": {"annotations": {"example.com/theirs": "1"}, "labels": {"team": "edge"}}});
        let params = PatchParams { field_manager: Some("somebody".to_owned()), ..PatchParams::default() };
        bench.api().patch("front", &params, &Patch::Merge(theirs)).await.unwrap();
        test(bench).await;
    });
}

impl Bench {
    fn request(&self, version: char, placement: Placement) -> ApplyRequest {
        for (index, object) in [deployment(version), service(), (self.front.object)()].iter().enumerate() {
            std::fs::write(self.files.path().join(format!("{index}.json")), object.to_string()).unwrap();
        }
        let workload = Workload::new(self.namespace.name.clone(), [self.files.path()]).named(name("shop"));
        ApplyRequest::new(workload, placement)
    }

    async fn apply(&self, version: char, placement: Placement) -> AppliedWorkload {
        let applied = self.cluster.apply(&cx(), &self.request(version, placement)).await.unwrap();
        let state = self.cluster.wait_until_ready(&cx(), &applied).await.unwrap();
        assert_eq!(state, RolloutState::Ready);
        applied
    }

    async fn shift(&self, candidate: &AppliedWorkload, traffic: Traffic) {
        self.cluster.shift(&cx(), &TrafficRequest::new(candidate.clone(), traffic)).await.unwrap();
    }

    fn of(&self, version: &str, kind: &str) -> Api<DynamicObject> {
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        Api::namespaced_with(self.client.clone(), self.namespace.name.as_str(), &resource)
    }

    fn api(&self) -> Api<DynamicObject> {
        let object = (self.front.object)();
        self.of(object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap())
    }

    async fn read(&self, version: &str, kind: &str, name: &str) -> Option<Value> {
        self.of(version, kind).get_opt(name).await.unwrap().map(|found| serde_json::to_value(found).unwrap())
    }

    /// What stands in front, without what the server and this library note for themselves.
    async fn in_front(&self) -> Value {
        let mut found = serde_json::to_value(self.api().get("front").await.unwrap()).unwrap();
        found["metadata"]["annotations"].as_object_mut().unwrap().remove("deploy.ecolaura.io/applied");
        let metadata = &found["metadata"];
        json!({"spec": found["spec"], "metadata": {"annotations": metadata["annotations"], "labels": metadata["labels"]}})
    }

    async fn image(&self, deployment: &str) -> Option<String> {
        let found = self.read("apps/v1", "Deployment", deployment).await?;
        Some(found["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap().to_owned())
    }

    /// The track that the Service `name` sends requests to; `None` if there is no such Service.
    async fn track(&self, name: &str) -> Option<String> {
        let found = self.read("v1", "Service", name).await?;
        Some(found["spec"]["selector"]["deploy.ecolaura.io/track"].as_str().unwrap_or("both").to_owned())
    }

    /// Whether the candidate has exactly its share, and everything else is as `before`.
    async fn has_share(&self, percent: u64, before: &Value) {
        let mut found = self.in_front().await;
        let mut expected = vec![("web".to_owned(), 100 - percent), ("web-candidate".to_owned(), percent)];
        expected.extend(self.front.others.iter().map(|(name, weight)| ((*name).to_owned(), *weight)));
        assert_eq!((self.front.weights)(&found), expected, "at {percent} %");
        let mut before = before.clone();
        (self.front.rest)(&mut before);
        (self.front.rest)(&mut found);
        assert_eq!(found, before, "something else changed at {percent} %");
        assert_eq!(self.track("web-candidate").await.as_deref(), Some("candidate"));
        let stable = if percent == 100 { "candidate" } else { "stable" };
        assert_eq!(self.track("web").await.as_deref(), Some(stable), "at {percent} %");
    }

    /// Whether nothing of a candidate is left, version `version` has all requests, and nothing differs from its manifests.
    async fn is_at_rest(&self, version: char, before: &Value) {
        assert_eq!(self.in_front().await, *before);
        assert_eq!(self.track("web-candidate").await, None);
        assert_eq!(self.image("web-candidate").await, None);
        assert!(self.image("web").await.unwrap().ends_with(&version.to_string().repeat(64)));
        let plan = self.cluster.plan(&cx(), &self.request(version, Placement::Replace)).await.unwrap();
        assert!(plan.changes.iter().all(|change| change.action == Action::NoOp), "{:?}", plan.changes);
        assert_eq!(self.track("web").await.as_deref(), Some("both"));
    }
}

async fn forward_and_back(bench: Bench) {
    let before = bench.in_front().await;
    let candidate = bench.apply('2', Placement::Beside { replicas: Some(1) }).await;
    assert_eq!(bench.in_front().await, before, "a candidate that nobody gave requests has none");
    for percent in [10, 50, 100, 50] {
        bench.shift(&candidate, Traffic::Candidate { percent }).await;
        bench.has_share(percent.into(), &before).await;
    }
    bench.shift(&candidate, Traffic::Discard).await;
    bench.is_at_rest('1', &before).await;
    // Once more changes nothing.
    bench.shift(&candidate, Traffic::Discard).await;
    bench.is_at_rest('1', &before).await;
}

async fn forward_for_good(bench: Bench) {
    let before = bench.in_front().await;
    let candidate = bench.apply('2', Placement::Beside { replicas: Some(1) }).await;
    for percent in [10, 50, 100] {
        bench.shift(&candidate, Traffic::Candidate { percent }).await;
        bench.has_share(percent.into(), &before).await;
    }
    bench.shift(&candidate, Traffic::Promote).await;
    bench.is_at_rest('2', &before).await;
}

/// Two colours: all requests to the one, to the other, and for good.
async fn colours(bench: Bench) {
    let before = bench.in_front().await;
    let candidate = bench.apply('2', Placement::Beside { replicas: None }).await;
    let green = bench.read("apps/v1", "Deployment", "web-candidate").await.unwrap();
    assert_eq!(green["spec"]["replicas"], 2, "a colour is as large as the other");
    for percent in [100, 0, 100] {
        bench.shift(&candidate, Traffic::Candidate { percent }).await;
        bench.has_share(percent.into(), &before).await;
    }
    bench.shift(&candidate, Traffic::Promote).await;
    bench.is_at_rest('2', &before).await;
}

#[test]
fn a_route_shifts_and_is_as_it_was_after_an_abort() {
    behind(ROUTE, forward_and_back);
}

#[test]
fn a_route_shifts_and_is_as_it_was_after_a_promotion() {
    behind(ROUTE, forward_for_good);
}

#[test]
fn a_route_switches_colours() {
    behind(ROUTE, colours);
}

#[test]
fn an_ingress_shifts_and_is_as_it_was_after_an_abort() {
    behind(INGRESS, forward_and_back);
}

#[test]
fn an_ingress_shifts_and_is_as_it_was_after_a_promotion() {
    behind(INGRESS, forward_for_good);
}

#[test]
fn an_ingress_switches_colours() {
    behind(INGRESS, colours);
}

/// Going back to a moment also takes the share back.
#[test]
fn a_restore_in_the_middle_of_a_shift_gives_the_requests_back() {
    behind(ROUTE, async |bench| {
        let before = bench.in_front().await;
        let snapshot = bench.cluster.status(&cx(), &bench.namespace.name).await.unwrap().snapshot;
        let candidate = bench.apply('2', Placement::Beside { replicas: Some(1) }).await;
        bench.shift(&candidate, Traffic::Candidate { percent: 50 }).await;
        bench.cluster.restore(&cx(), &snapshot).await.unwrap();
        bench.is_at_rest('1', &before).await;
    });
}
