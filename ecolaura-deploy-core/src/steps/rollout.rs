//! Rolling services out: in place, blue-green, or as a canary judged while it takes more and more requests.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;

use super::{Command, files};
use crate::{
    Admitted, Context, Effect, Error, ErrorKind, Result, Verdict,
    backend::{
        AppliedWorkload, ApplyRequest, ClusterSnapshot, ClusterTarget, LARGEST_MANIFEST, Placement, RolloutState,
        Track, Traffic, TrafficRequest, Workload,
    },
    plan::Action,
    step::{Applied, EffectClass, Inputs, Planned, Step, StepPlan, UndoData, Undoer},
    vocabulary::{Digest, PinnedImage, Repository, ServiceName},
};

/// The image for each repository that the manifests name.
type Images = Vec<(String, Admitted<PinnedImage>)>;

/// Judges a candidate under real requests.
#[async_trait]
pub trait Analyst: fmt::Debug + Send + Sync + 'static {
    /// A verdict with its reasons, while `percent` of the requests go to `candidate`. Only [`Verdict::Pass`] goes on.
    async fn judge(&self, cx: &Context, candidate: &AppliedWorkload, percent: u8) -> Result<(Verdict, Vec<String>)>;
}

/// How the new version takes over.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub enum Strategy {
    /// By the manifest's rolling update.
    #[default]
    Rolling,
    /// All replicas beside the old ones, judged if there is an analyst, then all requests at once.
    BlueGreen {
        /// Judges before the switch, with no request on the candidate, and after it.
        analyst: Option<Arc<dyn Analyst>>,
        /// How long the old replicas stay ready after the switch.
        warm: Duration,
    },
    /// Some replicas beside the old ones, judged at each share of the requests.
    Canary {
        /// The shares, in percent, ascending.
        steps: Vec<u8>,
        /// How many replicas the candidate has until it is promoted.
        replicas: u32,
        /// Judges at each share.
        analyst: Arc<dyn Analyst>,
    },
}

impl UndoData for ClusterSnapshot {
    const KIND: &'static str = "cluster services";
}

#[derive(Debug)]
struct RestoreServices(Arc<dyn ClusterTarget>);

#[async_trait]
impl Undoer<ClusterSnapshot> for RestoreServices {
    fn target(&self) -> String {
        self.0.name().to_string()
    }

    fn describe(&self, undo: &ClusterSnapshot) -> String {
        let services: Vec<String> = undo
            .revisions
            .iter()
            .map(|(service, revision)| match revision {
                Some(revision) => format!("{service} to revision {revision}"),
                None => format!("{service} to not being there"),
            })
            .collect();
        format!("bring back in {}: {}", undo.namespace, services.join(", "))
    }

    async fn undo(&self, cx: &Context, undo: ClusterSnapshot) -> Result<()> {
        self.0.restore(cx, &undo).await
    }
}

/// Rolls a workload out. It takes only images that a gate admitted.
#[derive(Debug, Clone)]
pub struct Rollout {
    cluster: Arc<dyn ClusterTarget>,
    workload: Workload,
    rendered: Vec<Rendered>,
    strategy: Strategy,
}

/// Manifests that a program makes.
#[derive(Debug, Clone)]
struct Rendered {
    command: Command,
    file: PathBuf,
}

impl Rollout {
    /// Rolls `workload` out on `cluster`; its images come from the inputs.
    pub fn new(cluster: Arc<dyn ClusterTarget>, workload: Workload) -> Self {
        Self { cluster, workload, rendered: Vec::new(), strategy: Strategy::default() }
    }

    /// With the manifests that `command` prints: `kustomize build`, `helm template --no-hooks`. It runs for each plan, so
    /// that a plan shows what it makes, and must change nothing. What it prints is written to `file`, which no other
    /// roll-out writes, and applied from there; of Helm's charts that is all but the hooks, which only Helm runs.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use ecolaura_deploy_core::{backend::{ClusterTarget, Workload}, steps::{Command, Rollout}, vocabulary::Name};
    /// # fn example(cluster: Arc<dyn ClusterTarget>, namespace: Name) -> Rollout {
    /// let overlay = Command::new("kustomize").args(["build", "k8s/overlays/production"]);
    /// let workload = Workload::new(namespace, ["k8s/extra.yaml"]);
    /// Rollout::new(cluster, workload).rendered(overlay, "target/production.yaml")
    /// # }
    /// ```
    pub fn rendered(mut self, command: Command, file: impl Into<PathBuf>) -> Self {
        let file = file.into();
        self.workload.manifests.push(file.clone());
        self.rendered.push(Rendered { command, file });
        self
    }

