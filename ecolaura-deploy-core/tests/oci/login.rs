use std::{fs, os::unix::fs::symlink, path::Path};

use ecolaura_deploy_core::{
    Error, ErrorKind,
    backend::Registry as _,
    oci::{DockerConfig, OciRegistry},
    redact::Redactor,
    vocabulary::{Digest, PinnedImage},
};
use hyper::Method;
use serde_json::json;
use tokio::io::AsyncReadExt as _;

use super::{
    clock, cx,
    images::image,
    logins::{LOGIN, Logins, PASSWORD, deploy, fake},
    registry, repository,
    server::{Act, FakeRegistry},
};

async fn push(registry: &OciRegistry) -> Result<(), Error> {
    let dir = tempfile::tempdir().unwrap();
    registry.push(&cx(), &image(dir.path(), b"layer"), &repository()).await.map(|_| ())
}

fn asked(server: &FakeRegistry) -> Vec<String> {
    server.state().logins.as_ref().unwrap().asked().to_vec()
}

#[tokio::test]
async fn fake_with_bearer_tokens_gives_one_for_all_that_a_push_needs() {
    let server = fake(Logins::bearer(Some(LOGIN))).await;
    push(&registry(&server).credentials(deploy())).await.unwrap();
    let asked = asked(&server);
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert!(asked[0].contains("scope=repository%3Ashop%2Fbackend%3Apull%2Cpush") && asked[0].contains("service=fake"));
}

#[tokio::test]
async fn fake_with_bearer_tokens_gives_them_to_nobody_in_particular_too() {
    let server = fake(Logins::bearer(None)).await;
    push(&registry(&server)).await.unwrap();
}

#[tokio::test]
async fn fake_whose_token_ends_in_the_middle_of_a_push_gives_another() {
    for (method, part) in
        [(Method::POST, "/blobs/uploads/"), (Method::PUT, "/blobs/uploads/"), (Method::PUT, "/manifests/")]
    {
        let server = fake(Logins::bearer(Some(LOGIN))).await;
        server.fault(method.clone(), part, 1, Act::ForgetTokens);
        push(&registry(&server).credentials(deploy())).await.unwrap();
        assert_eq!(asked(&server).len(), 2, "{method} {part}");
    }
}

#[tokio::test]
async fn fake_token_is_renewed_before_it_ends() {
    let server = fake(Logins::bearer(Some(LOGIN))).await;
    let registry = registry(&server).credentials(deploy());
    push(&registry).await.unwrap();
    tokio::time::pause();
    tokio::time::advance(std::time::Duration::from_secs(296)).await;
    tokio::time::resume();
    server.state().log.clear();
    push(&registry).await.unwrap();
    assert_eq!(asked(&server).len(), 2);
    let log = server.state().log.clone();
    assert!(log[0].contains("/token"), "nothing was refused first: {log:?}");
}

#[tokio::test]
async fn fake_that_takes_basic_logins_gets_them_only_when_it_asks() {
    let server = fake(Logins::basic(LOGIN)).await;
    push(&registry(&server).credentials(deploy())).await.unwrap();

    let open = FakeRegistry::start().await;
    open.state().storage = Some(String::new());
    push(&registry(&open).credentials(deploy())).await.unwrap();
}

#[tokio::test]
async fn fake_that_refuses_the_login_is_named_without_the_secret() {
    for logins in [Logins::bearer(Some("other")), Logins::basic("other")] {
        let server = fake(logins).await;
        let registry = registry(&server).credentials(deploy());
        let error = push(&registry).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error:?}");
        assert!(error.report().contains(&server.address.to_string()), "{}", error.report());
        for text in [error.report(), format!("{error:?}"), format!("{registry:?}"), format!("{:?}", deploy())] {
            assert!(!text.contains(PASSWORD) && !text.contains(LOGIN), "{text}");
        }
    }
    let server = fake(Logins::bearer(Some("other"))).await;
    assert!(push(&registry(&server).credentials(deploy())).await.unwrap_err().report().contains("`deploy`"));
    assert!(push(&registry(&server)).await.unwrap_err().report().contains("no credentials"));
}

#[tokio::test]
async fn fake_that_echoes_secrets_is_not_quoted_with_them() {
    clock::stand_still_while_waiting();
    let said = format!("bad header: Basic {LOGIN}; token-number-1; {PASSWORD}");
    let body = json!({"errors": [{"code": "UNKNOWN", "message": said, "detail": said}]}).to_string();
    for body in [body, said] {
        let server = fake(Logins::bearer(Some(LOGIN))).await;
        let registry = registry(&server).credentials(deploy());
        push(&registry).await.unwrap();
        let act = Act::Answer { status: 500, retry_after: None, body };
        server.fault(Method::HEAD, "/manifests/", 9, act.clone());
        server.fault(Method::GET, "/manifests/", 9, act);
        let redactor = Redactor::new();
        let context = cx().with_redactor(redactor.clone());
        let pinned = PinnedImage::new(repository(), Digest::of("x"));
        let error = registry.manifest(&context, &pinned).await.unwrap_err();
        for secret in [PASSWORD, LOGIN, "token-number-1"] {
            assert!(!error.report().contains(secret), "{}", error.report());
            assert!(!redactor.redact(secret).contains(secret), "the run's redactor knows {secret}");
        }
        assert!(error.report().contains("bad header"), "{}", error.report());
    }
}

