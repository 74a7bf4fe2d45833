//! Without a cluster: a server that answers what each test says, and real kubeconfig files.
#![expect(clippy::needless_pass_by_value, reason = "literals are handed in")]

mod reached;
mod refused;
mod tokens;

use std::{fs, os::unix::fs::PermissionsExt as _};

use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::fake_server::{Answer, Asked, FakeServer};

fn cx() -> Context {
    Context::new("dev".parse().unwrap())
}

/// A server that knows its version and who holds which token.
fn answer(asked: &Asked) -> Answer {
    match (asked.path.as_str(), asked.bearer()) {
        ("/version", _) => Answer::json(&json!({
            "major": "1", "minor": "34", "gitVersion": "v1.34.4", "gitCommit": "", "gitTreeState": "", "buildDate": "",
            "goVersion": "", "compiler": "", "platform": "",
        })),
        (_, bearer) => Answer::json(&json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview", "metadata": {},
            "status": {"userInfo": {"username": format!("holder of {}", bearer.unwrap_or("nothing")), "groups": ["g"]}},
        })),
    }
}

/// A folder with a kubeconfig.
struct Folder(TempDir);

impl Folder {
    /// With this cluster and this user.
    fn new(cluster: serde_json::Value, user: serde_json::Value) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write("config", &config(cluster, user).to_string());
        folder
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Without anything from this process.
    fn connect(&self) -> Connect {
        alone(Connect::kubeconfig(self.path("config")))
    }
}

fn alone(connect: Connect) -> Connect {
    with(connect, &[])
}

fn with(connect: Connect, variables: &[(&str, &str)]) -> Connect {
    Connect { surroundings: Surroundings::of(variables, Path::new("/nowhere")), ..connect }
}

fn config(cluster: serde_json::Value, user: serde_json::Value) -> serde_json::Value {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "dev",
        "contexts": [{"name": "dev", "context": {"cluster": "c", "user": "u", "namespace": "shop"}}],
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user}],
    })
}

async fn fails(connect: Connect) -> Error {
    connect.connect(&cx()).await.unwrap_err()
}

/// Whether all of `words` stand in `text`.
#[track_caller]
fn says(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "no `{word}` in: {text}");
    }
}