    /// With another strategy.
    pub fn strategy(mut self, strategy: Strategy) -> Self {
        self.strategy = strategy;
        self
    }

    async fn render(&self, cx: &Context) -> Result<()> {
        for Rendered { command, file } in &self.rendered {
            let text = command.printed(cx, LARGEST_MANIFEST).await?;
            files::write(file.clone(), text).await?;
        }
        Ok(())
    }

    fn name(&self) -> String {
        let names = self.workload.manifests.iter().filter_map(|path| path.file_name());
        names.map(|name| name.to_string_lossy()).collect::<Vec<_>>().join(", ")
    }

    fn workload(&self, images: Images) -> Workload {
        images.into_iter().fold(self.workload.clone(), |workload, (repository, image)| {
            workload.image(repository, image.into_subject())
        })
    }

    fn request(&self, images: Images, placement: Placement) -> ApplyRequest {
        ApplyRequest::new(self.workload(images), placement)
    }

    async fn ready(&self, cx: &Context, applied: &AppliedWorkload) -> Result<()> {
        match self.cluster.wait_until_ready(cx, applied).await? {
            RolloutState::Ready => Ok(()),
            RolloutState::Progressing { message } => Err(Error::internal("rollout.wait", message)),
            RolloutState::Failed { cause, chain } => {
                cx.evidence(format!("roll-out failed: {cause}"), chain.clone());
                let message = format!("{cause}: {}", chain.first().map_or("no detail", String::as_str));
                Err(Error::new(ErrorKind::RolloutFailed, "rollout.wait", message)
                    .with_effect(Effect::Partial)
                    .advice("read the chain above; the former release is brought back"))
            }
        }
    }

    async fn shift(&self, cx: &Context, candidate: &AppliedWorkload, traffic: Traffic) -> Result<()> {
        self.cluster.shift(cx, &TrafficRequest::new(candidate.clone(), traffic)).await
    }

    async fn judge(&self, cx: &Context, analyst: &dyn Analyst, candidate: &AppliedWorkload, percent: u8) -> Result<()> {
        let (verdict, reasons) = analyst.judge(cx, candidate, percent).await?;
        cx.evidence(format!("analysis at {percent} %: {verdict:?}"), reasons.clone());
        if verdict == Verdict::Pass {
            return Ok(());
        }
        let reason = reasons.last().map_or("no reason given", String::as_str);
        let message = format!("the analysis at {percent} % of requests said {verdict:?}: {reason}");
        Err(Error::new(ErrorKind::GateRefused, "rollout.analyse", message)
            .with_effect(Effect::Partial)
            .advice("look at the candidate's logs; the former release has all requests again"))
    }

    async fn beside(&self, cx: &Context, images: Images, replicas: Option<u32>) -> Result<AppliedWorkload> {
        let candidate = self.cluster.apply(cx, &self.request(images, Placement::Beside { replicas })).await?;
        self.ready(cx, &candidate).await?;
        Ok(candidate)
    }

    async fn promote(&self, cx: &Context, candidate: AppliedWorkload) -> Result<AppliedWorkload> {
        self.shift(cx, &candidate, Traffic::Promote).await?;
        let mut stable = candidate;
        stable.track = Track::Stable;
        self.ready(cx, &stable).await?;
        Ok(stable)
    }

    async fn replace(&self, cx: &Context, images: Images) -> Result<AppliedWorkload> {
        let applied = self.cluster.apply(cx, &self.request(images, Placement::Replace)).await?;
        self.ready(cx, &applied).await?;
        Ok(applied)
    }

    async fn is_first(&self, cx: &Context, images: &Images) -> Result<bool> {
        let services = self.cluster.plan(cx, &self.request(images.clone(), Placement::Replace)).await?.services;
        let status = self.cluster.status(cx, &self.workload.namespace).await?;
        Ok(!status.pods.iter().any(|pod| services.contains(&pod.service)))
    }

