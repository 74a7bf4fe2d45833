//! A whole cluster's answers, made up; the text that a person gets of them.

use ecolaura_deploy_core::{Secret, clock::FixedClock};
use serde_json::{Value, json};
use std::sync::Arc;

use super::*;
use crate::fake_server::{Answer, Asked, FakeServer};

const NOW: &str = "2026-01-01T00:10:00Z";

fn cx() -> Context {
    let clock = Arc::new(FixedClock::new(NOW.parse().unwrap()));
    Context::new("dev".parse().unwrap()).with_clock(clock)
}

fn owned(kind: &str, name: &str) -> Value {
    json!([{"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": name, "controller": true}])
}

fn pod(name: &str, status: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": "shop", "uid": name, "labels": {"app": "web"},
            "creationTimestamp": "2026-01-01T00:07:00Z", "ownerReferences": owned("ReplicaSet", "web-2"),
        },
        "spec": {"nodeName": "node-1", "containers": [{"name": "web", "image": "shop/web@sha256:1", "resources": {
            "requests": {"cpu": "100m"}, "limits": {"memory": "64Mi"},
        }}]},
        "status": status,
    })
}

fn running(ready: bool, restarts: i32, state: &Value, last: &Value) -> Value {
    json!({
        "phase": "Running", "startTime": "2026-01-01T00:07:00Z",
        "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }, "reason": if ready { "" } else { "ContainersNotReady" }}],
        "containerStatuses": [{
            "name": "web", "image": "", "imageID": "", "ready": ready, "restartCount": restarts,
            "state": state, "lastState": last,
        }],
    })
}

fn list(items: &[Value]) -> Answer {
    Answer::json(&json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": items}))
}

fn event(object: &str, kind: &str, reason: &str, message: &str, at: &str) -> Value {
    json!({
        "metadata": {"name": reason, "namespace": "shop"}, "type": kind, "reason": reason, "message": message,
        "involvedObject": {"kind": "Pod", "name": object, "uid": object}, "count": 3, "lastTimestamp": at,
    })
}

fn replica_set(revision: u64, replicas: u32, ready: u32) -> Value {
    let name = format!("web-{revision}");
    json!({
        "metadata": {
            "name": name, "namespace": "shop", "uid": name, "ownerReferences": owned("Deployment", "web"),
            "annotations": {"deployment.kubernetes.io/revision": revision.to_string()},
        },
        "spec": {"selector": {}, "template": {"spec": {"containers": [{
            "name": "web", "image": format!("shop/web:{revision}"),
        }]}}},
        "status": {"replicas": replicas, "readyReplicas": ready},
    })
}

/// Two pods: one crashes, one is fine.
fn answer(asked: &Asked) -> Answer {
    let path = asked.path.as_str();
    match path.rsplit('/').next().unwrap() {
        "version" => Answer::json(&json!({
            "major": "1", "minor": "34", "gitVersion": "v1.34.4", "gitCommit": "", "gitTreeState": "", "buildDate": "",
            "goVersion": "", "compiler": "", "platform": "",
        })),
        "selfsubjectreviews" => {
            Answer::json(&json!({"metadata": {}, "status": {"userInfo": {"username": "operator"}}}))
        }
        "pods" if path.contains("metrics") => list(&[json!({
            "metadata": {"name": "web-2-b"}, "containers": [{"name": "web", "usage": {"cpu": "5m", "memory": "12Mi"}}],
        })]),
        "nodes" if path.contains("metrics") => list(&[json!({
            "metadata": {"name": "node-1"}, "usage": {"cpu": "500m", "memory": "1Gi"},
        })]),
        "pods" => list(&[
            pod("web-2-a", &running(true, 0, &json!({"running": {}}), &json!({}))),
            pod(
                "web-2-b",
                &running(
                    false,
                    12,
                    &json!({"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s"}}),
                    &json!({"terminated": {"exitCode": 1, "reason": "Error", "finishedAt": "2026-01-01T00:09:30Z"}}),
                ),
            ),
        ]),
        "log" if asked.query.contains("previous=true") => {
            Answer::text("starting\npanic: token hunter2-hunter2 refused\n")
        }
        "log" => Answer::text(""),
        "deployments" => list(&[json!({
            "metadata": {"name": "web", "namespace": "shop", "uid": "web", "generation": 2, "annotations": {"deployment.kubernetes.io/revision": "2"}},
            "spec": {"replicas": 2, "selector": {}, "template": {"metadata": {"labels": {"app": "web"}}}},
            "status": {"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 1, "availableReplicas": 1,
                "conditions": [{"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated", "message": "on its way"}]},
        })]),
        "replicasets" => list(&[replica_set(1, 0, 0), replica_set(2, 2, 1)]),
        _ => around(path),
    }
}

