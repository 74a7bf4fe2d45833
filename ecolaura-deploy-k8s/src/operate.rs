//! What is done to a service beside its manifests: looked back on, brought back, paused, restarted, scaled, watched.
//!
//! Each change is made as the only one who changes the namespace, and refused to a deployer that was taken over, as an
//! apply is. It is written as the field manager `ecolaura-deploy-operate`: what is applied next leaves it as it is where
//! the manifests say nothing of it, and has the last word where they do.

mod history;
mod precondition;
mod progress;

use ecolaura_deploy_core::{
    Context, Error, ErrorKind, Result,
    backend::{ClusterSnapshot, RolloutState},
    vocabulary::{Name, ServiceName},
};
use kube::{
    api::{Patch, PatchParams},
    core::DynamicObject,
};
use serde_json::{Value, json};

pub use self::history::{History, Recorded};
pub(crate) use self::precondition::apply_unchanged;
use crate::{
    KubernetesCluster,
    edition::Editions,
    error::Call,
    names::OPERATOR,
    object::{Key, Kind},
    reconcile::Server,
    target::{Inner, autoscalers, restore},
    time,
};

/// Annotation of pod templates: when pods were told to start anew. kubectl's own, so that whoever looks for one finds it.
const RESTARTED: &str = "kubectl.kubernetes.io/restartedAt";

/// Kinds that run pods of a name, in the order in which they are looked for.
const WORKLOADS: [(&str, &str); 3] =
    [("Deployment", "deployments"), ("StatefulSet", "statefulsets"), ("DaemonSet", "daemonsets")];

/// What runs the pods of a service.
#[derive(Debug, Clone)]
struct Workload {
    key: Key,
    kind: Kind,
    live: DynamicObject,
}

impl Workload {
    async fn find(
        server: &Server<'_>,
        namespace: &Name,
        service: &ServiceName,
        operation: &'static str,
    ) -> Result<Self> {
        for (kind, plural) in WORKLOADS {
            let key = Key::new("apps/v1", kind, Some(namespace.as_str()), service.as_str());
            let kind = Kind::known("apps/v1", kind, plural);
            let live = server.get(&kind, &key).await?;
            if let Some(live) = live.filter(|live| live.metadata.deletion_timestamp.is_none()) {
                return Ok(Self { key, kind, live });
            }
        }
        let message = format!("there is no Deployment, StatefulSet or DaemonSet `{service}` in `{namespace}`");
        Err(Error::new(ErrorKind::NotFound, operation, message).advice("roll it out first, or look for another name"))
    }

    fn is(&self, kind: &str) -> bool {
        self.key.kind == kind
    }

    fn field(&self, pointer: &str) -> Option<&Value> {
        self.live.data.pointer(pointer)
    }

    fn is_paused(&self) -> bool {
        self.field("/spec/paused") == Some(&json!(true))
    }

    fn is_not_paused(&self, operation: &'static str) -> Result<()> {
        if !self.is_paused() {
            return Ok(());
        }
        let message = format!("the roll-out of {} is paused, so nothing of it would be seen", self.key);
        Err(Error::new(ErrorKind::Conflict, operation, message).advice("resume it first"))
    }

    fn unsupported(&self, operation: &'static str, why: &str, advice: &str) -> Error {
        Error::new(ErrorKind::Unsupported, operation, format!("{}: {why}", self.key)).advice(advice)
    }

    async fn patch(
        &self,
        server: &Server<'_>,
        operation: &'static str,
        verb: &'static str,
        patch: Value,
    ) -> Result<()> {
        let (params, patch) = (&as_operator(), &Patch::Merge(patch));
        let write = async |client| {
            let api = self.kind.api(client, self.key.namespace.as_deref());
            api.patch(&self.key.name, params, patch).await
        };
        server.connection.call(server.cx, Call::writes(operation, verb, &self.key), write).await.map(|_| ())
    }

    async fn patch_scale(&self, server: &Server<'_>, operation: &'static str, replicas: u32) -> Result<()> {
        let (params, patch) = (&as_operator(), &Patch::Merge(json!({"spec": {"replicas": replicas}})));
        let write = async |client| {
            let api = self.kind.api(client, self.key.namespace.as_deref());
            api.patch_scale(&self.key.name, params, patch).await
        };
        server.connection.call(server.cx, Call::writes(operation, "scale", &self.key), write).await.map(|_| ())
    }
}

fn as_operator() -> PatchParams {
    PatchParams { field_manager: Some(OPERATOR.to_owned()), ..PatchParams::default() }
}