    async fn run(&self, cx: &Context, images: Images) -> Result<AppliedWorkload> {
        let first = self.is_first(cx, &images).await?;
        match &self.strategy {
            Strategy::BlueGreen { analyst, warm } if !first => {
                let candidate = self.beside(cx, images, None).await?;
                if let Some(analyst) = analyst {
                    self.judge(cx, analyst.as_ref(), &candidate, 0).await?;
                }
                self.shift(cx, &candidate, Traffic::Candidate { percent: 100 }).await?;
                cx.status("all requests go to the new colour");
                cx.sleep("rollout.warm", *warm).await?;
                if let Some(analyst) = analyst {
                    self.judge(cx, analyst.as_ref(), &candidate, 100).await?;
                }
                self.promote(cx, candidate).await
            }
            Strategy::Canary { steps, replicas, analyst } if !first => {
                let candidate = self.beside(cx, images, Some(*replicas)).await?;
                for percent in steps {
                    self.shift(cx, &candidate, Traffic::Candidate { percent: *percent }).await?;
                    cx.status(format!("{percent} % of requests go to the candidate"));
                    self.judge(cx, analyst.as_ref(), &candidate, *percent).await?;
                }
                self.promote(cx, candidate).await
            }
            _ => {
                if first && !matches!(self.strategy, Strategy::Rolling) {
                    cx.status("nothing runs yet: rolled out at once");
                }
                self.replace(cx, images).await
            }
        }
    }

    /// What runs of `services`, as the output of a step that had nothing to do.
    async fn live(&self, cx: &Context, services: Vec<ServiceName>) -> Result<AppliedWorkload> {
        let status = self.cluster.status(cx, &self.workload.namespace).await?;
        let mut live = AppliedWorkload::new(self.workload.namespace.clone(), Track::Stable, Digest::of("live"));
        live.revisions = services
            .iter()
            .filter_map(|service| Some((service.clone(), (*status.snapshot.revisions.get(service)?)?)))
            .collect();
        live.addresses = status.addresses;
        live.addresses.retain(|service, _| services.contains(service));
        live.services = services;
        Ok(live)
    }
}

/// Stands for a digest that is not known yet, so that everything else of the objects can be planned.
fn placeholder(step: &str) -> Admitted<PinnedImage> {
    let repository = Repository::new("unknown").unwrap_or_else(|error| unreachable!("{error}"));
    Admitted::by_gate(step, PinnedImage::new(repository, Digest::of("unknown")))
}

#[async_trait]
impl Step for Rollout {
    type Input = Images;
    type Output = AppliedWorkload;
    type Undo = ClusterSnapshot;

    fn kind(&self) -> &'static str {
        "roll out"
    }

    fn effect_class(&self) -> EffectClass {
        EffectClass::Converging
    }

    async fn plan(&self, cx: &Context, images: <Images as Inputs>::Planned) -> Result<StepPlan<AppliedWorkload>> {
        self.render(cx).await?;
        let mut waits = None;
        let mut assumed = Images::new();
        for (repository, image) in images {
            let Planned::Known(repository) = repository else {
                return Err(Error::invalid("rollout.plan", "the repository of an image must be a constant"));
            };
            let image = match image {
                Planned::Known(image) => image,
                Planned::After(step) => {
                    let image = placeholder(&step);
                    waits.get_or_insert(step);
                    image
                }
            };
            assumed.push((repository, image));
        }
        let mut found = self.cluster.plan(cx, &self.request(assumed, Placement::Replace)).await?;
        let idle = found.changes.iter().all(|change| change.action == Action::NoOp);
        let mut plan = if idle && waits.is_none() {
            StepPlan::unchanged(found.changes, self.live(cx, found.services).await?)
        } else {
            if let Some(step) = waits {
                found.changes.iter_mut().filter(|change| change.action != Action::NoOp).for_each(|change| {
                    change.details.clear();
                    change.reason = format!("image known after `{step}`");
                });
            }
            StepPlan::changing(found.changes)
        };
        plan.warnings = found.warnings;
        Ok(plan.precondition(format!("services of {} in {}", self.name(), self.workload.namespace), found.found))
    }

    async fn prepare(&self, cx: &Context, images: &Images) -> Result<Option<ClusterSnapshot>> {
        let services = self.cluster.plan(cx, &self.request(images.clone(), Placement::Replace)).await?.services;
        let mut snapshot = self.cluster.status(cx, &self.workload.namespace).await?.snapshot;
        snapshot.revisions.retain(|service, _| services.contains(service));
        // A service that this roll-out creates must go again when it is undone.
        for service in services {
            snapshot.revisions.entry(service).or_insert(None);
        }
        Ok(Some(snapshot))
    }

    async fn apply(&self, cx: &Context, images: Images) -> Result<Applied<AppliedWorkload, ClusterSnapshot>> {
        let applied = self
            .run(cx, images)
            .await
            .map_err(|error| if error.effect() == Effect::None { error.with_effect(Effect::Partial) } else { error })?;
        Ok(Applied::new(applied))
    }

    fn undoer(&self) -> Option<Arc<dyn Undoer<ClusterSnapshot>>> {
        Some(Arc::new(RestoreServices(Arc::clone(&self.cluster))))
    }
}

