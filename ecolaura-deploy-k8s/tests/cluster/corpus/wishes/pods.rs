//! Pods alone, and those of Jobs.

#![expect(clippy::too_many_lines, reason = "tables")]

use serde_json::{Value, json};

use super::{Images, READY, Wish, failed, merged, nothing, progressing, runs, silent, wish};

pub(super) fn pods(images: &Images) -> Vec<Wish> {
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

pub(super) fn jobs(images: &Images) -> Vec<Wish> {
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
