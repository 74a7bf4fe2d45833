//! The process that outlives a run.

pub(super) mod protocol;
mod server;
pub(super) mod socket;
pub(super) mod start;

use std::{io::Write as _, path::PathBuf, process::ExitCode, sync::atomic::Ordering};

/// Runs the cluster's agent if this process was started to be one, and answers with its exit code when it has ended.
/// The first thing in the `main` of a program that uses
/// [`ProcessCluster::with_agent`](super::ProcessCluster::with_agent), before any runtime or thread: without it that
/// constructor refuses, because the program would run itself once more.
///
/// ```no_run
/// use std::process::ExitCode;
/// fn main() -> ExitCode {
///     if let Some(code) = ecolaura_deploy_core::local::cluster::run_agent_if_asked() {
///         return code;
///     }
///     // … the program
///     ExitCode::SUCCESS
/// }
/// ```
pub fn run_agent_if_asked() -> Option<ExitCode> {
    start::ANSWERED.store(true, Ordering::Release);
    let dir = PathBuf::from(std::env::var_os(start::VARIABLE)?);
    match server::run(&dir) {
        Ok(()) => Some(ExitCode::SUCCESS),
        Err(error) => {
            // Its standard error is the agent's log; without one there is nobody to tell.
            _ = writeln!(std::io::stderr(), "{}", error.report());
            Some(ExitCode::FAILURE)
        }
    }
}
