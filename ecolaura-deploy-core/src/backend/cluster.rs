//! Running services.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::Track;
use crate::{
    Context, Result, SecretRef,
    plan::Change,
    vocabulary::{Digest, Name, PinnedImage, ServiceName},
};

/// What a cluster can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterCapabilities {
    /// A candidate may get any share of the requests.
    pub weighted_traffic: bool,
    /// Two versions may stand side by side.
    pub candidates: bool,
    /// Whatever changes a namespace refuses older epochs.
    pub fences: bool,
}

impl ClusterCapabilities {
    /// Everything.
    pub fn all() -> Self {
        Self { weighted_traffic: true, candidates: true, fences: true }
    }
}

/// How large a file of manifests may be: more than any object that an API server takes, many times over.
pub(crate) const LARGEST_MANIFEST: u64 = 8 * 1024 * 1024;

/// Manifests and what is put into them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Workload {
    /// What it is called, if it is to own what it brings: then whatever an earlier apply under this name brought, and
    /// this one does not, is taken away. Without a name nothing is.
    #[serde(default)]
    pub name: Option<Name>,
    /// The namespace that objects without one go to; one namespace is one environment on a shared cluster.
    pub namespace: Name,
    /// Files or folders of Kubernetes manifests (YAML or JSON, several documents a file).
    pub manifests: Vec<PathBuf>,
    /// The image for each `image:` in a pod template, by the repository that is written there (a tag is ignored).
    /// Every image of a Deployment must be named: nothing runs by tag.
    pub images: BTreeMap<String, PinnedImage>,
    /// Replacements of `ConfigMap` data, by `config-map/key`: what differs between environments.
    pub config: BTreeMap<String, String>,
    /// Replacements of `Secret` data, by `secret/key`. The cluster reads the values where it was told to.
    #[serde(default)]
    pub secrets: BTreeMap<String, SecretRef>,
}

impl Workload {
    /// The manifests at these paths, in `namespace`.
    pub fn new(namespace: Name, manifests: impl IntoIterator<Item = impl Into<PathBuf>>) -> Self {
        Self {
            name: None,
            namespace,
            manifests: manifests.into_iter().map(Into::into).collect(),
            images: BTreeMap::new(),
            config: BTreeMap::new(),
            secrets: BTreeMap::new(),
        }
    }

    /// Under `name`, so that what leaves the manifests leaves the cluster. See [`Workload::name`].
    pub fn named(mut self, name: Name) -> Self {
        self.name = Some(name);
        self
    }

    /// With `image` wherever the manifests say `repository`.
    pub fn image(mut self, repository: impl Into<String>, image: PinnedImage) -> Self {
        self.images.insert(repository.into(), image);
        self
    }

    /// With `value` for the `ConfigMap` entry `path`, `backend-config/database-path`.
    pub fn config(mut self, path: impl Into<String>, value: impl Into<String>) -> Self {
        self.config.insert(path.into(), value.into());
        self
    }

    /// With the value behind `reference` for the `Secret` entry `path`, `backend-secrets/api-token`.
    pub fn secret(mut self, path: impl Into<String>, reference: SecretRef) -> Self {
        self.secrets.insert(path.into(), reference);
        self
    }
}

/// How a workload takes the place of the one that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Placement {
    /// In its place, by the manifest's rolling update.
    Replace,
    /// Beside it, with all its replicas (blue-green) or one (canary), without requests until traffic is shifted.
    Beside {
        /// How many replicas; `None` takes the manifest's number.
        replicas: Option<u32>,
    },
}

/// A wish to run a workload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ApplyRequest {
    /// What.
    pub workload: Workload,
    /// How.
    pub placement: Placement,
}

impl ApplyRequest {
    /// `workload` by `placement`.
    pub fn new(workload: Workload, placement: Placement) -> Self {
        Self { workload, placement }
    }
}

/// What applying would do.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ClusterPlan {
    /// One for each object.
    pub changes: Vec<Change>,
    /// Manifest fields that this backend does not honour, with file, document and path.
    pub warnings: Vec<String>,
    /// The state of these services that was compared with, such as `revision 4`.
    pub found: String,
    /// The services (Deployments) of the workload.
    pub services: Vec<ServiceName>,
}

impl ClusterPlan {
    /// These changes against `found`.
    pub fn new(changes: Vec<Change>, warnings: Vec<String>, found: impl Into<String>) -> Self {
        Self { changes, warnings, found: found.into(), services: Vec::new() }
    }

    /// Of these services.
    pub fn services(mut self, services: Vec<ServiceName>) -> Self {
        self.services = services;
        self
    }
}

