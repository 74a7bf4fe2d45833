//! The real cluster and the real registry that `.ci/with-servers` starts, and images for its pods.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD as STANDARD};
use ecolaura_deploy_core::{
    Context, Error, ErrorKind,
    backend::{ImageBuilder as _, ImageEntry, ImageSpec, Registry as _},
    local::image::LayoutBuilder,
    oci::OciRegistry,
    testing::servers::{all_named, named},
    vocabulary::{Name, PinnedImage, Platform},
};
use ecolaura_deploy_k8s::{Connect, Connection, KubernetesCluster};
use k8s_openapi::{
    api::{
        core::v1::{Namespace, Node, Pod, ResourceQuota, ServiceAccount},
        networking::v1::Ingress,
    },
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    config::KubeConfigOptions,
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The servers that the environment names.
#[derive(Debug, Clone)]
pub(crate) struct Servers {
    pub(crate) kubeconfig: PathBuf,
    pub(crate) registry: String,
    _share: Arc<Share>,
}

/// Tests share the servers, but for those that stop one of them.
static SHARE: RwLock<()> = RwLock::const_new(());

#[derive(Debug)]
enum Share {
    WithOthers(#[expect(dead_code, reason = "it is held")] RwLockReadGuard<'static, ()>),
    Alone(#[expect(dead_code, reason = "it is held")] RwLockWriteGuard<'static, ()>),
}

/// The servers, with a node that runs pods. Without them the test is left out, unless everything is asked for.
pub(crate) fn servers() -> Option<Servers> {
    find(|| Share::WithOthers(SHARE.blocking_read()))
}

/// The same, once no other test uses them.
pub(crate) fn servers_alone() -> Option<Servers> {
    find(|| Share::Alone(SHARE.blocking_write()))
}

fn find(share: impl FnOnce() -> Share) -> Option<Servers> {
    let [kubeconfig, registry, _] =
        all_named(["ECOLAURA_TEST_KUBECONFIG", "ECOLAURA_TEST_REGISTRY", "ECOLAURA_TEST_NODE"])?;
    Some(Servers { kubeconfig: kubeconfig.into(), registry, _share: Arc::new(share()) })
}

/// A cluster whose pods need not run. Without one the test is left out, as above.
pub(crate) fn control_plane() -> Option<Servers> {
    let kubeconfig = named("ECOLAURA_TEST_KUBECONFIG")?.into();
    let share = Arc::new(Share::WithOthers(SHARE.blocking_read()));
    Some(Servers { kubeconfig, registry: String::new(), _share: share })
}

pub(crate) fn cx() -> Context {
    Context::new("test".parse().unwrap()).with_deadline_in(Duration::from_mins(3))
}

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

impl Servers {
    pub(crate) async fn connection(&self) -> Connection {
        Connect::kubeconfig(&self.kubeconfig).connect(&cx()).await.unwrap()
    }

    pub(crate) async fn client(&self) -> Client {
        let config = kube::config::Kubeconfig::read_from(&self.kubeconfig).unwrap();
        let config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await.unwrap();
        Client::try_from(config).unwrap()
    }

    pub(crate) async fn cluster(&self) -> KubernetesCluster {
        KubernetesCluster::new(name("cluster"), self.connection().await).registry(self.registry.clone())
    }

    /// The server's address, and the certificates that are to be trusted.
    pub(crate) fn address(&self) -> (String, Vec<u8>) {
        let config = kube::config::Kubeconfig::read_from(&self.kubeconfig).unwrap();
        let cluster = config.clusters[0].cluster.clone().unwrap();
        let authority = STANDARD.decode(cluster.certificate_authority_data.unwrap()).unwrap();
        (cluster.server.unwrap(), authority)
    }

    /// The cluster as somebody who has no rights.
    pub(crate) async fn as_user(&self, user: &str) -> KubernetesCluster {
        let config = kube::config::Kubeconfig::read_from(&self.kubeconfig).unwrap();
        let mut config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await.unwrap();
        config.auth_info.impersonate = Some(user.to_owned());
        let server = config.cluster_url.to_string();
        KubernetesCluster::new(name("cluster"), Connection::new(Client::try_from(config).unwrap(), server))
    }

    /// A namespace of its own, which is deleted when it is dropped.
    pub(crate) async fn namespace(&self) -> Scratch {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = name(&format!("test-{}-{number}", std::process::id()));
        let client = self.client().await;
        let namespace: Namespace =
            serde_json::from_value(serde_json::json!({"metadata": {"name": name.as_str()}})).unwrap();
        Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &namespace).await.unwrap();
        // No pod is let in before it has an account, which comes late after the API server was restarted.
        let accounts = Api::<ServiceAccount>::namespaced(client, name.as_str());
        while accounts.get_opt("default").await.unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Scratch { name, servers: self.clone() }
    }
}

/// A namespace.
#[derive(Debug)]
pub(crate) struct Scratch {
    pub(crate) name: Name,
    servers: Servers,
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let (name, servers) = (self.name.clone(), self.servers.clone());
        // Also from within a runtime. Nobody waits until it is gone.
        let deleted = std::thread::spawn(move || {
            runtime().block_on(async {
                Api::<Namespace>::all(servers.client().await).delete(name.as_str(), &DeleteParams::default()).await
            })
        });
        _ = deleted.join();
    }
}

/// Waits until a quota is in force, which is when its controller has counted what there is.
pub(crate) async fn counted(client: &Client, namespace: &str, quota: &str) {
    let quotas = Api::<ResourceQuota>::namespaced(client.clone(), namespace);
    while quotas.get(quota).await.unwrap().status.and_then(|status| status.hard).is_none() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// The compiled server, for all tests of this process: with everything in it, since its image has no libraries.
fn server() -> &'static Path {
    static SERVER: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = SERVER.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("server");
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../ecolaura-deploy-core/tests/pod/server.rs");
        let rustc = option_env!("RUSTC").unwrap_or("rustc");
        let arguments = ["--edition", "2024", "-Cstrip=symbols", "-Ctarget-feature=+crt-static", source, "-o"];
        assert!(Command::new(rustc).args(arguments).arg(&path).status().unwrap().success(), "it does not compile");
        (dir, path)
    });
    path
}