#[tokio::test]
async fn fake_storage_elsewhere_sees_no_login() {
    let (server, storage) = (fake(Logins::bearer(Some(LOGIN))).await, FakeRegistry::start().await);
    let (here, there) = (registry(&server).credentials(deploy()), registry(&storage));
    push(&here).await.unwrap();
    push(&there).await.unwrap();
    server.state().storage = Some(format!("http://{}", storage.address));
    let digest = Digest::of("layer");
    let mut blob = here.blob(&cx(), &repository(), &digest).await.unwrap();
    let mut bytes = Vec::new();
    blob.read_to_end(&mut bytes).await.unwrap();
    assert_eq!(bytes, b"layer");
    assert_eq!(storage.state().carried.pop(), Some(None));
}

#[tokio::test]
async fn fake_storage_elsewhere_takes_blobs_without_a_login() {
    let (server, storage) = (fake(Logins::bearer(Some(LOGIN))).await, FakeRegistry::start().await);
    server.state().uploads = Some(format!("http://{}", storage.address));
    storage.state().sessions.extend(["session-1", "session-2"].map(|session| (session.to_owned(), Vec::new())));
    let error = push(&registry(&server).credentials(deploy())).await.unwrap_err();
    assert!(error.report().contains("MANIFEST_BLOB_UNKNOWN"), "the fake itself has no blobs: {error:?}");
    assert!(error.advice_text().unwrap().contains("push the image again"), "{}", error.report());
    assert_eq!(storage.state().carried, [None, None]);
}

#[tokio::test]
async fn fake_that_sends_logins_to_another_machine_unencrypted_gets_none() {
    let server = FakeRegistry::start().await;
    let challenge = "Bearer realm=\"http://tokens.example/token\",service=\"x\"";
    server.fault(Method::HEAD, "/", 9, Act::Challenge(challenge));
    let error = push(&registry(&server).credentials(deploy())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert!(error.report().contains("http://tokens.example/token"), "{}", error.report());
}

/// A helper that does `answer`, and notes what it was asked.
pub(crate) fn helper(dir: &Path, answer: &str) {
    let program = dir.join("helper");
    if !program.exists() {
        symlink(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/oci/helper"), &program).unwrap();
    }
    let script = format!("read -r host\necho \"$1 $host\" >> {}/asked\n{answer}\n", dir.display());
    fs::write(dir.join("answer"), script).unwrap();
}

#[tokio::test]
async fn fake_is_logged_in_to_by_what_docker_keeps() {
    let dir = tempfile::tempdir().unwrap();
    let server = fake(Logins::bearer(Some(LOGIN))).await;
    let config = dir.path().join("config.json");
    let open = || registry(&server).credentials(DockerConfig::new(&config).helper("test", dir.path().join("helper")));

    fs::write(&config, json!({"auths": {server.address.to_string(): {"auth": LOGIN}}}).to_string()).unwrap();
    push(&open()).await.unwrap();

    let secret = json!({"Username": "deploy", "Secret": PASSWORD}).to_string();
    helper(dir.path(), &format!("echo '{secret}'"));
    fs::write(&config, json!({"credHelpers": {server.address.to_string(): "test"}}).to_string()).unwrap();
    push(&open()).await.unwrap();
    let asked = fs::read_to_string(dir.path().join("asked")).unwrap();
    assert_eq!(asked, format!("get {}\n", server.address));
}

#[tokio::test]
async fn fake_that_refuses_a_login_which_was_good_gets_what_the_helper_says_now() {
    let dir = tempfile::tempdir().unwrap();
    let server = fake(Logins::bearer(Some(LOGIN))).await;
    let secret = json!({"Username": "deploy", "Secret": PASSWORD}).to_string();
    let stale = json!({"Username": "deploy", "Secret": "stale"}).to_string();
    helper(dir.path(), &format!("echo '{secret}'"));
    let config = dir.path().join("config.json");
    fs::write(&config, json!({"credsStore": "test"}).to_string()).unwrap();
    let registry = registry(&server).credentials(DockerConfig::new(&config).helper("test", dir.path().join("helper")));
    push(&registry).await.unwrap();

    // The password is changed on both sides.
    let changed = "ZGVwbG95OnN0YWxl";
    server.state().logins = Some(Logins::bearer(Some(changed)));
    helper(dir.path(), &format!("echo '{stale}'"));
    push(&registry).await.unwrap();
    assert_eq!(fs::read_to_string(dir.path().join("asked")).unwrap().lines().count(), 2);
}

#[tokio::test]
async fn fake_gets_an_identity_token_in_a_form_and_never_in_an_address() {
    let dir = tempfile::tempdir().unwrap();
    let server = fake(Logins::bearer(Some("identity-token-0001"))).await;
    let config = dir.path().join("config.json");
    let login = json!({"auths": {server.address.to_string(): {"auth": LOGIN, "identitytoken": "identity-token-0001"}}});
    fs::write(&config, login.to_string()).unwrap();
    push(&registry(&server).credentials(DockerConfig::new(&config))).await.unwrap();
    assert!(asked(&server)[0].contains("grant_type=refresh_token"));
    let log = server.state().log.clone();
    assert!(log.iter().any(|line| line == "POST /token") && log.iter().all(|line| !line.contains("identity-token")));
}
