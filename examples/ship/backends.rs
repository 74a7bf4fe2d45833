//! Which backends the platform is shipped with: the embedded ones, all of them behind core's traits.

use std::{
    fs::{File, OpenOptions},
    io::{IsTerminal as _, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    sync::Arc,
    time::Duration,
};

use ecolaura_deploy_core::{
    Context, Error, Result, SecretRef,
    backend::{
        Approver, CdnPublisher, ClusterTarget, ImageBuilder, ImageScanner, Inspect, MetricSource, Migrator, Registry,
        SecretStore,
    },
    local::{
        approval::{FileApprover, FixedApprover, PromptApprover},
        cdn::DirectoryCdn,
        cluster::ProcessCluster,
        image::LayoutBuilder,
        metrics::ServiceMetrics,
        registry::LayoutRegistry,
        scan::{ContentScanner, ScanPolicy},
        secrets::FileSecrets,
    },
    sqlite::SqliteMigrator,
    steps::KeptFolders,
    store::{ObjectRunStore, RunStore},
    vocabulary::{Digest, EnvironmentName},
};

use super::{
    approval::AskFirst,
    flags::SampleFlags,
    layout::Layout,
    options::{ENVIRONMENTS, Options},
};

/// How long what runs stays up without use.
pub const IDLE: Duration = Duration::from_mins(10);

/// What all environments share.
#[derive(Debug, Clone)]
pub struct Platform {
    pub layout: Layout,
    pub builder: Arc<dyn ImageBuilder>,
    pub registry: Arc<dyn Registry>,
    pub scanner: Arc<dyn ImageScanner>,
    pub host: Host,
    pub cluster: Arc<dyn ClusterTarget>,
    pub metrics: Arc<dyn MetricSource>,
    pub store: Arc<dyn RunStore>,
    pub kept: KeptFolders,
    /// Where something may be left over.
    pub inspect: Vec<Arc<dyn Inspect>>,
}

impl Platform {
    /// Opens everything below the folder of `layout`. Makes the empty folders of the records and the cluster there, and
    /// changes nothing else.
    pub async fn open(layout: &Layout, options: &Options) -> Result<Self> {
        let Place { host, registry, cluster, inspect } = Place::open(layout, options).await?;
        let builder = Arc::new(LayoutBuilder::new(layout.at("images"), "images".parse()?));
        let store = Arc::new(ObjectRunStore::local(layout.at("records"))?);
        let kept = KeptFolders::new(layout.at("kept"));
        let advisories = ScanPolicy::new(layout.app("advisories"));
        Ok(Self {
            layout: layout.clone(),
            inspect: [inspect, vec![store.clone(), builder.clone(), Arc::new(kept.clone())]].concat(),
            builder,
            scanner: Arc::new(ContentScanner::new(Arc::clone(&registry), advisories)),
            metrics: Arc::new(ServiceMetrics::new("metrics".parse()?, Arc::clone(&cluster))),
            store,
            kept,
            registry,
            host,
            cluster,
        })
    }
}

/// What runs the services.
#[derive(Debug, Clone)]
pub enum Host {
    /// Processes of this machine.
    Processes(ProcessCluster),
    /// A Kubernetes cluster.
    #[cfg(feature = "k8s")]
    Kubernetes(Arc<dyn ClusterTarget>),
}

impl Host {
    /// Whether anything can run there now.
    pub fn is_up(&self) -> bool {
        match self {
            Self::Processes(processes) => processes.agent_pid().is_some(),
            #[cfg(feature = "k8s")]
            Self::Kubernetes(_) => true,
        }
    }

    /// Whether services run in containers, which see nothing of this machine unless it is mounted.
    pub fn contains(&self) -> bool {
        !matches!(self, Self::Processes(_))
    }

    /// Ends all services, and says what was there.
    pub async fn stop(&self, cx: &Context) -> Result<Vec<String>> {
        match self {
            Self::Processes(processes) => {
                let agent = processes.agent_pid();
                processes.stop(cx).await?;
                let line = agent.map(|pid| format!("the services and their agent (process {pid}) have ended"));
                Ok(line.into_iter().collect())
            }
            #[cfg(feature = "k8s")]
            Self::Kubernetes(cluster) => super::kubernetes::stop(cx, cluster.as_ref()).await,
        }
    }
}

/// Where the services run, and where their images are.
pub struct Place {
    pub host: Host,
    pub registry: Arc<dyn Registry>,
    pub cluster: Arc<dyn ClusterTarget>,
    /// Where something may be left over.
    pub inspect: Vec<Arc<dyn Inspect>>,
}

impl Place {
    #[cfg_attr(not(feature = "k8s"), expect(clippy::unused_async, reason = "a cluster is waited for"))]
    async fn open(layout: &Layout, options: &Options) -> Result<Self> {
        #[cfg(feature = "k8s")]
        if let (Some(kubeconfig), Some(registry)) = (&options.kubeconfig, &options.registry) {
            return super::kubernetes::open(layout, kubeconfig, registry).await;
        }
        if options.kubeconfig.is_some() {
            let message = "--kubeconfig needs a `ship` with Kubernetes in it";
            return Err(Error::invalid("ship.options", message)
                .advice("compile it with: cargo run --features k8s --example ship -- …"));
        }
        Self::processes(layout, options)
    }

    fn processes(layout: &Layout, options: &Options) -> Result<Self> {
        let images = Arc::new(LayoutRegistry::new(layout.at("registry"), "registry".parse()?));
        let registry: Arc<dyn Registry> = images.clone();
        let processes = ProcessCluster::with_agent(layout.at("cluster"), Arc::clone(&registry), "cluster".parse()?)?
            .idle((!options.keep).then_some(IDLE));
        let processes = ENVIRONMENTS.iter().try_fold(processes, |processes, environment| -> Result<_> {
            Ok(processes.secrets(Arc::new(secrets(layout, &environment.parse()?)?)))
        })?;
        let cluster: Arc<dyn ClusterTarget> = Arc::new(processes.clone());
        let inspect: Vec<Arc<dyn Inspect>> = vec![images, Arc::new(processes.clone())];
        Ok(Self { host: Host::Processes(processes), registry, cluster, inspect })
    }
}

/// What one environment has of its own.
#[derive(Debug, Clone)]
pub struct Target {
    pub environment: EnvironmentName,
    pub migrator: Arc<dyn Migrator>,
    pub cdn: Arc<dyn CdnPublisher>,
    pub flags: SampleFlags,
    pub secrets: Arc<dyn SecretStore>,
    /// Where the administrators' token is. The value goes from the store to the processes, past everything else.
    pub token: Option<SecretRef>,
    pub approver: Arc<dyn Approver>,
    /// The same approver, if it is a person at the terminal, who is asked before the run begins.
    pub ask_first: Option<Arc<AskFirst>>,
    /// Where something may be left over.
    pub inspect: Vec<Arc<dyn Inspect>>,
}

/// The secret that the backend's administrators know.
pub const TOKEN: &str = "api-token";

impl Target {
    /// Opens what `environment` has of its own, with the migrations of the release that goes there.
    pub fn open(layout: &Layout, options: &Options, environment: &EnvironmentName, migrations: &Path) -> Result<Self> {
        let of = |path: &str| layout.of(environment, path);
        let name = |thing: &str| format!("{environment}-{thing}").parse();
        let (approver, ask_first) = approver(layout, options)?;
        let migrator = SqliteMigrator::new(of("ecolaura.db"), migrations, name("database")?).backups(of("backups"));
        let (migrator, cdn) = (Arc::new(migrator), Arc::new(DirectoryCdn::new(of("site"), name("site")?)));
        Ok(Self {
            environment: environment.clone(),
            inspect: vec![migrator.clone(), cdn.clone()],
            migrator,
            cdn,
            flags: SampleFlags::new(name("flags")?, of("flags.json"), layout.app("flags.json")),
            secrets: Arc::new(secrets(layout, environment)?),
            token: None,
            approver,
            ask_first,
        })
    }

    /// The same, having looked where the token is. There is none before the first run.
    pub async fn with_secrets(mut self, cx: &Context) -> Self {
        self.token = self.secrets.resolve(cx, TOKEN).await.ok();
        self
    }
}

/// Makes a token where there is none: on a real platform an operator did that long ago.
pub fn make_secrets(layout: &Layout, environment: &EnvironmentName) -> Result<()> {
    let path = layout.of(environment, "secrets").join(TOKEN);
    if path.exists() {
        return Ok(());
    }
    let failed = |error| Error::io("ship.secrets", &path, error);
    std::fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).map_err(failed)?;
    let mut random = [0; 24];
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut random)).map_err(failed)?;
    let token = Digest::of(random).to_hex();
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
    file.write_all(token.as_bytes()).map_err(failed)
}

pub(super) fn secrets(layout: &Layout, environment: &EnvironmentName) -> Result<FileSecrets> {
    Ok(FileSecrets::new(format!("{environment}-secrets").parse()?, layout.of(environment, "secrets")))
}

/// The approver, and the same if it asks before a run begins.
type Approvers = (Arc<dyn Approver>, Option<Arc<AskFirst>>);

/// `--yes`, a person at the terminal, or a file that somebody drops.
fn approver(layout: &Layout, options: &Options) -> Result<Approvers> {
    let name = "approvals".parse()?;
    if options.yes {
        return Ok((Arc::new(FixedApprover::approving(name, "--yes")), None));
    }
    if std::io::stdin().is_terminal() && std::io::stderr().is_terminal() {
        let by = std::env::var("USER").unwrap_or_else(|_| "somebody at the terminal".to_owned());
        let approver = Arc::new(AskFirst::new(PromptApprover::new(name, by)));
        return Ok((Arc::<AskFirst>::clone(&approver), Some(approver)));
    }
    Ok((Arc::new(FileApprover::new(name, layout.at("approvals"))), None))
}