/// The image whose pods start as `mode`, `serve v1`, in the real registry.
pub(crate) async fn image(servers: &Servers, mode: &str) -> PinnedImage {
    let words = ["/app/server"].into_iter().chain(mode.split(' '));
    push(servers, "/app/server", ImageSpec::new(Platform::current()).entrypoint(words)).await
}

/// The image of an app with the tool of its ORM, which is found by its name.
pub(crate) async fn image_with_tool(servers: &Servers, tool: &str) -> PinnedImage {
    push(servers, &format!("/usr/bin/{tool}"), ImageSpec::new(Platform::current())).await
}

async fn push(servers: &Servers, path: &str, spec: ImageSpec) -> PinnedImage {
    push_built(servers, spec.layer([ImageEntry::new(server(), path).mode(0o755)])).await
}

/// The image of this very program, which starts as its ignored test `main`, with a folder of `migrations` in `/app`.
pub(crate) async fn image_of_this(servers: &Servers, main: &str, migrations: Option<&Path>) -> PinnedImage {
    let words = ["/lib/loader", "--library-path", "/lib", "/app/tests", main, "--exact", "--ignored", "--nocapture"];
    // One thread alone would have the test's name in front of what it prints.
    let words = words.into_iter().chain(["--test-threads=2"]);
    let program = ImageEntry::new(stripped(), "/app/tests").mode(0o755);
    let spec = ImageSpec::new(Platform::current()).entrypoint(words).layer(libraries()).layer([program]);
    push_built(
        servers,
        match migrations {
            Some(folder) => spec.layer([ImageEntry::new(folder, "/app/migrations")]),
            None => spec,
        },
    )
    .await
}

/// This program without what only a debugger needs.
fn stripped() -> &'static Path {
    static STRIPPED: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = STRIPPED.get_or_init(|| {
        let (dir, program) = (tempfile::tempdir().unwrap(), std::env::current_exe().unwrap());
        let path = dir.path().join("tests");
        let stripped = Command::new("strip").arg("-o").arg(&path).arg(&program).status();
        if !stripped.is_ok_and(|status| status.success()) {
            std::fs::copy(program, &path).unwrap();
        }
        (dir, path)
    });
    path
}

/// What this program has loaded: the shared libraries, and what loads them.
fn libraries() -> Vec<ImageEntry> {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let paths = maps.lines().filter_map(|line| line.find('/').map(|start| PathBuf::from(&line[start..])));
    let names = paths.filter_map(|path| Some((path.file_name()?.to_str()?.to_owned(), path.clone())));
    let libraries: BTreeMap<String, PathBuf> = names.filter(|(name, _)| name.contains(".so")).collect();
    let place = |name: String| format!("/lib/{}", if name.starts_with("ld-") { "loader" } else { &name });
    libraries.into_iter().map(|(name, path)| ImageEntry::new(path, place(name)).mode(0o755)).collect()
}

