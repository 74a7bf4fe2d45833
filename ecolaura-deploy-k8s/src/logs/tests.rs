use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::TryStreamExt as _;
use serde_json::{Value, json};

use super::*;
use crate::fake_server::{Answer, Asked, FakeServer};

fn cx() -> Context {
    Context::new("dev".parse().unwrap())
}

fn source() -> LogSource {
    LogSource::new("shop", "web").container("app")
}

fn pod(state: &Value) -> Answer {
    Answer::json(&json!({
        "metadata": {"name": "web"}, "spec": {"containers": [], "restartPolicy": "Never"},
        "status": {"phase": "Running", "containerStatuses": [{
            "name": "app", "image": "", "imageID": "", "ready": true, "restartCount": 0, "state": state,
        }]},
    }))
}

async fn read(cx: &Context, server: &FakeServer, source: LogSource) -> Result<Vec<String>> {
    logs(cx, &server.connection(cx).await, source).try_collect().await
}

#[tokio::test]
async fn lines_come_without_secrets_and_not_too_long() {
    let server =
        FakeServer::start(|_| Answer::text(format!("one\nhunter2-hunter2\n{}\nlast", "x".repeat(70_000)))).await;
    let cx = cx();
    cx.redactor().register(&ecolaura_deploy_core::Secret::new("hunter2-hunter2".to_owned()));
    let lines = read(&cx, &server, source().last(100)).await.unwrap();
    assert_eq!(lines, ["one", "[redacted]", "[a line of more than 64 KiB is left out]", "last"]);
    assert_eq!(server.asked()[0].path, "/api/v1/namespaces/shop/pods/web/log");
    assert!(server.asked()[0].query.contains("container=app&tailLines=100"), "{}", server.asked()[0].query);
}

#[tokio::test]
async fn a_followed_log_is_taken_up_where_it_broke_off() {
    let opened = AtomicUsize::new(0);
    let server = FakeServer::start(move |asked: &Asked| {
        if !asked.path.ends_with("/log") {
            let ended = opened.load(Ordering::SeqCst) >= 5;
            return pod(&if ended { json!({"terminated": {"exitCode": 0}}) } else { json!({"running": {}}) });
        }
        match opened.fetch_add(1, Ordering::SeqCst) {
            0 => Answer::status(404, "NotFound", "the server could not find the requested resource"),
            1 => Answer::status(400, "BadRequest", "container \"app\" is waiting to start: ContainerCreating"),
            2 => Answer::status(400, "BadRequest", "container \"app\" in pod \"web\" is not available"),
            3 => Answer::text("2026-01-01T00:00:01.900000001Z one\n2026-01-01T00:00:01.900000002Z two\n"),
            _ => Answer::text(
                "2026-01-01T00:00:01.900000001Z one\n2026-01-01T00:00:01.900000002Z two\n\
                 2026-01-01T00:00:01.900000002Z at that moment too\n2026-01-01T00:00:01.900000003Z three and more\n",
            ),
        }
    })
    .await;
    let lines = read(&cx(), &server, source().follow()).await.unwrap();
    assert_eq!(lines, ["one", "two", "at that moment too", "three and more"], "each once");
    let opened: Vec<_> = server.asked().into_iter().filter(|asked| asked.path.ends_with("/log")).collect();
    assert!(opened[4].query.contains("sinceTime=2026-01-01T00%3A00%3A01Z"), "{}", opened[4].query);
}

#[tokio::test]
async fn what_is_printed_while_the_connection_ends_is_read_too() {
    let opened = AtomicUsize::new(0);
    let server = FakeServer::start(move |asked: &Asked| match asked.path.ends_with("/log") {
        true if opened.fetch_add(1, Ordering::SeqCst) == 0 => Answer::text(""),
        true => Answer::text("2026-01-01T00:00:01Z late\n"),
        false => pod(&json!({"terminated": {"exitCode": 0}})),
    })
    .await;
    assert_eq!(read(&cx(), &server, source().follow()).await.unwrap(), ["late"]);
}

#[tokio::test]
async fn a_container_that_never_started_has_no_log() {
    let server = FakeServer::start(|asked: &Asked| match asked.path.ends_with("/log") {
        true => {
            Answer::status(400, "BadRequest", "container \"app\" in pod \"web\" is waiting to start: PodInitializing")
        }
        false => Answer::json(&json!({"metadata": {}, "spec": {"containers": []}, "status": {"phase": "Failed"}})),
    })
    .await;
    assert!(read(&cx(), &server, source().follow()).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_pod_that_is_gone_ends_a_followed_log() {
    let server = FakeServer::start(|asked: &Asked| match asked.query.contains("sinceTime") {
        false if asked.path.ends_with("/log") => Answer::text("2026-01-01T00:00:01Z one\n"),
        _ => Answer::not_found(),
    })
    .await;
    assert_eq!(read(&cx(), &server, source().follow()).await.unwrap(), ["one"]);
    let never = FakeServer::start(|_| Answer::not_found()).await;
    let error = read(&cx(), &never, source().follow()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.report().contains("the log of app in Pod shop/web"), "{}", error.report());
}

#[tokio::test]
async fn a_cancel_ends_it() {
    let server = FakeServer::start(|asked: &Asked| match asked.path.ends_with("/log") {
        true => Answer::text("2026-01-01T00:00:01Z one\n"),
        false => pod(&json!({"running": {}})),
    })
    .await;
    let cx = cx();
    let cancel = cx.cancellation().clone();
    let connection = server.connection(&cx).await;
    let mut lines = std::pin::pin!(logs(&cx, &connection, source().follow()));
    assert_eq!(lines.try_next().await.unwrap().unwrap(), "one");
    cancel.cancel();
    assert_eq!(lines.try_next().await.unwrap_err().kind(), ErrorKind::Cancelled);
}
