//! A Job as a step of a pipeline.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use ecolaura_deploy_core::{
    Admitted, Context, Error, Result,
    plan::{Action, Change, World},
    step::{Applied, EffectClass, Inputs, Leaf, Planned, Step, StepPlan, UndoData, Undoer},
    vocabulary::{Fingerprint, ImageReference, Name, PinnedImage},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{JobReport, JobRequest, OPERATION, OnCancel, fresh, run_job, tidy};
use crate::{
    Connection,
    manifest::{address, containers},
};

/// The image for each repository that the Job's containers name.
type Images = Vec<(String, Admitted<PinnedImage>)>;

impl Leaf for JobReport {}

/// Runs a Job once: its log goes into events, its failure is the step's.
///
/// The containers name their images by repository; the digests come from the inputs, admitted by a gate, or stand in the
/// spec already. For the same spec and the same images it does not run again in a later run, unless
/// [`RunJob::each_run`] says so. In one run it runs once, whatever happens to the process that waits for it: whoever goes
/// on with the run waits for the same Job. A Job that failed is not run again by further attempts of the step; how often
/// Kubernetes itself tries is the spec's `backoffLimit`.
///
/// The newest ten Jobs of a name are kept with their logs.
///
/// ```no_run
/// # fn example(connection: ecolaura_deploy_k8s::Connection, image: ecolaura_deploy_core::pipeline::Handle<
/// #     ecolaura_deploy_core::Admitted<ecolaura_deploy_core::vocabulary::PinnedImage>>,
/// #     pipeline: &mut ecolaura_deploy_core::pipeline::Pipeline) -> ecolaura_deploy_core::Result<()> {
/// use ecolaura_deploy_core::pipeline::constant;
/// use ecolaura_deploy_k8s::job::RunJob;
/// let spec = serde_json::json!({"backoffLimit": 0, "template": {"spec": {"restartPolicy": "Never",
///     "containers": [{"name": "tests", "image": "shop/backend", "command": ["/app/tests"]}]}}});
/// let tests = RunJob::new(connection, "shop".parse()?, "integration-tests".parse()?, spec).judging();
/// pipeline.add("integration tests", tests, vec![(constant("shop/backend".to_owned()), image)]);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct RunJob {
    connection: Connection,
    namespace: Name,
    name: Name,
    spec: Value,
    undo: Option<Value>,
    registry: Option<String>,
    deadline: Option<Duration>,
    on_cancel: OnCancel,
    each_run: bool,
    judges: bool,
}

impl RunJob {
    /// Runs the Job of this `spec` (as in a manifest, with `template`) as `name` in `namespace`.
    pub fn new(connection: Connection, namespace: Name, name: Name, spec: Value) -> Self {
        Self {
            connection,
            namespace,
            name,
            spec,
            undo: None,
            registry: None,
            deadline: None,
            on_cancel: OnCancel::Delete,
            each_run: false,
            judges: false,
        }
    }

    /// Undone by the Job of this `spec`, with the same images. What may have been undone runs each time.
    pub fn undone_by(self, spec: Value) -> Self {
        Self { undo: Some(spec), ..self }
    }

    /// With the registry that images without a host come from, as the nodes reach it.
    pub fn registry(self, host: impl Into<String>) -> Self {
        Self { registry: Some(host.into()), ..self }
    }

    /// Ended after `time`, unless the spec says earlier.
    pub fn deadline(self, time: Duration) -> Self {
        Self { deadline: Some(time), ..self }
    }

    /// With this becoming of it when the wait for it ends early; [`OnCancel::Delete`] unless set.
    pub fn on_cancel(self, on_cancel: OnCancel) -> Self {
        Self { on_cancel, ..self }
    }

    /// Also where an earlier run has run the same.
    pub fn each_run(self) -> Self {
        Self { each_run: true, ..self }
    }

    /// It judges what the others did, as tests do: it does not run while nothing else of the plan changes anything.
    pub fn judging(self) -> Self {
        Self { judges: true, ..self }
    }

    /// `spec` with its images by digest; all that cannot be pinned at once.
    fn pinned(&self, spec: &Value, images: &BTreeMap<String, PinnedImage>) -> Result<Value> {
        let (mut spec, mut problems) = (spec.clone(), Vec::new());
        for container in spec.pointer_mut("/template/spec").into_iter().flat_map(containers) {
            let name = container["name"].as_str().unwrap_or("without a name").to_owned();
            let text = container["image"].as_str().unwrap_or_default();
            let found = text.parse::<ImageReference>().ok().and_then(|reference| {
                let given = images.get(reference.repository.as_str()).cloned();
                given.or_else(|| Some(PinnedImage::new(reference.repository, reference.digest?)))
            });
            match found {
                Some(image) => container["image"] = json!(address(&image, self.registry.as_deref())),
                None => problems.push(format!("the container {name} has the image `{text}`")),
            }
        }
        if problems.is_empty() {
            return Ok(spec);
        }
        let given = images.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let message = format!("the Job `{}`: {}", self.name, problems.join("; "));
        Err(Error::invalid(OPERATION, message)
            .with("images given", if given.is_empty() { "none" } else { &given })
            .advice("name the repository of a given image, or an image by digest"))
    }

