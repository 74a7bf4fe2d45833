//! Which backends the platform is shipped with, all of them behind core's traits.

use std::{io::IsTerminal as _, path::Path, sync::Arc, time::Duration};

use ecolaura_deploy_core::{
    Context, Error, ErrorKind, Result, SecretRef,
    analysis::scan::SeverityPolicy,
    backend::{
        Approver, CdnPublisher, ClusterTarget, ImageBuilder, ImageScanner, Inspect, MetricSource, Migrator, Registry,
        SecretStore,
    },
    local::{
        approval::{FileApprover, FixedApprover, PromptApprover},
        cluster::ProcessCluster,
        image::LayoutBuilder,
        metrics::ServiceMetrics,
    },
    sqlite::SqliteMigrator,
    steps::KeptFolders,
    store::RunStore,
    vocabulary::EnvironmentName,
};

use super::{
    approval::AskFirst,
    flags::SampleFlags,
    layout::Layout,
    options::{ENVIRONMENTS, Options},
    storage::{self, Storage},
};

/// How long what runs stays up without use.
pub const IDLE: Duration = Duration::from_mins(10);

/// What all environments share.
#[derive(Debug, Clone)]
pub struct Platform {
    pub layout: Layout,
    pub storage: Arc<dyn Storage>,
    pub builder: Arc<dyn ImageBuilder>,
    pub registry: Arc<dyn Registry>,
    pub scanner: Arc<dyn ImageScanner>,
    /// What the scanner may find.
    pub tolerated: SeverityPolicy,
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
    pub async fn open(cx: &Context, layout: &Layout, options: &Options) -> Result<Self> {
        let storage = storage::open(cx, layout, options).await?;
        let Place { host, registry, cluster, mut inspect } = Place::open(cx, layout, options, storage.as_ref()).await?;
        let (scanner, tolerated) = storage.scanner(&registry)?;
        let (store, records) = storage.records(cx).await?;
        let builder = Arc::new(LayoutBuilder::new(layout.at("images"), "images".parse()?));
        let kept = KeptFolders::new(layout.at("kept"));
        inspect.extend(records);
        inspect.extend([builder.clone() as Arc<dyn Inspect>, Arc::new(kept.clone())]);
        Ok(Self {
            layout: layout.clone(),
            storage,
            inspect,
            builder,
            scanner,
            tolerated,
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
    async fn open(cx: &Context, layout: &Layout, options: &Options, storage: &dyn Storage) -> Result<Self> {
        #[cfg(feature = "k8s")]
        if let Some(kubeconfig) = &options.kubeconfig {
            return super::kubernetes::open(cx, kubeconfig, options.registry.as_deref(), storage).await;
        }
        #[cfg(feature = "k8s")]
        if let Some(connect) = storage.cluster(cx).await? {
            return super::kubernetes::within(cx, connect, options.registry.as_deref(), storage).await;
        }
        if options.kubeconfig.is_some() {
            let message = "--kubeconfig needs a `ship` with Kubernetes in it";
            return Err(Error::invalid("ship.options", message)
                .advice("compile it with: cargo run --features k8s --example ship -- …"));
        }
        Self::processes(cx, layout, options, storage).await
    }

    async fn processes(cx: &Context, layout: &Layout, options: &Options, storage: &dyn Storage) -> Result<Self> {
        let (images, mut inspect) = storage::on_disk(layout)?;
        let registry = storage.registry(cx, images).await?;
        let processes = ProcessCluster::with_agent(layout.at("cluster"), Arc::clone(&registry), "cluster".parse()?)?
            .idle((!options.keep).then_some(IDLE));
        let processes = ENVIRONMENTS.iter().try_fold(processes, |processes, environment| -> Result<_> {
            Ok(processes.secrets(storage.secrets(&environment.parse()?)?.0))
        })?;
        let cluster: Arc<dyn ClusterTarget> = Arc::new(processes.clone());
        inspect.push(Arc::new(processes.clone()));
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
    /// The name of the administrators' token there.
    pub token_name: String,
    /// Where the administrators' token is. The value goes from the store to the processes, past everything else.
    pub token: Option<SecretRef>,
    pub approver: Arc<dyn Approver>,
    /// The same approver, if it is a person at the terminal, who is asked before the run begins.
    pub ask_first: Option<Arc<AskFirst>>,
    /// Where something may be left over.
    pub inspect: Vec<Arc<dyn Inspect>>,
}

impl Target {
    /// Opens what `environment` has of its own, with the migrations of the release that goes there.
    pub fn open(
        platform: &Platform,
        options: &Options,
        environment: &EnvironmentName,
        migrations: &Path,
    ) -> Result<Self> {
        let layout = &platform.layout;
        let of = |path: &str| layout.of(environment, path);
        let name = |thing: &str| format!("{environment}-{thing}").parse();
        let (approver, ask_first) = approver(layout, options)?;
        let migrator = SqliteMigrator::new(of("ecolaura.db"), migrations, name("database")?).backups(of("backups"));
        let migrator = Arc::new(migrator);
        let (cdn, mut inspect) = platform.storage.site(environment)?;
        inspect.insert(0, migrator.clone());
        let (secrets, token_name) = platform.storage.secrets(environment)?;
        Ok(Self {
            environment: environment.clone(),
            inspect,
            migrator,
            cdn,
            flags: SampleFlags::new(name("flags")?, of("flags.json"), layout.app("flags.json")),
            secrets,
            token_name,
            token: None,
            approver,
            ask_first,
        })
    }

    /// The same, having looked where the token is. There is none before the first run.
    pub async fn with_secrets(mut self, cx: &Context) -> Result<Self> {
        self.token = match self.secrets.resolve(cx, &self.token_name).await {
            Ok(token) => Some(token),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        Ok(self)
    }
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
