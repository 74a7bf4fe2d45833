//! What can be said on the command line.

use std::{path::PathBuf, time::Duration};

use clap::{ArgGroup, Parser, ValueEnum};
use ecolaura_deploy_core::{
    Error, ErrorKind, Result,
    lock::{LockPolicy, Wait},
    run,
    vocabulary::EnvironmentName,
};

/// Ships the sample platform to dev, and promotes the same release to staging and production. What an earlier call left
/// open is gone on with first, or taken back if it was of something else.
///
/// Exit codes: 0 done, 1 rolled back or refused, 2 bad input, 3 an operator is needed, 4 waiting for an approval or a
/// window, or stopped to be resumed, 5 another deployer has the environment or took it over, 130 stopped at once.
#[derive(Debug, Clone, Parser)]
#[command(name = "ship", version)]
#[command(group(ArgGroup::new("job").args(["rollback", "down", "resume", "doctor", "give_up", "prepare", "policy"])))]
#[command(group(ArgGroup::new("images").args(["registry", "aws"]).multiple(true)))]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct Options {
    /// Everything is written below this folder [default: `ship` in the build folder]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,

    /// Ship this copy of the sample platform
    #[arg(long, value_name = "DIR")]
    pub app: Option<PathBuf>,

    /// Only this environment
    #[arg(long, value_name = "NAME")]
    pub env: Option<EnvironmentName>,

    /// Run the services on this Kubernetes cluster, whose nodes see the folder `--dir` (needs the feature `k8s`)
    #[arg(long, value_name = "FILE", requires = "images")]
    pub kubeconfig: Option<PathBuf>,

    /// With --kubeconfig: push images to this registry, which the cluster pulls from
    #[arg(long, value_name = "HOST:PORT", requires = "kubeconfig")]
    pub registry: Option<String>,

    /// Images, sites, secrets and records are in an account of AWS, as this file says (needs the feature `aws`)
    #[arg(long, value_name = "FILE")]
    pub aws: Option<PathBuf>,

    /// With --aws: make the buckets, distributions and secrets that are not there, and write FILE
    #[arg(long, requires = "aws")]
    pub prepare: bool,

    /// With --aws: print the IAM policy of a role that ships
    #[arg(long, requires = "aws")]
    pub policy: bool,

    /// With --aws: add every call to the end of this file, as its action and its resource
    #[arg(long, value_name = "FILE", requires = "aws")]
    pub calls: Option<PathBuf>,

    /// Print what would be done, and stop
    #[arg(long)]
    pub plan: bool,

    /// Go back to the previous release, the database included where it can be
    #[arg(long)]
    pub rollback: bool,

    /// Only go on with what an earlier call left open; refuse if it was of something else
    #[arg(long)]
    pub resume: bool,

    /// Close this open run as it is, because its records are damaged; undo nothing
    #[arg(long, value_name = "RUN")]
    pub give_up: Option<String>,

    /// Say what is open, damaged or left over; change nothing
    #[arg(long)]
    pub doctor: bool,

    /// With --doctor: clean up what nobody uses
    #[arg(long, requires = "doctor")]
    pub fix: bool,

    /// With --doctor: read every record of every run and release, however old
    #[arg(long, requires = "doctor")]
    pub all: bool,

    /// Stop everything that runs
    #[arg(long)]
    pub down: bool,

    /// Approve what needs an approval
    #[arg(long)]
    pub yes: bool,

    /// Let what runs stay up without use, until --down
    #[arg(long)]
    pub keep: bool,

    /// Wait so long for another deployer of the environment [default: fail at once]
    #[arg(long, value_name = "SECONDS")]
    pub wait: Option<u64>,

    /// What the first Ctrl-C or SIGTERM does with a run; the second one stops at once
    #[arg(long, value_name = "WHAT", default_value = "undo")]
    pub on_cancel: OnCancel,

    /// Let this step fail at its end, after its effect
    #[arg(long, value_name = "STEP")]
    pub fail: Vec<String>,

    /// Abort this process when the step begins
    #[arg(long, value_name = "STEP")]
    pub crash_before: Vec<String>,

    /// Abort this process when the step has ended
    #[arg(long, value_name = "STEP")]
    pub crash_after: Vec<String>,

    /// Abort this process when the step has had its effect, before that is recorded
    #[arg(long, value_name = "STEP")]
    pub crash_within: Vec<String>,

    /// How long a silent deployer keeps its lock, in milliseconds; for tests
    #[arg(long, value_name = "MILLISECONDS", hide = true)]
    pub term: Option<u64>,

    /// Let the new backend answer errors, for this run only
    #[arg(long)]
    pub misbehave: bool,

    /// Write every event to this file, one JSON object a line
    #[arg(long, value_name = "FILE")]
    pub events: Option<PathBuf>,

    /// Write the report to this file [default: `report.html` below --dir]
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,

    /// Say only what went wrong, and the end
    #[arg(long)]
    pub quiet: bool,
}

/// What becomes of a run that is asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OnCancel {
    /// Everything is undone
    Undo,
    /// What runs may end, and the next call goes on
    Suspend,
}

/// The environments, in the order in which a release goes through them.
pub const ENVIRONMENTS: [&str; 3] = ["dev", "staging", "production"];

impl Options {
    /// The options that say where everything is, as they would be typed again.
    pub fn place(&self) -> String {
        let files = [("kubeconfig", &self.kubeconfig), ("aws", &self.aws)];
        let files = files.map(|(name, file)| (name, file.as_ref().map(|file| file.display().to_string())));
        let said = files.into_iter().chain([("registry", self.registry.clone())]);
        said.filter_map(|(name, value)| Some(format!(" --{name} {}", value?))).collect()
    }

    /// What a program has to be compiled with for [`place`](Options::place).
    pub fn features(&self) -> &'static str {
        match (&self.kubeconfig, &self.aws) {
            (None, None) => "",
            (Some(_), None) => " --features k8s",
            (None, Some(_)) => " --features aws",
            (Some(_), Some(_)) => " --features aws,k8s",
        }
    }

    /// The environments to work on, in the order of promotion.
    pub fn environments(&self) -> Result<Vec<EnvironmentName>> {
        let all = ENVIRONMENTS.iter().map(|name| Ok(name.parse()?)).collect::<Result<Vec<EnvironmentName>>>()?;
        match &self.env {
            None => Ok(all),
            Some(one) if all.contains(one) => Ok(vec![one.clone()]),
            Some(one) => Err(Error::new(
                ErrorKind::InvalidInput,
                "ship.options",
                format!("there is no environment `{one}`; there are:\n{}", ENVIRONMENTS.join("\n")),
            )),
        }
    }

    /// How the environments are locked.
    pub fn lock(&self) -> LockPolicy {
        let wait = self.wait.map_or(Wait::Fail, |seconds| Wait::Queue(Duration::from_secs(seconds)));
        let policy = LockPolicy::default().wait(wait);
        self.term.map_or(policy, |term| policy.term(Duration::from_millis(term)))
    }

    /// What a cancel does.
    pub fn on_cancel(&self) -> run::OnCancel {
        match self.on_cancel {
            OnCancel::Undo => run::OnCancel::Undo,
            OnCancel::Suspend => run::OnCancel::Suspend,
        }
    }
}
