//! What has no pods of its own: claims, services, budgets, definitions.

#![expect(clippy::too_many_lines, reason = "tables")]

use serde_json::{Value, json};

use super::{Images, READY, Wish, failed, merged, nothing, progressing, wish};

pub(super) fn objects(images: &Images) -> Vec<Wish> {
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

pub(super) fn of_the_cluster() -> Vec<Wish> {
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
