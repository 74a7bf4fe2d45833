//! [`ClusterTarget`] by processes of this machine.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;

use super::{
    agent::{
        protocol::{Caller, Idle, Request, Running},
        start::check_main,
    },
    link::{Client, Host, Link},
    state::{Folder, Holder},
};
use crate::{
    Context, Error, ErrorKind, Result,
    backend::{
        AppliedWorkload, ApplyRequest, ClusterCapabilities, ClusterPlan, ClusterSnapshot, ClusterStatus, ClusterTarget,
        FailureCause, Registry, RolloutState, SecretStore, TrafficRequest, Workload,
    },
    cluster::{
        desired::Desired,
        diff,
        manifest::{self, Reading, Values},
    },
    local::image::{ImageConfig, unpack},
    plan::Action,
    vocabulary::{Digest, Name, ServiceName},
};

/// How long an agent goes on without use.
const IDLE: Duration = Duration::from_mins(10);

/// What of the remaining time is kept for the answer to come back.
const RETURN: Duration = Duration::from_millis(500);

/// Deployments of ordinary Kubernetes manifests as processes of this machine, from images of a registry.
///
/// For development and tests. What it keeps of Kubernetes: rolling updates, probes, revisions, restarts, named causes
/// of failure. What it does not: a process sees this machine's files and network, and a Service has a loopback address
/// and speaks HTTP/1.1. A namespace starts as a whole: of two runs that begin at once in one that does not run, the
/// later is told `StalePlan` and plans again. See the [module](super) for how processes are started and what is promised when something
/// dies.
///
/// ```
/// # async fn example(cx: &ecolaura_deploy_core::Context, image: ecolaura_deploy_core::vocabulary::PinnedImage)
/// # -> ecolaura_deploy_core::Result<()> {
/// use std::sync::Arc;
/// use ecolaura_deploy_core::{backend::*, local::{cluster::ProcessCluster, registry::LayoutRegistry}};
/// let registry = Arc::new(LayoutRegistry::new("target/registry", "registry".parse()?));
/// let cluster = ProcessCluster::in_process("target/cluster", registry, "local".parse()?)?;
/// let workload = Workload::new("dev".parse()?, ["k8s/backend.yaml"]).image("ecolaura/backend", image);
/// let applied = cluster.apply(cx, &ApplyRequest::new(workload, Placement::Replace)).await?;
/// assert_eq!(cluster.wait_until_ready(cx, &applied).await?, RolloutState::Ready);
/// println!("{:?}", applied.addresses);
/// cluster.stop(cx).await?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct ProcessCluster {
    pub(super) name: Name,
    pub(super) folder: Folder,
    registry: Arc<dyn Registry>,
    secrets: Vec<Arc<dyn SecretStore>>,
    idle: Idle,
    link: Arc<Link>,
}

impl ProcessCluster {
    /// A cluster in `dir` whose processes belong to an agent: this program, started once more by itself when something
    /// is rolled out. It serves across runs and survives a killed one. `dir` is made, for this user only.
    ///
    /// Fails with `InvalidInput` if this program's `main` has not called
    /// [`run_agent_if_asked`](super::run_agent_if_asked), and with the kinds of a folder that cannot be made.
    pub fn with_agent(dir: impl Into<PathBuf>, registry: Arc<dyn Registry>, name: Name) -> Result<Self> {
        check_main()?;
        let folder = Folder::create(&dir.into())?;
        let link = Arc::new(Link::Agent(Client::new(folder.clone())));
        Ok(Self { name, folder, registry, secrets: Vec::new(), idle: Idle(Some(IDLE)), link })
    }

    /// A cluster in `dir` whose processes end with it: at once when its last clone is dropped, and also when this
    /// program is killed. [`ProcessCluster::stop`] ends them in order.
    ///
    /// Fails with `Conflict` if another process runs a cluster in `dir`.
    pub fn in_process(dir: impl Into<PathBuf>, registry: Arc<dyn Registry>, name: Name) -> Result<Self> {
        let folder = Folder::create(&dir.into())?;
        let link = Arc::new(Link::Own(Host::start(&folder)?));
        Ok(Self { name, folder, registry, secrets: Vec::new(), idle: Idle(None), link })
    }

