//! [`ClusterTarget`] on Kubernetes.

mod apply;
mod leaving;
mod live;
mod namespace;
mod plan;
mod prepare;
mod restore;
mod rights;
mod salt;
mod shift;
mod status;

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use ecolaura_deploy_core::{
    Context, Effect, Error, Result,
    backend::{
        AppliedWorkload, ApplyRequest, ClusterCapabilities, ClusterPlan, ClusterSnapshot, ClusterStatus, ClusterTarget,
        RolloutState, SecretStore, TrafficRequest,
    },
    vocabulary::{Name, ServiceName},
};

pub(crate) use self::{
    apply::apply_json,
    live::{autoscalers, json_of},
    restore::restore,
};
use crate::{
    Connection,
    lease::Hold,
    manifest::Templates,
    object::{Key, Kind, Kinds},
    ownership::Ownership,
    reconcile::{Permissions, Server, Tried},
    verdict::{Graces, Mode},
    watch::{self, Awaited, Judging},
};

/// How long it takes until every node knows where a Service's requests go: kube-proxy and load balancers follow the
/// endpoints, and nobody can ask them whether they have.
const SETTLE: Duration = Duration::from_secs(2);

/// Runs workloads on a Kubernetes cluster.
///
/// # What is written
/// Objects are applied by server-side apply as the field manager `ecolaura-deploy`; fields of other managers are not
/// touched. What is as it should be is not written. `ConfigMap`s and `Secret`s that pods of the workload use get names
/// that tell their content, so that a roll-out brings them and an undo brings them back; the annotation
/// `deploy.ecolaura.io/versioned: "false"` keeps a name. The server is asked on trial of all objects before the first is
/// written; what it said in a plan of the last minute about an object that is still the same is not asked again. Beside the objects of the workload there are, in its namespace,
/// a `Lease` (one deployer at a time, [`ecolaura_deploy_core::fence`]), `ControllerRevision`s (what was applied, for undo),
/// for a workload with a name a `ConfigMap` (its inventory), and a `Secret` with a random salt.
///
/// # Traffic
/// A candidate is a Deployment beside the stable one, `NAME-candidate`. While it stands, the Services of the workload
/// tell the two apart by the label `deploy.ecolaura.io/track`. 0 and 100 percent are exact; between them both versions
/// stand behind the Service and get connections by their number of pods, which comes as near to the share as whole pods
/// can; a client that keeps its connection stays with its version. Where an `HTTPRoute` or an `Ingress` with a forward
/// action of the AWS Load Balancer Controller stands in front of the Service, in the same manifests, the share is set
/// there and is exact.
///
/// ```no_run
/// # async fn example(connection: ecolaura_deploy_k8s::Connection) -> ecolaura_deploy_core::Result<()> {
/// use std::sync::Arc;
/// use ecolaura_deploy_core::{backend::Workload, steps::Rollout};
/// use ecolaura_deploy_k8s::KubernetesCluster;
/// let cluster = Arc::new(KubernetesCluster::new("production".parse()?, connection));
/// let rollout = Rollout::new(cluster, Workload::new("shop".parse()?, ["deploy/backend.yaml"]));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct KubernetesCluster(Arc<Inner>);

#[derive(Clone)]
pub(crate) struct Inner {
    name: Name,
    connection: Connection,
    kinds: Arc<Kinds>,
    tried: Arc<Tried>,
    stores: Vec<Arc<dyn SecretStore>>,
    templates: Templates,
    registry: Option<String>,
    permissions: Permissions,
    ownership: Ownership,
    create_namespaces: bool,
    pub(crate) judging: Judging,
    settle: Duration,
}

impl fmt::Debug for KubernetesCluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KubernetesCluster")
            .field("name", &self.0.name)
            .field("connection", &self.0.connection)
            .finish_non_exhaustive()
    }
}

impl KubernetesCluster {
    /// The cluster behind `connection`, called `name` in plans and records.
    pub fn new(name: Name, connection: Connection) -> Self {
        Self(Arc::new(Inner {
            name,
            connection,
            kinds: Arc::default(),
            tried: Arc::default(),
            stores: Vec::new(),
            templates: Templates::default(),
            registry: None,
            permissions: Permissions::default(),
            ownership: Ownership::default(),
            create_namespaces: false,
            judging: Judging::default(),
            settle: SETTLE,
        }))
    }

    fn with(mut self, change: impl FnOnce(&mut Inner)) -> Self {
        let inner = Arc::make_mut(&mut self.0);
        // What was tried with other permissions says nothing.
        inner.tried = Arc::default();
        change(inner);
        self
    }

    /// With a store for [`Workload::secrets`](ecolaura_deploy_core::backend::Workload::secrets).
    pub fn secret_store(self, store: Arc<dyn SecretStore>) -> Self {
        self.with(|inner| inner.stores.push(store))
    }

    /// With the registry that images without a host come from, `registry.example.com:5000`, as the nodes reach it.
    pub fn registry(self, host: impl Into<String>) -> Self {
        self.with(|inner| inner.registry = Some(host.into()))
    }

    /// With the place of a pod template in objects of another kind: `pods_of("example.com/Worker", "spec.template")`. It
    /// is where something with a pod's `metadata` and `spec` stands; images and configuration are put in there too.
    pub fn pods_of(self, kind: impl Into<String>, path: impl Into<String>) -> Self {
        self.with(|inner| inner.templates.0.entry(kind.into()).or_default().push(path.into()))
    }

