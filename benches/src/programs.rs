//! Programs that are run beside this one: the peers, timed, with their memory.

use std::{
    env, fmt,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{
    process::{Child, Command},
    time::Instant,
};

/// How often the memory of a program is looked at. The kernel keeps its peak, so only what grows in the last moment before
/// the end can be missed.
const LOOK: Duration = Duration::from_millis(2);

/// The peers on the `PATH`.
#[derive(Debug, Clone)]
pub struct Peers {
    /// Applies.
    pub kubectl: Option<PathBuf>,
    /// Rolls out.
    pub helm: Option<PathBuf>,
    /// Pretends nodes and pods.
    pub kwok: Option<PathBuf>,
}

impl Peers {
    /// Those that are there.
    pub fn find() -> Self {
        Self { kubectl: on_path("kubectl"), helm: on_path("helm"), kwok: on_path("kwok") }
    }
}

impl fmt::Display for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = [
            ("kubectl", &self.kubectl, &["version", "--client"][..]),
            ("helm", &self.helm, &["version", "--template", "{{.Version}}"]),
            ("kwok", &self.kwok, &["--version"]),
        ];
        let (found, missing): (Vec<_>, Vec<_>) = all.into_iter().partition(|(_, path, _)| path.is_some());
        let found: Vec<String> = found
            .into_iter()
            .map(|(name, path, arguments)| {
                path.as_deref().map_or_else(String::new, |path| format!("{name} {}", version(path, arguments)))
            })
            .collect();
        write!(f, "peers found on PATH: {}", if found.is_empty() { "none".to_owned() } else { found.join(", ") })?;
        for (name, ..) in missing {
            write!(f, "\npeer missing: {name}, its rows are left out; .ci/with-servers --peers has it")?;
        }
        Ok(())
    }
}

/// Where the program `name` is.
pub fn on_path(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// The version that it says of itself.
fn version(program: &Path, arguments: &[&str]) -> String {
    let said = std::process::Command::new(program).args(arguments).output().map(|output| output.stdout);
    let said = String::from_utf8_lossy(&said.unwrap_or_default()).into_owned();
    let is_version = |word: &&str| word.strip_prefix('v').is_some_and(|rest| rest.starts_with(char::is_numeric));
    said.split_whitespace().find(is_version).unwrap_or("of unknown version").to_owned()
}

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    /// Whether it says so.
    pub succeeded: bool,
    /// When.
    pub at: Instant,
    /// The most memory that it had, in MiB.
    pub peak: f64,
    /// What it printed.
    pub said: String,
    program: String,
}

impl Ended {
    /// Ends the bench with what the program said unless it succeeded.
    pub fn checked(self) -> Self {
        assert!(self.succeeded, "{} failed: {}", self.program, self.said);
        self
    }
}

/// A program that runs, and is killed when this is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    output: tempfile::NamedTempFile,
    program: String,
}

/// Starts `program`.
pub fn start<'a>(program: &Path, arguments: impl IntoIterator<Item = &'a str>) -> Running {
    let mut command = Command::new(program);
    command.args(arguments);
    start_as(command)
}

/// Starts `command`.
pub fn start_as(mut command: Command) -> Running {
    let output = tempfile::NamedTempFile::new().unwrap();
    let file = || Stdio::from(output.as_file().try_clone().unwrap());
    command.stdin(Stdio::null()).stdout(file()).stderr(file()).kill_on_drop(true);
    let child = command.spawn().unwrap();
    Running { child, output, program: command.as_std().get_program().display().to_string() }
}

impl Running {
    /// Waits for its end.
    pub async fn end(mut self) -> Ended {
        let mut ended = Box::pin(self.child.wait());
        let status = ended.as_mut().await.unwrap();
        let at = Instant::now();
        drop(ended);
        self.told(status.success(), at, 0.0)
    }

    /// Waits for its end and looks at its memory meanwhile.
    pub async fn end_with_memory(mut self) -> Ended {
        let process = self.child.id().unwrap().to_string();
        let mut most = 0.0;
        loop {
            most = peak(&process).unwrap_or(most);
            if let Ok(status) = tokio::time::timeout(LOOK, self.child.wait()).await {
                return self.told(status.unwrap().success(), Instant::now(), most);
            }
        }
    }

    fn told(self, succeeded: bool, at: Instant, peak: f64) -> Ended {
        let said = std::fs::read_to_string(self.output.path()).unwrap_or_default();
        Ended { succeeded, at, peak, said, program: self.program }
    }

    /// Ends it.
    pub async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}

/// Runs `program` to its end.
pub async fn run<'a>(program: &Path, arguments: impl IntoIterator<Item = &'a str>) -> Ended {
    start(program, arguments).end().await
}

/// The most memory that a process had so far, in MiB; none of one that is gone.
pub fn peak(process: &str) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<f64>().ok()? / 1024.0)
}
