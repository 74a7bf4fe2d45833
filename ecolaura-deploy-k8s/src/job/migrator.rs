//! [`Migrator`] by Jobs: what migrates is in an image, and runs where the database can be reached.

use std::{path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use ecolaura_deploy_core::{
    Context, Effect, Error, ErrorKind, Result,
    backend::{Backup, BackupLevel, DataCheck, ImageMigrator, Measurements, MigrationPlan, MigrationReport, Migrator},
    migration::{Answer, Call, QUESTION, Question},
    nonce::{NonceSource as _, RandomNonces},
    vocabulary::{MigrationVersion, Name, PinnedImage},
};
use k8s_openapi::api::batch::v1::Job;
use kube::{Api, api::ListParams, runtime::wait::await_condition};
use serde_json::{Value, json};

use super::{
    JOB, JobEnd, JobReport, JobRequest, Kept, Listener as _, MigrationTool, Needed, OnCancel, OwnTool, delete_job,
    run_heard, tidy::has_ended,
};
use crate::{Connection, error, manifest::address};

const OPERATION: &str = "migrator.job";

/// How many Jobs may read in turn for one call: a node that is busy loses what a container prints that ends at once.
pub(super) const READERS: usize = 3;

/// Migrates a database by Kubernetes Jobs.
///
/// Each call is a Job of one pod, deleted once its answer was read: planning, which changes nothing in the database,
/// runs one too. `pod` is the `spec` of the pod, its first container the one that migrates; that gets its command, or its
/// question, from the [`MigrationTool`], and everything else, such as `envFrom` with the database's address, from `pod`.
/// Where `restartPolicy` is not set it is `Never`: a failed migration is not tried again by Kubernetes.
///
/// # One at a time
/// A call that changes something waits until no other Job of this name in the namespace is running, one that a dead
/// deployer left behind included. The same call of the same step adopts the Job that runs for it already, unless that was
/// asked by another epoch. What makes it safe to run one twice is the ledger in the database, as with any migrator.
///
/// # Cancellation
/// The Job is deleted with its pod, which gets SIGTERM and `terminationGracePeriodSeconds`; whole migrations stay. Dropped
/// (or killed) in the middle, the Job runs on to its end.
///
/// # Errors
/// Those of [`Migrator`] where the tool answers questions. [`ErrorKind::CommandFailed`] with the last lines of its log
/// where it does not, [`ErrorKind::Unsupported`] for what an ORM's own tool cannot do, unless another migrator does it
/// ([`JobMigrator::data_by`]).
///
/// ```no_run
/// # async fn example(connection: ecolaura_deploy_k8s::Connection) -> ecolaura_deploy_core::Result<()> {
/// use std::sync::Arc;
/// use ecolaura_deploy_core::{backend::BackupLevel, steps::{BackupDatabaseOf, MigrateOf}};
/// use ecolaura_deploy_k8s::job::{JobMigrator, MigrationTool};
/// let pod = serde_json::json!({"containers": [{"name": "migrate", "image": "shop/backend",
///     "envFrom": [{"secretRef": {"name": "database"}}]}]});
/// let tool = MigrationTool::Answering(vec!["/app/backend".to_owned(), "migrate".to_owned()]);
/// let migrator = Arc::new(JobMigrator::new("shop".parse()?, connection, "shop".parse()?, pod, tool));
/// let backup = BackupDatabaseOf::new(migrator.clone(), BackupLevel::Restored);
/// let migrate = MigrateOf::new(migrator);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct JobMigrator {
    name: Name,
    connection: Connection,
    namespace: Name,
    pod: Value,
    tool: MigrationTool,
    registry: Option<String>,
    deadline: Option<Duration>,
    fences: bool,
    data: Option<Arc<dyn Migrator>>,
}

impl JobMigrator {
    /// Migrates the database called `name` by `tool` in the first container of `pod`, in `namespace`.
    pub fn new(name: Name, connection: Connection, namespace: Name, pod: Value, tool: MigrationTool) -> Self {
        Self { name, connection, namespace, pod, tool, registry: None, deadline: None, fences: false, data: None }
    }

    /// With the registry that images without a host come from, as the nodes reach it.
    pub fn registry(self, host: impl Into<String>) -> Self {
        Self { registry: Some(host.into()), ..self }
    }

