//! A service that is small enough for an example: the example's own program, started as a server inside of an image.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};

use ecolaura_deploy_core::{
    Admitted, Context, Error, Result,
    backend::{ClusterTarget, ImageBuilder as _, ImageEntry, ImageSpec, Registry, Workload},
    local::{cluster::ProcessCluster, image::LayoutBuilder, registry::LayoutRegistry},
    vocabulary::{PinnedImage, Platform},
};

/// Set in the images of this module: what the server answers.
const ANSWER: &str = "TINY_ANSWER";

/// Serves if this process was started as a service, on `POD_IP` and `PORT`. The first thing in an example's `main`.
pub fn serve_if_asked() -> Option<ExitCode> {
    let answer = std::env::var(ANSWER).ok()?;
    let address = format!("{}:{}", variable("POD_IP"), variable("PORT"));
    let Ok(listener) = TcpListener::bind(address) else { return Some(ExitCode::FAILURE) };
    let mut served = 0;
    for stream in listener.incoming().flatten() {
        served += 1;
        // A caller that breaks off is its own business.
        _ = reply(&stream, &answer, served);
    }
    Some(ExitCode::SUCCESS)
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_default()
}

fn reply(stream: &TcpStream, answer: &str, served: u64) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let code = if answer == "broken" { 500 } else { 200 };
    let (status, body) = match first.split(' ').nth(1) {
        Some("/healthz") => (200, String::new()),
        Some("/metrics") => (200, format!("http_requests_total{{code=\"{code}\"}} {served}\n")),
        _ => (code, format!("{answer}\n")),
    };
    let head = format!("HTTP/1.1 {status} -\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    (&mut &*stream).write_all(format!("{head}{body}").as_bytes())
}

/// A registry and a cluster of an example. The services end with it.
#[derive(Debug)]
pub struct Sandbox {
    dir: PathBuf,
    /// Holds the images.
    pub registry: Arc<dyn Registry>,
    /// Runs the services.
    pub cluster: Arc<dyn ClusterTarget>,
}

impl Sandbox {
    /// One with its files below the build folder, under `name`.
    pub fn new(name: &str) -> Result<Self> {
        let dir = crate::scratch(name);
        std::fs::create_dir_all(&dir).map_err(|error| Error::io("example.start", &dir, error))?;
        let registry: Arc<dyn Registry> = Arc::new(LayoutRegistry::new(dir.join("registry"), "registry".parse()?));
        let cluster = ProcessCluster::in_process(dir.join("cluster"), Arc::clone(&registry), "cluster".parse()?)?;
        Ok(Self { dir, registry, cluster: Arc::new(cluster) })
    }

    /// An image of `service` that answers `answer`; `broken` answers errors.
    pub async fn image(&self, cx: &Context, service: &str, answer: &str) -> Result<PinnedImage> {
        let program = std::env::current_exe().map_err(|error| Error::io("example.image", "the program", error))?;
        let spec = ImageSpec::new(Platform::current())
            .layer([ImageEntry::new(program, "/usr/local/bin/tiny").mode(0o755)])
            .entrypoint(["/usr/local/bin/tiny"])
            .env(ANSWER, answer)
            .user("65532:65532");
        let built = LayoutBuilder::new(self.dir.join("images"), "images".parse()?).build(cx, &spec).await?;
        self.registry.push(cx, &built, &format!("tiny/{service}").parse()?).await
    }

    /// The same, as a gate lets it pass.
    pub async fn admitted(&self, cx: &Context, service: &str, answer: &str) -> Result<Admitted<PinnedImage>> {
        Ok(Admitted::by_gate("an example", self.image(cx, service, answer).await?))
    }

    /// A Deployment of two pods and a Service for each of `services`.
    pub fn workload(&self, services: &[&str]) -> Result<Workload> {
        let path = self.dir.join(format!("{}.yaml", services.join("-")));
        let manifests: Vec<String> = services.iter().map(|service| MANIFEST.replace("SERVICE", service)).collect();
        std::fs::write(&path, manifests.join("---\n")).map_err(|error| Error::io("example.manifest", &path, error))?;
        Ok(Workload::new("dev".parse()?, [path]))
    }
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
---
apiVersion: v1
kind: Service
metadata: { name: SERVICE }
spec:
  selector: { app: SERVICE }
  ports: [{ port: 8080, targetPort: http }]
";
