//! Kinds that others define, whose controller is the test.

#![expect(clippy::too_many_lines, reason = "tables")]

use serde_json::{Value, json};

use super::{READY, Wish, failed, progressing, wish};

pub(super) fn gateways() -> Vec<Wish> {
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

pub(super) fn custom() -> Vec<Wish> {
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
