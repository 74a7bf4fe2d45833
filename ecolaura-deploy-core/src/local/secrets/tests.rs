use std::{os::unix::fs::PermissionsExt as _, path::Path, sync::Arc};

use super::*;
use crate::{Context, backend::SecretStore, event::EventKind, redact::Redactor};

const VALUE: &str = "hunter2-hunter2";

fn cx() -> Context {
    Context::new("dev".parse().unwrap())
}

fn write(path: &Path, content: &str) {
    std::fs::write(path, content).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn name() -> Name {
    "secrets".parse().unwrap()
}

fn folder() -> (tempfile::TempDir, FileSecrets) {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("database-password"), &format!("{VALUE}\n"));
    let store = FileSecrets::new(name(), folder.path());
    (folder, store)
}

fn environment() -> EnvSecrets {
    let variables = [("APP_DATABASE_PASSWORD", VALUE), ("HOME", "/root"), ("APP_EMPTY", "")];
    EnvSecrets::from_variables(name(), "APP_", variables.map(|(key, value)| (key.into(), value.into())))
}

#[cfg(feature = "test-util")]
#[tokio::test]
async fn all_conform() {
    use crate::testing::conformance::small::secrets::suite;
    let folders = std::sync::Mutex::new(Vec::new());
    suite(|| async {
        let (folder, store) = folder();
        folders.lock().unwrap().push(folder);
        Arc::new(store) as Arc<dyn SecretStore>
    })
    .await;
    suite(|| async {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secrets.json");
        write(&path, &format!("{{\"database-password\": \"{VALUE}\"}}"));
        folders.lock().unwrap().push(folder);
        Arc::new(FileSecrets::new(name(), path)) as Arc<dyn SecretStore>
    })
    .await;
    suite(|| async { Arc::new(environment()) as Arc<dyn SecretStore> }).await;
}

#[tokio::test]
async fn a_rewritten_secret_is_another_version() {
    let (folder, store) = folder();
    let old = store.resolve(&cx(), "database-password").await.unwrap();
    let next = folder.path().join("next");
    write(&next, "correct horse");
    std::fs::rename(next, folder.path().join("database-password")).unwrap();
    assert_eq!(store.get(&cx(), &old).await.unwrap_err().kind(), ErrorKind::Conflict);
    let new = store.resolve(&cx(), "database-password").await.unwrap();
    assert_eq!(store.get(&cx(), &new).await.unwrap().expose(), "correct horse");
}

#[tokio::test]
async fn names_cannot_leave_the_folder() {
    let (_folder, store) = folder();
    for name in ["../database-password", "/etc/passwd", "..", ".", "", "..data/x"] {
        assert_eq!(store.resolve(&cx(), name).await.unwrap_err().kind(), ErrorKind::InvalidInput, "{name}");
    }
}

#[tokio::test]
async fn errors_do_not_show_values() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secrets.json");
    for content in [r#"{"a": "hunter2-hunter2""#, r#"{"a": ["hunter2-hunter2"]}"#, r#""hunter2-hunter2""#, "hunter2-x"]
    {
        write(&path, content);
        let error = FileSecrets::new(name(), &path).resolve(&cx(), "a").await.unwrap_err();
        assert!(!format!("{error:?} {}", error.report()).contains("hunter2"), "{content}: {error:?}");
        assert!(error.report().contains("secrets.json"), "{error:?}");
    }
    std::fs::write(&path, b"\xffhunter2-hunter2").unwrap();
    let error = FileSecrets::new(name(), &path).resolve(&cx(), "a").await.unwrap_err();
    assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
    assert!(!format!("{:?}", environment()).contains("hunter2"));
}

#[derive(Default)]
struct Warnings(std::sync::Mutex<Vec<String>>);

impl crate::context::Emit for Warnings {
    fn emit(&self, _step: Option<&str>, kind: EventKind) {
        if let EventKind::Warning { message } = kind {
            self.0.lock().unwrap().push(message);
        }
    }
}

#[tokio::test]
async fn a_file_that_others_may_read_is_warned_of() {
    let (folder, store) = folder();
    let warnings = Arc::new(Warnings::default());
    let cx = cx().with_emit(Arc::clone(&warnings) as _);
    store.resolve(&cx, "database-password").await.unwrap();
    assert!(warnings.0.lock().unwrap().is_empty());
    let path = folder.path().join("database-password");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644)).unwrap();
    store.resolve(&cx, "database-password").await.unwrap();
    let warnings = warnings.0.lock().unwrap();
    assert!(warnings[0].contains("mode 644") && warnings[0].contains("database-password"), "{warnings:?}");
}

#[tokio::test]
async fn a_pipe_is_no_secret() {
    let (folder, store) = folder();
    let pipe = folder.path().join("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let error = store.resolve(&cx(), "pipe").await.unwrap_err();
    assert!(error.report().contains("is not a file"), "{}", error.report());
}

#[tokio::test]
async fn what_is_handed_out_is_redacted_from_then_on() {
    let redactor = Redactor::new();
    let store = environment().with_redactor(redactor.clone());
    let reference = store.resolve(&cx(), "database-password").await.unwrap();
    store.get(&cx(), &reference).await.unwrap();
    assert_eq!(redactor.redact("hunter2-hunter2"), "[redacted]");
}

#[tokio::test]
async fn an_environment_secret_says_which_variable_to_set() {
    let report = environment().resolve(&cx(), "smtp.key").await.unwrap_err().report();
    assert!(report.contains("`APP_SMTP_KEY`"), "{report}");
    assert_eq!(environment().resolve(&cx(), "empty").await.unwrap_err().kind(), ErrorKind::InvalidInput);
    let variables = [("APP_A", "secret-value"), ("APP_A_VERSION", "7")];
    let store = EnvSecrets::from_variables(name(), "APP_", variables.map(|(key, value)| (key.into(), value.into())));
    assert_eq!(store.resolve(&cx(), "a").await.unwrap().version, "7");
}
