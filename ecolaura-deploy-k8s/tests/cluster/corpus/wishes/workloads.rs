//! What makes pods and keeps them: `Deployment`, `StatefulSet`, `DaemonSet`, `ReplicaSet`.

#![expect(clippy::too_many_lines, reason = "tables")]

use serde_json::{Value, json};

use super::{Images, READY, Wish, failed, merged, nothing, progressing, quota, runs, silent, wish};

pub(super) fn deployments(images: &Images) -> Vec<Wish> {
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

pub(super) fn troubles(images: &Images) -> Vec<Wish> {
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

pub(super) fn refusals(images: &Images) -> Vec<Wish> {
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

pub(super) fn stateful_sets(images: &Images) -> Vec<Wish> {
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

pub(super) fn others_with_pods(images: &Images) -> Vec<Wish> {
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