    /// Each Job ended after `time`.
    pub fn deadline(self, time: Duration) -> Self {
        Self { deadline: Some(time), ..self }
    }

    /// The migrator that answers refuses older epochs ([`Migrator::fences`]).
    pub fn fencing(self) -> Self {
        Self { fences: true, ..self }
    }

    /// Taking backups, restoring and measuring by another migrator: what an ORM's tool cannot.
    pub fn data_by(self, other: Arc<dyn Migrator>) -> Self {
        Self { data: Some(other), ..self }
    }

    fn with_image(&self, image: &PinnedImage) -> Self {
        let mut migrator = self.clone();
        if let Some(container) = migrator.pod.pointer_mut("/containers/0") {
            container["image"] = json!(address(image, self.registry.as_deref()));
        }
        migrator
    }

    /// The Job's spec with this in its first container, and what is kept of what that prints.
    fn spec(&self, command: &[String], question: Option<String>) -> Result<(Value, Kept)> {
        let mut pod = self.pod.clone();
        let wrong = || {
            Error::invalid(OPERATION, format!("the pod that migrates `{}` has no container with a name", self.name))
                .advice("give the `spec` of a pod, with `containers`, the first of which migrates")
        };
        let container = pod.pointer_mut("/containers/0").ok_or_else(wrong)?;
        let name = container["name"].as_str().ok_or_else(wrong)?.to_owned();
        if !command.is_empty() {
            container["command"] = json!(command);
            container.as_object_mut().map(|container| container.remove("args"));
        }
        let mut kept = Kept::of(name);
        if let Some(question) = question {
            kept = kept.needing(Needed::Answer);
            let variable = json!({"name": QUESTION, "value": question});
            match container.get_mut("env").and_then(Value::as_array_mut) {
                Some(variables) => variables.push(variable),
                None => container["env"] = json!([variable]),
            }
        }
        if pod.get("restartPolicy").is_none() {
            pod["restartPolicy"] = json!("Never");
        }
        Ok((json!({"backoffLimit": 0, "template": {"spec": pod}}), kept))
    }

    fn request(&self, cx: &Context, reads: bool, what: &str, spec: Value) -> Result<JobRequest> {
        // Outside of a step there is no telling whether it is the same call.
        let key = if reads || cx.step().is_empty() {
            format!("{}/{what}/{:x}", cx.effect_key(), RandomNonces.next())
        } else {
            format!("{}/{what}", cx.effect_key())
        };
        let name: Name = format!("migrate-{}", self.name).parse()?;
        let request = JobRequest::new(self.namespace.clone(), name, key, spec).on_cancel(OnCancel::Delete);
        Ok(match self.deadline {
            Some(time) => request.deadline(time),
            None => request,
        })
    }

    /// Runs a Job to its end; its result, and what the container printed. One that only reads runs again where what it
    /// printed is lost.
    async fn run(
        &self,
        cx: &Context,
        reads: bool,
        what: &str,
        (spec, kept): (Value, Kept),
    ) -> Result<(JobReport, Kept)> {
        for _ in 1..READERS {
            let (report, heard) = self.once(cx, reads, what, (spec.clone(), kept.clone())).await?;
            if !(reads && report.end == JobEnd::Succeeded && heard.is_waiting()) {
                return Ok((report, heard));
            }
            cx.warn(format!("what the Job {} printed did not come; another is asked", report.name));
        }
        self.once(cx, reads, what, (spec, kept)).await
    }

    /// Runs a Job to its end and takes it away again.
    async fn once(
        &self,
        cx: &Context,
        reads: bool,
        what: &str,
        (spec, mut kept): (Value, Kept),
    ) -> Result<(JobReport, Kept)> {
        let request = self.request(cx, reads, what, spec)?;
        if !reads {
            self.until_alone(cx, &request).await?;
        }
        let report = run_heard(cx, &self.connection, &request, &mut kept).await?;
        if let Err(error) = delete_job(cx, &self.connection, &request).await {
            cx.warn(format!("the Job {} is left behind: {}", report.name, error.message()));
        }
        Ok((report, kept))
    }