/// # Operating a service
/// The service is a Deployment; restarting, scaling and looking at progress also take a `StatefulSet` and, but for
/// scaling, a `DaemonSet` of that name. Every one of these fails with `NotFound` where there is none, with
/// `PermissionDenied` naming the right that is missing ([`Needs::to_operate`](crate::access::Needs::to_operate)), and
/// those that change something with `Fenced` where a newer deployer works.
///
/// ```no_run
/// # async fn example(cx: ecolaura_deploy_core::Context, cluster: ecolaura_deploy_k8s::KubernetesCluster) -> ecolaura_deploy_core::Result<()> {
/// let (shop, backend) = ("shop".parse()?, "backend".parse()?);
/// let history = cluster.history(&cx, &shop, &backend).await?;
/// println!("{history}");
/// if let Some(before) = history.before() {
///     cluster.undo_to(&cx, &shop, &backend, before).await?;
/// }
/// cluster.scale(&cx, &shop, &backend, 5).await?;
/// cluster.restart(&cx, &shop, &backend).await?;
/// cluster.progress(&cx, &shop, &backend).await?;
/// # Ok(()) }
/// ```
impl KubernetesCluster {
    /// The revisions of a service that are kept and can be brought back. Changes nothing.
    ///
    /// What others rolled out has no history here; as far as this crate replaced it, it is revision 0. Of a `StatefulSet`
    /// or a `DaemonSet` nothing is recorded, which is `Unsupported`.
    pub async fn history(&self, cx: &Context, namespace: &Name, service: &ServiceName) -> Result<History> {
        cx.check("cluster.history")?;
        history::read(&self.inner().server(cx, &[]), namespace, service).await
    }

