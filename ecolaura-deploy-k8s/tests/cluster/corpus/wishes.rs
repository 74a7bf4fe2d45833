//! The objects, the states that they are brought into, and what is to be judged of them.

#![expect(clippy::too_many_lines, reason = "tables")]

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
        deployments(images),
        troubles(images),
        refusals(images),
        stateful_sets(images),
        others_with_pods(images),
        pods(images),
        jobs(images),
        objects(images),
        of_the_cluster(),
        gateways(),
        custom(),
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

fn deployments(images: &Images) -> Vec<Wish> {
    let of = |container, spec| images.deployment(container, spec);
    let spec = "waiting for the spec update to be observed";
    let gated = json!({"progressDeadlineSeconds": 2, "template": {"spec": {"schedulingGates": [{"name": "example.com/gate"}]}}});
    vec![
        wish(
            "deployment-created",
            "a Deployment as the server answers when it is made",
            of(nothing(), nothing()),
            progressing(&[spec]),
            progressing(&[]),
        )
        .at_once(),
        wish("deployment-ready", "a Deployment", of(nothing(), nothing()), READY, READY),
        wish(
            "deployment-not-ready",
            "a Deployment whose pod does not answer its readiness probe",
            of(silent(), nothing()),
            progressing(&["0 of 1 updated replicas are available", "Readiness probe failed"]),
            progressing(&["availableReplicas: 0 of 1"]),
        ),
        wish(
            "deployment-not-ready-past-its-deadline",
            "the same past its deadline",
            of(silent(), json!({"progressDeadlineSeconds": 5})),
            failed("readiness probe fails", &["has timed out progressing", "Readiness probe failed"]),
            failed("deadline exceeded", &["has timed out progressing"]),
        ),
        wish(
            "deployment-past-its-deadline",
            "a Deployment whose pod nobody schedules, past its deadline",
            of(nothing(), gated),
            failed("deadline exceeded", &["has timed out progressing"]),
            failed("deadline exceeded", &["has timed out progressing"]),
        ),
        wish(
            "deployment-paused",
            "a Deployment that is paused from the start",
            of(nothing(), json!({"paused": true})),
            failed("paused", &["resume it"]),
            progressing(&[]),
        ),
        wish(
            "deployment-paused-in-the-middle",
            "a Deployment that was changed while it was paused",
            of(nothing(), nothing()),
            failed("paused", &["resume it"]),
            progressing(&["updatedReplicas: 0 of 1"]),
        )
        .then(json!({"spec": {"paused": true, "template": {"metadata": {"annotations": {"release": "2"}}}}})),
        wish(
            "deployment-of-no-replicas",
            "a Deployment of no replicas",
            of(nothing(), json!({"replicas": 0})),
            READY,
            READY,
        ),
        wish("deployment-updated", "a Deployment after its second release", of(nothing(), nothing()), READY, READY)
            .then(json!({"spec": {"template": {"metadata": {"annotations": {"release": "2"}}}}}))
            .once(|object| object["metadata"]["annotations"]["deployment.kubernetes.io/revision"] == "2"),
        wish(
            "deployment-updating",
            "a Deployment whose second release does not become ready: the first one stays",
            of(nothing(), nothing()),
            progressing(&["pending termination"]),
            progressing(&["pending termination: 1"]),
        )
        .then(json!({"spec": {"template": {"spec": images.pod(silent())}}})),
    ]
}

