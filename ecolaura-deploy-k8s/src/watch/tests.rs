//! Waits over a server that forgets, and one that stops accepting a token.

use std::sync::{
    Mutex,
    atomic::{AtomicU32, Ordering},
};

use async_trait::async_trait;
use ecolaura_deploy_core::{Error, Secret};
use serde_json::json;

use super::*;
use crate::{
    Connect, Connection, Token, TokenSource,
    fake_server::{Answer, Asked, FakeServer},
    object::Kinds,
    ownership,
    reconcile::Permissions,
};

fn cx() -> Context {
    Context::new("dev".parse().unwrap()).with_deadline_in(std::time::Duration::from_mins(1))
}

/// An object of a kind that says itself whether it is ready.
fn thing(name: &str, ready: bool) -> Value {
    let ready = if ready { "True" } else { "False" };
    json!({
        "apiVersion": "example.com/v1", "kind": "Thing",
        "metadata": {"name": name, "namespace": "shop", "uid": name, "generation": 1, "resourceVersion": "9"},
        "status": {"conditions": [{"type": "Ready", "status": ready, "reason": "Because"}]},
    })
}

fn list(version: u32, items: &[Value]) -> Answer {
    Answer::json(&json!({
        "apiVersion": "example.com/v1", "kind": "ThingList", "metadata": {"resourceVersion": version.to_string()}, "items": items,
    }))
}

fn event(kind: &str, object: &Value) -> String {
    format!("{}\n", json!({"type": kind, "object": object}))
}

/// What the server says of a version that it does not keep any more.
fn expired() -> Value {
    json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": 410, "reason": "Expired",
        "message": "too old resource version: 10 (20)",
    })
}

fn kinds() -> Answer {
    Answer::json(&json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "example.com/v1", "resources": [
            {"name": "things", "singularName": "thing", "namespaced": true, "kind": "Thing", "verbs": ["get", "list", "watch", "patch"]},
        ],
    }))
}

/// Whether it is asked for a watch, and from which version.
fn watch_from(asked: &Asked) -> Option<&str> {
    let parameter = |name: &str| asked.query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
    parameter("watch").and(parameter("resourceVersion"))
}

async fn wait_on(connection: &Connection, names: &[&str]) -> Result<RolloutState> {
    let (cx, kinds) = (cx(), Kinds::default());
    let server = Server {
        cx: &cx,
        connection,
        kinds: &kinds,
        permissions: Permissions::default(),
        ownership: &ownership::NONE,
        salt: &[],
    };
    let of = |name: &&str| Awaited {
        key: Key::new("example.com/v1", "Thing", Some("shop"), name),
        uid: Some((*name).to_owned()),
        generation: Some(1),
        revision: None,
    };
    let awaited: Vec<Awaited> = names.iter().map(of).collect();
    until_ready(&server, "shop", &awaited, Judging::default()).await
}

async fn connected(server: &FakeServer, source: &Arc<Source>) -> Connection {
    Connect::tokens(server.url(), source.clone()).connect(&cx()).await.unwrap()
}

/// Makes `hunter2-1`, `hunter2-2`, ….
#[derive(Debug, Default)]
struct Source(AtomicU32);

