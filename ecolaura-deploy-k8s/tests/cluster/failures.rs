//! Real failures of real pods: each is known by its cause, soon, and with what a person needs to mend it.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use ecolaura_deploy_core::{
    backend::{ApplyRequest, ClusterTarget as _, FailureCause, Placement, RolloutState, Workload},
    vocabulary::{Digest, PinnedImage},
};
use ecolaura_deploy_k8s::{
    KubernetesCluster,
    verdict::{Graces, Mode},
};
use k8s_openapi::api::{
    admissionregistration::v1::ValidatingWebhookConfiguration,
    core::v1::{Namespace, Pod, ResourceQuota},
};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::support::{Scratch, Servers, cx, image, runtime, servers, servers_alone};

/// Far less than the ten minutes after which Kubernetes itself gives up, and enough for a busy machine.
const SOON: Duration = Duration::from_secs(90);

struct Bench {
    servers: Servers,
    namespace: Scratch,
    cluster: KubernetesCluster,
    files: tempfile::TempDir,
}

impl Bench {
    async fn new(servers: Servers) -> Self {
        let (namespace, cluster) = (servers.namespace().await, servers.cluster().await);
        // What may heal by itself is waited for less long, so that the tests are quick.
        let mut graces = Graces::default();
        (graces.webhook, graces.missing, graces.unschedulable) =
            (Duration::from_secs(5), Duration::from_secs(5), Duration::from_secs(8));
        let cluster = cluster.judging(Mode::Strict, graces);
        Self { servers, namespace, cluster, files: tempfile::tempdir().unwrap() }
    }

    /// A workload of these objects, in the order in which they are given, with `image` for `web`.
    fn workload(&self, objects: &[Value], image: PinnedImage) -> Workload {
        for (index, object) in objects.iter().enumerate() {
            std::fs::write(self.files.path().join(format!("{index}.json")), object.to_string()).unwrap();
        }
        Workload::new(self.namespace.name.clone(), [self.files.path()]).image("web", image)
    }

    async fn roll_out(&self, objects: &[Value], mode: &str) -> RolloutState {
        let image = image(&self.servers, mode).await;
        self.apply_and_wait(objects, image).await
    }

    async fn apply_and_wait(&self, objects: &[Value], image: PinnedImage) -> RolloutState {
        let request = ApplyRequest::new(self.workload(objects, image), Placement::Replace);
        let applied = self.cluster.apply(&cx(), &request).await.unwrap();
        self.cluster.wait_until_ready(&cx(), &applied).await.unwrap()
    }

    /// Rolls out and checks that it failed by `cause`, with all of `words` in the chain.
    async fn fails(&self, objects: &[Value], mode: &str, cause: FailureCause, words: &[&str]) {
        let image = image(&self.servers, mode).await;
        self.fails_with(objects, image, cause, words).await;
    }

    async fn fails_with(&self, objects: &[Value], image: PinnedImage, cause: FailureCause, words: &[&str]) {
        let began = Instant::now();
        let state = self.apply_and_wait(objects, image).await;
        let took = began.elapsed();
        let RolloutState::Failed { cause: found, chain } = state else { panic!("expected {cause}, found {state:?}") };
        println!("{cause}: {:.1} s: {}", took.as_secs_f32(), chain.join(" > "));
        assert_eq!(found, cause, "{chain:?}");
        let text = chain.join("\n");
        for word in words {
            assert!(text.contains(word), "`{word}` is not in {text}");
        }
        assert!(took < SOON, "it took {took:?}");
    }

    /// The API server learns of labels and webhooks a moment after they are written, and lets pods in until then.
    async fn until_pods_are_denied(&self) {
        let pods = Api::<Pod>::namespaced(self.servers.client().await, self.namespace.name.as_str());
        let pod = json!({"metadata": {"name": "probe"}, "spec": {"containers": [{"name": "probe", "image": "probe"}]}});
        let pod: Pod = serde_json::from_value(pod).unwrap();
        let dry = PostParams { dry_run: true, ..PostParams::default() };
        let denied = async {
            while pods.create(&dry, &pod).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        tokio::time::timeout(SOON, denied).await.unwrap();
    }
}

fn on_a_cluster(test: impl AsyncFnOnce(Bench)) {
    let Some(servers) = servers() else { return };
    runtime().block_on(async { test(Bench::new(servers).await).await });
}

/// A Deployment of one pod, which without a probe counts once it has run for some seconds, with more in its container and in its pod.
fn deployment(container: &Value, pod: &Value) -> Value {
    let mut base = json!({"name": "web", "image": "web", "ports": [{"name": "http", "containerPort": 8080}],
        "env": [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}, {"name": "PORT", "value": "8080"}]});
    merge(&mut base, container);
    let mut spec = json!({"terminationGracePeriodSeconds": 1, "containers": [base]});
    merge(&mut spec, pod);
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"replicas": 1, "minReadySeconds": 3, "progressDeadlineSeconds": 300, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": spec}}})
}