fn troubles(images: &Images) -> Vec<Wish> {
    let of = |container| images.deployment(container, nothing());
    let chain = ["Deployment shop/web", "ReplicaSet shop/web-1", "Pod shop/web-pod-1", "container web"];
    let with = |more: &[&'static str]| [&chain, more].concat();
    let missing =
        images.there.rsplit_once('@').map(|(repository, _)| format!("{repository}@sha256:{}", "0".repeat(64))).unwrap();
    let repository = missing.rsplit_once('/').map(|(front, _)| format!("{front}/nowhere:v1")).unwrap();
    let env = |from: Value| json!({"env": [{"name": "X", "valueFrom": from}]});
    let liveness = json!({"livenessProbe": {"tcpSocket": {"port": 9}, "periodSeconds": 1, "failureThreshold": 1}});
    let first = json!({"template": {"spec": {"initContainers": [merged(runs(&["crash"]), json!({"name": "first", "image": images.there}))]}}});
    let nowhere = json!({"template": {"spec": {"nodeSelector": {"nowhere": "at-all"}}}});
    vec![
        wish("deployment-image-not-found", "a digest that the registry does not have", of(json!({"image": missing})),
            failed("image missing", &with(&["not found"])), progressing(&[])),
        wish("deployment-repository-not-found", "a repository that the registry does not have", of(json!({"image": repository})),
            failed("image missing", &with(&["not found"])), progressing(&[])),
        wish("deployment-registry-away", "a registry that does not answer", of(json!({"image": "127.0.0.1:1/web:v1"})),
            progressing(&["connection refused"]), progressing(&[])),
        wish("deployment-image-name-invalid", "a name that no image can have", of(json!({"image": "Web:UPPER"})),
            failed("image missing", &with(&["InvalidImageName"])), progressing(&[])),
        wish("deployment-image-never-pulled", "an image that is not on the node and may not be pulled",
            of(json!({"image": "example.com/web:v1", "imagePullPolicy": "Never"})), failed("image missing", &with(&["ErrImageNeverPull"])), progressing(&[])),
        wish("deployment-secret-missing", "a Secret that is not there", of(env(json!({"secretKeyRef": {"name": "keys", "key": "x"}}))),
            failed("configuration missing", &with(&["secret \"keys\" not found"])), progressing(&[])),
        wish("deployment-key-missing", "a ConfigMap without the key", of(env(json!({"configMapKeyRef": {"name": "settings", "key": "absent"}}))),
            failed("configuration missing", &with(&["couldn't find key absent in ConfigMap shop/settings"])), progressing(&[]))
            .after([json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"present": "1"}})]),
        wish("deployment-program-missing", "a program that its image does not have", of(json!({"command": ["/nowhere"]})),
            failed("cannot start", &with(&["no such file or directory"])), progressing(&[])),
        wish("deployment-crash-loop", "a program that ends again and again", of(runs(&["crash"])),
            failed("crash loop", &with(&["exit code 1 (Error)"])), progressing(&[])),
        wish("deployment-crash-loop-of-its-first-container", "an init container that ends again and again",
            images.deployment(nothing(), first), failed("crash loop", &["container first", "exit code 1 (Error)"]), progressing(&[])),
        wish("deployment-out-of-memory", "a program that needs more memory than it may have",
            of(merged(runs(&["eat"]), json!({"resources": {"limits": {"memory": "24Mi"}}}))), failed("out of memory", &with(&["OOMKilled"])), progressing(&[])),
        wish("deployment-liveness-probe", "a liveness probe that fails", images.deployment(liveness, json!({"minReadySeconds": 60})),
            failed("liveness probe fails", &with(&["restarted"])), progressing(&[])),
        wish("deployment-unschedulable", "pods that no node takes", images.deployment(nothing(), nowhere),
            failed("unschedulable", &["Pod shop/web-pod-1", "node affinity/selector"]), progressing(&[])),
    ]
}

fn refusals(images: &Images) -> Vec<Wish> {
    let of = |spec: Value| images.deployment(nothing(), json!({"template": {"spec": spec}}));
    let limits = json!({"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "small"},
        "spec": {"limits": [{"type": "Container", "max": {"memory": "8Mi"}}]}});
    let memory = json!({"resources": {"limits": {"memory": "64Mi"}}});
    vec![
        wish(
            "deployment-quota",
            "a quota that is used up",
            of(nothing()),
            failed("quota exceeded", &["ReplicaSet shop/web-1", "exceeded quota: none"]),
            progressing(&[]),
        )
        .after([quota()]),
        wish(
            "deployment-limits",
            "a limit that is less than what it asks for",
            images.deployment(memory, nothing()),
            failed("admission denied", &["maximum memory usage per Container is 8Mi"]),
            progressing(&[]),
        )
        .after([limits]),
        wish(
            "deployment-service-account-missing",
            "a service account that is not there",
            of(json!({"serviceAccountName": "nobody"})),
            failed("configuration missing", &["serviceaccount \"nobody\" not found"]),
            progressing(&[]),
        ),
        wish(
            "deployment-priority-class-missing",
            "a priority class that is not there",
            of(json!({"priorityClassName": "none"})),
            failed("admission denied", &["no PriorityClass with name none was found"]),
            progressing(&[]),
        ),
    ]
}

