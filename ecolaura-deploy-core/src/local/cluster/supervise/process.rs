//! One run of a container's process.

use std::{
    fs, io,
    os::unix::process::ExitStatusExt as _,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use rustix::process::{Pid, Signal, getpgid, kill_process, kill_process_group};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader},
    process::{Child, Command},
    task::JoinSet,
    time::timeout,
};

use super::{super::program::Program, guardian::Guardian, logs::PodLog};

/// The longest line that is kept whole.
const LINE_BYTES: u64 = 16 * 1024;

/// How long the last lines of an ended process may take.
const LAST_LINES: Duration = Duration::from_secs(1);

/// A process to start. Values of the environment may be secret.
#[derive(Clone)]
pub(super) struct Launch {
    pub(super) program: PathBuf,
    pub(super) args: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    pub(super) dir: PathBuf,
    pub(super) image: Program,
}

impl Launch {
    /// Another program of the same image, in the same environment.
    pub(super) fn another(&self, command: &[String]) -> Result<Self, String> {
        let (program, args) = self.image.locate(command, &self.env)?;
        Ok(Self { program, args, ..self.clone() })
    }
}

/// A process that runs, in a group of its own with its guardian.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    guardian: Guardian,
    readers: JoinSet<()>,
}

impl Running {
    pub(super) async fn start(launch: &Launch, log: &Arc<PodLog>) -> io::Result<Self> {
        let guardian = Guardian::start().await?;
        let mut command = Command::new(&launch.program);
        command.args(&launch.args).env_clear().envs(launch.env.iter().map(|(name, value)| (name, value)));
        command.current_dir(&launch.dir).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.process_group(guardian.group()).spawn()?;
        let mut readers = JoinSet::new();
        if let Some(stdout) = child.stdout.take() {
            readers.spawn(read(stdout, Arc::clone(log)));
        }
        if let Some(stderr) = child.stderr.take() {
            readers.spawn(read(stderr, Arc::clone(log)));
        }
        Ok(Self { child, guardian, readers })
    }

    pub(super) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Waits until the process ends by itself, and says how.
    pub(super) async fn ended(&mut self) -> String {
        self.child.wait().await.map_or_else(|error| error.to_string(), describe)
    }

    /// Asks the process to end, kills it after `grace`, and returns when the whole group is gone.
    pub(super) async fn end(mut self, grace: Duration) {
        let pid = self.child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        if let Some(pid) = pid {
            _ = kill_process(pid, Signal::TERM);
            _ = timeout(grace, self.child.wait()).await;
        }
        self.clear().await;
    }

    /// Kills what is left of the group and reads its last lines.
    pub(super) async fn clear(mut self) {
        self.guardian.end().await;
        _ = self.child.wait().await;
        _ = timeout(LAST_LINES, async { while self.readers.join_next().await.is_some() {} }).await;
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}

/// Hands on lines; one that is too long comes in pieces.
async fn read(stream: impl AsyncRead + Unpin, log: Arc<PodLog>) {
    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut stream).take(LINE_BYTES).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => log.line(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n'])),
        }
    }
}

/// When a process began, in the kernel's ticks: with its id it names one process and no later one.
fn began(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(19).map(str::to_owned)
}

/// Notes in `file` which process runs, for whoever comes after a crash.
pub(super) fn write_pid(file: &Path, pid: u32) {
    if let Some(began) = began(pid) {
        // Without the note the guardian still ends the process; this is the second line of defence.
        _ = fs::write(file, format!("{pid} {began}"));
    }
}

/// The process that `file` names, if that very process still runs.
pub(in super::super) fn still_runs(file: &Path) -> Option<u32> {
    let text = fs::read_to_string(file).ok()?;
    let (pid, noted) = text.split_once(' ')?;
    let pid: u32 = pid.parse().ok()?;
    (began(pid)? == noted && !has_ended(pid)).then_some(pid)
}

/// Whether it only waits for its parent to take notice.
fn has_ended(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')').is_none_or(|(_, rest)| rest.trim_start().starts_with(['Z', 'X']))
}

/// Kills the process group of the process that `file` names, if that very process still runs.
pub(in super::super) fn end_leftover(file: &Path) -> Option<u32> {
    let pid = still_runs(file)?;
    let process = Pid::from_raw(i32::try_from(pid).ok()?)?;
    match getpgid(Some(process)) {
        Ok(group) if group != rustix::process::getpgrp() => _ = kill_process_group(group, Signal::KILL),
        _ => _ = kill_process(process, Signal::KILL),
    }
    Some(pid)
}
