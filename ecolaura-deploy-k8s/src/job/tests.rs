use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use ecolaura_deploy_core::{
    backend::{MigrationPlan, Migrator as _},
    migration,
    vocabulary::MigrationVersion,
};

use super::*;
use crate::fake_server::{Answer, Asked, FakeServer};

fn spec() -> Value {
    json!({"backoffLimit": 0, "template": {"spec": {
        "restartPolicy": "Never", "containers": [{"name": "migrate", "image": "shop/migrate@sha256:1"}],
    }}})
}

fn request(spec: Value) -> JobRequest {
    JobRequest::new("shop".parse().unwrap(), "migrate".parse().unwrap(), "run-1/migrate", spec)
}

fn cx() -> Context {
    Context::new("dev".parse().unwrap())
}

#[test]
fn the_key_gives_the_name() {
    let name = request(spec()).job_name();
    assert!(name.starts_with("migrate-") && name.len() == "migrate-".len() + 10, "{name}");
    assert_eq!(request(json!({})).job_name(), name);
    let other = JobRequest { key: "run-2/migrate".to_owned(), ..request(spec()) };
    assert_ne!(other.job_name(), name);
    let long = JobRequest { name: "a".repeat(60).parse().unwrap(), ..request(spec()) };
    assert!(long.job_name().len() <= 57, "a pod's name has six characters more: {}", long.job_name());
}

#[test]
fn what_was_asked_for_has_a_digest() {
    let digest = |request: &JobRequest| request.object().unwrap()["metadata"]["annotations"][SPEC].clone();
    let first = request(spec());
    assert_eq!(digest(&first), digest(&request(spec())));
    let mut other = spec();
    other["backoffLimit"] = json!(3);
    assert_ne!(digest(&first), digest(&request(other)));
    assert_ne!(digest(&first), digest(&request(spec()).deadline(Duration::from_mins(1))));
    let object = first.object().unwrap();
    assert_eq!(object["spec"]["backoffLimit"], 0, "as given");
    assert_eq!(object["spec"]["podReplacementPolicy"], "Failed");
}

#[test]
fn the_earlier_deadline_counts() {
    let mut given = spec();
    given["activeDeadlineSeconds"] = json!(30);
    let seconds =
        |time| request(given.clone()).deadline(time).object().unwrap()["spec"]["activeDeadlineSeconds"].clone();
    assert_eq!(seconds(Duration::from_mins(1)), 30);
    assert_eq!(seconds(Duration::from_secs(10)), 10);
    assert_eq!(seconds(Duration::ZERO), 1);
}

#[test]
fn what_would_break_the_promise_is_refused() {
    let but = |pointer: &str, value: Value| {
        let mut spec = spec();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        spec.pointer_mut(parent).unwrap()[name] = value;
        request(spec).object().unwrap_err().report()
    };
    for (report, words) in [
        (request(json!({})).object().unwrap_err().report(), "template.spec.containers"),
        (but("/template/spec/containers", json!([])), "no containers"),
        (but("/template/spec/restartPolicy", json!("Always")), "is Always"),
        (but("/template/spec/restartPolicy", json!(null)), "is not set"),
        (but("/ttlSecondsAfterFinished", json!(60)), "delete_job"),
        (but("/suspend", json!(true)), "suspended"),
    ] {
        assert!(report.contains(words) && report.contains("`migrate`"), "no `{words}` in {report}");
    }
}

/// What running the Job says where this one is there already.
async fn with_job(metadata: Value) -> Error {
    let server = FakeServer::start(move |asked: &Asked| match asked.method.as_str() {
        "GET" => Answer::json(&json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {}})),
        _ => Answer::status(500, "InternalError", "nothing is to be written"),
    })
    .await;
    let error = run_job(&cx(), &server.connection(&cx()).await, &request(spec())).await.unwrap_err();
    assert!(server.asked().iter().all(|asked| asked.method == "GET"));
    error
}

#[tokio::test]
async fn a_key_that_was_used_for_something_else_is_refused() {
    let error = with_job(json!({"name": "j", "uid": "1", "annotations": {SPEC: "sha256:other"}})).await;
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);
    assert!(error.report().contains("another spec") && error.report().contains("run-1/migrate"), "{}", error.report());
    let error = with_job(json!({"name": "j", "uid": "1"})).await;
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "somebody else's Job is not taken for ours");
}

#[tokio::test]
async fn a_job_that_is_being_deleted_is_not_started_again() {
    let error = with_job(json!({"name": "j", "uid": "1", "deletionTimestamp": "2026-01-01T00:00:00Z"})).await;
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::Unknown));
}

/// A Job that answers: its log has not the last line of the answer until it was read `late` times.
async fn answering(late: usize) -> (FakeServer, JobMigrator) {
    let plan = MigrationPlan::new((1..=2000).map(MigrationVersion).collect(), Vec::new());
    let lines = migration::Answer::Plan(plan).lines().unwrap();
    assert!(lines.len() > 1, "it is cut between lines");
    let stamped = lines.iter().enumerate().map(|(index, line)| format!("2026-01-01T00:00:0{index}.5Z {line}\n"));
    let lines: Vec<String> = stamped.collect();
    let cut = lines.len() - 1;
    let server = logging(lines, cut, late).await;
    let container = json!({"name": "app", "image": "shop/app"});
    let tool = MigrationTool::Answering(vec!["/app".to_owned()]);
    let name = |text: &str| text.parse().unwrap();
    let pod = json!({"containers": [container]});
    let migrator = JobMigrator::new(name("shop"), server.connection(&cx()).await, name("shop"), pod, tool);
    (server, migrator)
}

