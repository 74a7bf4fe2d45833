//! The sites' server: this program, started again by itself, so that the pages stay up after `ship` has ended. It ends
//! by `ship --down`, and with the cluster's agent, whose idle rule is thus its own.

use std::{
    collections::BTreeMap,
    fs::File,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{ExitCode, Stdio},
    time::Duration,
};

use ecolaura_deploy_core::{
    Error, ErrorKind, Result,
    local::{
        cdn::{StaticServer, serve},
        cluster::ProcessCluster,
        registry::LayoutRegistry,
    },
    vocabulary::EnvironmentName,
};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};

#[cfg(feature = "aws")]
use super::storage::Storage as _;
use super::{layout::Layout, options::ENVIRONMENTS};

/// Set in the started process: the folder that holds everything, and what `--aws` named.
const ASKED: &str = "ECOLAURA_SHIP_SITES";
const AWS: &str = "ECOLAURA_SHIP_AWS";

/// How long the server waits for the first agent, and after it is gone.
const FIRST_AGENT: Duration = Duration::from_mins(10);
const NO_AGENT: Duration = Duration::from_secs(5);

/// How long starting and ending may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// The process and where each environment's site answers. The process holds a lock beside it as long as it lives.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Serving {
    pid: i32,
    sites: BTreeMap<String, SocketAddr>,
}