    /// Brings a revision back, with all that belongs to it: its pods, its `ConfigMap`s and Secrets by their versions, its
    /// Services and autoscalers, as [`restore`](ecolaura_deploy_core::backend::ClusterTarget::restore) does. Waits until
    /// it serves; a candidate is taken away. The number of replicas stays what it is.
    ///
    /// What is so already is not written, so it may be done again, also after a cancel: that leaves the service on its
    /// way to the revision. `NotFound` for one that is not kept names those that are. `Conflict` while the roll-out is
    /// paused, and where somebody else changes the Deployment at the same time: his change is not overwritten unseen.
    pub async fn undo_to(&self, cx: &Context, namespace: &Name, service: &ServiceName, revision: u64) -> Result<()> {
        const OPERATION: &str = "cluster.undo";
        cx.check(OPERATION)?;
        let server = self.inner().server(cx, &[]);
        let editions = Editions::read(cx, server.connection, namespace.as_str(), &[service.as_str()]).await?;
        if editions.of_revision(service.as_str(), revision).is_none() {
            return Err(history::read(&server, namespace, service).await?.has_no(revision));
        }
        let mut state = json!({});
        match Workload::find(&server, namespace, service, OPERATION).await {
            Ok(workload) => {
                workload.is_not_paused(OPERATION)?;
                state = json!({"replicas": workload.field("/spec/replicas")});
            }
            // It is brought back from nothing, too.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let (revisions, state) = ([(service.clone(), Some(revision))].into(), json!({service.as_str(): state}));
        restore(self.inner(), cx, &ClusterSnapshot::new(namespace.clone(), revisions, state)).await
    }

    /// Halts the roll-out of a Deployment: what is applied from now on makes no pods until it is resumed, and waiting for
    /// it ends at once with [`FailureCause::Paused`](ecolaura_deploy_core::backend::FailureCause::Paused). Scaling goes on.
    ///
    /// Nothing is written if it is paused already. `Unsupported` for other kinds. It stays paused through applies, unless
    /// the manifests say something of `spec.paused`.
    pub async fn pause(&self, cx: &Context, namespace: &Name, service: &ServiceName) -> Result<()> {
        set_paused(self.inner(), cx, namespace, service, true).await
    }

    /// Has a paused roll-out go on. Nothing is written if it is not paused.
    pub async fn resume(&self, cx: &Context, namespace: &Name, service: &ServiceName) -> Result<()> {
        set_paused(self.inner(), cx, namespace, service, false).await
    }

    /// Starts all pods of a service anew, a few at a time as its strategy has it. Does not wait:
    /// [`progress`](Self::progress) does.
    ///
    /// As `kubectl rollout restart` does it, by the annotation `kubectl.kubernetes.io/restartedAt` of the pod template. It
    /// is the operator's and not the manifests': the next apply neither takes it away nor shows it. A call that had to be
    /// made twice restarts once; another call restarts again. `Conflict` while the roll-out is paused.
    pub async fn restart(&self, cx: &Context, namespace: &Name, service: &ServiceName) -> Result<()> {
        const OPERATION: &str = "cluster.restart";
        let inner = self.inner();
        let restart = async |_: &mut _| {
            let server = inner.server(cx, &[]);
            let workload = Workload::find(&server, namespace, service, OPERATION).await?;
            workload.is_not_paused(OPERATION)?;
            if workload.field("/spec/updateStrategy/type") == Some(&json!("OnDelete")) {
                cx.warn(format!("{} is updated by hand: each pod starts anew when it is deleted", workload.key));
            }
            let annotations = json!({RESTARTED: time::now(cx).to_string()});
            let patch = json!({"spec": {"template": {"metadata": {"annotations": annotations}}}});
            workload.patch(&server, OPERATION, "restart", patch).await?;
            cx.status(format!("{}: its pods start anew", workload.key));
            Ok(())
        };
        inner.holding(cx, namespace, OPERATION, restart).await
    }

    /// Gives a service so many replicas. Does not wait: [`progress`](Self::progress) does.
    ///
    /// Nothing is written if it has as many. The next apply keeps the number where the manifests have no `replicas`;
    /// where they have one that number is applied, and the plan shows it. `Conflict` if an autoscaler sets the number,
    /// by name; `Unsupported` for a `DaemonSet`.
    pub async fn scale(&self, cx: &Context, namespace: &Name, service: &ServiceName, replicas: u32) -> Result<()> {
        const OPERATION: &str = "cluster.scale";
        if i32::try_from(replicas).is_err() {
            return Err(Error::invalid(OPERATION, format!("{replicas} replicas, expected at most {}", i32::MAX)));
        }
        let inner = self.inner();
        let scale = async |_: &mut _| {
            let server = inner.server(cx, &[]);
            let workload = Workload::find(&server, namespace, service, OPERATION).await?;
            if workload.is("DaemonSet") {
                let advice = "choose its nodes by `nodeSelector` or `affinity` in its manifest";
                return Err(workload.unsupported(OPERATION, "it has one pod on each node that it fits on", advice));
            }
            is_not_autoscaled(&server, namespace, &workload, OPERATION).await?;
            let before = workload.field("/spec/replicas").and_then(Value::as_u64).unwrap_or(1);
            if before != u64::from(replicas) {
                workload.patch_scale(&server, OPERATION, replicas).await?;
                cx.status(format!("{}: {replicas} replicas, {before} before", workload.key));
            }
            Ok(())
        };
        inner.holding(cx, namespace, OPERATION, scale).await
    }

    /// How far the roll-out of a service is, in one line: `Deployment shop/web: 1 of 3 new replicas have been updated`.
    /// Changes nothing. `Unsupported` for what others rolled out.
    pub async fn status_line(&self, cx: &Context, namespace: &Name, service: &ServiceName) -> Result<String> {
        progress::line(self.inner(), cx, namespace, service).await
    }

    /// Waits until the roll-out of a service is done or cannot be, whoever began it, and says how far it is whenever that
    /// changes ([`Context::status`]). What ends it by failing is in the answer, with the cause and the deadline of `cx`
    /// among them. Changes nothing. `Unsupported` for what others rolled out.
    pub async fn progress(&self, cx: &Context, namespace: &Name, service: &ServiceName) -> Result<RolloutState> {
        progress::follow(self.inner(), cx, namespace, service).await
    }
}

async fn set_paused(inner: &Inner, cx: &Context, namespace: &Name, service: &ServiceName, paused: bool) -> Result<()> {
    let (operation, verb) = if paused { ("cluster.pause", "pause") } else { ("cluster.resume", "resume") };
    let change = async |_: &mut _| {
        let server = inner.server(cx, &[]);
        let workload = Workload::find(&server, namespace, service, operation).await?;
        if !workload.is("Deployment") {
            let why = "only the roll-out of a Deployment can be paused";
            let advice = "hold pods back by `spec.updateStrategy` in its manifest: a `partition`, or `OnDelete`";
            return Err(workload.unsupported(operation, why, advice));
        }
        if workload.is_paused() != paused {
            // Taken away and not set to false, so that nobody owns it.
            let value = if paused { json!(true) } else { Value::Null };
            workload.patch(&server, operation, verb, json!({"spec": {"paused": value}})).await?;
            cx.status(format!("{}: its roll-out {}", workload.key, if paused { "is paused" } else { "goes on" }));
        }
        Ok(())
    };
    inner.holding(cx, namespace, operation, change).await
}

async fn is_not_autoscaled(
    server: &Server<'_>,
    namespace: &Name,
    workload: &Workload,
    operation: &'static str,
) -> Result<()> {
    let targets = |autoscaler: &Value| {
        let target = |field: &str| autoscaler.pointer("/spec/scaleTargetRef")?.get(field)?.as_str().map(str::to_owned);
        target("kind") == Some(workload.key.kind.clone()) && target("name") == Some(workload.key.name.clone())
    };
    let found = autoscalers(server, namespace).await?.into_iter().find(targets);
    let Some(autoscaler) = found else { return Ok(()) };
    let message = format!("the {} sets the replicas of {}", Key::of(&autoscaler), workload.key);
    Err(Error::new(ErrorKind::Conflict, operation, message)
        .advice("change its `minReplicas` and `maxReplicas`, or delete it"))
}