fn stateful_sets(images: &Images) -> Vec<Wish> {
    let of = |container, spec| images.stateful_set(container, spec);
    let changed = |strategy: Value| json!({"spec": {"updateStrategy": strategy, "template": {"metadata": {"annotations": {"release": "2"}}}}});
    let revisions_differ = |object: &Value| {
        object["status"]["updateRevision"] != object["status"]["currentRevision"]
            && object["status"]["observedGeneration"] == object["metadata"]["generation"]
    };
    vec![
        wish("stateful-set-ready", "a StatefulSet", of(nothing(), nothing()), READY, READY),
        wish(
            "stateful-set-not-ready",
            "a StatefulSet whose pod does not answer its readiness probe",
            of(silent(), nothing()),
            progressing(&["0 of 1 replicas are ready", "Readiness probe failed"]),
            progressing(&["readyReplicas: 0 of 1"]),
        ),
        wish(
            "stateful-set-partition",
            "a StatefulSet whose partition keeps its pods at the first release",
            of(nothing(), nothing()),
            READY,
            READY,
        )
        .then(changed(json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 1}})))
        .once(revisions_differ),
        wish(
            "stateful-set-by-hand",
            "a StatefulSet whose pods somebody deletes by hand",
            of(nothing(), nothing()),
            READY,
            READY,
        )
        .then(changed(json!({"type": "OnDelete", "rollingUpdate": null})))
        .once(revisions_differ),
        wish(
            "stateful-set-quota",
            "a StatefulSet and a quota that is used up",
            of(nothing(), nothing()),
            failed("quota exceeded", &["StatefulSet shop/web", "exceeded quota: none"]),
            progressing(&[]),
        )
        .after([quota()]),
        wish(
            "stateful-set-crash-loop",
            "a StatefulSet whose program ends again and again",
            of(runs(&["crash"]), nothing()),
            failed("crash loop", &["StatefulSet shop/web", "exit code 1 (Error)"]),
            progressing(&[]),
        ),
        wish(
            "stateful-set-crash-loop-after-an-update",
            "a StatefulSet whose second release ends again and again",
            of(nothing(), nothing()),
            failed("crash loop", &["StatefulSet shop/web", "exit code 1 (Error)"]),
            progressing(&[]),
        )
        .then(json!({"spec": {"template": {"spec": images.pod(runs(&["crash"]))}}}))
        .once(revisions_differ),
    ]
}

fn others_with_pods(images: &Images) -> Vec<Wish> {
    let never = || json!({"image": "example.com/web:v1", "imagePullPolicy": "Never"});
    vec![
        wish("daemon-set-ready", "a DaemonSet", images.workload("DaemonSet", nothing(), nothing()), READY, READY)
            .once(|object| object["status"]["desiredNumberScheduled"] == 1),
        wish(
            "daemon-set-image-missing",
            "a DaemonSet whose image is not there",
            images.workload("DaemonSet", never(), nothing()),
            failed("image missing", &["DaemonSet shop/web", "ErrImageNeverPull"]),
            progressing(&["numberAvailable: 0 of 1"]),
        ),
        wish(
            "daemon-set-without-nodes",
            "a DaemonSet that no node is meant for",
            images.workload(
                "DaemonSet",
                nothing(),
                json!({"template": {"spec": {"nodeSelector": {"nowhere": "at-all"}}}}),
            ),
            READY,
            READY,
        ),
        wish(
            "replica-set-ready",
            "a ReplicaSet",
            images.workload("ReplicaSet", nothing(), json!({"replicas": 1})),
            READY,
            READY,
        ),
        wish(
            "replica-set-quota",
            "a ReplicaSet and a quota that is used up",
            images.workload("ReplicaSet", nothing(), json!({"replicas": 1})),
            failed("quota exceeded", &["ReplicaSet shop/web", "exceeded quota: none"]),
            progressing(&["FailedCreate", "exceeded quota: none"]),
        )
        .after([quota()]),
    ]
}

