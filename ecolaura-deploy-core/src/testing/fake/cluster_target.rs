//! A fake [`ClusterTarget`].

mod live;
mod state;

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::time::Instant;

use self::state::State;
use crate::{
    Context, Error, ErrorKind, Result,
    backend::{
        AppliedWorkload, ApplyRequest, ClusterCapabilities, ClusterPlan, ClusterSnapshot, ClusterStatus, ClusterTarget,
        FailureCause, Placement, RolloutState, Track, Traffic, TrafficRequest, Workload,
    },
    cluster::{
        desired::{Desired, Endpoint},
        diff,
        manifest::{self, Reading},
    },
    vocabulary::{Digest, Name, PinnedImage, ServiceName},
};

/// What the pods of an image do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Behaviour {
    /// They become ready, one after the other.
    #[default]
    Serves,
    /// They end as soon as they start.
    CrashLoops,
    /// They run and are never ready.
    NeverReady,
    /// The image is not in the registry: applying fails.
    Missing,
}

/// A call that a [`FakeCluster`] got and carried out, as far as it writes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClusterCall {
    /// A workload was accepted and changed something.
    Applied {
        /// Its services, each with the revision it got.
        revisions: BTreeMap<ServiceName, u64>,
        /// How it was placed.
        placement: Placement,
    },
    /// Requests were moved.
    Shifted {
        /// The candidates.
        services: Vec<ServiceName>,
        /// Where to.
        traffic: Traffic,
    },
    /// A snapshot was brought back.
    Restored(BTreeMap<ServiceName, Option<u64>>),
}

/// A cluster in memory. It reads real manifests; pods become ready one by one as (tokio's) time goes by, so that a
/// roll-out is on its way before it is done.
///
/// ```
/// # async fn example(bad: ecolaura_deploy_core::vocabulary::PinnedImage) -> ecolaura_deploy_core::Result<()> {
/// use ecolaura_deploy_core::testing::fake::cluster_target::{Behaviour, FakeCluster};
/// let cluster = FakeCluster::new("fake".parse()?).behaviour(bad, Behaviour::CrashLoops);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct FakeCluster {
    name: Name,
    capabilities: ClusterCapabilities,
    startup: Duration,
    behaviours: BTreeMap<PinnedImage, Behaviour>,
    state: Mutex<State>,
}

/// How often a wait looks.
const POLL: Duration = Duration::from_millis(10);

impl FakeCluster {
    /// An empty cluster that can do everything, on which every image serves and a pod takes 100 ms to become ready.
    pub fn new(name: Name) -> Self {
        Self {
            name,
            capabilities: ClusterCapabilities::all(),
            startup: Duration::from_millis(100),
            behaviours: BTreeMap::new(),
            state: Mutex::default(),
        }
    }

    /// The same, with pods of `image` that do this.
    pub fn behaviour(mut self, image: PinnedImage, behaviour: Behaviour) -> Self {
        self.behaviours.insert(image, behaviour);
        self
    }

    /// The same, with pods that take this long to become ready.
    pub fn startup(mut self, startup: Duration) -> Self {
        self.startup = startup;
        self
    }

    /// The same, able to do this much.
    pub fn capabilities(mut self, capabilities: ClusterCapabilities) -> Self {
        self.capabilities = capabilities;
        self
    }

    fn state(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.settle(&self.pods());
        state
    }