/// What leads to them, what was recorded about them, and what they stand on.
fn around(path: &str) -> Answer {
    match path.rsplit('/').next().unwrap() {
        "services" => list(&[json!({
            "metadata": {"name": "web", "namespace": "shop", "uid": "service"},
            "spec": {"selector": {"app": "web"}, "ports": [{"name": "http", "port": 80, "targetPort": 8080}]},
        })]),
        "endpointslices" => list(&[json!({
            "metadata": {"name": "web-x", "labels": {"kubernetes.io/service-name": "web"}}, "addressType": "IPv4",
            "endpoints": [
                {"addresses": ["10.0.0.1"], "conditions": {"ready": true}},
                {"addresses": ["10.0.0.2"], "conditions": {"ready": false}},
            ],
        })]),
        "events" => list(&[
            event("web-2-b", "Warning", "BackOff", "Back-off of web with hunter2-hunter2", "2026-01-01T00:09:50Z"),
            event(
                "web-2-b",
                "Normal",
                "Pulled",
                "Container image \"shop/web\" already present on machine",
                "2026-01-01T00:07:01Z",
            ),
            event("another", "Normal", "Other", "of another", "2026-01-01T00:07:01Z"),
        ]),
        "nodes" => list(&[json!({
            "metadata": {"name": "node-1"},
            "status": {"allocatable": {"cpu": "2", "memory": "4Gi"}, "conditions": [
                {"type": "Ready", "status": "True"},
                {"type": "MemoryPressure", "status": "True", "message": "kubelet has insufficient memory available"},
            ]},
        })]),
        _ => list(&[]),
    }
}

async fn diagnosed(server: &FakeServer, selection: Selection) -> Diagnosis {
    let cx = cx();
    cx.redactor().register(&Secret::new("hunter2-hunter2".to_owned()));
    diagnose(&cx, &server.connection(&cx).await, &selection).await.unwrap()
}

const TEXT: &str = "\
shop, Service web: 1 of 2 pods is broken
Kubernetes v1.34.4, as operator, 2026-01-01T00:10:00Z

Pods
✗ web-2-b: crash loop: restarted 12 times; it last ended with exit code 1
  (Error)
    Running, 0 of 1 ready, 12 restarts, 3 min old, on node-1, 5m CPU, 12 MiB
    container web: waiting: CrashLoopBackOff, before that ended with exit code 1
      (Error)
    web before its restart printed:
      | starting
      | panic: token [redacted] refused
    web printed nothing
✓ web-2-a: ready

Workloads
✗ Deployment web: 1 of 2 ready; because of Pod web-2-b
    Progressing=True ReplicaSetUpdated: on its way
    revision 2: 1 of 2 pods ready, shop/web:2
    revision 1: 0 of 0 pods ready, shop/web:1

Services
✓ web (http 80→8080): 1 ready, 1 not

Most used
  5m CPU, 12 MiB memory: web-2-b web

Nodes
! node-1: MemoryPressure: kubelet has insufficient memory available, CPU 25 %,
  memory 25 %

Events, the newest last
  00:07:01 Pulled ×3, Pod web-2-b: Container image \"shop/web\" already present on
    machine
  00:09:50 ! BackOff ×3, Pod web-2-b: Back-off of web with [redacted]

Next
  > go back to the version before: undo the run, or `ClusterTarget::restore` its
    snapshot, or kubectl -n shop rollout undo deployment/web
  > read the log before the restart, and what changed: image, configuration, a
    dependency that is away
";

#[tokio::test]
async fn a_person_reads_what_is_wrong() {
    let server = FakeServer::start(answer).await;
    let diagnosis = diagnosed(&server, Selection::service("shop", "web")).await;
    assert_eq!(diagnosis.to_string(), TEXT);
    assert!(TEXT.lines().all(|line| line.chars().count() <= 80));
    // The same as data, which another program can read.
    let json = serde_json::to_string(&diagnosis).unwrap();
    assert!(!json.contains("hunter2"));
    assert_eq!(serde_json::from_str::<Diagnosis>(&json).unwrap(), diagnosis);
    let logs: Vec<_> = server.asked().into_iter().filter(|asked| asked.path.ends_with("/log")).collect();
    assert_eq!(logs.len(), 3, "of two containers, and of one that ran before");
    assert!(logs.iter().all(|asked| asked.query.contains("tailLines=100")));
    assert!(server.asked().iter().any(
        |asked| asked.path.ends_with("v1/namespaces/shop/pods") && asked.query.contains("labelSelector=app%3Dweb")
    ));
}