fn pods(images: &Images) -> Vec<Wish> {
    let once = || json!({"restartPolicy": "Never"});
    let of = |container, spec| images.alone(container, spec);
    vec![
        wish(
            "pod-created",
            "a pod as the server answers when it is made",
            of(nothing(), nothing()),
            progressing(&[]),
            progressing(&["pending"]),
        )
        .at_once(),
        wish("pod-ready", "a pod", of(nothing(), nothing()), READY, READY),
        wish(
            "pod-running-to-its-end",
            "a pod that runs once, and runs",
            of(nothing(), once()),
            progressing(&["the pod is running"]),
            READY,
        ),
        wish("pod-completed", "a pod that ran to its end", of(runs(&["count", "1", "0"]), once()), READY, READY)
            .once(|object| object["status"]["phase"] == "Succeeded"),
        wish(
            "pod-failed",
            "a pod whose program failed",
            of(runs(&["crash"]), once()),
            failed("crash loop", &["exit code 1 (Error)"]),
            READY,
        ),
        wish(
            "pod-out-of-memory",
            "a pod whose program had too little memory",
            of(merged(runs(&["eat"]), json!({"resources": {"limits": {"memory": "24Mi"}}})), once()),
            failed("out of memory", &["OOMKilled"]),
            READY,
        ),
        wish(
            "pod-past-its-deadline",
            "a pod that ran for longer than it may",
            of(runs(&["silent"]), json!({"activeDeadlineSeconds": 1})),
            failed("crash loop", &["DeadlineExceeded"]),
            READY,
        ),
        wish(
            "pod-crash-loop",
            "a pod whose program ends again and again",
            of(runs(&["crash"]), nothing()),
            failed("crash loop", &["container web", "exit code 1 (Error)"]),
            failed("crash loop", &["CrashLoopBackOff"]),
        ),
        wish(
            "pod-image-missing",
            "a pod whose image is not there",
            of(json!({"image": "example.com/web:v1", "imagePullPolicy": "Never"}), nothing()),
            failed("image missing", &["ErrImageNeverPull"]),
            progressing(&["pending"]),
        ),
        wish(
            "pod-configuration-missing",
            "a pod whose Secret is not there",
            of(json!({"env": [{"name": "X", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "x"}}}]}), nothing()),
            failed("configuration missing", &["secret \"keys\" not found"]),
            progressing(&["pending"]),
        ),
        wish(
            "pod-unschedulable",
            "a pod that no node takes",
            of(nothing(), json!({"nodeSelector": {"nowhere": "at-all"}})),
            failed("unschedulable", &["node affinity/selector"]),
            failed("unschedulable", &["node affinity/selector"]),
        ),
        wish(
            "pod-not-scheduled",
            "a pod with a scheduling gate",
            of(nothing(), json!({"schedulingGates": [{"name": "example.com/gate"}]})),
            progressing(&["not ready"]),
            progressing(&["pending"]),
        )
        .once(|object| object["status"]["conditions"][0]["reason"] == "SchedulingGated"),
        wish(
            "pod-not-ready",
            "a pod that does not answer its readiness probe",
            of(silent(), nothing()),
            progressing(&["Readiness probe failed"]),
            progressing(&["not ready"]),
        ),
    ]
}