impl Source {
    fn made(&self) -> u32 {
        self.0.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl TokenSource for Source {
    async fn token(&self) -> Result<Token> {
        Ok(Token::new(Secret::new(format!("hunter2-{}", self.0.fetch_add(1, Ordering::SeqCst) + 1))))
    }
}

/// A server that lists `before`, forgets that version while it is watched, and lists `after` from then on.
async fn forgetting(before: Vec<Value>, after: Vec<Value>, in_the_stream: bool) -> FakeServer {
    let lists = Mutex::new(0);
    FakeServer::start(move |asked| match (asked.path.as_str(), watch_from(asked)) {
        ("/apis/example.com/v1", _) => kinds(),
        ("/api/v1/namespaces", Some(_)) => Answer::open(""),
        ("/api/v1/namespaces", None) => list(10, &[]),
        (_, Some("10")) if in_the_stream => Answer::text(event("ERROR", &expired())),
        (_, Some("10")) => Answer::status(410, "Expired", "too old resource version: 10 (20)"),
        (_, Some(_)) => Answer::open(""),
        _ => {
            let mut lists = lists.lock().unwrap();
            *lists += 1;
            if *lists == 1 { list(10, &before) } else { list(20, &after) }
        }
    })
    .await
}

#[tokio::test]
async fn a_version_that_the_server_forgot_is_listed_anew() {
    for in_the_stream in [true, false] {
        let before = vec![thing("a", false), thing("b", true)];
        let server = forgetting(before, vec![thing("a", true), thing("b", true)], in_the_stream).await;
        let connection = connected(&server, &Arc::default()).await;
        assert_eq!(wait_on(&connection, &["a", "b"]).await.unwrap(), RolloutState::Ready);
        let lists = server
            .asked()
            .iter()
            .filter(|asked| asked.path.ends_with("/things") && watch_from(asked).is_none())
            .count();
        assert_eq!(lists, 2, "{:?}", server.asked());
    }
}

#[tokio::test]
async fn what_was_deleted_while_nobody_watched_is_missed() {
    for in_the_stream in [true, false] {
        let before = vec![thing("a", false), thing("b", true)];
        let server = forgetting(before, vec![thing("a", true)], in_the_stream).await;
        let connection = connected(&server, &Arc::default()).await;
        let state = wait_on(&connection, &["a", "b"]).await.unwrap();
        let RolloutState::Failed { cause: FailureCause::Superseded, chain } = state else { panic!("{state:?}") };
        assert_eq!(chain, ["Thing shop/b", "it is gone: somebody else deleted it"]);
    }
}

/// Pods of a service that end while nobody watches are known to be gone.
#[tokio::test]
async fn pods_that_went_while_nobody_watched_are_gone() {
    let pod = json!({"metadata": {"name": "web-1", "namespace": "shop", "uid": "1", "resourceVersion": "9"}});
    let server = forgetting(vec![pod], Vec::new(), true).await;
    let connection = connected(&server, &Arc::default()).await;
    let (cx, kinds) = (cx(), Kinds::default());
    let server = Server {
        cx: &cx,
        connection: &connection,
        kinds: &kinds,
        permissions: Permissions::default(),
        ownership: &ownership::NONE,
        salt: &[],
    };
    pods_gone(&server, "shop", "web", None).await.unwrap();
}

/// A server that takes the first token until its first watch has ended, and from then on `accepts` alone.
async fn taking_back(accepts: &'static str) -> FakeServer {
    let watched = Mutex::new(false);
    FakeServer::start(move |asked| {
        let mut watched = watched.lock().unwrap();
        let good = if *watched { accepts } else { "hunter2-1" };
        if asked.bearer() != Some(good) {
            return Answer::status(401, "Unauthorized", "Unauthorized");
        }
        match (asked.path.as_str(), watch_from(asked)) {
            ("/apis/example.com/v1", _) => kinds(),
            (_, None) => list(10, &[thing("a", false)]),
            // A connection ends sooner or later.
            (_, Some(_)) if !*watched => {
                *watched = true;
                Answer::text("")
            }
            (_, Some(_)) => Answer::open(event("MODIFIED", &thing("a", true))),
        }
    })
    .await
}

#[tokio::test]
async fn a_token_that_is_taken_back_in_the_middle_of_a_wait_is_renewed() {
    let server = taking_back("hunter2-2").await;
    let source = Arc::default();
    let connection = connected(&server, &source).await;
    assert_eq!(wait_on(&connection, &["a"]).await.unwrap(), RolloutState::Ready);
    assert_eq!(source.made(), 2);
}

#[tokio::test]
async fn a_source_of_tokens_that_nobody_accepts_ends_the_wait() {
    let server = taking_back("another").await;
    let source = Arc::default();
    let connection = connected(&server, &source).await;
    let error: Error = wait_on(&connection, &["a"]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert_eq!(source.made(), 2, "it is not asked without an end");
    let report = error.report();
    assert!(
        report.contains("Things of shop") && report.contains(&server.url()) && report.contains("credentials"),
        "{report}"
    );
    assert!(!format!("{error:?} {report}").contains("hunter2"), "{report}");
}

/// A server with a thing that is not ready yet, of whose watch the answers are `news`, numbered from 0.
async fn with_namespace(
    namespaces: impl Fn() -> Answer + Send + Sync + 'static,
    news: impl Fn(u32) -> Answer + Send + Sync + 'static,
) -> FakeServer {
    let watches = AtomicU32::new(0);
    FakeServer::start(move |asked| match (asked.path.as_str(), watch_from(asked)) {
        ("/apis/example.com/v1", _) => kinds(),
        ("/api/v1/namespaces", None) => namespaces(),
        ("/api/v1/namespaces", Some(_)) => Answer::open(""),
        (_, None) => list(10, &[thing("a", false)]),
        (path, Some(_)) if path.ends_with("/things") => news(watches.fetch_add(1, Ordering::SeqCst)),
        _ => Answer::open(""),
    })
    .await
}

#[tokio::test]
async fn a_namespace_that_goes_ends_the_wait_before_what_is_in_it() {
    let namespace = || {
        let metadata =
            json!({"name": "shop", "uid": "n", "resourceVersion": "9", "deletionTimestamp": "2026-01-01T00:00:00Z"});
        Answer::json(&json!({
            "apiVersion": "v1", "kind": "NamespaceList", "metadata": {"resourceVersion": "10"},
            "items": [{"metadata": metadata}],
        }))
    };
    let server = with_namespace(namespace, |_| Answer::open("")).await;
    let state = wait_on(&connected(&server, &Arc::default()).await, &["a"]).await.unwrap();
    let RolloutState::Failed { cause: FailureCause::Superseded, chain } = state else { panic!("{state:?}") };
    assert_eq!(chain, ["Thing shop/a", "Namespace shop", "somebody else deletes it"]);
}

#[tokio::test]
async fn who_may_not_watch_the_namespace_waits_all_the_same() {
    // By the third watch of the thing, who asks again would have asked again.
    let news = |watch| match watch {
        0 | 1 => Answer::status(500, "InternalError", "not now"),
        _ => Answer::text(event("MODIFIED", &thing("a", true))),
    };
    let server = with_namespace(|| Answer::status(403, "Forbidden", "namespaces is forbidden"), news).await;
    let state = wait_on(&connected(&server, &Arc::default()).await, &["a"]).await.unwrap();
    assert_eq!(state, RolloutState::Ready);
    let asked = server.asked();
    assert_eq!(
        asked.iter().filter(|asked| asked.path == "/api/v1/namespaces").count(),
        1,
        "it is asked once: {asked:?}"
    );
}
