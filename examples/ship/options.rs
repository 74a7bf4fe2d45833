//! What can be said on the command line.

use std::path::PathBuf;

use clap::{ArgGroup, Parser};
use ecolaura_deploy_core::{Error, ErrorKind, Result, vocabulary::EnvironmentName};

/// Ships the sample platform to dev, and promotes the same release to staging and production.
///
/// Exit codes: 0 done, 1 rolled back, 2 bad input, 3 an operator is needed, 4 waiting for an approval or a window.
#[derive(Debug, Clone, Parser)]
#[command(name = "ship", version)]
#[command(group(ArgGroup::new("job").args(["rollback", "down"])))]
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

    /// Print what would be done, and stop
    #[arg(long)]
    pub plan: bool,

    /// Go back to the previous release, the database included where it can be
    #[arg(long)]
    pub rollback: bool,

    /// Stop everything that runs
    #[arg(long)]
    pub down: bool,

    /// Approve what needs an approval
    #[arg(long)]
    pub yes: bool,

    /// Let what runs stay up without use, until --down
    #[arg(long)]
    pub keep: bool,

    /// Let this step fail at its end, after its effect
    #[arg(long, value_name = "STEP")]
    pub fail: Vec<String>,

    /// Abort this process when the step begins
    #[arg(long, value_name = "STEP")]
    pub crash_before: Vec<String>,

    /// Abort this process when the step has ended
    #[arg(long, value_name = "STEP")]
    pub crash_after: Vec<String>,

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

/// The environments, in the order in which a release goes through them.
pub const ENVIRONMENTS: [&str; 3] = ["dev", "staging", "production"];

impl Options {
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
}
