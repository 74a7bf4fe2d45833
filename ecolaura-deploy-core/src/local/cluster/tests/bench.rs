//! An engine in a folder of its own, and short ways to ask it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::Command,
    sync::OnceLock,
    time::Duration,
};

use serde::de::DeserializeOwned;
use tempfile::TempDir;

use crate::{
    Context, Result,
    backend::{AppliedWorkload, ClusterSnapshot, ClusterStatus, Placement, Pod, RolloutState, Track, Traffic},
    cluster::desired::{
        Check, ContainerPort, Desired, DesiredService, Endpoint, EndpointPort, EnvValue, EnvVar, PodTemplate, Probe,
        RolloutStrategy,
    },
    local::{
        cluster::{
            agent::protocol::{Caller, Idle, Request},
            link::{Host, Link},
            state::Folder,
        },
        image::ImageConfig,
    },
    vocabulary::{Digest, Name, PinnedImage, Repository, ServiceName},
};

/// The compiled server, for all tests of this process.
fn server() -> &'static Path {
    static SERVER: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = SERVER.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("server");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/pod/server.rs");
        let rustc = option_env!("RUSTC").unwrap_or("rustc");
        let built =
            Command::new(rustc).args(["--edition", "2024", "-Cstrip=symbols", source, "-o"]).arg(&path).status();
        assert!(built.unwrap().success(), "the test server does not compile");
        (dir, path)
    });
    path
}

pub(super) fn name(text: &str) -> ServiceName {
    text.parse().unwrap()
}

/// A probe that asks once a second.
pub(super) fn probe(path: &str) -> Probe {
    Probe {
        check: Check::HttpGet { path: path.into(), port: 8080, headers: Vec::new() },
        initial_delay_seconds: 0,
        period_seconds: 1,
        timeout_seconds: 5,
        failure_threshold: 1,
        success_threshold: 1,
    }
}

/// The service `backend` of two pods behind port 8080, from the image `mode`.
pub(in super::super) fn service(mode: &str) -> DesiredService {
    DesiredService {
        name: name("backend"),
        replicas: 2,
        strategy: RolloutStrategy::RollingUpdate { max_surge: 1, max_unavailable: 0 },
        min_ready_seconds: 0,
        progress_deadline_seconds: 60,
        template: PodTemplate {
            image: PinnedImage::new(Repository::new("test/server").unwrap(), Digest::of(mode)),
            command: None,
            args: Some(mode.split(' ').map(str::to_owned).collect()),
            env: Vec::new(),
            working_dir: None,
            ports: vec![ContainerPort { name: None, number: 8080 }],
            readiness: Some(probe("/healthz")),
            liveness: None,
            startup: None,
            pre_stop: None,
            termination_grace_seconds: 10,
            annotations: BTreeMap::new(),
        },
        endpoints: vec![Endpoint {
            name: name("backend"),
            ports: vec![EndpointPort { name: None, port: 8080, target: 8080 }],
        }],
    }
}

pub(in super::super) fn variable(variable: &str, value: &str) -> EnvVar {
    EnvVar { name: variable.into(), value: EnvValue::Literal(value.into()) }
}

/// An engine that runs nothing yet.
pub(super) struct Bench {
    pub(super) link: Link,
    pub(super) cx: Context,
    pub(super) folder: Folder,
    pub(super) namespace: Name,
    _dir: TempDir,
}

impl Bench {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::create(dir.path()).unwrap();
        let link = Link::Own(Host::start(&folder).unwrap());
        // Far more than any test takes: a broken one should end with a message.
        let cx = Context::new("test".parse().unwrap()).with_deadline_in(Duration::from_mins(2));
        Self { link, cx, folder, namespace: "test".parse().unwrap(), _dir: dir }
    }

    pub(super) async fn call<T: DeserializeOwned>(&self, request: Request) -> Result<T> {
        Ok(self.link.call(&self.cx, "test.call", request, Idle(None)).await?.expect("an engine answers"))
    }

    /// Applies `services` by `placement`, with the server in the place of every image.
    pub(super) async fn try_apply(
        &self,
        services: Vec<DesiredService>,
        placement: Placement,
    ) -> Result<AppliedWorkload> {
        let config = ImageConfig { entrypoint: vec!["/server".into()], ..ImageConfig::default() };
        let mut images = BTreeMap::new();
        for service in &services {
            let digest = service.template.image.digest;
            let dir = self.folder.image(digest);
            if !dir.exists() {
                std::fs::create_dir_all(&dir).unwrap();
                std::fs::copy(server(), dir.join("server")).unwrap();
            }
            images.insert(digest, config.clone());
        }
        let desired = Desired::new(self.namespace.clone(), services);
        self.call(Request::Apply { caller: Caller::of(&self.cx), desired, images, placement }).await
    }

    pub(super) async fn apply(&self, service: DesiredService) -> AppliedWorkload {
        self.try_apply(vec![service], Placement::Replace).await.unwrap()
    }

    pub(super) async fn beside(&self, service: DesiredService, replicas: Option<u32>) -> AppliedWorkload {
        self.try_apply(vec![service], Placement::Beside { replicas }).await.unwrap()
    }

    pub(super) async fn wait(&self, applied: &AppliedWorkload) -> RolloutState {
        let (namespace, revisions) = (applied.namespace.clone(), applied.revisions.clone());
        let request = Request::Wait { namespace, revisions, track: applied.track, remaining: self.cx.remaining() };
        self.call(request).await.unwrap()
    }

    /// Rolls out and expects success.
    pub(super) async fn roll(&self, service: DesiredService) -> AppliedWorkload {
        let applied = self.apply(service).await;
        assert_eq!(self.wait(&applied).await, RolloutState::Ready, "{:#?}", self.status().await.events);
        applied
    }

    pub(super) async fn shift(&self, candidate: &AppliedWorkload, traffic: Traffic) -> Result<()> {
        let (namespace, candidates) = (candidate.namespace.clone(), candidate.revisions.clone());
        self.call(Request::Shift { caller: Caller::of(&self.cx), namespace, candidates, traffic }).await
    }

    pub(super) async fn status(&self) -> ClusterStatus {
        self.call(Request::Status { namespace: self.namespace.clone() }).await.unwrap()
    }

    pub(super) async fn restore(&self, snapshot: &ClusterSnapshot) -> Result<()> {
        let (caller, snapshot, remaining) = (Caller::of(&self.cx), snapshot.clone(), self.cx.remaining());
        self.call(Request::Restore { caller, snapshot, remaining }).await
    }

    /// Process ids of the pods of a track, sorted.
    pub(super) async fn pids(&self, track: Track) -> Vec<u32> {
        let pods = self.status().await.pods.into_iter().filter(|pod| pod.track == track);
        let mut pids: Vec<u32> = pods.filter_map(|pod| pod.pid).collect();
        pids.sort_unstable();
        pids
    }

    /// Looks at the pods until `wanted` holds.
    pub(super) async fn until(&self, what: &str, wanted: impl Fn(&[Pod]) -> bool) {
        for _ in 0..1200 {
            if wanted(&self.status().await.pods) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("never: {what}; {:#?}", self.status().await);
    }
}

/// The address of the only Service.
pub(super) fn address(applied: &AppliedWorkload) -> String {
    applied.addresses[&name("backend")].trim_start_matches("http://").to_owned()
}

/// Whether a process of this id exists and is not only waiting to be reaped.
pub(super) fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

/// Waits until none of the processes runs.
pub(super) async fn until_gone(pids: &[u32]) {
    for _ in 0..1200 {
        if !pids.iter().any(|pid| runs(*pid)) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("still running: {pids:?}");
}