#[tokio::test]
async fn what_is_forbidden_or_missing_is_told_in_its_place() {
    for (part, status) in [
        ("pods", 403),
        ("log", 403),
        ("deployments", 403),
        ("events", 403),
        ("nodes", 403),
        ("services", 500),
        ("endpointslices", 403),
    ] {
        let server = FakeServer::start(move |asked: &Asked| match asked.path.rsplit('/').next() == Some(part) {
            true => Answer::status(status, "Forbidden", &format!("{part} is forbidden: User \"operator\" cannot")),
            false => answer(asked),
        })
        .await;
        let cx = cx().with_deadline_in(Duration::from_secs(2));
        let selection = Selection::labels("shop", [("app", "web")]);
        let diagnosis = diagnose(&cx, &server.connection(&cx).await, &selection).await.unwrap();
        let left_out = |kind: &str| diagnosis.left_out.iter().find(|line| line.starts_with(kind)).map(String::as_str);
        let missing = [
            ("pods", diagnosis.pods.why()),
            ("deployments", left_out("deployments: ")),
            ("services", diagnosis.services.why()),
            ("endpointslices", left_out("endpointslices: ")),
            ("nodes", diagnosis.nodes.why()),
            ("events", diagnosis.events.why()),
            ("log", diagnosis.pods.known().and_then(|pods| pods[0].containers[0].log.why())),
        ];
        for (name, why) in missing {
            assert_eq!(why.is_some(), name == part, "{part}: {name} is {why:?}");
        }
        assert!(diagnosis.to_string().contains(&format!("{part} is forbidden: User")), "{diagnosis}");
    }
}

#[tokio::test]
async fn a_cluster_without_metrics_and_a_service_without_pods() {
    let server = FakeServer::start(|asked: &Asked| match asked.path.rsplit('/').next().unwrap() {
        _ if asked.path.contains("metrics.k8s.io") => Answer::not_found(),
        "pods" | "deployments" | "replicasets" => list(&[]),
        _ => answer(asked),
    })
    .await;
    let diagnosis = diagnosed(&server, Selection::service("shop", "web")).await;
    let text = diagnosis.to_string();
    assert!(text.starts_with("shop, Service web: there are no pods\n"), "{text}");
    assert!(text.contains("✗ web (http 80→8080): 1 ready, 1 not; no pod has app=web\n"), "{text}");
    assert!(text.contains("  usage: the cluster has no metrics API (metrics-server)\n"), "{text}");
    assert!(text.contains("> compare the selector of Service web with the labels of the pods\n"), "{text}");
    let missing = diagnosed(&server, Selection::service("shop", "wbe")).await;
    assert!(missing.to_string().contains("  pods: there is no Service wbe\n"), "{missing}");
}

#[tokio::test]
async fn a_namespace_that_is_not_there_is_no_empty_one() {
    for (status, said) in [(404, "there is no namespace shpo"), (403, "there are no pods"), (200, "there are no pods")]
    {
        let server = FakeServer::start(move |asked: &Asked| match asked.path.rsplit('/').next().unwrap() {
            "shpo" if status == 200 => Answer::json(&json!({"metadata": {"name": "shpo"}})),
            "shpo" => Answer::status(status, "NotFound", "namespaces \"shpo\" cannot be read"),
            "version" | "selfsubjectreviews" => answer(asked),
            _ => list(&[]),
        })
        .await;
        let diagnosis = diagnosed(&server, Selection::all("shpo")).await;
        assert!(diagnosis.to_string().contains(said), "{status}: {diagnosis}");
    }
}

#[tokio::test]
async fn it_is_bounded() {
    let server = FakeServer::start(|asked: &Asked| match asked.path.rsplit('/').next().unwrap() {
        "pods" if !asked.path.contains("metrics") => {
            let pods: Vec<Value> = (0..30)
                .map(|n| pod(&format!("web-{n}"), &running(n != 7, 0, &json!({"running": {}}), &json!({}))))
                .collect();
            list(&pods)
        }
        "log" => Answer::text("a line of a log\n".repeat(100_000)),
        _ => answer(asked),
    })
    .await;
    let diagnosis = diagnosed(&server, Selection::all("shop").at_most(3)).await;
    let pods = diagnosis.pods.known().unwrap();
    assert_eq!((pods.len(), diagnosis.pods_left_out, pods[0].name.as_str()), (3, 27, "web-7"));
    assert_eq!(pods[0].health, Health::Waiting);
    let log = pods[0].containers[0].log.known().unwrap();
    assert!(log.cut && log.lines.iter().map(String::len).sum::<usize>() <= 32 * 1024, "{}", log.lines.len());
    assert!(diagnosis.to_string().contains("and 27 more, none more broken"));
}

#[tokio::test]
async fn there_is_no_diagnosis_of_a_server_that_is_away() {
    let server = FakeServer::start(answer).await;
    let connection = server.connection(&cx()).await;
    drop(server);
    let error = diagnose(&cx(), &connection, &Selection::all("shop")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.report().contains("connection refused"), "{}", error.report());
}
