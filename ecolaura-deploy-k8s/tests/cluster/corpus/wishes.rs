//! The objects, the states that they are brought into, and what is to be judged of them.

mod custom;
mod objects;
mod pods;
mod workloads;

use serde_json::{Value, json};

use super::case::Expected;

/// Of the cluster that `.ci/with-servers` starts.
pub(super) const VERSION: &str = "1.34";

pub(super) struct Images {
    /// One that can be pulled.
    pub(super) there: String,
}

/// An object, and a state of it.
pub(super) struct Wish {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    /// In the order in which they are made.
    pub(super) objects: Vec<Value>,
    /// Which of them is judged: version, kind, name.
    pub(super) subject: (&'static str, &'static str, &'static str),
    /// How it is changed once it is ready.
    pub(super) then: Option<Value>,
    /// What its controller says, where the test is its controller.
    pub(super) status: Option<Value>,
    /// It is judged as the server answered when it was made.
    pub(super) at_once: bool,
    /// Something keeps it from being deleted.
    pub(super) finalized: bool,
    /// What else has to be so before it is judged.
    pub(super) also: fn(&Value) -> bool,
    pub(super) strict: Expected,
    pub(super) kstatus: Expected,
}

const READY: Expected = Expected::Ready;

fn progressing(says: &[&str]) -> Expected {
    Expected::Progressing { says: says.iter().map(ToString::to_string).collect(), until: None }
}

fn failed(cause: &str, says: &[&str]) -> Expected {
    Expected::Failed { cause: cause.to_owned(), says: says.iter().map(ToString::to_string).collect() }
}

/// An object alone, called `web`.
fn wish(name: &'static str, about: &'static str, object: Value, strict: Expected, kstatus: Expected) -> Wish {
    let subject = match (object["apiVersion"].as_str().unwrap(), object["kind"].as_str().unwrap()) {
        ("apps/v1", "Deployment") => ("apps/v1", "Deployment", "web"),
        ("apps/v1", "StatefulSet") => ("apps/v1", "StatefulSet", "web"),
        ("apps/v1", "DaemonSet") => ("apps/v1", "DaemonSet", "web"),
        ("apps/v1", "ReplicaSet") => ("apps/v1", "ReplicaSet", "web"),
        ("v1", "Pod") => ("v1", "Pod", "web"),
        ("batch/v1", "Job") => ("batch/v1", "Job", "web"),
        ("batch/v1", "CronJob") => ("batch/v1", "CronJob", "web"),
        ("v1", "PersistentVolumeClaim") => ("v1", "PersistentVolumeClaim", "web"),
        ("v1", "Service") => ("v1", "Service", "web"),
        ("policy/v1", _) => ("policy/v1", "PodDisruptionBudget", "web"),
        ("networking.k8s.io/v1", _) => ("networking.k8s.io/v1", "Ingress", "web"),
        ("autoscaling/v2", _) => ("autoscaling/v2", "HorizontalPodAutoscaler", "web"),
        ("gateway.networking.k8s.io/v1", "Gateway") => ("gateway.networking.k8s.io/v1", "Gateway", "web"),
        ("gateway.networking.k8s.io/v1", _) => ("gateway.networking.k8s.io/v1", "HTTPRoute", "web"),
        ("tests.example.com/v1", _) => ("tests.example.com/v1", "Thing", "web"),
        ("v1", "Namespace") => ("v1", "Namespace", "NAMESPACE-other"),
        ("apiregistration.k8s.io/v1", _) => ("apiregistration.k8s.io/v1", "APIService", "v1.NAMESPACE.example.com"),
        other => panic!("no subject for {other:?}"),
    };
    let (then, status, also): (_, _, fn(&Value) -> bool) = (None, None, |_| true);
    Wish {
        name,
        about,
        objects: vec![object],
        subject,
        then,
        status,
        at_once: false,
        finalized: false,
        also,
        strict,
        kstatus,
    }
}

impl Wish {
    fn after(mut self, objects: impl IntoIterator<Item = Value>) -> Self {
        self.objects.splice(0..0, objects);
        self
    }

    fn then(self, patch: Value) -> Self {
        Self { then: Some(patch), ..self }
    }

    fn saying(self, status: Value) -> Self {
        Self { status: Some(status), ..self }
    }

    fn at_once(self) -> Self {
        Self { at_once: true, ..self }
    }

    fn once(self, also: fn(&Value) -> bool) -> Self {
        Self { also, ..self }
    }

    fn finalized(self) -> Self {
        Self { finalized: true, ..self }
    }

    fn of(self, version: &'static str, kind: &'static str, name: &'static str) -> Self {
        Self { subject: (version, kind, name), ..self }
    }
}

/// Whether a workload runs as wished, before it is changed.
pub(super) fn is_ready(object: &Value) -> bool {
    let (wanted, ready) = (&object["spec"]["replicas"], &object["status"]["readyReplicas"]);
    wanted.is_u64() && wanted == ready && object["status"]["observedGeneration"] == object["metadata"]["generation"]
}

fn merged(mut base: Value, more: Value) -> Value {
    merge(&mut base, more);
    base
}

fn merge(base: &mut Value, more: Value) {
    match (base, more) {
        (Value::Object(base), Value::Object(more)) => {
            more.into_iter().for_each(|(key, value)| merge(base.entry(key).or_insert(Value::Null), value));
        }
        (base, more) => *base = more,
    }
}

impl Images {
    /// What pods are made of, with more in its container.
    fn pod(&self, container: Value) -> Value {
        let base = json!({"name": "web", "image": self.there, "ports": [{"name": "http", "containerPort": 8080}],
            "env": [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}, {"name": "PORT", "value": "8080"}]});
        json!({"terminationGracePeriodSeconds": 0, "containers": [merged(base, container)]})
    }

    fn workload(&self, kind: &str, container: Value, spec: Value) -> Value {
        let base = json!({"selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": self.pod(container)}});
        json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "web"}, "spec": merged(base, spec)})
    }

    fn deployment(&self, container: Value, spec: Value) -> Value {
        self.workload("Deployment", container, merged(json!({"replicas": 1}), spec))
    }

    fn stateful_set(&self, container: Value, spec: Value) -> Value {
        self.workload("StatefulSet", container, merged(json!({"replicas": 1, "serviceName": "web"}), spec))
    }

    fn alone(&self, container: Value, spec: Value) -> Value {
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": merged(self.pod(container), spec)})
    }

    fn job(&self, container: Value, spec: Value) -> Value {
        let pod = merged(self.pod(container), json!({"restartPolicy": "Never"}));
        json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "web"},
            "spec": merged(json!({"backoffLimit": 0, "template": {"spec": pod}}), spec)})
    }
}

fn runs(words: &[&str]) -> Value {
    let words = [["/app/server"].as_slice(), words].concat();
    json!({"command": words})
}

fn quota() -> Value {
    json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": {"pods": "0"}}})
}

pub(super) fn all(images: &Images) -> Vec<Wish> {
    [
        workloads::deployments(images),
        workloads::troubles(images),
        workloads::refusals(images),
        workloads::stateful_sets(images),
        workloads::others_with_pods(images),
        pods::pods(images),
        pods::jobs(images),
        objects::objects(images),
        objects::of_the_cluster(),
        custom::gateways(),
        custom::custom(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn silent() -> Value {
    let probe = json!({"readinessProbe": {"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 1}});
    merged(runs(&["silent"]), probe)
}

fn nothing() -> Value {
    json!({})
}