fn jobs(images: &Images) -> Vec<Wish> {
    let of = |container, spec| images.job(container, spec);
    let running = |object: &Value| object["status"]["ready"] == 1;
    let limit = &["BackoffLimitExceeded", "Job has reached the specified backoff limit"];
    vec![
        wish(
            "job-created",
            "a Job as the server answers when it is made",
            of(nothing(), nothing()),
            progressing(&["waiting for it to be started"]),
            progressing(&[]),
        )
        .at_once(),
        wish(
            "job-running",
            "a Job that runs",
            of(runs(&["silent"]), nothing()),
            progressing(&["1 pod is running"]),
            READY,
        )
        .once(running),
        wish("job-complete", "a Job that ran to its end", of(runs(&["count", "1", "0"]), nothing()), READY, READY)
            .once(|object| object["status"]["succeeded"] == 1),
        wish(
            "job-failed",
            "a Job that failed",
            of(runs(&["crash"]), nothing()),
            failed("job failed", &[limit.as_slice(), &["container web ended with exit code 1 (Error)"]].concat()),
            failed("job failed", limit),
        ),
        wish(
            "job-suspended",
            "a Job that is suspended",
            of(nothing(), json!({"suspend": true})),
            failed("paused", &["resume it"]),
            READY,
        ),
        wish(
            "job-past-its-deadline",
            "a Job that ran for longer than it may",
            of(runs(&["silent"]), json!({"activeDeadlineSeconds": 2})),
            failed("deadline exceeded", &["DeadlineExceeded"]),
            failed("job failed", &["DeadlineExceeded"]),
        ),
        wish(
            "job-image-missing",
            "a Job whose image is not there",
            of(json!({"image": "example.com/web:v1", "imagePullPolicy": "Never"}), nothing()),
            failed("image missing", &["Job shop/web", "Pod shop/web-pod-1", "ErrImageNeverPull"]),
            READY,
        ),
        wish(
            "job-retrying",
            "a Job whose pod failed, and which tries again",
            of(runs(&["crash"]), json!({"backoffLimit": 5})),
            progressing(&["failed before"]),
            READY,
        ),
        wish(
            "cron-job",
            "a CronJob",
            json!({"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "web"},
            "spec": {"schedule": "0 3 1 1 *", "jobTemplate": {"spec": of(nothing(), nothing())["spec"]}}}),
            READY,
            READY,
        ),
    ]
}

fn objects(images: &Images) -> Vec<Wish> {
    let claim = |class: &str| {
        json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "web"},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": class, "resources": {"requests": {"storage": "1Gi"}}}})
    };
    let class = json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "NAMESPACE"},
        "provisioner": "example.com/none", "volumeBindingMode": "WaitForFirstConsumer"});
    let volume = json!({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": "NAMESPACE"},
        "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": "NAMESPACE-bound",
            "persistentVolumeReclaimPolicy": "Retain", "hostPath": {"path": "/nowhere"}}});
    let service = |spec: Value| {
        json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"},
        "spec": merged(json!({"selector": {"app": "web"}, "ports": [{"port": 80}]}), spec)})
    };
    let ingress = json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "web"},
        "spec": {"defaultBackend": {"service": {"name": "web", "port": {"number": 80}}}}});
    let scaler = || {
        json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "web"},
        "spec": {"maxReplicas": 2, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 90}}}]}})
    };
    vec![
        wish(
            "claim-without-a-volume",
            "a claim without a class, and no volume",
            claim(""),
            progressing(&["no persistent volumes available"]),
            progressing(&["Pending"]),
        ),
        wish(
            "claim-without-its-class",
            "a claim of a class that is not there",
            claim("none"),
            progressing(&["\"none\" not found"]),
            progressing(&["Pending"]),
        ),
        wish(
            "claim-waiting-for-its-first-pod",
            "a claim of a class that waits for the first pod",
            claim("NAMESPACE"),
            READY,
            progressing(&["Pending"]),
        )
        .after([class]),
        wish("claim-bound", "a claim and a volume for it", claim("NAMESPACE-bound"), READY, READY).after([volume]),
        wish(
            "disruption-budget",
            "a disruption budget without pods",
            json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "web"},
            "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}}),
            READY,
            READY,
        )
        .once(|object| object["status"]["observedGeneration"] == 1),
        wish("service", "a Service", service(nothing()), READY, READY),
        wish(
            "load-balancer-pending",
            "a load balancer that nobody makes",
            service(json!({"type": "LoadBalancer"})),
            progressing(&["waiting for the address"]),
            READY,
        ),
        wish(
            "ingress-pending",
            "an Ingress that nobody serves",
            ingress,
            progressing(&["waiting for the address"]),
            READY,
        ),
        wish(
            "autoscaler-without-its-target",
            "an autoscaler of a Deployment that is not there",
            scaler(),
            progressing(&["FailedGetScale"]),
            READY,
        ),
        wish("autoscaler-without-figures", "an autoscaler of pods that ask for no CPU", scaler(), READY, READY)
            .after([images.deployment(nothing(), nothing())])
            .once(|object| has(object, "ScalingActive", "False")),
        wish("autoscaler-active", "an autoscaler with figures", scaler(), READY, READY)
            .after([images.deployment(json!({"resources": {"requests": {"cpu": "10m"}}}), nothing())])
            .once(|object| has(object, "ScalingActive", "True")),
    ]
}