/// A workload that was accepted. It is not ready yet; see [`ClusterTarget::wait_until_ready`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AppliedWorkload {
    /// The namespace.
    pub namespace: Name,
    /// The services (Deployments) in it.
    pub services: Vec<ServiceName>,
    /// The revision that this made of each service; the verdict is about these and no others.
    pub revisions: BTreeMap<ServiceName, u64>,
    /// Whether it replaced the running one or stands beside it.
    pub track: Track,
    /// Where each Service answers, `http://127.0.0.1:8080`.
    pub addresses: BTreeMap<ServiceName, String>,
    /// The digest over manifests, images and configuration.
    pub digest: Digest,
    /// What else the backend needs to wait for it, in its own form.
    #[serde(default)]
    pub state: serde_json::Value,
}

impl AppliedWorkload {
    /// A workload without services yet.
    pub fn new(namespace: Name, track: Track, digest: Digest) -> Self {
        Self {
            namespace,
            services: Vec::new(),
            revisions: BTreeMap::new(),
            track,
            addresses: BTreeMap::new(),
            digest,
            state: serde_json::Value::Null,
        }
    }
}

/// Why a roll-out is or is not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
#[non_exhaustive]
pub enum RolloutState {
    /// On its way: `2 of 3 updated replicas are available`.
    Progressing {
        /// What is missing, in one line.
        message: String,
    },
    /// Every replica of the wanted revision is available and none of another is left.
    Ready,
    /// It cannot succeed.
    Failed {
        /// The cause.
        cause: FailureCause,
        /// Object, pod, container and what they said, outermost first; the last lines of the log at the end.
        chain: Vec<String>,
    },
}

/// The named causes of a roll-out that cannot succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FailureCause {
    /// A container ends again and again.
    CrashLoop,
    /// A container runs and its readiness probe fails.
    ReadinessProbe,
    /// A container is killed by its liveness probe again and again.
    LivenessProbe,
    /// The image is not there.
    ImageMissing,
    /// The image cannot start: no such program, wrong architecture.
    CannotStart,
    /// A `ConfigMap` or `Secret` that a container needs is not there.
    ConfigMissing,
    /// A container needs more memory than it may have.
    OutOfMemory,
    /// No node takes a pod.
    Unschedulable,
    /// A quota or a limit of the namespace keeps pods from being made.
    QuotaExceeded,
    /// The cluster refuses an object: admission, a webhook, pod security, names that are taken.
    AdmissionDenied,
    /// A volume is gone.
    VolumeMissing,
    /// A Job failed for good.
    JobFailed,
    /// The roll-out is paused, or the Job suspended.
    Paused,
    /// A controller says that it cannot go on.
    NotReconciled,
    /// The port is in use.
    PortTaken,
    /// The deadline passed without another cause.
    DeadlineExceeded,
    /// Somebody else changed it meanwhile.
    Superseded,
}

impl fmt::Display for FailureCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CrashLoop => "crash loop",
            Self::ReadinessProbe => "readiness probe fails",
            Self::LivenessProbe => "liveness probe fails",
            Self::ImageMissing => "image missing",
            Self::CannotStart => "cannot start",
            Self::ConfigMissing => "configuration missing",
            Self::OutOfMemory => "out of memory",
            Self::Unschedulable => "unschedulable",
            Self::QuotaExceeded => "quota exceeded",
            Self::AdmissionDenied => "admission denied",
            Self::VolumeMissing => "volume missing",
            Self::JobFailed => "job failed",
            Self::Paused => "paused",
            Self::NotReconciled => "not reconciled",
            Self::PortTaken => "port taken",
            Self::DeadlineExceeded => "deadline exceeded",
            Self::Superseded => "superseded",
        })
    }
}

/// What the requests of a service do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "traffic", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Traffic {
    /// This share, 0 to 100, goes to the candidate.
    Candidate {
        /// In percent.
        percent: u8,
    },
    /// The candidate becomes the stable one, with the manifest's replicas; the former one ends.
    Promote,
    /// The candidate ends; the stable one has all requests.
    Discard,
}

/// A wish to move the requests of the services of one workload, all together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TrafficRequest {
    /// The candidate.
    pub candidate: AppliedWorkload,
    /// Where to.
    pub traffic: Traffic,
}

impl TrafficRequest {
    /// `traffic` for `candidate`.
    pub fn new(candidate: AppliedWorkload, traffic: Traffic) -> Self {
        Self { candidate, traffic }
    }
}