    /// How long the agent goes on after the last request and the last call, 10 minutes if not said otherwise; `None`:
    /// for ever. Told to the agent by the next call that changes something or waits. Without effect on
    /// [`ProcessCluster::in_process`].
    pub fn idle(mut self, idle: Option<Duration>) -> Self {
        self.idle = Idle(idle);
        self
    }

    /// Reads the values of [`Workload::secrets`] from `store` too. They go to the agent and to the processes, and into
    /// the agent's private state.
    pub fn secrets(mut self, store: Arc<dyn SecretStore>) -> Self {
        self.secrets.push(store);
        self
    }

    /// The process id of the agent, if one runs.
    pub fn agent_pid(&self) -> Option<u32> {
        match self.folder.holder() {
            Ok(Some(Holder::Agent(pid))) => Some(pid),
            _ => None,
        }
    }

    /// Ends every process of every namespace in order (requests under way, then the signal, then the grace of the
    /// manifest), then the agent, and returns when they are gone. What was applied is kept: the next roll-out in a
    /// namespace starts it again. Idempotent. A cancel leaves it ending. A person's command, so no epoch is asked for.
    pub async fn stop(&self, cx: &Context) -> Result<()> {
        match self.link.as_ref() {
            Link::Agent(client) => cx.bounded("cluster.stop", client.stop(cx)).await?,
            Link::Own(_) => self.change("cluster.stop", cx, Request::Stop).await,
        }
    }

    /// Whether there is somebody to call, without starting anybody.
    pub(super) fn is_run(&self) -> Result<bool> {
        Ok(matches!(self.link.as_ref(), Link::Own(_)) || self.folder.holder()?.is_some())
    }

    /// A call to whoever runs the pods; one is started if there is none.
    async fn change<T: serde::de::DeserializeOwned>(
        &self,
        operation: &'static str,
        cx: &Context,
        request: Request,
    ) -> Result<T> {
        let answer = self.link.call(cx, operation, request, self.idle).await?;
        answer.ok_or_else(|| Error::internal(operation, "nobody answered"))
    }

    async fn read(&self, cx: &Context, workload: &Workload) -> Result<Reading> {
        let values = Values::read(cx, &self.secrets, &workload.secrets).await?;
        let reading = manifest::read(workload, values, &self.folder.salt()?).await?;
        reading.register_secrets(cx.redactor());
        Ok(reading)
    }

    /// Every image of `desired` in its folder, with its configuration.
    async fn unpack(&self, cx: &Context, desired: &Desired) -> Result<BTreeMap<Digest, ImageConfig>> {
        let mut images = BTreeMap::new();
        for service in &desired.services {
            let image = &service.template.image;
            if let Entry::Vacant(entry) = images.entry(image.digest) {
                let dir = self.folder.image(image.digest);
                let config = unpack(cx, self.registry.as_ref(), image, &dir).await;
                entry.insert(config.map_err(|error| error.with("service", &service.name).with("image", image))?);
            }
        }
        Ok(images)
    }

    async fn running(&self, cx: &Context, namespace: &Name) -> Result<Running> {
        let request = Request::Running { namespace: namespace.clone() };
        if let Some(running) = self.link.call(cx, "cluster.plan", request, self.idle).await? {
            return Ok(running);
        }
        let state = self.folder.read()?;
        let current = state.namespaces.get(namespace).map(super::state::Namespace::current).unwrap_or_default();
        Ok(Running { awake: false, current })
    }
}

/// What is as it should be, but does not run, is started.
fn wake(plan: &mut ClusterPlan) {
    let asleep = plan.changes.iter_mut().filter(|change| change.action == Action::NoOp);
    asleep.filter(|change| change.object.starts_with("deployment ")).for_each(|change| {
        change.action = Action::Update;
        "it does not run and is started".clone_into(&mut change.reason);
    });
    plan.found = format!("{}, not running", plan.found);
}

