//! On a Kubernetes cluster, images in a registry that it pulls from.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use ecolaura_deploy_core::{
    Context, Error, ErrorKind, Result,
    backend::{ClusterTarget, Registry},
    oci::{DockerConfig, OciRegistry},
    store::{ObjectRunStore, RunStore},
    vocabulary::Name,
};
use ecolaura_deploy_k8s::{Connect, Connection, KubernetesCluster};
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api,
    api::{DeleteParams, PostParams},
};

use super::{Options, say};
use crate::{scratch, tiny::Sandbox};

/// On namespaces that an example made: no other is ever taken away.
const MADE_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "ecolaura-deploy-examples");

/// How long a namespace may take to be gone: its pods may go on for half a minute.
const PATIENCE: Duration = Duration::from_mins(2);

/// Does `work` in the example's own namespace, and says what is left there; with `--down` takes that away instead.
pub(super) async fn on_cluster(
    cx: &Context,
    (name, kubeconfig, options): (&str, &Path, &Options),
    work: impl AsyncFnOnce(&Context, &Sandbox) -> Result<ExitCode>,
) -> Result<ExitCode> {
    let connection = connect(cx, kubeconfig).await?;
    connection.warnings().iter().for_each(|warning| say(&format!("warning: {warning}")));
    let home = Home::new(name, connection.clone())?;
    if options.down {
        say(&home.remove(cx).await?);
        return Ok(ExitCode::SUCCESS);
    }
    let Some(host) = &options.registry else {
        let message = "--kubeconfig needs --registry HOST:PORT: images are pushed there, and the cluster pulls them";
        return Err(Error::invalid("example.options", message));
    };
    let registry = OciRegistry::new("registry".parse()?, host)?.credentials(DockerConfig::standard());
    let there = There { connection, registry: host.clone(), records: home.make(cx).await? };
    let sandbox = there.sandbox(name, home.namespace.clone(), registry)?;
    let done = work(cx, &sandbox).await;
    // What went wrong is told even if the cluster tells nothing any more.
    if let Ok(status) = sandbox.cluster.status(cx, &home.namespace).await {
        let down = format!("cargo run --features k8s --example {name} -- --kubeconfig {} --down", kubeconfig.display());
        say(&format!("left on the cluster: namespace {} with {}", home.namespace, counted(status.pods.len(), "pod")));
        say(&format!("to take it away: {down}"));
    }
    done
}

/// What an example on a cluster has beside its sandbox.
#[derive(Debug, Clone)]
pub struct There {
    /// To the cluster.
    pub connection: Connection,
    /// Where images are, as the nodes reach it.
    pub registry: String,
    /// The folder of the records.
    pub records: PathBuf,
}

impl There {
    fn sandbox(self, name: &str, namespace: Name, registry: OciRegistry) -> Result<Sandbox> {
        let store: Arc<dyn RunStore> = Arc::new(ObjectRunStore::local(&self.records)?);
        let cluster = KubernetesCluster::new("cluster".parse()?, self.connection.clone()).registry(&self.registry);
        let place: (Arc<dyn ClusterTarget>, _) = (Arc::new(cluster), namespace);
        Sandbox::on(name, place, Arc::new(registry) as Arc<dyn Registry>, store, self)
    }
}

/// The sandbox of an example whose program runs in a pod of that cluster, with the records in `records`.
pub async fn within(cx: &Context, name: &str, registry: &str, records: &Path) -> Result<Sandbox> {
    let connection = Connect::in_cluster().connect(cx).await?;
    let namespace = connection.namespace().parse()?;
    let there = There { connection, registry: registry.to_owned(), records: records.to_owned() };
    there.sandbox(name, namespace, OciRegistry::new("registry".parse()?, registry)?)
}

/// Connects to the cluster of `kubeconfig`.
pub async fn connect(cx: &Context, kubeconfig: &Path) -> Result<Connection> {
    Connect::kubeconfig(kubeconfig).connect(cx).await
}

