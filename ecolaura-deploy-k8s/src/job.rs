//! A command in a pod, run once: a Kubernetes Job by a name that its key gives, so that whoever comes again with that key
//! finds it instead of starting another.

mod migrator;
mod output;
mod step;
#[cfg(test)]
mod tests;
mod tidy;
mod tool;

use std::time::Duration;

use ecolaura_deploy_core::{
    Context, Effect, Error, ErrorKind, Result,
    backend::{FailureCause, RolloutState},
    vocabulary::{Digest, Name},
};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use kube::{
    Api,
    api::{ListParams, PostParams},
    core::DynamicObject,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use self::output::{Kept, Needed, Nobody, Output};
pub use self::{
    migrator::JobMigrator,
    step::{JobUndo, RunJob},
    tool::{Listed, MigrationTool, OwnTool, Standing},
};
pub(crate) use self::{output::Listener, tidy::tidy};
use crate::{
    Connection,
    error::Call,
    names::{MANAGER, PART},
    object::{Key, Kind, Kinds},
    ownership,
    reconcile::{Permissions, Server},
    watch::{self, Awaited, Judging},
};

const OPERATION: &str = "cluster.job";

/// Annotation of Jobs: a digest over what was asked for, and the key that asked.
const SPEC: &str = "deploy.ecolaura.io/job-spec";
const KEY: &str = "deploy.ecolaura.io/job-key";

/// The value of [`PART`] for Jobs, and the label that says which of the namespace's: [`JobRequest::name`].
const JOB_PART: &str = "job";
const JOB: &str = "deploy.ecolaura.io/job";

/// How long ending a Job may take, whatever is left of the run.
const ENDING: Duration = Duration::from_mins(1);

/// What becomes of a Job that nobody waits for any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OnCancel {
    /// It runs on; who comes again with its key waits for it.
    #[default]
    Leave,
    /// It is deleted with its pods. What they have done stays done.
    Delete,
}

/// A Job to run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct JobRequest {
    /// Where.
    pub namespace: Name,
    /// What its name begins with, `migrate`.
    pub name: Name,
    /// What it is run once for: [`Context::effect_key`] in a step.
    pub key: String,
    /// The `spec` of the Job, complete.
    pub spec: Value,
    /// How long it may take; its pods are ended then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Duration>,
    /// What becomes of it when the wait for it is cancelled, or takes too long.
    #[serde(default)]
    pub on_cancel: OnCancel,
}

impl JobRequest {
    /// `spec` (as in a manifest, with `template`) once for `key`.
    pub fn new(namespace: Name, name: Name, key: impl Into<String>, spec: Value) -> Self {
        Self { namespace, name, key: key.into(), spec, deadline: None, on_cancel: OnCancel::default() }
    }

    /// Ended after `time`, unless the spec says earlier.
    pub fn deadline(self, time: Duration) -> Self {
        Self { deadline: Some(time), ..self }
    }

    /// With this becoming of it when the wait for it ends early.
    pub fn on_cancel(self, on_cancel: OnCancel) -> Self {
        Self { on_cancel, ..self }
    }

    /// The name of its Job: the same for the same key.
    pub fn job_name(&self) -> String {
        let digits = Digest::of(&self.key).to_hex();
        // A pod's name is that of its Job and six more characters.
        let front: String = self.name.as_str().chars().take(40).collect();
        format!("{}-{}", front.trim_end_matches('-'), &digits[..10])
    }

    fn object_key(&self) -> Key {
        Key::new("batch/v1", "Job", Some(self.namespace.as_str()), &self.job_name())
    }