async fn push_built(servers: &Servers, spec: ImageSpec) -> PinnedImage {
    let dir = tempfile::tempdir().unwrap();
    let built = LayoutBuilder::new(dir.path().join("built"), name("builder")).build(&cx(), &spec).await.unwrap();
    let registry = OciRegistry::new(name("registry"), &servers.registry).unwrap();
    registry.push(&cx(), &built, &"test/backend".parse().unwrap()).await.unwrap()
}

/// What answers at `url` on a connection of its own.
pub(crate) fn get(url: &str) -> Result<String, String> {
    let rest = url.strip_prefix("http://").ok_or("no http")?;
    let (host, path) = rest.split_once('/').map_or((rest, "/".to_owned()), |(host, path)| (host, format!("/{path}")));
    let address = host.parse().map_err(|error| format!("{host}: {error}"))?;
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(2)).map_err(|error| error.to_string())?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).map_err(|error| error.to_string())?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n")
        .map_err(|error| error.to_string())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(|error| error.to_string())?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or("no answer")?;
    if head.starts_with("HTTP/1.1 200") {
        Ok(body.to_owned())
    } else {
        Err(head.lines().next().unwrap_or_default().to_owned())
    }
}

/// Asks once. Nodes hear of a Service a moment after its pods are ready: until then nobody takes the connection, and it
/// is tried again.
pub(crate) async fn ask(url: String) -> Result<String, Error> {
    let began = std::time::Instant::now();
    loop {
        let url = url.clone();
        let error = match tokio::task::spawn_blocking(move || get(&url)).await.unwrap() {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        if began.elapsed() > Duration::from_secs(10) {
            return Err(Error::new(ErrorKind::Unavailable, "test.ask", error));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The kinds of the Gateway API that are used here, as far as they are used, and a kind that nobody knows. They stay:
/// other tests use them at the same time.
pub(crate) async fn gateway_kinds(client: &Client) {
    const GATEWAY: &str = "gateway.networking.k8s.io";
    let any = || json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    // Whoever applies a list applies all of it, as the Gateway API has it.
    let list = |items: Value| json!({"type": "array", "x-kubernetes-list-type": "atomic", "items": items});
    let backend = json!({"type": "object", "required": ["name"], "properties": {
        "group": {"type": "string", "default": ""}, "kind": {"type": "string", "default": "Service"}, "name": {"type": "string"},
        "namespace": {"type": "string"}, "port": {"type": "integer"}, "weight": {"type": "integer", "default": 1, "minimum": 0, "maximum": 1_000_000}, "filters": list(any())}});
    let rule = json!({"type": "object", "properties": {"matches": list(any()), "filters": list(any()), "backendRefs": list(backend)}});
    let parent = json!({"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}, "sectionName": {"type": "string"},
        "group": {"type": "string", "default": GATEWAY}, "kind": {"type": "string", "default": "Gateway"}}});
    let route = json!({"parentRefs": list(parent), "hostnames": list(json!({"type": "string"})), "rules": list(rule)});
    for (group, kind, plural, spec) in [
        (GATEWAY, "HTTPRoute", "httproutes", json!({"type": "object", "properties": route})),
        (GATEWAY, "Gateway", "gateways", any()),
        ("tests.example.com", "Thing", "things", any()),
    ] {
        let schema = json!({"type": "object", "properties": {"spec": spec, "status": any()}});
        let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": {"name": format!("{plural}.{group}"), "annotations": {"api-approved.kubernetes.io": "unapproved, for tests"}},
            "spec": {"group": group, "scope": "Namespaced", "names": {"kind": kind, "plural": plural, "singular": kind.to_lowercase()},
                "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                    "schema": {"openAPIV3Schema": schema}}]}});
        let params = PatchParams::apply("tests").force();
        let name = format!("{plural}.{group}");
        Api::<CustomResourceDefinition>::all(client.clone())
            .patch(&name, &params, &Patch::Apply(definition))
            .await
            .unwrap();
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1", kind));
        // It is served a moment later.
        while Api::<DynamicObject>::all_with(client.clone(), &resource).list(&ListParams::default()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// A node that only pretends: pods that name it are said to run by [`pretend`].
pub(crate) const PRETENDED: &str = "pretended";

/// Says of every pod of a namespace on the pretended node that it runs and is ready, and of every route that its gateway
/// has taken it, until it is dropped: what nodes and gateways would do, without any.
pub(crate) fn pretend(client: Client, namespace: &Name) -> Pretended {
    let namespace = namespace.as_str().to_owned();
    Pretended(tokio::spawn(async move {
        let mut addresses = (1_u8..=250).cycle();
        loop {
            // An API server that is away is asked again.
            _ = pretend_node(&client).await;
            for _ in 0..20 {
                _ = pretend_once(&client, &namespace, &mut addresses).await;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }))
}

/// The node is there and alive; nobody is scheduled on it.
async fn pretend_node(client: &Client) -> kube::Result<()> {
    let nodes = Api::<Node>::all(client.clone());
    let params = PatchParams::apply("tests").force();
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": PRETENDED},
        "spec": {"taints": [{"key": "tests.example.com/pretended", "effect": "NoSchedule"}]}});
    nodes.patch(PRETENDED, &params, &Patch::Apply(node)).await?;
    let ready =
        json!({"type": "Ready", "status": "True", "reason": "Pretended", "lastHeartbeatTime": now().to_string()});
    let status = json!({"status": {"conditions": [ready]}});
    nodes.patch_status(PRETENDED, &PatchParams::default(), &Patch::Strategic(status)).await.map(drop)
}

#[expect(clippy::disallowed_methods, reason = "the clock of a real cluster is this machine's")]
pub(crate) fn now() -> Timestamp {
    Timestamp::now()
}

/// Ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Pretended(tokio::task::JoinHandle<()>);

impl Drop for Pretended {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn pretend_once(client: &Client, namespace: &str, addresses: &mut impl Iterator<Item = u8>) -> kube::Result<()> {
    let params = PatchParams::default();
    let pods = Api::<Pod>::namespaced(client.clone(), namespace);
    for pod in pods.list(&ListParams::default()).await? {
        let status = pod.status.unwrap_or_default();
        let name = pod.metadata.name.as_deref().unwrap();
        if pod.metadata.deletion_timestamp.is_some() {
            pods.delete(name, &DeleteParams::default().grace_period(0)).await?;
            continue;
        }
        let here = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) == Some(PRETENDED);
        if !here || status.phase.as_deref() == Some("Running") {
            continue;
        }
        let address = format!("192.0.2.{}", addresses.next().unwrap());
        let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
        let statuses: Vec<Value> = containers
            .map(|container| {
                json!({"name": container.name, "image": container.image, "imageID": "", "ready": true, "started": true,
                    "restartCount": 0, "state": {"running": {"startedAt": "2026-01-01T00:00:00Z"}}})
            })
            .collect();
        let condition = |kind| json!({"type": kind, "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        let status = json!({"status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}],
            "conditions": [condition("Ready"), condition("ContainersReady")], "containerStatuses": statuses}});
        pods.patch_status(name, &params, &Patch::Strategic(status)).await?;
    }
    let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("gateway.networking.k8s.io", "v1", "HTTPRoute"));
    let routes = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &resource);
    for route in routes.list(&ListParams::default()).await? {
        let generation = route.metadata.generation;
        if route.data.pointer("/status/parents/0/conditions/0/observedGeneration").and_then(Value::as_i64) == generation
        {
            continue;
        }
        let condition =
            |kind| json!({"type": kind, "status": "True", "reason": kind, "observedGeneration": generation});
        let parent = json!({"parentRef": {"name": "edge"}, "controllerName": "tests.example.com/gateway",
            "conditions": [condition("Accepted"), condition("ResolvedRefs")]});
        let status = Patch::Merge(json!({"status": {"parents": [parent]}}));
        routes.patch_status(route.metadata.name.as_deref().unwrap(), &params, &status).await?;
    }
    let ingresses = Api::<Ingress>::namespaced(client.clone(), namespace);
    for ingress in ingresses.list(&ListParams::default()).await? {
        let status = Patch::Merge(json!({"status": {"loadBalancer": {"ingress": [{"hostname": "lb.example.com"}]}}}));
        if ingress.status.and_then(|status| status.load_balancer?.ingress).is_none() {
            ingresses.patch_status(ingress.metadata.name.as_deref().unwrap(), &params, &status).await?;
        }
    }
    Ok(())
}
