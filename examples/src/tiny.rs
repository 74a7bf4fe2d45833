//! A service that is small enough for an example: the example's own program, started as a server inside of an image.

use std::{
    path::PathBuf,
    process::ExitCode,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use ecolaura_deploy_core::{
    Admitted, Context, Error, Result,
    backend::{ApplyRequest, ClusterTarget, ImageBuilder as _, ImageEntry, ImageSpec, Placement, Registry, Workload},
    local::{cluster::ProcessCluster, image::LayoutBuilder, registry::LayoutRegistry},
    plan::Action,
    store::{ObjectRunStore, RunStore},
    vocabulary::{BuiltImage, Name, PinnedImage, Platform},
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    signal::unix::{SignalKind, signal},
    sync::OnceCell,
};

use crate::runtime;

/// Set in the images of this module: what the server answers.
const ANSWER: &str = "TINY_ANSWER";

/// What an answer begins with that is none: the server says the rest and ends.
const CRASH: &str = "crash: ";

/// Serves if this process was started as a service, on `POD_IP` and `PORT`, else on port 8080 of all addresses.
pub fn serve_if_asked() -> Option<ExitCode> {
    let answer = std::env::var(ANSWER).ok()?;
    Some(match serve(answer) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "it is the log")]
            {
                eprintln!("fatal: {error}");
            }
            ExitCode::FAILURE
        }
    })
}

/// Until it is told to end: the first process of a container must listen to that, or is killed half a minute later.
#[tokio::main(flavor = "current_thread")]
async fn serve(answer: String) -> std::io::Result<()> {
    if let Some(why) = answer.strip_prefix(CRASH) {
        return Err(std::io::Error::other(why.to_owned()));
    }
    let variable = |name: &str, otherwise: &str| std::env::var(name).unwrap_or_else(|_| otherwise.to_owned());
    let address = format!("{}:{}", variable("POD_IP", "0.0.0.0"), variable("PORT", "8080"));
    let listener = TcpListener::bind(address).await?;
    let mut told = signal(SignalKind::terminate())?;
    let (answer, served) = (Arc::new(answer), Arc::new(AtomicU64::new(0)));
    loop {
        tokio::select! {
            _ = told.recv() => return Ok(()),
            accepted = listener.accept() => {
                // A caller that breaks off is its own business.
                let Ok((stream, _)) = accepted else { continue };
                tokio::spawn(reply(stream, Arc::clone(&answer), Arc::clone(&served)));
            }
        }
    }
}