    /// The whole object, with the digest of what was asked for.
    fn object(&self) -> Result<Value> {
        self.check()?;
        let mut spec = self.spec.clone();
        if let Some(deadline) = self.deadline {
            let given = spec["activeDeadlineSeconds"].as_u64().unwrap_or(u64::MAX);
            spec["activeDeadlineSeconds"] = json!(deadline.as_secs().clamp(1, given));
        }
        if spec.get("podReplacementPolicy").is_none() {
            // No second pod as long as the first one may still do something.
            spec["podReplacementPolicy"] = json!("Failed");
        }
        let digest = Digest::of(spec.to_string()).to_string();
        let labels = json!({PART: JOB_PART, JOB: self.name.as_str(), "app.kubernetes.io/managed-by": MANAGER});
        Ok(json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": {
                "name": self.job_name(), "namespace": self.namespace.as_str(), "labels": labels,
                "annotations": {SPEC: digest, KEY: self.key},
            },
            "spec": spec,
        }))
    }

    /// What would break the promise, or is no Job.
    fn check(&self) -> Result<()> {
        let wrong = |what: &str, advice: &str| {
            Err(Error::invalid(OPERATION, format!("the Job `{}`: {what}", self.name)).advice(advice))
        };
        if !self.spec.pointer("/template/spec/containers").is_some_and(|containers| containers[0].is_object()) {
            return wrong("it has no containers", "give the `spec` of a Job, with `template.spec.containers`");
        }
        match self.spec.pointer("/template/spec/restartPolicy").and_then(Value::as_str) {
            Some("Never" | "OnFailure") => {}
            found => {
                let found = found.unwrap_or("not set");
                let what = format!("`template.spec.restartPolicy` is {found}");
                return wrong(&what, "make it Never, or OnFailure");
            }
        }
        if self.spec.get("ttlSecondsAfterFinished").is_some() {
            let what = "`ttlSecondsAfterFinished` would delete it, and who came again would run it again";
            return wrong(what, "leave it out, and delete the Job by `delete_job` once its result is recorded");
        }
        if self.spec.get("suspend") == Some(&Value::Bool(true)) {
            return wrong("it is suspended", "leave `suspend` out");
        }
        Ok(())
    }
}

/// How a Job ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct JobReport {
    /// Its name.
    pub name: String,
    /// Whether it was there before: another attempt, or another process, has started it.
    pub adopted: bool,
    /// What became of it.
    pub end: JobEnd,
}

/// What became of a Job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum JobEnd {
    /// It has completed.
    Succeeded,
    /// It has not, and will not.
    Failed {
        /// The cause.
        cause: FailureCause,
        /// From the Job inwards, each a line; the last ones are what was printed last.
        chain: Vec<String>,
        /// Whether any of its containers has run.
        ran: bool,
    },
}

impl JobReport {
    /// Nothing if it succeeded; otherwise the error: what it did before it failed is done.
    pub fn into_result(self) -> Result<()> {
        let JobEnd::Failed { cause, chain, ran } = self.end else { return Ok(()) };
        let message = format!("the Job {} failed, {cause}: {}", self.name, chain.join(": "));
        let effect = if ran { Effect::Unknown } else { Effect::None };
        Err(Error::new(ErrorKind::CommandFailed, OPERATION, message).with_effect(effect))
    }
}

/// Runs the Job of `request` and waits until it has ended. What its containers print goes to [`Context::output`].
///
/// # Once
/// The Job is named by the key of the request. If it is there already it is waited for, or its end is told if it has
/// ended: nothing is started. So a key never runs twice as long as its Job is there, which is until [`delete_job`].
/// `backoffLimit` is what the spec says: it is how often Kubernetes itself starts another pod *within* the one run. (A node
/// that is cut off may still run a pod that was given up; that is Kubernetes' word, and no key helps.)
///
/// A Job whose pods can never start, because its image or its configuration is missing or no node fits, is deleted; that of
/// which no container has run may so be run again with the same key.
///
/// # Cancellation
/// The Job runs on, or is deleted: [`OnCancel`]. The same when the deadline of `cx` passes. Dropped, it leaves it running.
///
/// # Errors
/// [`ErrorKind::AlreadyExists`] if the key was used for another spec, [`ErrorKind::InvalidInput`] for a spec that is none
/// or would break the promise, [`ErrorKind::Conflict`] if somebody else deleted or suspended the Job: how it ended is not
/// known then. That the Job failed is no error here; see [`JobReport::into_result`].
pub async fn run_job(cx: &Context, connection: &Connection, request: &JobRequest) -> Result<JobReport> {
    run_heard(cx, connection, request, &mut Nobody).await
}