    /// Waits while another Job of this name may change the database.
    async fn until_alone(&self, cx: &Context, request: &JobRequest) -> Result<()> {
        let params = ListParams::default().labels(&format!("{JOB}={}", request.name));
        let (params, namespace) = (&params, self.namespace.as_str());
        let list = async |client| Api::<Job>::namespaced(client, namespace).list(params).await;
        let call = error::Call::reads(OPERATION, "the Jobs of the migrator");
        let own = request.job_name();
        for job in self.connection.call(cx, call, list).await?.items {
            let name = job.metadata.name.clone().unwrap_or_default();
            if name == own || has_ended(Some(&job)) {
                continue;
            }
            cx.status(format!("waiting for the Job {name}, which may still change the database"));
            let api = Api::<Job>::namespaced(self.connection.client(), namespace);
            cx.bounded(OPERATION, Box::pin(await_condition(api, &name, has_ended))).await?.map_err(|error| {
                Error::new(ErrorKind::Unavailable, OPERATION, format!("the Job {name} cannot be watched"))
                    .with_source(error)
            })?;
        }
        Ok(())
    }

    /// Asks the migrator in the image.
    async fn ask(&self, cx: &Context, command: &[String], call: Call) -> Result<Answer> {
        // The question tells the epoch: who goes on with another's run asks another one, once the first is answered.
        let (reads, what) = (call.reads(), format!("{}/{}", words(&call), cx.epoch()));
        let spec = self.spec(command, Some(Question::new(cx, call).to_json()?))?;
        let (report, kept) = self.run(cx, reads, &what, spec).await?;
        let lines = kept.lines().ok_or_else(|| too_much(&report.name))?;
        if let Some(answer) = kept.answer()? {
            return Ok(answer);
        }
        let effect = if reads { Effect::None } else { Effect::Unknown };
        let unanswered = unanswered(&report.name, lines);
        report.into_result().map_err(|error| if reads { error.with_effect(Effect::None) } else { error })?;
        Err(unanswered.with_effect(effect))
    }

    /// The state that an ORM's tool tells.
    async fn listed(&self, cx: &Context, tool: &OwnTool) -> Result<MigrationPlan> {
        let (spec, kept) = self.spec(&tool.list_command(), None)?;
        let (report, kept) = self.run(cx, true, "list", (spec, kept.needing(Needed::Lines))).await?;
        let lines = kept.lines().ok_or_else(|| too_much(&report.name))?;
        report.into_result().map_err(|error| error.with_effect(Effect::None))?;
        tool.plan(lines)
    }

    /// Runs the tool's `command` and tells what it changed since `before`.
    async fn changed(
        &self,
        cx: &Context,
        tool: &OwnTool,
        what: &str,
        before: MigrationPlan,
        command: &[String],
    ) -> Result<MigrationReport> {
        let spec = self.spec(command, None)?;
        let (report, _) = self.run(cx, false, what, spec).await?;
        report.into_result()?;
        let after = self.listed(cx, tool).await.map_err(|error| error.with_effect(Effect::Unknown))?;
        let (from, to) = (before.head(), after.head());
        let mut done: Vec<MigrationVersion> = if to >= from {
            after.applied.into_iter().filter(|version| !before.applied.contains(version)).collect()
        } else {
            before.applied.into_iter().filter(|version| !after.applied.contains(version)).rev().collect()
        };
        done.dedup();
        Ok(MigrationReport::new(from, to, done))
    }

    /// Who takes care of the data, where the tool does not.
    fn data(&self, what: &str) -> Result<&Arc<dyn Migrator>> {
        self.data.as_ref().ok_or_else(|| {
            let message = format!("the tool that migrates `{}` cannot {what}", self.name);
            Error::new(ErrorKind::Unsupported, OPERATION, message)
                .advice("give another migrator for it by `JobMigrator::data_by`, or a program that answers questions")
        })
    }
}

impl ImageMigrator for JobMigrator {
    fn name(&self) -> &Name {
        &self.name
    }

    fn of(&self, image: &PinnedImage) -> Arc<dyn Migrator> {
        Arc::new(self.with_image(image))
    }
}

#[async_trait]
impl Migrator for JobMigrator {
    fn name(&self) -> &Name {
        &self.name
    }

    fn fences(&self) -> bool {
        self.fences
    }

    fn proves(&self) -> BackupLevel {
        self.data.as_ref().map_or(BackupLevel::Checked, |data| data.proves())
    }

