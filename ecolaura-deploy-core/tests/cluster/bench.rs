//! A folder with a registry of test images, and short ways to use a cluster in it.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, OnceLock},
    time::Duration,
};

use ecolaura_deploy_core::{
    Context, Result,
    backend::{
        AppliedWorkload, ApplyRequest, ClusterTarget, ImageBuilder, ImageEntry, ImageSpec, Placement, Registry,
        RolloutState, Workload,
    },
    local::{cluster::ProcessCluster, image::LayoutBuilder, registry::LayoutRegistry},
    vocabulary::{Name, PinnedImage, Platform, Repository, ServiceName},
};
use tempfile::TempDir;

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Far more than any test takes: a broken one should end with a message.
pub(crate) fn cx() -> Context {
    Context::new("test".parse().unwrap()).with_deadline_in(Duration::from_mins(3))
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(crate) fn backend() -> ServiceName {
    "backend".parse().unwrap()
}

/// The compiled server, for all tests of this process.
pub(crate) fn server() -> &'static Path {
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

/// A registry and the images in it, by how they are started: `serve v1`.
#[derive(Debug, Clone)]
pub(crate) struct Images {
    dir: PathBuf,
    pub(crate) registry: Arc<LayoutRegistry>,
}

impl Images {
    pub(crate) fn new(dir: &Path) -> Self {
        let registry = Arc::new(LayoutRegistry::new(dir.join("registry"), name("registry")));
        Self { dir: dir.to_owned(), registry }
    }

    /// The image of the server that starts as `mode`, with more files in it.
    pub(crate) async fn with(&self, mode: &str, files: Vec<ImageEntry>) -> Result<PinnedImage> {
        let builder = LayoutBuilder::new(self.dir.join("built"), name("builder"));
        let program = ImageEntry::new(server(), "/app/server").mode(0o755);
        let words = ["/app/server"].into_iter().chain(mode.split(' '));
        let spec = ImageSpec::new(Platform::current()).layer([program]).entrypoint(words);
        let spec = if files.is_empty() { spec } else { spec.layer(files) };
        let built = builder.build(&cx(), &spec).await?;
        self.registry.push(&cx(), &built, &Repository::new("test/backend")?).await
    }

    pub(crate) async fn image(&self, mode: &str) -> Result<PinnedImage> {
        self.with(mode, Vec::new()).await
    }
}

/// A folder, and whatever runs in it until the end of the test.
pub(crate) struct Bench {
    pub(crate) dir: TempDir,
    pub(crate) images: Images,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let images = Images::new(dir.path());
        Self { dir, images }
    }

    pub(crate) fn cluster_dir(&self) -> PathBuf {
        self.dir.path().join("cluster")
    }

    /// The cluster with its agent.
    pub(crate) fn cluster(&self) -> ProcessCluster {
        ProcessCluster::with_agent(self.cluster_dir(), self.images.registry.clone(), name("local")).unwrap()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let cluster = self.cluster();
        // Also from within a runtime, and also when the test failed.
        let stopped = std::thread::spawn(move || runtime().block_on(cluster.stop(&cx()))).join();
        if let (Ok(Err(error)), false) = (stopped, std::thread::panicking()) {
            panic!("the agent does not stop: {}", error.report());
        }
    }
}

/// A manifest of the Deployment and the Service `service` with two pods.
pub(crate) fn manifest(dir: &Path, service: &str) -> PathBuf {
    let path = dir.join(format!("{service}.yaml"));
    let text = format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{name: {service}}}
spec:
  replicas: 2
  selector: {{matchLabels: {{app: {service}}}}}
  strategy: {{type: RollingUpdate, rollingUpdate: {{maxSurge: 1, maxUnavailable: 0}}}}
  template:
    metadata: {{labels: {{app: {service}}}}}
    spec:
      terminationGracePeriodSeconds: 5
      containers:
        - name: {service}
          image: test/backend
          ports: [{{name: http, containerPort: 8080}}]
          readinessProbe: {{httpGet: {{path: /healthz, port: http}}, periodSeconds: 1}}
---
apiVersion: v1
kind: Service
metadata: {{name: {service}}}
spec:
  selector: {{app: {service}}}
  ports: [{{port: 8080, targetPort: http}}]
"
    );
    std::fs::write(&path, text).unwrap();
    path
}

pub(crate) fn workload(dir: &Path, service: &str, image: PinnedImage) -> Workload {
    Workload::new(name("test"), [manifest(dir, service)]).image("test/backend", image)
}

/// Rolls `image` out as `service` and waits until it is ready.
pub(crate) async fn roll(
    cluster: &ProcessCluster,
    dir: &Path,
    service: &str,
    image: &PinnedImage,
) -> Result<AppliedWorkload> {
    let request = ApplyRequest::new(workload(dir, service, image.clone()), Placement::Replace);
    let applied = cluster.apply(&cx(), &request).await?;
    let state = cluster.wait_until_ready(&cx(), &applied).await?;
    assert_eq!(state, RolloutState::Ready, "{:#?}", cluster.status(&cx(), &name("test")).await?.events);
    Ok(applied)
}

/// The process ids of all pods, sorted.
pub(crate) async fn pids(cluster: &ProcessCluster) -> Vec<u32> {
    let mut pids: Vec<u32> =
        cluster.status(&cx(), &name("test")).await.unwrap().pods.into_iter().filter_map(|pod| pod.pid).collect();
    pids.sort_unstable();
    pids
}

/// Asks `url`; the body of a 200.
pub(crate) fn get(url: &str) -> Result<String, String> {
    let address = url.trim_start_matches("http://");
    let failed = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect(address).map_err(failed)?;
    stream.set_read_timeout(Some(Duration::from_secs(30))).map_err(failed)?;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n").map_err(failed)?;
    let mut text = String::new();
    stream.read_to_string(&mut text).map_err(failed)?;
    let (head, body) = text.split_once("\r\n\r\n").ok_or("the answer broke off")?;
    if head.starts_with("HTTP/1.1 200 ") { Ok(body.to_owned()) } else { Err(text.clone()) }
}

/// Answers by their text, over `url`, until `stop` is set.
pub(crate) fn load(
    url: &str,
    stop: &Arc<std::sync::atomic::AtomicBool>,
) -> std::thread::JoinHandle<BTreeMap<String, usize>> {
    let (url, stop) = (url.to_owned(), Arc::clone(stop));
    std::thread::spawn(move || {
        let mut tally = BTreeMap::new();
        while !stop.load(std::sync::atomic::Ordering::Relaxed) {
            *tally.entry(get(&url).unwrap_or_else(|error| format!("failed: {error}"))).or_default() += 1;
            std::thread::sleep(Duration::from_millis(2));
        }
        tally
    })
}

/// Whether a process of this id exists and is not only waiting to be reaped.
pub(crate) fn runs(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}

/// Looks until `wanted` holds.
pub(crate) fn until(what: &str, wanted: impl Fn() -> bool) {
    for _ in 0..2400 {
        if wanted() {
            return;
        }
        std::thread::sleep(Duration::from_millis(25));
    }
    panic!("never: {what}");
}

pub(crate) fn kill(pid: u32) {
    assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
}