fn has(object: &Value, kind: &str, status: &str) -> bool {
    let conditions = object["status"]["conditions"].as_array().into_iter().flatten();
    conditions.into_iter().any(|condition| condition["type"] == kind && condition["status"] == status)
}

fn definition(plural: &str) -> Value {
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.NAMESPACE.example.com")},
        "spec": {"group": "NAMESPACE.example.com", "scope": "Namespaced", "names": {"kind": "Widget", "plural": plural, "singular": "widget"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}]}})
}

fn of_the_cluster() -> Vec<Wish> {
    const DEFINITIONS: (&str, &str) = ("apiextensions.k8s.io/v1", "CustomResourceDefinition");
    let definition_of = |name, about, objects: Vec<Value>, subject, strict, kstatus| Wish {
        objects,
        ..wish(name, about, json!({"apiVersion": "v1", "kind": "Pod"}), strict, kstatus).of(
            DEFINITIONS.0,
            DEFINITIONS.1,
            subject,
        )
    };
    let taken = || failed("admission denied", &["KindConflict"]);
    let api = json!({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": {"name": "v1.NAMESPACE.example.com"},
        "spec": {"group": "NAMESPACE.example.com", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1,
            "insecureSkipTLSVerify": true, "service": {"name": "nowhere", "namespace": "NAMESPACE"}}});
    let namespace = || json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "NAMESPACE-other"}});
    let going =
        merged(namespace(), json!({"metadata": {"finalizers": ["example.com/held"], "name": "NAMESPACE-going"}}));
    vec![
        definition_of(
            "definition-established",
            "a definition",
            vec![definition("widgets")],
            "widgets.NAMESPACE.example.com",
            READY,
            READY,
        ),
        definition_of(
            "definition-with-a-kind-that-is-taken",
            "two definitions of one kind",
            vec![definition("widgets"), definition("gadgets")],
            "gadgets.NAMESPACE.example.com",
            taken(),
            taken(),
        ),
        wish(
            "api-service-unavailable",
            "an aggregated API whose Service is not there",
            api,
            progressing(&["ServiceNotFound"]),
            READY,
        )
        .once(|object| has(object, "Available", "False")),
        Wish {
            objects: Vec::new(),
            ..wish("api-service-available", "an API of the server itself", namespace(), READY, READY).of(
                "apiregistration.k8s.io/v1",
                "APIService",
                "v1.apps",
            )
        },
        wish("namespace-active", "a namespace", namespace(), READY, READY),
        wish(
            "namespace-terminating",
            "a namespace that is going",
            going,
            failed("superseded", &["it is being deleted"]),
            progressing(&["it is being deleted"]),
        )
        .of("v1", "Namespace", "NAMESPACE-going")
        .finalized(),
    ]
}

