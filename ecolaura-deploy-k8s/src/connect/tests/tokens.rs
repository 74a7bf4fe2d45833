//! Tokens are renewed before they end, after a refusal, and by one caller at a time.

use std::sync::{
    Mutex,
    atomic::{AtomicU32, Ordering},
};

use async_trait::async_trait;
use ecolaura_deploy_core::backend::Token;
use futures_util::future::join_all;
use tokio::time::{Instant, advance, sleep};

use super::*;

/// Makes `token-1`, `token-2`, …, as long as it is not broken.
#[derive(Debug, Default)]
struct Counting {
    made: AtomicU32,
    life: Option<Duration>,
    takes: Duration,
    broken: Mutex<bool>,
}

impl Counting {
    fn lasting(life: Duration) -> Arc<Self> {
        Arc::new(Self { life: Some(life), ..Self::default() })
    }

    fn made(&self) -> u32 {
        self.made.load(Ordering::SeqCst)
    }

    fn breaks(&self, broken: bool) {
        *self.broken.lock().unwrap() = broken;
    }
}

#[async_trait]
impl TokenSource for Counting {
    async fn token(&self) -> Result<Token> {
        sleep(self.takes).await;
        if *self.broken.lock().unwrap() {
            return Err(Error::new(ErrorKind::Unavailable, "sts.token", "the token service is away").advice("wait"));
        }
        let number = self.made.fetch_add(1, Ordering::SeqCst) + 1;
        let token = Token::new(Secret::new(format!("token-{number}")));
        Ok(match self.life {
            Some(life) => token.good_for(life),
            None => token,
        })
    }
}

fn tokens(source: &Arc<Counting>) -> Tokens {
    Tokens::new(source.clone(), cx().redactor().clone())
}