    fn request(&self, key: String, spec: Value) -> JobRequest {
        let request = JobRequest::new(self.namespace.clone(), self.name.clone(), key, spec).on_cancel(self.on_cancel);
        match self.deadline {
            Some(time) => request.deadline(time),
            None => request,
        }
    }

    fn fingerprint(&self, spec: &Value) -> Fingerprint {
        Fingerprint::new()
            .part("cluster", self.connection.server())
            .part("namespace", self.namespace.as_str())
            .part("job", self.name.as_str())
            .part("spec", spec.to_string())
    }

    fn change(&self, action: Action, reason: impl Into<String>) -> Change {
        Change::new(World::Cluster, format!("{}/Job {}", self.namespace, self.name), action, reason)
    }
}

/// The Job that undoes another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobUndo {
    request: JobRequest,
}

impl UndoData for JobUndo {
    const KIND: &'static str = "Kubernetes Job";
}

#[derive(Debug)]
struct UndoByJob(Connection);

#[async_trait]
impl Undoer<JobUndo> for UndoByJob {
    fn target(&self) -> String {
        self.0.server().to_owned()
    }

    fn describe(&self, undo: &JobUndo) -> String {
        format!("run the Job {} in {}, which undoes it", undo.request.name, undo.request.namespace)
    }

    async fn undo(&self, cx: &Context, undo: JobUndo) -> Result<()> {
        let request = JobRequest { key: cx.effect_key(), ..undo.request };
        run_job(cx, &self.0, &request).await?.into_result()
    }
}

fn known(images: Images) -> BTreeMap<String, PinnedImage> {
    images.into_iter().map(|(repository, image)| (repository, image.into_subject())).collect()
}

#[async_trait]
impl Step for RunJob {
    type Input = Images;
    type Output = JobReport;
    type Undo = JobUndo;

    fn kind(&self) -> &'static str {
        "run job"
    }

    fn effect_class(&self) -> EffectClass {
        EffectClass::Keyed
    }

    async fn plan(&self, cx: &Context, images: <Images as Inputs>::Planned) -> Result<StepPlan<JobReport>> {
        let mut given = BTreeMap::new();
        for (repository, image) in images {
            match (repository, image) {
                (Planned::Known(repository), Planned::Known(image)) => {
                    given.insert(repository, image.into_subject());
                }
                (_, Planned::After(step)) | (Planned::After(step), _) => {
                    let change = self.change(Action::Create, format!("image known after `{step}`"));
                    return Ok(if self.judges { StepPlan::gate(None) } else { StepPlan::changing(vec![change]) });
                }
            }
        }
        let spec = self.pinned(&self.spec, &given)?;
        if let Some(undo) = &self.undo {
            self.pinned(undo, &given)?;
        }
        self.request(String::new(), spec.clone()).object()?;
        if self.judges {
            return Ok(StepPlan::gate(None));
        }
        let fingerprint = self.fingerprint(&spec);
        let each_run = self.each_run || self.undo.is_some();
        let earlier: Option<JobReport> = if each_run { None } else { cx.recall(self.kind(), &fingerprint).await };
        let plan = match earlier {
            Some(report) => StepPlan::unchanged(vec![self.change(Action::NoOp, "has run with this spec")], report),
            None if each_run => StepPlan::changing(vec![self.change(Action::Create, "runs each time")]),
            None => StepPlan::changing(vec![self.change(Action::Create, "has not run with this spec")]),
        };
        Ok(plan.fingerprint(fingerprint))
    }

    async fn prepare(&self, _cx: &Context, images: &Images) -> Result<Option<JobUndo>> {
        let Some(undo) = &self.undo else { return Ok(None) };
        let spec = self.pinned(undo, &known(images.clone()))?;
        Ok(Some(JobUndo { request: self.request(String::new(), spec) }))
    }

    async fn apply(&self, cx: &Context, images: Images) -> Result<Applied<JobReport, JobUndo>> {
        let spec = self.pinned(&self.spec, &known(images))?;
        let report = run_job(cx, &self.connection, &self.request(cx.effect_key(), spec)).await?;
        report.clone().into_result()?;
        if let Err(error) = tidy(&fresh(cx), &self.connection, self.namespace.as_str(), &self.name).await {
            cx.warn(format!("old Jobs are left: {}", error.message()));
        }
        Ok(Applied::new(report))
    }

    fn undoer(&self) -> Option<Arc<dyn Undoer<JobUndo>>> {
        Some(Arc::new(UndoByJob(self.connection.clone())))
    }
}