fn merge(into: &mut Value, more: &Value) {
    for (key, value) in more.as_object().unwrap() {
        match into.get_mut(key).and_then(Value::as_array_mut) {
            Some(list) => list.extend(value.as_array().unwrap().iter().cloned()),
            None => into[key] = value.clone(),
        }
    }
}

fn plain() -> Value {
    deployment(&json!({}), &json!({}))
}

#[test]
fn an_image_that_is_not_there() {
    on_a_cluster(async |bench| {
        let there = image(&bench.servers, "serve v1").await;
        let missing = PinnedImage::new(there.repository, Digest::of("nothing"));
        let digest = missing.digest.to_string();
        bench.fails_with(&[plain()], missing, FailureCause::ImageMissing, &["container web", &digest]).await;
    });
}

#[test]
fn a_repository_that_is_not_there() {
    on_a_cluster(async |bench| {
        let missing = PinnedImage::new("test/nowhere".parse().unwrap(), Digest::of("nothing"));
        bench.fails_with(&[plain()], missing, FailureCause::ImageMissing, &["test/nowhere"]).await;
    });
}

#[test]
fn a_program_that_ends_again_and_again() {
    on_a_cluster(async |bench| {
        let words =
            ["Deployment ", "ReplicaSet ", "Pod ", "container web", "exit code 1", "log: cannot go on: no database"];
        bench.fails(&[plain()], "crash", FailureCause::CrashLoop, &words).await;
    });
}

#[test]
fn a_readiness_probe_that_fails() {
    on_a_cluster(async |bench| {
        let probe = json!({"readinessProbe": {"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 1}});
        let mut object = deployment(&probe, &json!({}));
        object["spec"]["progressDeadlineSeconds"] = json!(5);
        bench.fails(&[object], "silent", FailureCause::ReadinessProbe, &["Readiness probe failed"]).await;
    });
}

#[test]
fn a_liveness_probe_that_fails() {
    on_a_cluster(async |bench| {
        let probe = json!({"livenessProbe": {"tcpSocket": {"port": 9}, "periodSeconds": 1, "failureThreshold": 1}});
        let mut object = deployment(&probe, &json!({}));
        object["spec"]["minReadySeconds"] = json!(60);
        bench.fails(&[object], "serve v1", FailureCause::LivenessProbe, &["container web"]).await;
    });
}

#[test]
fn a_program_that_needs_more_memory_than_it_may_have() {
    on_a_cluster(async |bench| {
        let limits = json!({"resources": {"limits": {"memory": "24Mi"}}});
        bench.fails(&[deployment(&limits, &json!({}))], "eat", FailureCause::OutOfMemory, &["OOMKilled"]).await;
    });
}

#[test]
fn a_config_map_that_is_not_there() {
    on_a_cluster(async |bench| {
        let env = json!({"env": [{"name": "X", "valueFrom": {"configMapKeyRef": {"name": "nowhere", "key": "x"}}}]});
        bench.fails(&[deployment(&env, &json!({}))], "serve v1", FailureCause::ConfigMissing, &["nowhere"]).await;
    });
}

#[test]
fn a_key_that_a_secret_does_not_have() {
    on_a_cluster(async |bench| {
        let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "stringData": {"present": "hunter2hunter2"}});
        let env = json!({"env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "absent"}}}]});
        let objects = [secret, deployment(&env, &json!({}))];
        bench.fails(&objects, "serve v1", FailureCause::ConfigMissing, &["absent"]).await;
    });
}

#[test]
fn a_quota_that_is_used_up() {
    on_a_cluster(async |bench| {
        let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}});
        let quotas = Api::<ResourceQuota>::namespaced(bench.servers.client().await, bench.namespace.name.as_str());
        quotas.create(&PostParams::default(), &serde_json::from_value(quota).unwrap()).await.unwrap();
        bench.until_pods_are_denied().await;
        bench.fails(&[plain()], "serve v1", FailureCause::QuotaExceeded, &["exceeded quota", "pods=0"]).await;
    });
}