async fn sent(tokens: &Tokens) -> String {
    tokens.bearer().await.unwrap().header.to_str().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_before_it_ends() {
    let source = Counting::lasting(Duration::from_mins(14));
    let tokens = tokens(&source);
    assert_eq!(sent(&tokens).await, "Bearer token-1");
    advance(Duration::from_mins(10)).await;
    assert_eq!(sent(&tokens).await, "Bearer token-1");
    advance(Duration::from_mins(1)).await;
    assert_eq!(sent(&tokens).await, "Bearer token-2");
    // Over the whole of a long wait there is never one that has ended.
    for _ in 0..100 {
        advance(Duration::from_mins(5)).await;
        assert!(tokens.bearer().await.unwrap().is_good());
    }
    assert!((30..60).contains(&source.made()), "{}", source.made());
}

#[tokio::test(start_paused = true)]
async fn while_the_source_is_away_the_old_token_serves_to_its_end() {
    let source = Counting::lasting(Duration::from_mins(14));
    let tokens = tokens(&source);
    sent(&tokens).await;
    source.breaks(true);
    advance(Duration::from_mins(12)).await;
    assert_eq!(sent(&tokens).await, "Bearer token-1");
    advance(Duration::from_mins(2)).await;
    let error = tokens.bearer().await.err().unwrap();
    assert_eq!((error.kind(), error.message()), (ErrorKind::Unavailable, "the token service is away"));
    source.breaks(false);
    assert_eq!(sent(&tokens).await, "Bearer token-2");
}

#[tokio::test(start_paused = true)]
async fn many_callers_ask_the_source_once() {
    let source = Arc::new(Counting {
        life: Some(Duration::from_mins(10)),
        takes: Duration::from_secs(3),
        ..Counting::default()
    });
    let tokens = tokens(&source);
    join_all((0..50).map(|_| sent(&tokens))).await;
    assert_eq!(source.made(), 1);
    // While one renews, the others go on with the old one at once.
    advance(Duration::from_mins(9)).await;
    let began = Instant::now();
    let all = join_all((0..50).map(|_| async {
        let token = sent(&tokens).await;
        (token, began.elapsed())
    }))
    .await;
    let at_once = all.iter().filter(|(token, took)| token == "Bearer token-1" && took.is_zero()).count();
    assert_eq!((at_once, source.made()), (49, 2));
}

#[tokio::test(start_paused = true)]
async fn a_source_that_hangs_is_given_up() {
    let source = Arc::new(Counting { takes: Duration::from_hours(1), ..Counting::default() });
    assert_eq!(tokens(&source).bearer().await.err().unwrap().kind(), ErrorKind::Timeout);
}

/// Connects to `server` with `source`.
async fn connected(server: &FakeServer, source: &Arc<Counting>) -> Connection {
    alone(Connect::tokens(server.url(), source.clone())).connect(&cx()).await.unwrap()
}

#[tokio::test]
async fn a_refused_token_is_replaced_once_and_the_call_made_again() {
    let server = FakeServer::start(|asked| match asked.bearer() {
        Some("token-1") => Answer::status(401, "Unauthorized", "Unauthorized"),
        _ => answer(asked),
    })
    .await;
    let source = Arc::default();
    let connection = connected(&server, &source).await;
    let identity = connection.check(&cx()).await.unwrap();
    assert_eq!((identity.user.as_str(), identity.version.as_str()), ("holder of token-2", "v1.34.4"));
    let posted: Vec<_> = server.asked().into_iter().filter(|asked| asked.method == "POST").collect();
    assert_eq!(posted.len(), 1, "the body came along: {posted:?}");
    assert_eq!(posted[0].body["kind"], "SelfSubjectReview");
    assert_eq!(source.made(), 2);
}

#[tokio::test]
async fn a_server_that_refuses_every_token_is_asked_twice() {
    let server = FakeServer::start(|_| Answer::status(401, "Unauthorized", "Unauthorized")).await;
    let source = Arc::default();
    let error = connected(&server, &source).await.check(&cx()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert_eq!((server.asked().len(), source.made()), (2, 2));
    says(&error.report(), &["Unauthorized", &server.url(), "credentials"]);
}

#[tokio::test]
async fn what_the_source_says_is_the_error_of_the_call() {
    let server = FakeServer::start(answer).await;
    let source = Arc::default();
    let connection = connected(&server, &source).await;
    source.breaks(true);
    let error = connection.check(&cx()).await.unwrap_err();
    assert_eq!(error.message(), "the token service is away");
    says(&error.report(), &["sts.token", "server's version", "wait"]);
    assert!(server.asked().is_empty(), "nothing is sent without a token");
}

#[tokio::test]
async fn a_token_file_is_read_again() {
    let server = FakeServer::start(answer).await;
    let folder = Folder::new(json!({"server": server.url()}), json!({"tokenFile": "token"}));
    folder.write("token", "first\n");
    let connection = folder.connect().connect(&cx()).await.unwrap();
    assert_eq!(connection.check(&cx()).await.unwrap().user, "holder of first");
    folder.write("token", "second\n");
    assert_eq!(connection.check(&cx()).await.unwrap().user, "holder of first", "not at every call");
    let file = token::TokenFile::new(folder.path("token"));
    let tokens = Tokens::new(Arc::new(file), cx().redactor().clone());
    assert_eq!(sent(&tokens).await, "Bearer second");
    tokens.refused(1);
    fs::remove_file(folder.path("token")).unwrap();
    assert_eq!(sent(&tokens).await, "Bearer second", "the last one serves on");
}

/// A plugin that prints this.
fn plugin(folder: &Folder, script: &str) -> String {
    let path = folder.write("plugin", &format!("#!/bin/sh\n{script}\n"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    path.to_str().unwrap().to_owned()
}

async fn by_plugin(script: &str) -> Result<Identity> {
    let server = FakeServer::start(answer).await;
    let exec = json!({"exec": {
        "apiVersion": "client.authentication.k8s.io/v1", "command": "./plugin", "args": ["a b"],
        "env": [{"name": "WHO", "value": "it"}], "installHint": "get the plugin",
    }});
    let folder = Folder::new(json!({"server": server.url()}), exec);
    let _path = plugin(&folder, script);
    let command = folder.0.path().join("./plugin");
    let connect = folder.connect().allow_exec(command.to_str().unwrap());
    connect.connect(&cx()).await?.check(&cx()).await
}

#[tokio::test]
async fn an_allowed_plugin_gives_the_token() {
    let identity = by_plugin(
        r#"read nothing; case "$KUBERNETES_EXEC_INFO" in *ExecCredential*) ;; *) exit 9;; esac
        echo "{\"status\": {\"token\": \"for-$WHO-$1\", \"expirationTimestamp\": \"2999-01-01T00:00:00Z\"}}""#,
    )
    .await;
    assert_eq!(identity.unwrap().user, "holder of for-it-a b");
}

#[tokio::test]
async fn what_a_plugin_prints_is_not_shown() {
    for (script, words) in [
        ("echo hunter2-hunter2; echo no login >&2; exit 3", ["failed", "no login"]),
        ("echo hunter2-hunter2", ["no ExecCredential", "plugin"]),
        (r#"echo '{"status": {"clientCertificateData": "hunter2"}}'"#, ["client certificate", "plugin"]),
        (
            r#"echo '{"status": {"token": "hunter2", "expirationTimestamp": "soon"}}'"#,
            ["expirationTimestamp", "plugin"],
        ),
        ("echo '{}'", ["no status", "plugin"]),
    ] {
        let error = by_plugin(script).await.unwrap_err();
        says(&error.report(), &words);
        assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    }
    let folder = Folder::new(
        json!({"server": "https://c"}),
        json!({"exec": {"command": "no-such-plugin-here", "installHint": "get the plugin"}}),
    );
    let connection = folder.connect().allow_exec("no-such-plugin-here").connect(&cx()).await.unwrap();
    let error = connection.check(&cx()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    says(&error.report(), &["no-such-plugin-here", "get the plugin"]);
}
