#![expect(clippy::needless_pass_by_value, reason = "literals are handed in")]

use serde_json::{Value, json};

use super::*;

const NOW: &str = "2026-01-01T00:10:00Z";

fn now() -> Timestamp {
    NOW.parse().unwrap()
}

/// A moment so many seconds before the present.
fn ago(seconds: i64) -> String {
    now().checked_sub(k8s_openapi::jiff::SignedDuration::from_secs(seconds)).unwrap().to_string()
}

fn object(json: Value) -> DynamicObject {
    serde_json::from_value(json).unwrap()
}

/// What belongs to the object that is judged.
#[derive(Default)]
struct Around {
    replica_sets: Vec<Arc<ReplicaSet>>,
    pods: Vec<Arc<Pod>>,
    events: Vec<Arc<Event>>,
}

impl Around {
    fn set(mut self, status: Value) -> Self {
        let owner =
            json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": "d", "controller": true}]);
        for (name, revision, status) in [("web-old", "1", json!({"replicas": 1})), ("web-new", "2", status)] {
            let set = json!({
                "metadata": {
                    "name": name, "namespace": "shop", "uid": name, "ownerReferences": owner,
                    "annotations": {"deployment.kubernetes.io/revision": revision},
                },
                "spec": {"selector": {}}, "status": status,
            });
            self.replica_sets.push(Arc::new(serde_json::from_value(set).unwrap()));
        }
        self
    }

    fn pod(mut self, owner: &str, status: Value) -> Self {
        let name = format!("{owner}-{}", self.pods.len());
        let pod = json!({
            "metadata": {
                "name": name, "namespace": "shop", "uid": name, "creationTimestamp": ago(30),
                "ownerReferences": [{"apiVersion": "v1", "kind": "Any", "name": owner, "uid": owner, "controller": true}],
            },
            "spec": {"containers": [{"name": "web"}]}, "status": status,
        });
        self.pods.push(Arc::new(serde_json::from_value(pod).unwrap()));
        self
    }

    fn event(mut self, uid: &str, reason: &str, message: &str) -> Self {
        let event = json!({
            "metadata": {"name": format!("e{}", self.events.len())}, "involvedObject": {"uid": uid},
            "reason": reason, "message": message, "firstTimestamp": ago(20), "lastTimestamp": ago(2),
        });
        self.events.push(Arc::new(serde_json::from_value(event).unwrap()));
        self
    }

    fn judge(&self, object: &DynamicObject, mode: Mode) -> Judgement {
        let (replica_sets, pods, events) = (&self.replica_sets, &self.pods, &self.events);
        judge(&Scene { replica_sets, pods, events, mode, ..Scene::new(object, now()) })
    }
}

fn deployment(status: Value) -> DynamicObject {
    object(json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {
            "name": "web", "namespace": "shop", "uid": "d", "generation": 2,
            "annotations": {"deployment.kubernetes.io/revision": "2"},
        },
        "spec": {"replicas": 3, "progressDeadlineSeconds": 600, "selector": {}, "template": {}},
        "status": status,
    }))
}

fn complete() -> Value {
    json!({
        "observedGeneration": 2, "replicas": 3, "updatedReplicas": 3, "readyReplicas": 3, "availableReplicas": 3,
        "conditions": [
            {"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"},
            {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable"},
        ],
    })
}

/// `status` with these members replaced.
fn but(mut status: Value, members: Value) -> Value {
    status.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    status
}

fn waiting(reason: &str, message: &str) -> Value {
    json!({
        "phase": "Pending", "startTime": ago(30),
        "containerStatuses": [{
            "name": "web", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"waiting": {"reason": reason, "message": message}},
        }],
    })
}

fn crashed(reason: &str, code: i32) -> Value {
    json!({
        "phase": "Running", "startTime": ago(30),
        "containerStatuses": [{
            "name": "web", "image": "", "imageID": "", "ready": false, "restartCount": 2,
            "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 20s"}},
            "lastState": {"terminated": {"exitCode": code, "reason": reason}},
        }],
    })
}