fn gateways() -> Vec<Wish> {
    const GROUP: &str = "gateway.networking.k8s.io/v1";
    let condition = |kind: &str, status: &str, reason: &str| {
        json!({"type": kind, "status": status, "reason": reason, "message": "as the test says",
        "observedGeneration": 1, "lastTransitionTime": "2026-01-01T00:00:00Z"})
    };
    let gateway = || {
        json!({"apiVersion": GROUP, "kind": "Gateway", "metadata": {"name": "web"},
        "spec": {"gatewayClassName": "test", "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]}})
    };
    let route = || {
        json!({"apiVersion": GROUP, "kind": "HTTPRoute", "metadata": {"name": "web"},
        "spec": {"parentRefs": [{"name": "edge"}], "rules": [{"backendRefs": [{"name": "web", "port": 80}]}]}})
    };
    let parent = |conditions: [Value; 2]| json!({"parents": [{"parentRef": {"name": "edge"}, "controllerName": "example.com/test", "conditions": conditions}]});
    let accepted = || condition("Accepted", "True", "Accepted");
    vec![
        wish(
            "gateway-new",
            "a Gateway without a controller",
            gateway(),
            progressing(&["waiting to be accepted"]),
            READY,
        ),
        wish("gateway-programmed", "a Gateway whose controller is the test", gateway(), READY, READY)
            .saying(json!({"conditions": [accepted(), condition("Programmed", "True", "Programmed")]})),
        wish(
            "gateway-not-programmed",
            "a Gateway whose controller is the test",
            gateway(),
            progressing(&["AddressNotAssigned"]),
            READY,
        )
        .saying(json!({"conditions": [accepted(), condition("Programmed", "False", "AddressNotAssigned")]})),
        wish(
            "route-new",
            "an HTTPRoute without a controller",
            route(),
            progressing(&["0 of 1 gateways have taken it"]),
            READY,
        ),
        wish("route-accepted", "an HTTPRoute whose controller is the test", route(), READY, READY)
            .saying(parent([accepted(), condition("ResolvedRefs", "True", "ResolvedRefs")])),
        wish(
            "route-not-accepted",
            "an HTTPRoute whose controller is the test",
            route(),
            failed("admission denied", &["edge: NotAllowedByListeners"]),
            READY,
        )
        .saying(parent([
            condition("Accepted", "False", "NotAllowedByListeners"),
            condition("ResolvedRefs", "True", "ResolvedRefs"),
        ])),
        wish(
            "route-without-its-backend",
            "an HTTPRoute whose controller is the test",
            route(),
            progressing(&["edge: BackendNotFound"]),
            READY,
        )
        .saying(parent([accepted(), condition("ResolvedRefs", "False", "BackendNotFound")])),
    ]
}

fn custom() -> Vec<Wish> {
    let thing = || json!({"apiVersion": "tests.example.com/v1", "kind": "Thing", "metadata": {"name": "web"}, "spec": {"size": 3}});
    let condition = |kind: &str, status: &str| json!({"type": kind, "status": status, "reason": "Because", "message": "the test says so"});
    let says = |name, about, status: Value, strict, kstatus| wish(name, about, thing(), strict, kstatus).saying(status);
    let said = &["Because: the test says so"];
    vec![
        wish("custom-without-a-status", "an object of a kind that is not known", thing(), READY, READY),
        says(
            "custom-ready",
            "the same with a condition",
            json!({"observedGeneration": 1, "conditions": [condition("Ready", "True")]}),
            READY,
            READY,
        ),
        says(
            "custom-not-ready",
            "the same with a condition",
            json!({"conditions": [condition("Ready", "False")]}),
            progressing(said),
            progressing(said),
        ),
        says(
            "custom-reconciling",
            "the same with a condition",
            json!({"conditions": [condition("Reconciling", "True")]}),
            progressing(said),
            progressing(said),
        ),
        says(
            "custom-stalled",
            "the same with a condition",
            json!({"conditions": [condition("Stalled", "True")]}),
            failed("not reconciled", said),
            failed("not reconciled", said),
        ),
        says(
            "custom-not-observed",
            "the same, and its controller has seen an older one",
            json!({"observedGeneration": 0, "conditions": [condition("Ready", "True")]}),
            progressing(&["waiting for the spec update"]),
            progressing(&["waiting for the spec update"]),
        ),
    ]
}