    async fn plan(&self, cx: &Context) -> Result<MigrationPlan> {
        cx.check("migrator.plan")?;
        match &self.tool {
            MigrationTool::Answering(command) => self.ask(cx, command, Call::Plan).await?.into_plan(),
            MigrationTool::Own(tool) => self.listed(cx, tool).await,
        }
    }

    async fn migrate(&self, cx: &Context, target: MigrationVersion) -> Result<MigrationReport> {
        cx.check("migrator.migrate")?;
        let tool = match &self.tool {
            MigrationTool::Answering(command) => {
                return self.ask(cx, command, Call::Migrate(target)).await?.into_report();
            }
            MigrationTool::Own(tool) => tool,
        };
        let before = self.listed(cx, tool).await?;
        let head = before.head();
        let known = target == head || before.pending.iter().any(|migration| migration.version == target);
        if !known && !before.applied.contains(&target) {
            return Err(Error::invalid("migrator.migrate", format!("there is no migration {target}")));
        }
        if target <= head {
            return Ok(MigrationReport::new(head, head, Vec::new()));
        }
        let command = tool.up_command(&before, target)?;
        self.changed(cx, tool, &format!("migrate/{target}"), before, &command).await
    }

    async fn revert(&self, cx: &Context, target: MigrationVersion) -> Result<MigrationReport> {
        cx.check("migrator.revert")?;
        let tool = match &self.tool {
            MigrationTool::Answering(command) => {
                return self.ask(cx, command, Call::Revert(target)).await?.into_report();
            }
            MigrationTool::Own(tool) => tool,
        };
        let before = self.listed(cx, tool).await?;
        if target >= before.head() {
            return Ok(MigrationReport::new(before.head(), before.head(), Vec::new()));
        }
        let command = tool.down_command(target)?;
        self.changed(cx, tool, &format!("revert/{target}"), before, &command).await
    }

    async fn backup(&self, cx: &Context, key: &str, level: BackupLevel) -> Result<Backup> {
        cx.check("migrator.backup")?;
        match &self.tool {
            MigrationTool::Answering(command) if self.data.is_none() => {
                self.ask(cx, command, Call::Backup { key: key.to_owned(), level }).await?.into_backup()
            }
            _ => self.data("take backups")?.backup(cx, key, level).await,
        }
    }

    async fn restore(&self, cx: &Context, backup: &Backup) -> Result<PathBuf> {
        cx.check("migrator.restore")?;
        match &self.tool {
            MigrationTool::Answering(command) if self.data.is_none() => {
                self.ask(cx, command, Call::Restore(backup.clone())).await?.into_restored()
            }
            _ => self.data("restore backups")?.restore(cx, backup).await,
        }
    }

    async fn measure(&self, cx: &Context, checks: &[DataCheck]) -> Result<Measurements> {
        cx.check("migrator.measure")?;
        match &self.tool {
            MigrationTool::Answering(command) if self.data.is_none() => {
                self.ask(cx, command, Call::Measure(checks.to_vec())).await?.into_measured()
            }
            _ => self.data("measure data")?.measure(cx, checks).await,
        }
    }
}

/// The question as a part of its Job's key.
fn words(call: &Call) -> String {
    match call {
        Call::Plan => "plan".to_owned(),
        Call::Migrate(target) => format!("migrate/{target}"),
        Call::Revert(target) => format!("revert/{target}"),
        Call::Backup { key, .. } => format!("backup/{key}"),
        Call::Restore(backup) => format!("restore/{}", backup.key),
        _ => "measure".to_owned(),
    }
}

/// It succeeded, and said something else than an answer.
fn unanswered(job: &str, lines: &[String]) -> Error {
    let others: Vec<&str> = lines.iter().map(String::as_str).filter(|line| !Answer::is_part(line)).collect();
    let last = others[others.len().saturating_sub(5)..].join("\n");
    let message = format!("the Job {job} succeeded, and its log has no whole answer, also when it was read again");
    Error::new(ErrorKind::CommandFailed, OPERATION, message)
        .with("printed last", if last.is_empty() { "nothing else" } else { &last })
        .advice("let its program call `ecolaura_deploy_core::migration::serve`, and print what that prints")
}

fn too_much(job: &str) -> Error {
    Error::new(ErrorKind::LimitExceeded, OPERATION, format!("the Job {job} printed more than 16 MiB"))
        .with_effect(Effect::Unknown)
        .advice("let it print less: its answer is read from what it prints")
}