    fn pods(&self) -> Pods<'_> {
        Pods { behaviours: &self.behaviours, startup: self.startup, now: Instant::now() }
    }

    /// The calls that changed something, in their order.
    pub fn calls(&self) -> Vec<ClusterCall> {
        self.state().calls.clone()
    }

    /// The image that answers the next request to `address`, one of the [`AppliedWorkload::addresses`]; `None` if
    /// nothing does. Of many requests a candidate gets exactly its share.
    pub fn answer(&self, address: &str) -> Option<PinnedImage> {
        let pods = self.pods();
        self.state().at(address)?.answer(&pods)
    }

    /// The variables that a pod of the stable revision of `service` gets from its manifest.
    pub fn environment(&self, namespace: &Name, service: &ServiceName) -> Option<BTreeMap<String, String>> {
        self.state().find(namespace, service)?.environment(namespace, service)
    }

    /// Refuses an older epoch, under the lock of `state`.
    fn admit(&self, state: &mut State, operation: &'static str, cx: &Context, namespace: &Name) -> Result<()> {
        if !self.capabilities.fences {
            return Ok(());
        }
        state.epochs.entry(namespace.clone()).or_default().admit(operation, cx)
    }

    /// One change that no older epoch makes.
    fn change(
        &self,
        operation: &'static str,
        cx: &Context,
        namespace: &Name,
        change: impl FnOnce(&mut State, &Pods<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut state = self.state();
        self.admit(&mut state, operation, cx, namespace)?;
        change(&mut state, &self.pods())
    }

    async fn read(&self, operation: &'static str, cx: &Context, workload: &Workload) -> Result<Reading> {
        let values = manifest::Values::named(&workload.secrets);
        let reading = cx.bounded(operation, manifest::read(workload, values, b"fake")).await??;
        reading.register_secrets(cx.redactor());
        Ok(reading)
    }

    fn refuse_missing(&self, desired: &Desired) -> Result<()> {
        let missing = |image: &PinnedImage| self.behaviours.get(image) == Some(&Behaviour::Missing);
        match desired.services.iter().find(|service| missing(&service.template.image)) {
            None => Ok(()),
            Some(service) => {
                let message = format!("the image {} of `{}` is not there", service.template.image, service.name);
                Err(Error::new(ErrorKind::NotFound, "cluster.apply", message).advice("push the image first"))
            }
        }
    }

    fn refuse_unsupported(&self, placement: Placement) -> Result<()> {
        if placement == Placement::Replace || self.capabilities.candidates {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Unsupported, "cluster.apply", "this cluster has no candidates"))
    }

    /// Waits until `look` says that it is over; says what is missing meanwhile.
    async fn wait(
        &self,
        operation: &'static str,
        cx: &Context,
        look: impl Fn(&State, &Pods<'_>) -> RolloutState,
    ) -> Result<RolloutState> {
        let mut told = String::new();
        loop {
            cx.check(operation)
                .or_else(|error| if error.kind() == ErrorKind::Timeout { Ok(()) } else { Err(error) })?;
            let message = match look(&self.state(), &self.pods()) {
                RolloutState::Progressing { message } => message,
                over => return Ok(over),
            };
            if message != told {
                cx.status(message.clone());
                told.clone_from(&message);
            }
            match cx.sleep(operation, POLL).await {
                Err(error) if error.kind() == ErrorKind::Timeout => {
                    return Ok(RolloutState::Failed { cause: FailureCause::DeadlineExceeded, chain: vec![message] });
                }
                slept => slept?,
            }
        }
    }
}

/// What pods do at a moment.
#[derive(Debug)]
struct Pods<'a> {
    behaviours: &'a BTreeMap<PinnedImage, Behaviour>,
    startup: Duration,
    now: Instant,
}

/// Where a Service of the fake answers.
fn address(namespace: &Name, endpoint: &Endpoint) -> String {
    let port = endpoint.ports.first().map_or(80, |port| port.port);
    format!("http://{}.{namespace}.fake:{port}", endpoint.name)
}

#[async_trait]
impl ClusterTarget for FakeCluster {
    fn name(&self) -> &Name {
        &self.name
    }

    fn capabilities(&self) -> ClusterCapabilities {
        self.capabilities
    }

    async fn plan(&self, cx: &Context, request: &ApplyRequest) -> Result<ClusterPlan> {
        self.refuse_unsupported(request.placement)?;
        let Reading { desired, warnings } = self.read("cluster.plan", cx, &request.workload).await?;
        let current = self.state().current(&desired.namespace);
        Ok(diff::plan(&desired, &current, request.placement, warnings))
    }

    async fn apply(&self, cx: &Context, request: &ApplyRequest) -> Result<AppliedWorkload> {
        self.refuse_unsupported(request.placement)?;
        let Reading { desired, .. } = self.read("cluster.apply", cx, &request.workload).await?;
        self.refuse_missing(&desired)?;
        let pods = self.pods();
        let mut state = self.state();
        self.admit(&mut state, "cluster.apply", cx, &desired.namespace)?;
        let track = if request.placement == Placement::Replace { Track::Stable } else { Track::Candidate };
        let mut applied = AppliedWorkload::new(desired.namespace.clone(), track, desired.digest);
        let mut changed = false;
        for wanted in &desired.services {
            let service = state.service(&desired.namespace, &wanted.name);
            let before = service.snapshot();
            let revision = match request.placement {
                Placement::Beside { replicas } => service.beside(wanted, replicas.unwrap_or(wanted.replicas), &pods),
                _ => service.replace(wanted, &pods),
            };
            changed |= before != service.snapshot();
            applied.revisions.insert(wanted.name.clone(), revision);
            applied.services.push(wanted.name.clone());
            let addresses = wanted.endpoints.iter();
            applied.addresses.extend(addresses.map(|one| (one.name.clone(), address(&desired.namespace, one))));
        }
        if changed {
            let (revisions, placement) = (applied.revisions.clone(), request.placement);
            state.calls.push(ClusterCall::Applied { revisions, placement });
        }
        Ok(applied)
    }

