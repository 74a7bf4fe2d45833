//! The cluster under test, and manifests to feed it.

use std::{
    any::Any,
    fmt::Write,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{Ask, Fixture, Images};
use crate::{
    Context, Error, Result,
    backend::{
        AppliedWorkload, ApplyRequest, ClusterPlan, ClusterSnapshot, ClusterStatus, ClusterTarget, Placement,
        RolloutState, Traffic, TrafficRequest, Workload,
    },
    cdn::scratch::Scratch,
    plan::Action,
    vocabulary::{Digest, EnvironmentName, Name, PinnedImage, ServiceName},
};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

pub(super) struct Bench {
    pub(super) cluster: Arc<dyn ClusterTarget>,
    pub(super) images: Images,
    ports: [u16; 2],
    ask: Option<Ask>,
    pub(super) cx: Context,
    pub(super) namespace: Name,
    pub(super) files: Scratch,
    _guard: Box<dyn Any + Send + Sync>,
}

/// A Deployment with its Service and its `ConfigMap`.
#[derive(Debug, Clone)]
pub(super) struct App {
    pub(super) name: &'static str,
    pub(super) replicas: u32,
    pub(super) greeting: &'static str,
    /// How many seconds without progress end a roll-out.
    pub(super) patience: u32,
}

pub(super) const WEB: App = App { name: "web", replicas: 1, greeting: "hello", patience: 60 };
pub(super) const SIDE: App = App { name: "side", replicas: 1, greeting: "hello", patience: 60 };

/// A name that follows the grammar.
pub(super) fn service(name: &str) -> Result<ServiceName> {
    Ok(ServiceName::new(name)?)
}

impl App {
    fn yaml(&self, port: u16) -> String {
        let Self { name, replicas, greeting, patience } = self;
        format!(
            r"apiVersion: v1
kind: ConfigMap
metadata: {{name: {name}-config}}
data: {{greeting: {greeting}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}}}
spec:
  replicas: {replicas}
  progressDeadlineSeconds: {patience}
  selector: {{matchLabels: {{app: {name}}}}}
  strategy: {{type: RollingUpdate, rollingUpdate: {{maxSurge: 1, maxUnavailable: 0}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 2
      containers:
        - name: {name}
          image: conformance/{name}
          ports: [{{name: http, containerPort: 8080}}]
          env:
            - {{name: POD_IP, valueFrom: {{fieldRef: {{fieldPath: status.podIP}}}}}}
            - {{name: PORT, value: '8080'}}
            - {{name: GREETING, valueFrom: {{configMapKeyRef: {{name: {name}-config, key: greeting}}}}}}
          readinessProbe: {{httpGet: {{path: /healthz, port: http}}, periodSeconds: 1}}
---
apiVersion: v1
kind: Service
metadata: {{name: {name}}}
spec:
  selector: {{app: {name}}}
  ports: [{{port: {port}, targetPort: http}}]
"
        )
    }
}

impl Bench {
    pub(super) fn new(Fixture { cluster, images, namespace, ports, ask, guard }: Fixture) -> Result<Self> {
        let files = Scratch::new().map_err(|error| Error::io("conformance.start", std::env::temp_dir(), error))?;
        let cx = Context::new(EnvironmentName::new("test")?).with_deadline_in(PATIENCE * 5);
        let namespace = namespace.map_or_else(|| Name::new("conformance"), Ok)?;
        Ok(Self { cluster, images, ports, ask, cx, namespace, files, _guard: guard })
    }

    /// Writes `text` into a file that nothing else is written into. It appears whole: another applier may read it.
    pub(super) fn write(&self, text: &str) -> Result<PathBuf> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let path = self.files.path().join(format!("{}.yaml", Digest::of(text).short()));
        let partial = path.with_extension(format!("partial-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
        let written = std::fs::write(&partial, text).and_then(|()| std::fs::rename(&partial, &path));
        written.map_err(|error| Error::io("conformance.write", &path, error))?;
        Ok(path)
    }

    pub(super) fn yaml(&self, app: &App) -> String {
        app.yaml(if app.name == WEB.name { self.ports[0] } else { self.ports[1] })
    }

    pub(super) fn workload(&self, app: &App, image: &PinnedImage) -> Result<Workload> {
        let path = self.write(&self.yaml(app))?;
        Ok(Workload::new(self.namespace.clone(), [path]).image(format!("conformance/{}", app.name), image.clone()))
    }

    pub(super) fn request(&self, app: &App, image: &PinnedImage, placement: Placement) -> Result<ApplyRequest> {
        Ok(ApplyRequest::new(self.workload(app, image)?, placement))
    }

    pub(super) async fn plan(&self, app: &App, image: &PinnedImage) -> Result<ClusterPlan> {
        self.cluster.plan(&self.cx, &self.request(app, image, Placement::Replace)?).await
    }

    /// Checks that applying would change nothing.
    pub(super) async fn is_idle(&self, app: &App, image: &PinnedImage) -> Result<()> {
        let plan = self.plan(app, image).await?;
        assert!(plan.changes.iter().all(|change| change.action == Action::NoOp), "{}", text(&plan));
        Ok(())
    }

    pub(super) async fn apply(&self, app: &App, image: &PinnedImage) -> Result<AppliedWorkload> {
        self.cluster.apply(&self.cx, &self.request(app, image, Placement::Replace)?).await
    }

    pub(super) async fn beside(&self, app: &App, image: &PinnedImage) -> Result<AppliedWorkload> {
        let placement = Placement::Beside { replicas: Some(1) };
        self.cluster.apply(&self.cx, &self.request(app, image, placement)?).await
    }

    pub(super) async fn wait(&self, applied: &AppliedWorkload) -> Result<RolloutState> {
        self.cluster.wait_until_ready(&self.cx.clone().with_deadline_in(PATIENCE), applied).await
    }

    pub(super) async fn ready(&self, applied: AppliedWorkload) -> Result<AppliedWorkload> {
        assert_eq!(self.wait(&applied).await?, RolloutState::Ready);
        Ok(applied)
    }

    /// Applies and waits until it is ready.
    pub(super) async fn roll_out(&self, app: &App, image: &PinnedImage) -> Result<AppliedWorkload> {
        self.ready(self.apply(app, image).await?).await
    }

    /// A candidate that is ready.
    pub(super) async fn candidate(&self, app: &App, image: &PinnedImage) -> Result<AppliedWorkload> {
        self.ready(self.beside(app, image).await?).await
    }

    pub(super) async fn shift(&self, candidate: &AppliedWorkload, traffic: Traffic) -> Result<()> {
        self.cluster.shift(&self.cx, &TrafficRequest::new(candidate.clone(), traffic)).await
    }

    pub(super) async fn status(&self) -> Result<ClusterStatus> {
        self.cluster.status(&self.cx, &self.namespace).await
    }

    /// A snapshot of the service `name` alone, as a roll-out of it takes one.
    pub(super) async fn snapshot(&self, name: &str) -> Result<ClusterSnapshot> {
        let name = service(name)?;
        let mut snapshot = self.status().await?.snapshot;
        snapshot.revisions.retain(|service, _| *service == name);
        snapshot.revisions.entry(name).or_insert(None);
        Ok(snapshot)
    }

    pub(super) async fn restore(&self, snapshot: &ClusterSnapshot) -> Result<()> {
        self.cluster.restore(&self.cx.clone().with_deadline_in(PATIENCE), snapshot).await
    }

    /// Asks the service `name` this often, if there is a way to ask: how often each version answered.
    pub(super) async fn asked(&self, name: &str, times: usize) -> Result<Option<Vec<String>>> {
        let Some(ask) = &self.ask else { return Ok(None) };
        let status = self.status().await?;
        let Some(address) = status.addresses.get(&service(name)?) else {
            panic!("the service `{name}` has no address: {:?}", status.addresses)
        };
        let mut answers = Vec::new();
        for _ in 0..times {
            answers.push(ask(address.clone()).await?);
        }
        Ok(Some(answers))
    }

    /// Checks that `version` alone answers for the service `name`.
    pub(super) async fn answers(&self, name: &str, version: &str) -> Result<()> {
        if let Some(answers) = self.asked(name, 20).await? {
            assert!(answers.iter().all(|answer| answer == version), "expected {version} alone: {answers:?}");
        }
        Ok(())
    }
}

/// Everything that a plan says, for a search.
pub(super) fn text(plan: &ClusterPlan) -> String {
    let mut text = String::new();
    for change in &plan.changes {
        _ = writeln!(text, "{change} {}", change.details.join(", "));
    }
    text
}

pub(super) fn fails<T>(kind: crate::ErrorKind, result: Result<T>) -> Error {
    match result {
        Ok(_) => panic!("succeeded, expected an error: {kind}"),
        Err(error) if error.kind() == kind => error,
        Err(error) => panic!("expected an error: {kind}, got {error:?}"),
    }
}