fn line(verdict: Verdict) -> String {
    match verdict {
        Verdict::Progressing { message } => message,
        Verdict::Ready => "ready".to_owned(),
        Verdict::Failed { cause, chain } => format!("{cause}: {}", chain.join(" > ")),
        Verdict::Unknown { why } => format!("unknown: {why}"),
    }
}

#[track_caller]
fn strict(around: &Around, object: &DynamicObject, expected: &str) {
    assert_eq!(line(around.judge(object, Mode::Strict).verdict), expected);
}

#[test]
fn a_deployment_says_what_is_missing_as_kubectl_does() {
    let around = Around::default().set(json!({"replicas": 3}));
    for (members, expected) in [
        (json!({}), "ready"),
        (json!({"observedGeneration": 1}), "waiting for the spec update to be observed"),
        (json!({"updatedReplicas": 1}), "1 of 3 new replicas have been updated"),
        (json!({"replicas": 4}), "1 old replica is pending termination"),
        (
            json!({"conditions": [
                {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "too slow"},
            ]}),
            "deadline exceeded: Deployment shop/web > too slow",
        ),
        (json!({"availableReplicas": 2}), "2 of 3 updated replicas are available"),
        (json!({"conditions": [{"type": "Available", "status": "False", "message": "too few"}]}), "too few"),
    ] {
        strict(&around, &deployment(but(complete(), members)), expected);
    }
    strict(&Around::default(), &deployment(complete()), "waiting for its ReplicaSet");
    let mut none = deployment(but(complete(), json!({"replicas": 0, "updatedReplicas": 0, "conditions": []})));
    none.data["spec"]["replicas"] = json!(0);
    strict(&Around::default(), &none, "ready");
    // It was scaled to one and back: the pod came after its status was written.
    strict(&Around::default().set(json!({"replicas": 1})), &none, "waiting for its ReplicaSet");
    let mut behind = Around::default().set(json!({"replicas": 0, "observedGeneration": 2}));
    for generation in [2, 3] {
        let set = Arc::make_mut(&mut behind.replica_sets[1]);
        set.metadata.generation = Some(generation);
        strict(&behind, &none, if generation == 2 { "ready" } else { "waiting for its ReplicaSet" });
    }
    let mut paused = deployment(complete());
    paused.data["spec"]["paused"] = json!(true);
    strict(&around, &paused, "paused: Deployment shop/web > its roll-out is paused: resume it");
}

#[test]
fn the_pods_of_the_new_replica_set_tell_at_once_what_is_wrong() {
    let late = || deployment(but(complete(), json!({"updatedReplicas": 1, "availableReplicas": 0})));
    let head = "Deployment shop/web > ReplicaSet shop/web-new > Pod shop/web-new-0";
    for (status, expected) in [
        (
            waiting("ErrImagePull", "rpc error: registry/web@sha256:0: not found"),
            format!(
                "image missing: {head} > container web > ErrImagePull: rpc error: registry/web@sha256:0: not found"
            ),
        ),
        (waiting("InvalidImageName", ""), format!("image missing: {head} > container web > InvalidImageName")),
        (
            waiting("CreateContainerConfigError", "secret \"keys\" not found"),
            format!(
                "configuration missing: {head} > container web > CreateContainerConfigError: secret \"keys\" not found"
            ),
        ),
        (
            waiting("RunContainerError", "exec: \"/no\": no such file"),
            format!("cannot start: {head} > container web > RunContainerError: exec: \"/no\": no such file"),
        ),
        (
            crashed("Error", 3),
            format!("crash loop: {head} > container web > restarted 2 times; it last ended with exit code 3 (Error)"),
        ),
        (
            crashed("OOMKilled", 137),
            format!(
                "out of memory: {head} > container web > restarted 2 times; it last ended with exit code 137 (OOMKilled)"
            ),
        ),
        (waiting("ContainerCreating", ""), "1 of 3 new replicas have been updated".to_owned()),
    ] {
        let around = Around::default().set(json!({"replicas": 1})).pod("web-new", status.clone());
        strict(&around, &late(), &expected);
        let around = Around::default().set(json!({"replicas": 1})).pod("web-old", status);
        strict(&around, &late(), "1 of 3 new replicas have been updated");
    }
    let around = Around::default().set(json!({"replicas": 1})).pod("web-new", crashed("Error", 137)).event(
        "web-new-0",
        "Killing",
        "Container web failed liveness probe, will be restarted",
    );
    assert!(line(around.judge(&late(), Mode::Strict).verdict).starts_with("liveness probe fails: "));
}

