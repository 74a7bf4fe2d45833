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
    pub processes: ProcessCluster,
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
    pub fn open(layout: &Layout, options: &Options) -> Result<Self> {
        let images = Arc::new(LayoutRegistry::new(layout.at("registry"), "registry".parse()?));
        let registry: Arc<dyn Registry> = images.clone();
        let processes = ProcessCluster::with_agent(layout.at("cluster"), Arc::clone(&registry), "cluster".parse()?)?
            .idle((!options.keep).then_some(IDLE));
        let processes = ENVIRONMENTS.iter().try_fold(processes, |processes, environment| -> Result<_> {
            Ok(processes.secrets(Arc::new(secrets(layout, &environment.parse()?)?)))
        })?;
        let cluster: Arc<dyn ClusterTarget> = Arc::new(processes.clone());
        let builder = Arc::new(LayoutBuilder::new(layout.at("images"), "images".parse()?));
        let store = Arc::new(ObjectRunStore::local(layout.at("records"))?);
        let kept = KeptFolders::new(layout.at("kept"));
        let advisories = ScanPolicy::new(layout.app("advisories"));
        Ok(Self {
            layout: layout.clone(),
            inspect: vec![store.clone(), builder.clone(), images, Arc::new(processes.clone()), Arc::new(kept.clone())],
            builder,
            scanner: Arc::new(ContentScanner::new(Arc::clone(&registry), advisories)),
            metrics: Arc::new(ServiceMetrics::new("metrics".parse()?, Arc::clone(&cluster))),
            store,
            kept,
            registry,
            processes,
            cluster,
        })
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

fn secrets(layout: &Layout, environment: &EnvironmentName) -> Result<FileSecrets> {
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