fn is_ours(namespace: &Namespace) -> bool {
    let (key, value) = MADE_BY;
    namespace.metadata.labels.as_ref().and_then(|labels| labels.get(key)).is_some_and(|found| found == value)
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// The namespace of an example.
struct Home {
    name: String,
    namespace: Name,
    connection: Connection,
}

impl Home {
    fn new(name: &str, connection: Connection) -> Result<Self> {
        let namespace = format!("example-{}", name.replace('_', "-")).parse()?;
        Ok(Self { name: name.to_owned(), namespace, connection })
    }

    /// Makes it where it is missing. Answers with the folder of the records, which go with the namespace: what was
    /// released in another one is nothing to go back to.
    async fn make(&self, cx: &Context) -> Result<PathBuf> {
        let found = match self.find(cx).await? {
            Some(found) if found.metadata.deletion_timestamp.is_some() => {
                say(&format!("namespace {} is being taken away: waiting", self.namespace));
                self.gone(cx).await?;
                None
            }
            found => found,
        };
        let found = match found {
            Some(found) => found,
            None => self.create(cx).await?,
        };
        Ok(self.records(&found))
    }

    fn records(&self, namespace: &Namespace) -> PathBuf {
        scratch(&self.name).join("records").join(namespace.metadata.uid.as_deref().unwrap_or("of-no-namespace"))
    }

    fn api(&self) -> Api<Namespace> {
        Api::all(self.connection.client())
    }

    async fn find(&self, cx: &Context) -> Result<Option<Namespace>> {
        self.call(cx, "read", self.api().get_opt(self.namespace.as_str())).await
    }

    async fn create(&self, cx: &Context) -> Result<Namespace> {
        let mut namespace = Namespace::default();
        namespace.metadata.name = Some(self.namespace.to_string());
        namespace.metadata.labels = Some([MADE_BY].map(|(key, value)| (key.to_owned(), value.to_owned())).into());
        self.call(cx, "make", self.api().create(&PostParams::default(), &namespace)).await
    }

    /// Takes it away if an example made it, and says what became of it.
    async fn remove(&self, cx: &Context) -> Result<String> {
        let name = &self.namespace;
        let Some(found) = self.find(cx).await? else {
            return Ok(format!("there is no namespace {name}: nothing to take away"));
        };
        if !is_ours(&found) {
            let (key, value) = MADE_BY;
            let message = format!("namespace {name} was not made by an example: it has no label {key}={value}");
            return Err(Error::new(ErrorKind::Conflict, "example.down", message)
                .advice(format!("look what is in it, then: kubectl delete namespace {name}")));
        }
        if found.metadata.deletion_timestamp.is_none() {
            self.call(cx, "take away", self.api().delete(name.as_str(), &DeleteParams::default())).await?;
        }
        self.gone(cx).await?;
        let records = self.records(&found);
        match std::fs::remove_dir_all(&records) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io("example.down", &records, error))
            }
            _ => Ok(format!("namespace {name} is gone with all that was in it; images stay in the registry")),
        }
    }

    /// Waits until it is.
    async fn gone(&self, cx: &Context) -> Result<()> {
        let cx = cx.clone().with_deadline_in(PATIENCE);
        while self.find(&cx).await?.is_some() {
            cx.sleep("example.down", Duration::from_millis(250)).await?;
        }
        Ok(())
    }

    async fn call<T>(&self, cx: &Context, what: &str, call: impl Future<Output = kube::Result<T>>) -> Result<T> {
        let failed = |error: kube::Error| {
            let (kind, why) = match &error {
                kube::Error::Api(status) if status.code == 403 => (ErrorKind::PermissionDenied, status.message.clone()),
                kube::Error::Api(status) => (ErrorKind::Unavailable, status.message.clone()),
                error => (ErrorKind::Unavailable, format!("{}: {error}", self.connection.server())),
            };
            Error::new(kind, "example.namespace", format!("could not {what} namespace {}: {why}", self.namespace))
        };
        cx.bounded("example.namespace", call).await?.map_err(failed)
    }
}