#[cfg(all(test, feature = "local"))]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::local::{cluster::ProcessCluster, registry::LayoutRegistry};

    /// What a roll-out plans of what `script` prints.
    async fn planned(dir: &Path, script: &str) -> Result<Vec<String>> {
        let registry = Arc::new(LayoutRegistry::new(dir.join("registry"), "registry".parse()?));
        let cluster = ProcessCluster::in_process(dir.join("cluster"), registry, "local".parse()?)?;
        let image = placeholder("another step").into_subject();
        let workload = Workload::new("dev".parse()?, [] as [&str; 0]).image("web", image);
        let command = Command::new("sh").args(["-c", script]);
        let rollout = Rollout::new(Arc::new(cluster), workload).rendered(command, dir.join("made/all.yaml"));
        let plan = rollout.plan(&Context::new("dev".parse()?), Vec::new()).await?;
        Ok(plan.changes.iter().map(ToString::to_string).collect())
    }

    const WEB: &str = "kind: Deployment\\napiVersion: apps/v1\\nmetadata: {name: web}\\nspec: {selector: {matchLabels: \
                       {app: web}}, template: {metadata: {labels: {app: web}}, spec: {containers: [{name: web, \
                       image: web}]}}}\\n";

    #[tokio::test]
    async fn a_plan_shows_what_a_program_prints() {
        let dir = tempfile::tempdir().unwrap();
        let web = planned(dir.path(), &format!("printf '{WEB}'")).await.unwrap();
        assert!(web.len() == 1 && web[0].contains("deployment dev/web"), "{web:?}");
        let both = format!(
            "printf -- '---\\n# of a chart\\n{WEB}---\\n{}'",
            WEB.replace("web", "api").replace("image: api", "image: web")
        );
        assert_eq!(planned(dir.path(), &both).await.unwrap().len(), 2, "each plan is made anew");
    }

    #[tokio::test]
    async fn a_program_that_fails_is_named_and_leaves_the_file() {
        let dir = tempfile::tempdir().unwrap();
        planned(dir.path(), &format!("printf '{WEB}'")).await.unwrap();
        let error = planned(dir.path(), "printf 'kind: '; echo no such overlay >&2; exit 1").await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::CommandFailed, Effect::None));
        assert!(error.report().contains("no such overlay"), "{}", error.report());
        assert!(std::fs::read_to_string(dir.path().join("made/all.yaml")).unwrap().contains("web"));
        let endless = planned(dir.path(), "yes").await.unwrap_err();
        assert_eq!(endless.kind(), ErrorKind::LimitExceeded);
    }

    #[tokio::test]
    async fn hooks_of_helm_are_not_applied_like_the_rest() {
        let dir = tempfile::tempdir().unwrap();
        let hook = WEB.replace("{name: web}", "{name: web, annotations: {helm.sh/hook: pre-upgrade}}");
        let error = planned(dir.path(), &format!("printf '{hook}'")).await.unwrap_err().report();
        assert!(error.contains("all.yaml") && error.contains("pre-upgrade") && error.contains("--no-hooks"), "{error}");
    }
}