#[test]
fn a_pod_that_no_node_takes() {
    on_a_cluster(async |bench| {
        let object = deployment(&json!({}), &json!({"nodeSelector": {"nowhere": "at-all"}}));
        bench.fails(&[object], "serve v1", FailureCause::Unschedulable, &["node affinity/selector"]).await;
    });
}

#[test]
fn a_claim_that_nobody_serves() {
    on_a_cluster(async |bench| {
        let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "disk"},
            "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "", "resources": {"requests": {"storage": "1Gi"}}}});
        let volume = json!({"volumes": [{"name": "disk", "persistentVolumeClaim": {"claimName": "disk"}}]});
        let objects = [claim, deployment(&json!({}), &volume)];
        bench.fails(&objects, "serve v1", FailureCause::Unschedulable, &["PersistentVolumeClaim"]).await;
    });
}

#[test]
fn pods_that_the_namespace_does_not_allow() {
    on_a_cluster(async |bench| {
        let label = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}});
        let namespaces = Api::<Namespace>::all(bench.servers.client().await);
        namespaces.patch(bench.namespace.name.as_str(), &PatchParams::default(), &Patch::Merge(label)).await.unwrap();
        bench.until_pods_are_denied().await;
        bench.fails(&[plain()], "serve v1", FailureCause::AdmissionDenied, &["violates PodSecurity"]).await;
    });
}

#[test]
fn a_webhook_that_does_not_answer() {
    on_a_cluster(async |bench| {
        let name = bench.namespace.name.as_str();
        let hook = json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": name}, "webhooks": [{"name": "down.example.com", "admissionReviewVersions": ["v1"],
                "sideEffects": "None", "timeoutSeconds": 2, "failurePolicy": "Fail", "clientConfig": {"url": "https://127.0.0.1:1/x"},
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}},
                "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]}]});
        let hooks = Api::<ValidatingWebhookConfiguration>::all(bench.servers.client().await);
        hooks.create(&PostParams::default(), &serde_json::from_value(hook).unwrap()).await.unwrap();
        bench.until_pods_are_denied().await;
        bench.fails(&[plain()], "serve v1", FailureCause::AdmissionDenied, &["down.example.com"]).await;
        hooks.delete(name, &DeleteParams::default()).await.unwrap();
    });
}

fn job(more: &Value) -> Value {
    let mut spec = json!({"backoffLimit": 0, "template": {"spec": {"restartPolicy": "Never", "terminationGracePeriodSeconds": 1,
        "containers": [{"name": "task", "image": "web"}]}}});
    merge(&mut spec, more);
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "task"}, "spec": spec})
}

#[test]
fn a_job_that_fails() {
    on_a_cluster(async |bench| {
        let words = ["Job ", "container task", "exit code 1", "no database"];
        bench.fails(&[job(&json!({}))], "crash", FailureCause::JobFailed, &words).await;
    });
}

#[test]
fn a_job_that_takes_too_long() {
    on_a_cluster(async |bench| {
        let words = ["Job ", "DeadlineExceeded"];
        bench
            .fails(&[job(&json!({"activeDeadlineSeconds": 3}))], "silent", FailureCause::DeadlineExceeded, &words)
            .await;
    });
}

#[test]
fn an_api_server_that_restarts_in_the_middle_is_waited_for() {
    let Some(servers) = servers_alone() else { return };
    runtime().block_on(async {
        let bench = Bench::new(servers).await;
        let env = json!({"env": [{"name": "START_AFTER_MS", "value": "8000"}],
            "readinessProbe": {"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 1}});
        let restart = std::env::var("ECOLAURA_TEST_RESTART_APISERVER").unwrap();
        let restarted = tokio::task::spawn_blocking(move || {
            std::thread::sleep(Duration::from_secs(4));
            Command::new(restart).arg("1").output().unwrap()
        });
        let state = bench.roll_out(&[deployment(&env, &json!({}))], "serve v1").await;
        let restarted = restarted.await.unwrap();
        assert!(restarted.status.success(), "{}", String::from_utf8_lossy(&restarted.stderr));
        assert_eq!(state, RolloutState::Ready);
    });
}
