//! Credential plugins of a kubeconfig: programs that print a token.

use std::{fmt, process::Stdio, time::Duration};

use async_trait::async_trait;
use ecolaura_deploy_core::{
    Context, Error, ErrorKind, Result, Secret,
    backend::{Token, TokenSource},
};
use k8s_openapi::jiff::Timestamp;
use kube::config::{ExecAuthCluster, ExecConfig, ExecInteractiveMode};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::process::Command;

const OPERATION: &str = "cluster.token";
const VERSION: &str = "client.authentication.k8s.io/v1";

/// How much of what a plugin complains gets into an error.
const COMPLAINT: usize = 500;

/// A plugin that was allowed. It gets no input, and ends with the call that needs it.
pub(super) struct Plugin {
    exec: ExecConfig,
    cluster: Option<ExecAuthCluster>,
    cx: Context,
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugin").field("command", &self.exec.command).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Answer {
    status: Option<Status>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    token: Option<String>,
    expiration_timestamp: Option<String>,
    client_certificate_data: Option<String>,
}

impl Plugin {
    /// The plugin that `exec` names. `cx` is the one that connects: its clock and its redactor are used.
    pub(super) fn new(exec: ExecConfig, cluster: Option<ExecAuthCluster>, cx: &Context) -> Result<Self> {
        if exec.interactive_mode == Some(ExecInteractiveMode::Always) {
            let message = "the credential plugin wants to ask a person, and nobody is there";
            return Err(Error::new(ErrorKind::Unsupported, "cluster.connect", message)
                .advice("log in before, or give this program a service account of its own"));
        }
        let cluster = cluster.filter(|_| exec.provide_cluster_info);
        Ok(Self { exec, cluster, cx: cx.clone() })
    }

    fn name(&self) -> &str {
        self.exec.command.as_deref().unwrap_or_default()
    }

    fn error(&self, kind: ErrorKind, message: impl fmt::Display) -> Error {
        Error::new(kind, OPERATION, format!("the credential plugin `{}` {message}", self.name()))
    }

    fn command(&self) -> Command {
        let version = self.exec.api_version.as_deref().unwrap_or(VERSION);
        let mut spec = json!({"interactive": false});
        if let Some(cluster) = self.cluster.as_ref().and_then(|cluster| serde_json::to_value(cluster).ok()) {
            spec["cluster"] = cluster;
        }
        let asked: Value = json!({"apiVersion": version, "kind": "ExecCredential", "spec": spec});
        let mut command = Command::new(self.name());
        command.args(self.exec.args.iter().flatten());
        command.env("KUBERNETES_EXEC_INFO", asked.to_string());
        for variable in self.exec.env.iter().flatten() {
            if let (Some(name), Some(value)) = (variable.get("name"), variable.get("value")) {
                command.env(name, value);
            }
        }
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// What it printed; what it complained about if it failed. What it printed then is not shown: it may be a token.
    async fn run(&self) -> Result<Vec<u8>> {
        let output = self.command().output().await.map_err(|error| {
            let hint = self.exec.install_hint.as_deref().map(str::trim).filter(|hint| !hint.is_empty());
            let advice = hint.unwrap_or("install it, or give its whole path in the kubeconfig");
            self.error(ErrorKind::Unauthenticated, format!("cannot be run: {error}")).advice(advice)
        })?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        let complaint = String::from_utf8_lossy(&output.stderr);
        let complaint = self.cx.redactor().redact(complaint.trim());
        let end = complaint.char_indices().nth(COMPLAINT).map_or(complaint.len(), |(end, _)| end);
        let message = format!("failed ({}): {}", output.status, &complaint[..end]);
        Err(self.error(ErrorKind::Unauthenticated, message.trim_end_matches([':', ' '])))
    }

    fn life(&self, until: &str) -> Result<Duration> {
        let until: Timestamp = until
            .parse()
            .map_err(|_| self.error(ErrorKind::Corrupt, "gave a token whose expirationTimestamp is no time"))?;
        let seconds = until.as_second() - self.cx.clock().now().as_second();
        Ok(Duration::from_secs(seconds.try_into().unwrap_or_default()))
    }
}

#[async_trait]
impl TokenSource for Plugin {
    async fn token(&self) -> Result<Token> {
        let printed = self.run().await?;
        let answer: Answer = serde_json::from_slice(&printed)
            .map_err(|_| self.error(ErrorKind::Corrupt, "printed something that is no ExecCredential in JSON"))?;
        let status = answer.status.ok_or_else(|| self.error(ErrorKind::Corrupt, "printed no status"))?;
        let token = match (status.token, status.client_certificate_data) {
            (Some(token), _) => Token::new(Secret::new(token)),
            (None, Some(_)) => {
                let error = self.error(ErrorKind::Unsupported, "gives a client certificate and no token");
                return Err(error.advice("use a plugin that gives a token, or put the certificate into the kubeconfig"));
            }
            (None, None) => return Err(self.error(ErrorKind::Unauthenticated, "gave no token")),
        };
        match status.expiration_timestamp {
            Some(until) => Ok(token.good_for(self.life(&until)?)),
            None => Ok(token),
        }
    }
}