    async fn wait_until_ready(&self, cx: &Context, applied: &AppliedWorkload) -> Result<RolloutState> {
        self.wait("cluster.wait", cx, |state, pods| state.rollout(applied, pods)).await
    }

    async fn shift(&self, cx: &Context, request: &TrafficRequest) -> Result<()> {
        const OPERATION: &str = "cluster.shift";
        cx.check(OPERATION)?;
        let weighted = matches!(request.traffic, Traffic::Candidate { percent } if percent != 0 && percent != 100);
        if weighted && !self.capabilities.weighted_traffic {
            return Err(Error::new(ErrorKind::Unsupported, OPERATION, "this cluster has no weighted traffic"));
        }
        if let Traffic::Candidate { percent: percent @ 101.. } = request.traffic {
            return Err(Error::invalid(OPERATION, format!("{percent} % of the requests, expected 0 to 100")));
        }
        let TrafficRequest { candidate, traffic } = request;
        self.change(OPERATION, cx, &candidate.namespace, |state, pods| state.shift(candidate, traffic, pods))?;
        if request.traffic == Traffic::Promote {
            let mut stable = request.candidate.clone();
            stable.track = Track::Stable;
            self.wait(OPERATION, cx, |state, pods| state.rollout(&stable, pods)).await?;
        }
        Ok(())
    }

    async fn status(&self, cx: &Context, namespace: &Name) -> Result<ClusterStatus> {
        cx.check("cluster.status")?;
        let state = self.state();
        let services = || state.services.iter().filter(|((place, _), service)| place == namespace && service.exists());
        let revisions = services().map(|((_, name), service)| (name.clone(), service.stable_revision())).collect();
        let wishes = services().map(|((_, name), service)| (name.to_string(), service.snapshot())).collect();
        let snapshot = ClusterSnapshot::new(namespace.clone(), revisions, serde_json::Value::Object(wishes));
        let pods = services().flat_map(|((_, name), service)| service.pods(name, &self.pods())).collect();
        let endpoints = services().flat_map(|(_, service)| service.endpoints());
        let addresses = endpoints.map(|one| (one.name.clone(), address(namespace, one))).collect();
        Ok(ClusterStatus::new(snapshot, pods, addresses, Vec::new()))
    }

    async fn restore(&self, cx: &Context, snapshot: &ClusterSnapshot) -> Result<()> {
        const OPERATION: &str = "cluster.restore";
        cx.check(OPERATION)?;
        self.change(OPERATION, cx, &snapshot.namespace, |state, pods| state.restore(snapshot, pods))?;
        let mut wanted = AppliedWorkload::new(snapshot.namespace.clone(), Track::Stable, Digest::of("restored"));
        wanted.revisions =
            snapshot.revisions.iter().filter_map(|(name, revision)| Some((name.clone(), (*revision)?))).collect();
        match self.wait(OPERATION, cx, |state, pods| state.rollout(&wanted, pods)).await? {
            RolloutState::Ready => Ok(()),
            RolloutState::Failed { cause: FailureCause::DeadlineExceeded, chain } => {
                Err(Error::new(ErrorKind::Timeout, OPERATION, chain.join(": ")))
            }
            other => Err(Error::new(ErrorKind::RolloutFailed, OPERATION, format!("{other:?}"))),
        }
    }

    async fn logs(&self, cx: &Context, namespace: &Name, service: &ServiceName, lines: usize) -> Result<Vec<String>> {
        cx.check("cluster.logs")?;
        let state = self.state();
        let found = state.find(namespace, service);
        let mut log = found.map(|found| found.logs(service, &self.pods())).unwrap_or_default();
        Ok(log.split_off(log.len().saturating_sub(lines)))
    }
}

#[cfg(test)]
mod tests;