/// A Job that has ended, whose log has only its first `cut` lines until it was read `late` times.
async fn logging(lines: Vec<String>, cut: usize, late: usize) -> FakeServer {
    let (jobs, read) = (Mutex::new(None::<Value>), AtomicUsize::new(0));
    FakeServer::start(move |asked: &Asked| {
        let mut job = jobs.lock().unwrap();
        let list = |items: Vec<Value>| Answer::json(&json!({"metadata": {"resourceVersion": "1"}, "items": items}));
        let is = |end: &str| asked.path.ends_with(end);
        match asked.method.as_str() {
            "POST" => {
                let mut created = asked.body.clone();
                created["metadata"]["uid"] = json!("1");
                created["metadata"]["resourceVersion"] = json!("1");
                created["status"] = json!({"conditions": [{"type": "Complete", "status": "True"}], "succeeded": 1});
                Answer::json(job.insert(created))
            }
            "DELETE" => job.take().map_or_else(Answer::not_found, |job| Answer::json(&job)),
            _ if asked.query.contains("watch=") => Answer::open(""),
            _ if is("/apis/batch/v1") => {
                let kind =
                    json!({"name": "jobs", "singularName": "job", "kind": "Job", "namespaced": true, "verbs": []});
                Answer::json(&json!({"kind": "APIResourceList", "groupVersion": "batch/v1", "resources": [kind]}))
            }
            _ if is("/log") => {
                let time = read.fetch_add(1, Ordering::SeqCst);
                Answer::text(lines[..if time < late { cut } else { lines.len() }].concat())
            }
            _ if is("/pods") => list(job.iter().map(|_| pod()).collect()),
            _ if is("/pods/p") => Answer::json(&pod()),
            _ if is("/jobs") => list(job.iter().cloned().collect()),
            _ if asked.path.contains("/jobs/") => job.as_ref().map_or_else(Answer::not_found, Answer::json),
            _ => list(Vec::new()),
        }
    })
    .await
}

/// One that has ended.
fn pod() -> Value {
    json!({
        "metadata": {"name": "p", "uid": "2", "namespace": "shop"},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "app"}]},
        "status": {"phase": "Succeeded", "containerStatuses": [{
            "name": "app", "image": "", "imageID": "", "ready": false, "restartCount": 0,
            "state": {"terminated": {"exitCode": 0}},
        }]},
    })
}

fn jobs(server: &FakeServer) -> usize {
    server.asked().iter().filter(|asked| asked.method == "POST").count()
}

fn logs_before_the_end(server: &FakeServer) -> usize {
    let asked = server.asked();
    let deleted = asked.iter().position(|asked| asked.method == "DELETE").unwrap();
    asked[..deleted].iter().filter(|asked| asked.path.ends_with("/log")).count()
}

fn logs(server: &FakeServer) -> usize {
    server.asked().iter().filter(|asked| asked.path.ends_with("/log")).count()
}

/// A node may write what a program printed after it has said that the program has ended.
#[tokio::test(start_paused = true)]
async fn a_log_that_is_empty_at_first_is_read_again() {
    // Each time its end is read twice.
    for (late, reads) in [(2, 4), (usize::MAX, 2 * (1 + output::SILENT))] {
        let server = logging(vec!["2026-01-01T00:00:00.5Z hello\n".to_owned()], 0, late).await;
        let connection = server.connection(&cx()).await;
        let report = run_job(&cx(), &connection, &request(spec())).await.unwrap();
        assert_eq!((report.end, logs(&server)), (JobEnd::Succeeded, reads));
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_to_the_log_late_is_read() {
    let (server, migrator) = answering(5).await;
    assert_eq!(migrator.plan(&cx()).await.unwrap().applied.len(), 2000);
    assert_eq!(logs_before_the_end(&server), 6, "read until it was whole, and no more");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_never_comes_is_told_once_the_log_was_read_again() {
    let (server, migrator) = answering(usize::MAX).await;
    let error = migrator.migrate(&cx(), MigrationVersion(3)).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::CommandFailed, Effect::Unknown));
    assert!(error.report().contains("no whole answer"), "{}", error.report());
    assert_eq!(logs_before_the_end(&server), 2 * (1 + output::AGAIN));
    let error = migrator.plan(&cx()).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::CommandFailed, Effect::None));
    assert_eq!(jobs(&server), 1 + migrator::READERS);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_lost_is_asked_for_again_where_that_changes_nothing() {
    let (server, migrator) = answering(2 * (1 + output::AGAIN)).await;
    assert_eq!(migrator.plan(&cx()).await.unwrap().applied.len(), 2000);
    assert_eq!(jobs(&server), 2);
}
