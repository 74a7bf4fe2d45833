use std::{fs, os::unix::fs::symlink};

use super::*;
use crate::redact::Redactor;

/// `user:password-1`.
const AUTH: &str = "dXNlcjpwYXNzd29yZC0x";

fn cx() -> Context {
    Context::new("dev".parse().unwrap())
}

/// A helper in `dir` that does `script`.
fn write_helper(dir: &Path, script: &str) {
    symlink(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/oci/helper"), dir.join("helper")).unwrap();
    fs::write(dir.join("answer"), script).unwrap();
}

/// What a `config.json` with `text` says about `host`, with a helper `test` that does `script`.
async fn ask(text: &str, host: &str, script: Option<&str>) -> Result<Credential> {
    let dir = tempfile::tempdir().unwrap();
    let (path, program) = (dir.path().join("config.json"), dir.path().join("helper"));
    fs::write(&path, text).unwrap();
    if let Some(script) = script {
        write_helper(dir.path(), script);
    }
    let config = DockerConfig::new(path).helper("test", program).helper_time(Duration::from_millis(500));
    config.credential(&cx(), host).await
}

fn basic(credential: Result<Credential>) -> (String, String) {
    match credential.unwrap() {
        Credential::Basic { username, password } => (username, password.expose().clone()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn logins_are_found_under_every_name_that_tools_give_a_registry() {
    for (key, host) in [
        ("ghcr.io", "ghcr.io"),
        ("https://ghcr.io", "ghcr.io"),
        ("https://ghcr.io/v1/", "ghcr.io"),
        ("127.0.0.1:5000", "127.0.0.1:5000"),
        ("https://index.docker.io/v1/", "https://index.docker.io/v1/"),
    ] {
        let text = format!(r#"{{"auths": {{"{key}": {{"auth": "{AUTH}"}}, "other.io": {{"auth": "eDp5"}}}}}}"#);
        assert_eq!(basic(ask(&text, host, None).await), ("user".into(), "password-1".into()), "{key}");
    }
    let text = format!(r#"{{"auths": {{"ghcr.io": {{"auth": "{AUTH}"}}}}}}"#);
    assert!(matches!(ask(&text, "ghcr.io.evil.example", None).await, Ok(Credential::Anonymous)));
}

#[tokio::test]
async fn no_file_and_no_entry_mean_no_login() {
    let dir = tempfile::tempdir().unwrap();
    let none = DockerConfig::new(dir.path().join("config.json")).credential(&cx(), "ghcr.io").await;
    assert!(matches!(none, Ok(Credential::Anonymous)));
    for text in ["{}", r#"{"auths": {"ghcr.io": {}}}"#, r#"{"HttpHeaders": {"x": "y"}, "auths": {}}"#] {
        assert!(matches!(ask(text, "ghcr.io", None).await, Ok(Credential::Anonymous)), "{text}");
    }
}

#[tokio::test]
async fn a_damaged_file_is_named_by_line_and_never_quoted() {
    for text in [
        "{\n\"auths\": {\"ghcr.io\": \"secret-value\"}}",
        "{\n\"auths\": {\"ghcr.io\": {\"auth\": secret-value",
        r#"{"auths": {"ghcr.io": {"auth": "secret-value!"}}}"#,
        r#"{"auths": {"ghcr.io": {"auth": "c2VjcmV0LXZhbHVl"}}}"#,
    ] {
        let error = ask(text, "ghcr.io", None).await.unwrap_err();
        let report = error.report();
        assert!(error.kind() == ErrorKind::Corrupt && report.contains("config.json"), "{report}");
        assert!(!report.contains("secret-value") && !report.contains("c2VjcmV0LXZhbHVl"), "{report}");
        assert!(!text.contains('\n') || report.contains("line 2"), "{report}");
    }
}

#[tokio::test]
async fn helpers_answer_by_their_protocol() {
    const HELPED: &str = r#"{"credHelpers": {"ghcr.io": "test"}, "auths": {"ghcr.io": {"auth": "eDp5"}}}"#;
    const STORED: &str = r#"{"credsStore": "test", "auths": {"ghcr.io": {}}}"#;
    let answer = r#"read -r host; echo "{\"ServerURL\": \"$host\", \"Username\": \"$1\", \"Secret\": \"of $host\"}""#;
    for text in [HELPED, STORED] {
        assert_eq!(basic(ask(text, "ghcr.io", Some(answer)).await), ("get".into(), "of ghcr.io".into()));
    }
    let token = r#"echo '{"Username": "<token>", "Secret": "t"}'"#;
    assert!(matches!(ask(STORED, "ghcr.io", Some(token)).await, Ok(Credential::Identity(_))));
    let unknown = "echo 'credentials not found in native keychain'; exit 1";
    assert!(matches!(ask(STORED, "ghcr.io", Some(unknown)).await, Ok(Credential::Anonymous)));
}

#[tokio::test]
async fn helpers_that_fail_hang_or_are_not_there_are_named() {
    const TEXT: &str = r#"{"credsStore": "test"}"#;
    for (script, kind, said) in [
        (Some("echo 'the key chain is locked'; exit 3"), ErrorKind::CommandFailed, "the key chain is locked"),
        (Some("echo secret-value"), ErrorKind::CommandFailed, "did not answer with"),
        (Some("exec sleep 60"), ErrorKind::Timeout, "500ms"),
        (None, ErrorKind::NotFound, "cannot be run"),
    ] {
        let error = ask(TEXT, "ghcr.io", script).await.unwrap_err();
        let report = error.report();
        assert!(error.kind() == kind && report.contains(said) && report.contains("ghcr.io"), "{error:?}");
        assert!(report.contains("config.json") && !report.contains("secret-value"), "{report}");
    }
}

#[tokio::test]
async fn a_helper_is_a_name_and_never_a_path() {
    for name in ["../../bin/sh", "/bin/sh", "a b"] {
        let error = ask(&format!(r#"{{"credsStore": "{name}"}}"#), "ghcr.io", None).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{name}");
    }
}

#[tokio::test]
async fn an_empty_name_is_no_helper() {
    let auths = format!(r#""auths": {{"ghcr.io": {{"auth": "{AUTH}"}}}}"#);
    for text in [
        format!(r#"{{"credsStore": "", {auths}}}"#),
        format!(r#"{{"credHelpers": {{"ghcr.io": ""}}, {auths}}}"#),
        format!(r#"{{"credHelpers": {{"ghcr.io": ""}}, "credsStore": "test", {auths}}}"#),
    ] {
        assert_eq!(basic(ask(&text, "ghcr.io", None).await), ("user".into(), "password-1".into()), "{text}");
    }
    for text in [r#"{"credsStore": ""}"#, r#"{"credHelpers": {"ghcr.io": ""}, "credsStore": "test"}"#] {
        assert!(matches!(ask(text, "ghcr.io", None).await, Ok(Credential::Anonymous)), "{text}");
    }
}

#[tokio::test]
async fn what_a_helper_says_is_redacted() {
    let redactor = Redactor::new();
    redactor.register(&Secret::new("known-secret".to_owned()));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.json");
    fs::write(&path, r#"{"credsStore": "test"}"#).unwrap();
    write_helper(dir.path(), "echo 'no: known-secret'; exit 1");
    let config = DockerConfig::new(path).helper("test", dir.path().join("helper"));
    let error = config.credential(&cx().with_redactor(redactor), "ghcr.io").await.unwrap_err();
    assert!(error.report().contains("no: [redacted]"), "{error:?}");
}