impl Serving {
    fn read(root: &Path) -> Self {
        let bytes = std::fs::read(root.join("sites.json")).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    fn write(&self, root: &Path) -> std::io::Result<()> {
        let scratch = root.join("sites.json.new");
        std::fs::write(&scratch, serde_json::to_vec_pretty(self)?)?;
        std::fs::rename(scratch, root.join("sites.json"))
    }
}

/// The lock, if nobody holds it.
fn lock(root: &Path) -> Result<Option<File>> {
    let path = root.join("sites.lock");
    let file = File::options().create(true).write(true).truncate(false).open(&path);
    let file = file.map_err(|error| Error::io("sites.lock", &path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(error)) => Err(Error::io("sites.lock", &path, error)),
    }
}

/// Where the site of `environment` answers, if it is served, without `/` at the end.
pub fn address(layout: &Layout, environment: &EnvironmentName) -> Option<String> {
    let held = layout.at("sites.lock").exists() && lock(layout.root()).ok()?.is_none();
    let address = *Serving::read(layout.root()).sites.get(environment.as_str())?;
    held.then(|| format!("http://{address}"))
}

/// Starts the server unless it runs, and returns when it serves.
pub async fn ensure(layout: &Layout, aws: Option<&Path>) -> Result<()> {
    let root = layout.root();
    if lock(root)?.is_none() {
        return wait("the server of the sites does not begin", || Serving::read(root).pid != 0).await;
    }
    // What a server that was killed left behind says nothing about the new one, except which ports to take again.
    let before = Serving { pid: 0, ..Serving::read(root) };
    before.write(root).map_err(|error| Error::io("sites.start", root, error))?;
    let log = root.join("sites.log");
    let failed = |error| Error::io("sites.start", &log, error);
    let output = File::create(&log).map_err(failed)?;
    let program = std::env::current_exe().map_err(failed)?;
    let mut command = std::process::Command::new(program);
    command
        .env(ASKED, root)
        .envs(aws.map(|file| (AWS, file)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(output);
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    command.spawn().map_err(failed)?;
    wait("the server of the sites does not begin", || Serving::read(root).pid != 0)
        .await
        .map_err(|error| error.with("log", log.display()))
}

/// Ends the server, if it runs, and returns when it is gone.
pub async fn stop(layout: &Layout) -> Result<bool> {
    let root = layout.root();
    if !root.join("sites.lock").exists() || lock(root)?.is_some() {
        return Ok(false);
    }
    if let Some(pid) = Pid::from_raw(Serving::read(root).pid) {
        // Gone already is as good.
        _ = kill_process(pid, Signal::TERM);
    }
    wait("the server of the sites does not end", || matches!(lock(root), Ok(Some(_)))).await?;
    Ok(true)
}

async fn wait(problem: &str, done: impl Fn() -> bool) -> Result<()> {
    let began = tokio::time::Instant::now();
    while !done() {
        if began.elapsed() > PATIENCE {
            return Err(Error::new(ErrorKind::Timeout, "sites.wait", problem));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

/// Serves if this process was started to do so, and answers with its exit code.
pub fn run_if_asked() -> Option<ExitCode> {
    let root = PathBuf::from(std::env::var_os(ASKED)?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let served = match runtime {
        Ok(runtime) => runtime.block_on(serve_all(&root)),
        Err(error) => Err(Error::io("sites.start", &root, error)),
    };
    Some(match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "it is the log of this process")]
            {
                eprintln!("{}", error.report());
            }
            ExitCode::FAILURE
        }
    })
}

async fn serve_all(root: &Path) -> Result<()> {
    // Somebody else was quicker: the sites are served.
    let Some(_lock) = lock(root)? else { return Ok(()) };
    let before = Serving::read(root);
    let shown = Shown::find(root).await?;
    let mut serving = Serving { pid: i32::try_from(std::process::id()).unwrap_or_default(), ..Serving::default() };
    let mut servers = Vec::new();
    for environment in ENVIRONMENTS {
        let Some(server) = shown.serve(environment, before.sites.get(environment)).await? else { continue };
        serving.sites.insert(environment.to_owned(), server.address());
        servers.push(server);
    }
    let failed = |error| Error::io("sites.start", root, error);
    let mut asked = signal(SignalKind::terminate()).map_err(failed)?;
    serving.write(root).map_err(failed)?;
    tokio::select! {
        _ = asked.recv() => {}
        () = agent_is_gone(root) => {}
    }
    for server in servers {
        server.stop().await;
    }
    Ok(())
}

/// Where the sites are that are shown.
enum Shown {
    Folders(PathBuf),
    #[cfg(feature = "aws")]
    Buckets(super::aws::Aws),
}

/// A server of one of them.
enum Server {
    Folder(StaticServer),
    #[cfg(feature = "aws")]
    Bucket(super::aws::edge::Edge),
}

impl Shown {
    #[cfg_attr(not(feature = "aws"), expect(clippy::unused_async, reason = "an account is waited for"))]
    async fn find(root: &Path) -> Result<Self> {
        #[cfg(feature = "aws")]
        if let Some(file) = std::env::var_os(AWS) {
            let cx = ecolaura_deploy_core::Context::new("dev".parse()?);
            return Ok(Self::Buckets(super::aws::Aws::open(&cx, Path::new(&file)).await?));
        }
        Ok(Self::Folders(root.to_owned()))
    }

    /// At the port of the last time, if it is free. `None` where somebody else shows it.
    async fn serve(&self, environment: &str, before: Option<&SocketAddr>) -> Result<Option<Server>> {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        if let Some(before) = before
            && let Ok(server) = self.serve_at(environment, *before).await
        {
            return Ok(server);
        }
        self.serve_at(environment, any).await
    }

    async fn serve_at(&self, environment: &str, address: SocketAddr) -> Result<Option<Server>> {
        match self {
            Self::Folders(root) => {
                let server = serve(root.join(environment).join("site"), address).await?;
                Ok(Some(Server::Folder(server)))
            }
            #[cfg(feature = "aws")]
            Self::Buckets(aws) => {
                let environment = environment.parse()?;
                if aws.site_address(&environment).is_some() {
                    return Ok(None);
                }
                Ok(Some(Server::Bucket(super::aws::edge::serve(aws, &environment, address).await?)))
            }
        }
    }
}

impl Server {
    fn address(&self) -> SocketAddr {
        match self {
            Self::Folder(server) => server.address(),
            #[cfg(feature = "aws")]
            Self::Bucket(server) => server.address(),
        }
    }

    async fn stop(self) {
        match self {
            Self::Folder(server) => server.stop().await,
            #[cfg(feature = "aws")]
            Self::Bucket(server) => drop(server),
        }
    }
}

async fn agent_is_gone(root: &Path) {
    let mut patience = FIRST_AGENT;
    let mut last = tokio::time::Instant::now();
    loop {
        if agent(root).is_some() {
            (patience, last) = (NO_AGENT, tokio::time::Instant::now());
        } else if last.elapsed() > patience {
            return;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

fn agent(root: &Path) -> Option<u32> {
    let registry = std::sync::Arc::new(LayoutRegistry::new(root.join("registry"), "registry".parse().ok()?));
    ProcessCluster::with_agent(root.join("cluster"), registry, "cluster".parse().ok()?).ok()?.agent_pid()
}