/// The time to name to the other side, a little before it is over here.
fn remaining(cx: &Context) -> Option<Duration> {
    cx.remaining().map(|remaining| remaining.saturating_sub(RETURN.min(remaining / 10)))
}

#[async_trait]
impl ClusterTarget for ProcessCluster {
    fn name(&self) -> &Name {
        &self.name
    }

    fn capabilities(&self) -> ClusterCapabilities {
        ClusterCapabilities::all()
    }

    async fn plan(&self, cx: &Context, request: &ApplyRequest) -> Result<ClusterPlan> {
        let reading = cx.bounded("cluster.plan", self.read(cx, &request.workload)).await??;
        let Reading { desired, warnings } = reading;
        let running = self.running(cx, &desired.namespace).await?;
        let mut plan = diff::plan(&desired, &running.current, request.placement, warnings);
        if !running.awake && !running.current.services.is_empty() {
            wake(&mut plan);
        }
        Ok(plan)
    }

    async fn apply(&self, cx: &Context, request: &ApplyRequest) -> Result<AppliedWorkload> {
        let Reading { desired, .. } = cx.bounded("cluster.apply", self.read(cx, &request.workload)).await??;
        // No sweep may take an image between its unpacking and its first use.
        let _kept = self.folder.keep_images(cx).await?;
        let images = self.unpack(cx, &desired).await?;
        let request = Request::Apply { caller: Caller::of(cx), desired, images, placement: request.placement };
        self.change("cluster.apply", cx, request).await
    }

    async fn wait_until_ready(&self, cx: &Context, applied: &AppliedWorkload) -> Result<RolloutState> {
        let request = Request::Wait {
            namespace: applied.namespace.clone(),
            revisions: applied.revisions.clone(),
            track: applied.track,
            remaining: remaining(cx),
        };
        match self.change("cluster.wait", cx, request).await {
            Err(error) if error.kind() == ErrorKind::Timeout => {
                Ok(RolloutState::Failed { cause: FailureCause::DeadlineExceeded, chain: vec![error.report()] })
            }
            state => state,
        }
    }

    async fn shift(&self, cx: &Context, request: &TrafficRequest) -> Result<()> {
        let request = Request::Shift {
            caller: Caller::of(cx),
            namespace: request.candidate.namespace.clone(),
            candidates: request.candidate.revisions.clone(),
            traffic: request.traffic.clone(),
        };
        self.change("cluster.shift", cx, request).await
    }

    async fn status(&self, cx: &Context, namespace: &Name) -> Result<ClusterStatus> {
        let request = Request::Status { namespace: namespace.clone() };
        if let Some(status) = self.link.call(cx, "cluster.status", request, self.idle).await? {
            return Ok(status);
        }
        let state = self.folder.read()?;
        let record = state.namespaces.get(namespace).cloned().unwrap_or_default();
        Ok(ClusterStatus::new(record.snapshot(namespace), Vec::new(), BTreeMap::new(), Vec::new()))
    }

    async fn restore(&self, cx: &Context, snapshot: &ClusterSnapshot) -> Result<()> {
        let request = Request::Restore { caller: Caller::of(cx), snapshot: snapshot.clone(), remaining: remaining(cx) };
        self.change("cluster.restore", cx, request).await
    }

    async fn logs(&self, cx: &Context, namespace: &Name, service: &ServiceName, lines: usize) -> Result<Vec<String>> {
        let request = Request::Logs { namespace: namespace.clone(), service: service.clone(), lines };
        let answer = self.link.call(cx, "cluster.logs", request, self.idle).await?;
        answer.ok_or_else(|| {
            let message = format!("nothing runs in {namespace}; the last logs lie in the cluster's folder");
            Error::new(ErrorKind::NotFound, "cluster.logs", message).with("folder", self.folder.file("logs").display())
        })
    }
}