/// The same with somebody who hears what the containers print.
pub(crate) async fn run_heard(
    cx: &Context,
    connection: &Connection,
    request: &JobRequest,
    listener: &mut dyn Listener,
) -> Result<JobReport> {
    cx.check(OPERATION)?;
    let run = Run { connection, request, kinds: &Kinds::default() };
    let object = request.object()?;
    let (job, adopted) = run.create_or_adopt(cx, &object).await?;
    let ended = run.wait(cx, &job, listener).await;
    let state = match ended {
        Ok(state) => state,
        Err(error) => return Err(run.given_up(cx, &job, error).await),
    };
    let end = run.end(cx, &job, state).await?;
    Ok(JobReport { name: request.job_name(), adopted, end })
}

/// Takes the Job of `request` away, with its pods, and waits until it is gone. Idempotent.
pub async fn delete_job(cx: &Context, connection: &Connection, request: &JobRequest) -> Result<()> {
    let run = Run { connection, request, kinds: &Kinds::default() };
    run.delete(cx, None).await
}

fn job_kind() -> Kind {
    Kind::known("batch/v1", "Job", "jobs")
}

struct Run<'a> {
    connection: &'a Connection,
    request: &'a JobRequest,
    kinds: &'a Kinds,
}

impl Run<'_> {
    fn server<'b>(&'b self, cx: &'b Context) -> Server<'b> {
        let permissions = Permissions::default();
        Server {
            cx,
            connection: self.connection,
            kinds: self.kinds,
            permissions,
            ownership: &ownership::NONE,
            salt: &[],
        }
    }

    /// The Job, and whether it was there before.
    async fn create_or_adopt(&self, cx: &Context, object: &Value) -> Result<(DynamicObject, bool)> {
        let key = self.request.object_key();
        let wanted: DynamicObject = serde_json::from_value(object.clone())
            .map_err(|error| Error::internal(OPERATION, "the Job could not be written").with_source(error))?;
        if let Some(found) = self.server(cx).get(&job_kind(), &key).await? {
            return self.adopt(&key, &wanted, found);
        }
        let (kind, namespace, params) = (job_kind(), self.request.namespace.as_str(), PostParams::default());
        let (kind, wanted, params) = (&kind, &wanted, &params);
        let create = async |client| kind.api(client, Some(namespace)).create(params, wanted).await;
        match self.connection.call(cx, Call::writes(OPERATION, "create", &key), create).await {
            Ok(created) => {
                cx.status(format!("{key} is started"));
                Ok((created, false))
            }
            // Another has come first; or an answer was lost, and the first try was it.
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let found = self.server(cx).get(kind, &key).await?;
                let found = found.ok_or_else(|| gone(&key))?;
                self.adopt(&key, wanted, found)
            }
            Err(error) => Err(error),
        }
    }

    fn adopt(&self, key: &Key, wanted: &DynamicObject, found: DynamicObject) -> Result<(DynamicObject, bool)> {
        let digest = |job: &DynamicObject| job.metadata.annotations.as_ref()?.get(SPEC).cloned();
        if found.metadata.deletion_timestamp.is_some() {
            let message = format!("{key} is being deleted; nobody can tell how far it came");
            return Err(Error::new(ErrorKind::Conflict, OPERATION, message).with_effect(Effect::Unknown));
        }
        if digest(&found) != digest(wanted) {
            let message = format!("{key} was started for the same key with another spec");
            return Err(Error::new(ErrorKind::AlreadyExists, OPERATION, message)
                .with("key", &self.request.key)
                .advice("use another key for another command, or delete that Job if it is not needed"));
        }
        Ok((found, true))
    }

    /// Waits for the end, handing on what is printed.
    async fn wait<'a>(
        &'a self,
        cx: &'a Context,
        job: &DynamicObject,
        listener: &'a mut (dyn Listener + 'a),
    ) -> Result<RolloutState> {
        let key = self.request.object_key();
        let awaited = [Awaited { key, uid: job.metadata.uid.clone(), generation: None, revision: None }];
        let namespace = self.request.namespace.as_str();
        let server = self.server(cx);
        let mut output = Output::new(cx, self.connection, namespace, &self.request.job_name(), listener);
        let ended = {
            let mut ended = std::pin::pin!(watch::until_ready(&server, namespace, &awaited, Judging::default()));
            loop {
                tokio::select! {
                    ended = &mut ended => break ended,
                    () = output.hand_on() => {}
                }
            }
        };
        if ended.is_ok() {
            output.rest().await;
        }
        ended
    }

    /// What the state of the wait means for the Job.
    async fn end(&self, cx: &Context, job: &DynamicObject, state: RolloutState) -> Result<JobEnd> {
        let RolloutState::Failed { cause, chain } = state else { return Ok(JobEnd::Succeeded) };
        let key = self.request.object_key();
        let fresh = fresh(cx);
        let found = self.server(&fresh).get(&job_kind(), &key).await?;
        let Some(found) = found.filter(|found| found.metadata.uid == job.metadata.uid) else { return Err(gone(&key)) };
        if has_failed(&found) {
            // Its controller may have deleted the pods that would tell.
            return Ok(JobEnd::Failed { cause, chain, ran: true });
        }
        let ran = self.has_run(&fresh).await;
        match cause {
            FailureCause::DeadlineExceeded => {
                let message = format!("{key} has not ended in time: {}", chain.join(": "));
                let error = Error::new(ErrorKind::Timeout, OPERATION, message);
                Err(self.given_up(cx, job, error).await)
            }
            FailureCause::Paused | FailureCause::Superseded => {
                let error = Error::new(ErrorKind::Conflict, OPERATION, chain.join(": "));
                Err(error.with_effect(Effect::Unknown))
            }
            _ => {
                // It would go on trying, and do its work at a time when nobody reckons with it.
                self.delete(&fresh, job.metadata.uid.clone()).await?;
                Ok(JobEnd::Failed { cause, chain, ran })
            }
        }
    }

    /// Nobody waits any more: the Job runs on or goes, and the error says so.
    async fn given_up(&self, cx: &Context, job: &DynamicObject, error: Error) -> Error {
        let error = error.with("job", self.request.object_key()).with_effect(Effect::Unknown);
        match self.request.on_cancel {
            OnCancel::Leave => error.advice("the Job runs on; whoever comes again with its key waits for it"),
            OnCancel::Delete => match self.delete(&fresh(cx), job.metadata.uid.clone()).await {
                Ok(()) => error.advice("the Job is deleted; what it did before is done"),
                Err(failed) => error.with("not deleted", failed.message()).advice("delete the Job by hand"),
            },
        }
    }

    async fn delete(&self, cx: &Context, uid: Option<String>) -> Result<()> {
        self.server(cx).delete(&job_kind(), &self.request.object_key(), uid).await
    }

    /// Whether a container of it was ever started. Where that cannot be read, one may have been.
    async fn has_run(&self, cx: &Context) -> bool {
        let params = ListParams::default().labels(&output::selector(&self.request.job_name()));
        let (params, namespace) = (&params, self.request.namespace.as_str());
        let list = async |client| Api::<Pod>::namespaced(client, namespace).list(params).await;
        let pods = self.connection.call(cx, Call::reads(OPERATION, "the pods of the Job"), list).await;
        pods.map_or(true, |pods| pods.items.iter().any(has_started))
    }
}

/// For what must be done although the run was cancelled or its time is over.
fn fresh(cx: &Context) -> Context {
    Context::new(cx.environment().clone()).with_redactor(cx.redactor().clone()).with_deadline_in(ENDING)
}

fn gone(key: &Key) -> Error {
    let message = format!("{key} is gone: somebody else deleted it, and how far it came is not known");
    Error::new(ErrorKind::Conflict, OPERATION, message).with_effect(Effect::Unknown)
}

/// Whether its controller has given it up.
fn has_failed(job: &DynamicObject) -> bool {
    let conditions = job.data.pointer("/status/conditions").and_then(Value::as_array);
    let is = |condition: &Value| {
        matches!(condition["type"].as_str(), Some("Failed" | "FailureTarget")) && condition["status"] == "True"
    };
    conditions.into_iter().flatten().any(is)
}

fn has_started(pod: &Pod) -> bool {
    let Some(status) = &pod.status else { return false };
    let started = |status: &ContainerStatus| {
        let state = status.state.iter().chain(&status.last_state);
        status.restart_count > 0 || state.clone().any(|state| state.running.is_some() || state.terminated.is_some())
    };
    status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten()).any(started)
}