/// What ran at a moment: what [`ClusterTarget::restore`] goes back to. Small enough for a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ClusterSnapshot {
    /// The namespace.
    pub namespace: Name,
    /// The revision of each service; `None` did not exist.
    pub revisions: BTreeMap<ServiceName, Option<u64>>,
    /// What else the backend needs, in its own form.
    pub state: serde_json::Value,
}

impl ClusterSnapshot {
    /// A snapshot of `namespace`.
    pub fn new(namespace: Name, revisions: BTreeMap<ServiceName, Option<u64>>, state: serde_json::Value) -> Self {
        Self { namespace, revisions, state }
    }
}

/// One running replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// The service it belongs to.
    pub service: ServiceName,
    /// The revision it runs.
    pub revision: u64,
    /// Stable or candidate.
    pub track: Track,
    /// Whether it is ready for requests.
    pub ready: bool,
    /// How often it was restarted.
    pub restarts: u32,
    /// `Running`, `CrashLoopBackOff`, `Pending`, …
    pub phase: String,
    /// Its address, `127.0.1.2:8080`.
    pub address: Option<String>,
    /// Its process id, where it is a process of this machine.
    pub pid: Option<u32>,
}

/// The state of a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ClusterStatus {
    /// What to restore to come back to this.
    pub snapshot: ClusterSnapshot,
    /// Every replica.
    pub pods: Vec<Pod>,
    /// Where each Service answers.
    pub addresses: BTreeMap<ServiceName, String>,
    /// What happened lately, newest last.
    pub events: Vec<String>,
}

impl ClusterStatus {
    /// A status.
    pub fn new(
        snapshot: ClusterSnapshot,
        pods: Vec<Pod>,
        addresses: BTreeMap<ServiceName, String>,
        events: Vec<String>,
    ) -> Self {
        Self { snapshot, pods, addresses, events }
    }
}

/// Runs services: a Kubernetes cluster, or the embedded one.
///
/// Where [`ClusterCapabilities::fences`], a change of a namespace by an older epoch than one that it let in is refused
/// first, with `Fenced`, and changes nothing ([`crate::fence`]).
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait ClusterTarget: fmt::Debug + Send + Sync + 'static {
    /// The backend's name, for plans and records.
    fn name(&self) -> &Name;

    /// What it can do.
    fn capabilities(&self) -> ClusterCapabilities;

    /// What [`ClusterTarget::apply`] would do. Reads only. Fails with `InvalidInput` naming file, document, field and
    /// all problems at once.
    async fn plan(&self, cx: &Context, request: &ApplyRequest) -> Result<ClusterPlan>;

    /// Accepts the workload and answers at once; pods follow. Idempotent: the same workload again changes nothing and
    /// gives the same revisions. A cancel leaves either the former or the new wish, never a mixture within a service.
    /// Fails with `InvalidInput`, `NotFound` (image), `Fenced`, `Conflict`, `Unavailable`.
    async fn apply(&self, cx: &Context, request: &ApplyRequest) -> Result<AppliedWorkload>;

    /// Waits until all services of `applied` are ready or one cannot become so, reporting progress in lines like
    /// kubectl's. Reads only, so any epoch may. Never answers `Progressing`: at the context's deadline it answers `Failed` with
    /// [`FailureCause::DeadlineExceeded`] and the chain. Fails with `Cancelled`, `Unavailable`.
    async fn wait_until_ready(&self, cx: &Context, applied: &AppliedWorkload) -> Result<RolloutState>;

    /// Moves requests. Idempotent; no request that was accepted is lost. A cancel leaves either the former or the new
    /// share. [`Traffic::Promote`] returns when the former replicas have ended. Fails with `NotFound` (no such
    /// candidate), `Fenced`, `Conflict`, `Unsupported`.
    async fn shift(&self, cx: &Context, request: &TrafficRequest) -> Result<()>;

    /// What runs in `namespace`. Reads only.
    async fn status(&self, cx: &Context, namespace: &Name) -> Result<ClusterStatus>;

    /// Goes back to `snapshot`, candidates discarded, and waits until it serves. Services that did not exist then
    /// are removed, others are left alone. Idempotent. Fails with `NotFound` (a revision is no longer kept), `Fenced`,
    /// `RolloutFailed`, `Timeout`.
    async fn restore(&self, cx: &Context, snapshot: &ClusterSnapshot) -> Result<()>;

    /// The last `lines` lines that the replicas of `service` printed, each with its pod's name before it. Reads only.
    async fn logs(&self, cx: &Context, namespace: &Name, service: &ServiceName, lines: usize) -> Result<Vec<String>>;
}

const _: fn(&dyn ClusterTarget) = |_| {};
