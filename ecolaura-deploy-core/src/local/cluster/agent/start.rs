//! Starting the agent: this program once more, on its own.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    process::Stdio,
    sync::atomic::AtomicBool,
};

use tokio::process::{Child, Command};

use crate::{Error, ErrorKind, Result, local::cluster::state::Folder};

/// Names the folder of the cluster to a program that shall be its agent.
pub(super) const VARIABLE: &str = "ECOLAURA_DEPLOY_CLUSTER_AGENT";

/// Whether this program's `main` would answer to [`VARIABLE`]. A fact about the program, so there is one for all.
pub(super) static ANSWERED: AtomicBool = AtomicBool::new(false);

/// What the agent takes over from the environment of the program that starts it. Its pods get none of it.
const INHERITED: [&str; 4] = ["PATH", "LD_LIBRARY_PATH", "TMPDIR", "RUST_BACKTRACE"];

/// How much of the agent's log is shown when it does not start.
const LOG_BYTES: usize = 2048;

/// Refuses a program that would run itself instead of an agent.
pub(in super::super) fn check_main() -> Result<()> {
    if ANSWERED.load(std::sync::atomic::Ordering::Acquire) {
        return Ok(());
    }
    let message = "this program's `main` does not call `run_agent_if_asked`, so it cannot be started as an agent";
    Err(Error::invalid("cluster.open", message).advice(
        "call `ecolaura_deploy_core::local::cluster::run_agent_if_asked()` first in `main` and return its code",
    ))
}

/// Starts an agent for `folder`. It detaches itself; of several, one stays.
pub(in super::super) fn start(folder: &Folder) -> Result<Child> {
    let log = folder.file("agent.log");
    let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&log);
    let file = file.map_err(|error| Error::io("cluster.start", &log, error))?;
    let mut command = Command::new(program()?);
    command.arg0("ecolaura-deploy-agent").env_clear().env(VARIABLE, folder.path());
    command.envs(INHERITED.iter().filter_map(|name| Some((*name, std::env::var_os(name)?))));
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::null()).stderr(file);
    command.spawn().map_err(|error| Error::io("cluster.start", folder.path(), error))
}

/// This program's file, also if it was replaced since it was started.
fn program() -> Result<std::path::PathBuf> {
    let own = Path::new("/proc/self/exe");
    if own.exists() {
        return Ok(own.to_owned());
    }
    std::env::current_exe().map_err(|error| Error::io("cluster.start", "the running program", error))
}

/// An agent that ended instead of serving.
pub(in super::super) fn failed(folder: &Folder, status: std::process::ExitStatus) -> Error {
    let log = fs::read(folder.file("agent.log")).unwrap_or_default();
    let tail = String::from_utf8_lossy(&log[log.len().saturating_sub(LOG_BYTES)..]).into_owned();
    let last = tail.lines().last().unwrap_or("it said nothing").to_owned();
    Error::new(ErrorKind::Unavailable, "cluster.start", format!("the cluster's agent ended at once ({status}): {last}"))
        .with("log", folder.file("agent.log").display())
}