async fn reply(stream: TcpStream, answer: Arc<String>, served: Arc<AtomicU64>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut lines = (&mut stream).lines();
    let first = lines.next_line().await?.unwrap_or_default();
    while lines.next_line().await?.is_some_and(|line| !line.is_empty()) {}
    let code = if *answer == "broken" { 500 } else { 200 };
    let (status, body) = match first.split(' ').nth(1) {
        Some("/healthz") => (200, String::new()),
        Some("/metrics") => {
            (200, format!("http_requests_total{{code=\"{code}\"}} {}\n", served.load(Ordering::Relaxed)))
        }
        _ => {
            served.fetch_add(1, Ordering::Relaxed);
            (code, format!("{answer}\n"))
        }
    };
    let head = format!("HTTP/1.1 {status} -\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    stream.write_all(format!("{head}{body}").as_bytes()).await
}

/// A registry and a cluster of an example.
#[derive(Debug)]
pub struct Sandbox {
    dir: PathBuf,
    program: OnceCell<BuiltImage>,
    /// Holds the images.
    pub registry: Arc<dyn Registry>,
    /// Runs the services.
    pub cluster: Arc<dyn ClusterTarget>,
    /// Where on it.
    pub namespace: Name,
    /// What is written down of the runs there.
    pub store: Arc<dyn RunStore>,
    /// Whether the services run in containers, which see nothing of this machine, maybe on another one.
    pub contained: bool,
    /// The cluster, if it is one.
    #[cfg(feature = "k8s")]
    pub there: Option<crate::place::There>,
}

impl Sandbox {
    /// Processes of this machine, which end with the example. Its files are below the build folder, under `name`.
    pub fn new(name: &str) -> Result<Self> {
        let dir = folder(name)?;
        let registry: Arc<dyn Registry> = Arc::new(LayoutRegistry::new(dir.join("registry"), "registry".parse()?));
        let cluster = ProcessCluster::in_process(dir.join("cluster"), Arc::clone(&registry), "cluster".parse()?)?;
        Ok(Self {
            dir,
            program: OnceCell::new(),
            registry,
            cluster: Arc::new(cluster),
            namespace: "dev".parse()?,
            store: Arc::new(ObjectRunStore::memory()),
            contained: false,
            #[cfg(feature = "k8s")]
            there: None,
        })
    }

    /// A namespace of a cluster somewhere.
    #[cfg(feature = "k8s")]
    pub(crate) fn on(
        name: &str,
        (cluster, namespace): (Arc<dyn ClusterTarget>, Name),
        registry: Arc<dyn Registry>,
        store: Arc<dyn RunStore>,
        there: crate::place::There,
    ) -> Result<Self> {
        let dir = folder(name)?;
        let there = Some(there);
        Ok(Self { dir, program: OnceCell::new(), registry, cluster, namespace, store, contained: true, there })
    }

    /// An image of `service` that answers `answer`; `broken` answers errors, `crash: WHY` says why and ends at once.
    pub async fn image(&self, cx: &Context, service: &str, answer: &str) -> Result<PinnedImage> {
        let base = self.program.get_or_try_init(|| self.packed(cx)).await?;
        let mut spec = ImageSpec::new(Platform::current())
            .entrypoint(["/usr/local/bin/tiny"])
            .env(ANSWER, answer)
            .user("65532:65532");
        spec.base = Some((base.layout.clone(), base.digest.to_string()));
        let built = self.builder()?.build(cx, &spec).await?;
        self.registry.push(cx, &built, &format!("tiny/{service}").parse()?).await
    }

    /// The program, with all that it needs in a container: what all images have in common.
    async fn packed(&self, cx: &Context) -> Result<BuiltImage> {
        let program = std::env::current_exe().map_err(|error| Error::io("example.image", "the program", error))?;
        let mut spec = ImageSpec::new(Platform::current());
        if self.contained {
            spec = spec.layer(runtime::libraries(&program)?);
        }
        let spec = spec.layer([ImageEntry::new(program, "/usr/local/bin/tiny").mode(0o755)]);
        self.builder()?.build(cx, &spec).await
    }

    fn builder(&self) -> Result<LayoutBuilder> {
        Ok(LayoutBuilder::new(self.dir.join("images"), "images".parse()?))
    }

    /// The same, as a gate lets it pass.
    pub async fn admitted(&self, cx: &Context, service: &str, answer: &str) -> Result<Admitted<PinnedImage>> {
        Ok(Admitted::by_gate("an example", self.image(cx, service, answer).await?))
    }

    /// How many of `answers`, released one after the other, were out before the one that runs. An earlier call may have
    /// come to it, where services outlive it.
    pub async fn done(&self, cx: &Context, service: &str, answers: &[&str]) -> Result<usize> {
        if !self.contained {
            return Ok(0);
        }
        for (position, answer) in answers.iter().enumerate().rev() {
            let image = self.image(cx, service, answer).await?;
            let workload = self.workload(&[service])?.image(format!("tiny/{service}"), image);
            let plan = self.cluster.plan(cx, &ApplyRequest::new(workload, Placement::Replace)).await?;
            if plan.changes.iter().all(|change| change.action == Action::NoOp) {
                return Ok(position);
            }
        }
        Ok(0)
    }

    /// Where an environment of several is: a namespace of its own on this machine, the example's only one on a cluster.
    pub fn namespace_of(&self, environment: &Name) -> Name {
        if self.contained { &self.namespace } else { environment }.clone()
    }

    /// A Deployment of two pods and a Service for each of `services`.
    pub fn workload(&self, services: &[&str]) -> Result<Workload> {
        self.workload_in(self.namespace.clone(), services)
    }

    /// [`Sandbox::workload`] in another namespace.
    pub fn workload_in(&self, namespace: Name, services: &[&str]) -> Result<Workload> {
        let path = self.dir.join(format!("{}.yaml", services.join("-")));
        let pause = if self.contained { PAUSE } else { "" };
        let manifest = |service: &&str| MANIFEST.replace("SERVICE", service).replace("PAUSE\n", pause);
        let manifests: Vec<String> = services.iter().map(manifest).collect();
        std::fs::write(&path, manifests.join("---\n")).map_err(|error| Error::io("example.manifest", &path, error))?;
        Ok(Workload::new(namespace, [path]))
    }
}

fn folder(name: &str) -> Result<PathBuf> {
    let dir = crate::scratch(name);
    std::fs::create_dir_all(&dir).map_err(|error| Error::io("example.start", &dir, error))?;
    Ok(dir)
}

const MANIFEST: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: { name: SERVICE }
spec:
  replicas: 2
  selector: { matchLabels: { app: SERVICE } }
  template:
    metadata: { labels: { app: SERVICE } }
    spec:
      containers:
        - name: SERVICE
          image: tiny/SERVICE
          ports: [{ name: http, containerPort: 8080 }]
          readinessProbe: { httpGet: { path: /healthz, port: http }, periodSeconds: 1 }
PAUSE
---
apiVersion: v1
kind: Service
metadata: { name: SERVICE }
spec:
  selector: { app: SERVICE }
  ports: [{ port: 8080, targetPort: http }]
";

/// Nodes hear a moment later that a pod gets no more requests.
const PAUSE: &str = "          lifecycle: { preStop: { sleep: { seconds: 3 } } }\n";