#[test]
fn what_may_heal_is_waited_for_and_says_until_when() {
    let late = deployment(but(complete(), json!({"availableReplicas": 0})));
    let judge = |status: Value, graces: Graces| {
        let around = Around::default().set(json!({"replicas": 1})).pod("web-new", status);
        let (replica_sets, pods) = (&around.replica_sets, &around.pods);
        judge(&Scene { replica_sets, pods, graces, ..Scene::new(&late, now()) })
    };
    for (status, seconds) in [
        (waiting("ImagePullBackOff", "dial tcp: i/o timeout"), 60),
        (waiting("ErrImagePull", "401 unauthorized"), 10),
        (waiting("CreateContainerConfigError", "configmap \"a\" not found"), 10),
        (
            json!({"phase": "Pending", "conditions": [{
                "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes",
                "lastTransitionTime": ago(30),
            }]}),
            15,
        ),
    ] {
        let (pod, over) = (status.to_string(), judge(status.clone(), Graces::default()));
        let fails = matches!(over.verdict, Verdict::Failed { .. });
        assert_eq!(fails, seconds < 30, "{pod}");
        let patient = Graces {
            image: Duration::from_mins(1),
            missing: Duration::from_mins(1),
            unschedulable: Duration::from_mins(1),
            ..Graces::default()
        };
        let waits = judge(status, patient);
        assert!(matches!(waits.verdict, Verdict::Progressing { .. }), "{pod}");
        assert_eq!(waits.until.unwrap().to_string(), ago(-30), "{pod}");
    }
    let syncing = waiting("CreateContainerConfigError", "failed to sync configmap cache: timed out");
    assert_eq!(judge(syncing, Graces::default()).until, None, "it heals by itself");
}

#[test]
fn a_node_that_is_being_added_is_waited_for() {
    let late = deployment(but(complete(), json!({"availableReplicas": 0})));
    let pending = json!({"phase": "Pending", "conditions": [{
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes",
        "lastTransitionTime": ago(30),
    }]});
    let around = Around::default().set(json!({})).pod("web-new", pending);
    let expected = "unschedulable: Deployment shop/web > ReplicaSet shop/web-new > Pod shop/web-new-0 > no node takes it: 0/1 nodes";
    strict(&around, &late, expected);
    let around = around.event("web-new-0", "TriggeredScaleUp", "pod triggered scale-up");
    strict(&around, &late, "no node takes it: 0/1 nodes");
}

#[test]
fn pods_that_are_never_made_are_known_by_their_replica_set() {
    let late = deployment(but(complete(), json!({"updatedReplicas": 0})));
    for (message, seconds, expected) in [
        ("pods \"a\" is forbidden: exceeded quota: small", 11, "quota exceeded"),
        ("pods \"a\" is forbidden: violates PodSecurity \"restricted\"", 11, "admission denied"),
        ("pods \"a\" is forbidden: exceeded quota: small", 5, "its pods cannot be made"),
        ("Internal error occurred: failed calling webhook \"x\": timeout", 30, "its pods cannot be made"),
        ("Internal error occurred: failed calling webhook \"x\": timeout", 61, "admission denied"),
    ] {
        let condition = json!({
            "type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message,
            "lastTransitionTime": ago(seconds),
        });
        let around = Around::default().set(json!({"replicas": 0, "conditions": [condition]}));
        let found = line(around.judge(&late, Mode::Strict).verdict);
        assert!(found.starts_with(expected) && found.contains(message), "{found}");
    }
}