    /// Taking over fields that other managers own, where the manifests say something else. They are told in the plan.
    pub fn take_over_fields(self) -> Self {
        self.with(|inner| inner.permissions.force = true)
    }

    /// Making the fields its own that kubectl wrote without the server's apply: by a client-side `kubectl apply`, by
    /// `create`, `edit` or `replace`. Until then a field of theirs that leaves the manifests stays in the cluster, which a
    /// plan warns of.
    ///
    /// Before an object is applied its `managedFields` are merged, and kubectl's note of what it applied last goes; the
    /// plan says so, object by object. Nothing is written of an object that has no such fields, so this may stay on. A
    /// cancel between the merge and the apply leaves the object as it was; the next apply goes on. Fields of other
    /// managers, and those that were written through another version of the kind, are left alone.
    pub fn migrate_client_side_ownership(self) -> Self {
        self.with(|inner| inner.ownership.migrate_client_side())
    }

    /// The same for fields of another manager that wrote without the server's apply, such as `helm`. Only for one that
    /// writes these objects no more.
    pub fn migrate_ownership_of(self, manager: impl Into<String>) -> Self {
        self.with(|inner| inner.ownership.migrate(manager.into()))
    }

    /// Deleting and making again what cannot be changed in place. The plan says so, object by object.
    pub fn replace_immutable(self) -> Self {
        self.with(|inner| inner.permissions.replace = true)
    }

    /// Creating the namespace of a workload where it is missing.
    pub fn create_namespaces(self) -> Self {
        self.with(|inner| inner.create_namespaces = true)
    }

    /// Judging by `mode`, waiting for what may heal as `graces` says.
    pub fn judging(self, mode: Mode, graces: Graces) -> Self {
        self.with(|inner| inner.judging = Judging { mode, graces })
    }

    /// With another time from when the endpoints of a Service are as wanted until old pods are let go. 2 seconds unless
    /// set, enough for kube-proxy; a cloud's load balancer may need more.
    pub fn settle(self, time: Duration) -> Self {
        self.with(|inner| inner.settle = time)
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.0
    }
}

impl Inner {
    pub(crate) fn server<'a>(&'a self, cx: &'a Context, salt: &'a [u8]) -> Server<'a> {
        Server {
            cx,
            connection: &self.connection,
            kinds: &self.kinds,
            permissions: self.permissions,
            ownership: &self.ownership,
            salt,
        }
    }

    /// Does `work` as the only one who changes `namespace`.
    pub(crate) async fn holding<T>(
        &self,
        cx: &Context,
        namespace: &Name,
        operation: &'static str,
        work: impl AsyncFnOnce(&mut Hold) -> Result<T>,
    ) -> Result<T> {
        let mut hold = Hold::take(cx, &self.connection, namespace.as_str(), operation).await?;
        let result = work(&mut hold).await;
        hold.release(cx).await;
        result
    }
}

/// An error in the middle of several changes: some of them were made.
fn partly(error: Error) -> Error {
    if error.effect() == Effect::None { error.with_effect(Effect::Partial) } else { error }
}

pub(crate) fn deployment_kind() -> Kind {
    Kind::known("apps/v1", "Deployment", "deployments")
}

fn service_kind() -> Kind {
    Kind::known("v1", "Service", "services")
}

fn deployment_key(namespace: &Name, name: &str) -> Key {
    Key::new("apps/v1", "Deployment", Some(namespace.as_str()), name)
}

#[async_trait]
impl ClusterTarget for KubernetesCluster {
    fn name(&self) -> &Name {
        &self.0.name
    }

    fn capabilities(&self) -> ClusterCapabilities {
        let mut capabilities = ClusterCapabilities::all();
        capabilities.weighted_traffic = false;
        capabilities
    }

    async fn plan(&self, cx: &Context, request: &ApplyRequest) -> Result<ClusterPlan> {
        cx.check("cluster.plan")?;
        plan::plan(self.inner(), cx, request).await
    }

    async fn apply(&self, cx: &Context, request: &ApplyRequest) -> Result<AppliedWorkload> {
        cx.check("cluster.apply")?;
        apply::apply(self.inner(), cx, request).await
    }

    async fn wait_until_ready(&self, cx: &Context, applied: &AppliedWorkload) -> Result<RolloutState> {
        let awaited = apply::State::awaited(applied);
        let server = self.inner().server(cx, &[]);
        watch::until_ready(&server, applied.namespace.as_str(), &awaited, self.inner().judging).await
    }

    async fn shift(&self, cx: &Context, request: &TrafficRequest) -> Result<()> {
        cx.check("cluster.shift")?;
        shift::shift(self.inner(), cx, request).await
    }

    async fn status(&self, cx: &Context, namespace: &Name) -> Result<ClusterStatus> {
        status::status(self.inner(), cx, namespace).await
    }

    async fn restore(&self, cx: &Context, snapshot: &ClusterSnapshot) -> Result<()> {
        cx.check("cluster.restore")?;
        restore::restore(self.inner(), cx, snapshot).await
    }

    async fn logs(&self, cx: &Context, namespace: &Name, service: &ServiceName, lines: usize) -> Result<Vec<String>> {
        status::logs(self.inner(), cx, namespace, service, lines).await
    }
}

/// Waits for the Deployment of `service` with this revision on its track.
fn awaited(namespace: &Name, name: &str, revision: Option<u64>) -> Awaited {
    Awaited { key: deployment_key(namespace, name), uid: None, generation: None, revision }
}