#[test]
fn the_wish_that_was_written_is_judged_and_no_other() {
    let around = Around::default().set(json!({"replicas": 3}));
    let judge = |found: &DynamicObject, written: &DynamicObject| {
        let written = Written::of(written);
        let scene = Scene { replica_sets: &around.replica_sets, written: Some(&written), ..Scene::new(found, now()) };
        line(judge(&scene).verdict)
    };
    let ours = deployment(complete());
    assert_eq!(judge(&ours, &ours), "ready");
    let with = |generation: i64, uid: &str, image: &str| {
        let mut other = deployment(but(complete(), json!({"observedGeneration": generation})));
        other.metadata.generation = Some(generation);
        other.metadata.uid = Some(uid.to_owned());
        other.data["spec"]["template"] = json!({"image": image});
        other
    };
    let ours = with(2, "d", "a");
    assert_eq!(judge(&with(1, "d", "a"), &ours), "what was written is not seen yet");
    assert_eq!(judge(&with(3, "d", "a"), &ours), "ready", "an autoscaler scales it");
    let changed = judge(&with(3, "d", "b"), &ours);
    assert!(changed.starts_with("superseded") && changed.contains("generation 3"), "{changed}");
    assert!(judge(&with(2, "e", "a"), &ours).contains("made again"));
    let mut dying = with(2, "d", "a");
    dying.metadata.deletion_timestamp = Some(k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(now()));
    assert!(judge(&dying, &ours).contains("being deleted"));
}

fn of(kind: &str, version: &str, spec: Value, status: Value) -> DynamicObject {
    object(json!({
        "apiVersion": version, "kind": kind,
        "metadata": {"name": "web", "namespace": "shop", "uid": "u", "generation": 2, "creationTimestamp": ago(60)},
        "spec": spec, "status": status,
    }))
}

#[test]
fn a_job_that_failed_shows_how_its_last_pod_ended() {
    let job = of(
        "Job",
        "batch/v1",
        json!({"template": {}}),
        json!({"conditions": [
            {"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "too often"},
        ]}),
    );
    let around = Around::default().pod(
        "u",
        json!({"phase": "Failed", "containerStatuses": [{
            "name": "migrate", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"terminated": {"exitCode": 2, "reason": "Error", "message": "no such table"}},
        }]}),
    );
    let expected = "job failed: Job shop/web > BackoffLimitExceeded: too often > Pod shop/u-0 > \
                    container migrate ended with exit code 2 (Error): no such table";
    strict(&around, &job, expected);
}

#[test]
fn a_claim_that_waits_for_its_first_pod_keeps_nobody_waiting() {
    let claim = of("PersistentVolumeClaim", "v1", json!({}), json!({"phase": "Pending"}));
    let around = Around::default().event("u", "WaitForFirstConsumer", "waiting for first consumer");
    strict(&around, &claim, "ready");
    let around = Around::default().event("u", "ProvisioningFailed", "no such class");
    strict(&around, &claim, "not bound to a volume: no such class");
}

#[test]
fn an_object_that_is_not_of_its_kind_is_unknown() {
    let found =
        Around::default().judge(&of("Deployment", "apps/v1", json!({"replicas": "three"}), json!({})), Mode::Strict);
    assert!(line(found.verdict).starts_with("unknown: Deployment shop/web is not as its kind has it"));
}

#[test]
fn an_object_that_does_not_say_its_kind_is_not_ready() {
    let mut object = of("Deployment", "apps/v1", json!({}), json!({}));
    object.types = None;
    assert!(line(Around::default().judge(&object, Mode::Strict).verdict).starts_with("unknown:"));
}
