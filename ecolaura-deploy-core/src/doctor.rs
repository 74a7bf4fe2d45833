//! What is open, held, damaged or left over in an environment, and what may safely be done about it.
//!
//! Looking changes nothing. [`Doctor::fix`] only cleans up what nobody uses, as the only one at work: it resumes no run and
//! repairs no record; of those a finding says which call does.
//!
//! ```
//! # async fn example(cx: &ecolaura_deploy_core::Context) -> ecolaura_deploy_core::Result<()> {
//! use std::sync::Arc;
//! use ecolaura_deploy_core::{
//!     doctor::{Doctor, Dry},
//!     report::{Style, plain::render_examination},
//!     steps::KeptFolders,
//!     store::ObjectRunStore,
//! };
//! let doctor = Doctor::new(Arc::new(ObjectRunStore::local("runs")?), "dev".parse()?)
//!     .inspect(Arc::new(KeptFolders::new("target/kept")));
//! let examination = doctor.examine(cx).await?;
//! println!("{}", render_examination(&examination, &Style::plain()));
//! let fixed = doctor.fix(cx, &examination, Dry::Yes).await?;
//! assert!(fixed.done.is_empty());
//! # Ok(()) }
//! ```

mod busy;
mod examine;
mod findings;
mod fix;
mod held;
mod records;
mod runs;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    ErrorRecord,
    backend::{Inspect, Leftover},
    run::Runner,
    store::RunStore,
    vocabulary::{EnvironmentName, Name},
};

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Nothing is wrong.
    Note,
    /// Nothing is lost; somebody should see to it.
    Warning,
    /// Something is damaged, or cannot be read by this program.
    Problem,
}

/// What a finding is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "subject", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Subject {
    /// A run.
    Run {
        /// Its id.
        run: String,
    },
    /// An epoch of the environment's lock.
    Epoch {
        /// Its number.
        number: u64,
    },
    /// A record of the run store.
    Record {
        /// Its key.
        key: String,
    },
    /// Something that is left over in a backend.
    Leftover {
        /// The backend.
        backend: Name,
        /// What.
        leftover: Leftover,
    },
    /// A backend that could not be looked at.
    Backend {
        /// Its name.
        backend: Name,
    },
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Finding {
    /// How much it matters.
    pub severity: Severity,
    /// What it is, in a few words: `open run 20261124T101530123Z-1f2e3d4c`.
    pub what: String,
    /// Where it is: a key of the run store, or a backend.
    #[serde(rename = "where")]
    pub place: String,
    /// What is known of it, in sentences.
    pub known: Vec<String>,
    /// What is safe to do about it, and which call does it; empty if there is nothing to do.
    pub action: String,
    /// Whether [`Doctor::fix`] does it.
    pub fixable: bool,
    /// The same for programs.
    pub subject: Subject,
}

/// Everything that was found in an environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Examination {
    /// The environment.
    pub environment: EnvironmentName,
    /// The wall clock when it was looked at.
    pub at: Timestamp,
    /// What was found: runs, epochs, records, then leftovers.
    pub findings: Vec<Finding>,
    /// What was not read, if that is anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unread: Option<Unread>,
}

/// What was left out because nothing that is open or live rests on it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Unread {
    /// How many older runs.
    pub runs: usize,
    /// How many older releases.
    pub releases: usize,
    /// Which call reads them too.
    pub action: String,
}

/// Whether only to say what would be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Dry {
    /// Only say it.
    #[default]
    Yes,
    /// Do it.
    No,
}

/// What [`Doctor::fix`] did.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Fixed {
    /// What would be done; only in a dry run.
    pub would: Vec<Finding>,
    /// What was done, or was gone already.
    pub done: Vec<Finding>,
    /// What could not be done, and why. It can be tried again.
    pub failed: Vec<(Finding, ErrorRecord)>,
}

/// What findings tell people to call: by default the methods of [`Runner`] and [`Doctor`].
///
/// ```
/// use ecolaura_deploy_core::doctor::Commands;
/// let commands = Commands { resume: "deploy --resume".to_owned(), ..Commands::default() };
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commands {
    /// Goes on with the open run.
    pub resume: String,
    /// Undoes the open run.
    pub roll_back: String,
    /// Closes the open run as it is; the run's id comes behind it.
    pub give_up: String,
    /// Examines with [`Doctor::everything`].
    pub everything: String,
}

impl Default for Commands {
    fn default() -> Self {
        Self {
            resume: "Runner::resume".to_owned(),
            roll_back: "Runner::roll_back".to_owned(),
            give_up: "Runner::give_up".to_owned(),
            everything: "Doctor::everything".to_owned(),
        }
    }
}

/// Looks after an environment. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Doctor {
    store: Arc<dyn RunStore>,
    runner: Runner,
    environment: EnvironmentName,
    backends: Vec<Arc<dyn Inspect>>,
    everything: bool,
    commands: Commands,
}

impl Doctor {
    /// For `environment`, whose records are in `store`.
    pub fn new(store: Arc<dyn RunStore>, environment: EnvironmentName) -> Self {
        let runner = Runner::new(Arc::clone(&store));
        let (backends, commands) = (Vec::new(), Commands::default());
        Self { store, runner, environment, backends, everything: false, commands }
    }

    /// Looks for leftovers in `backend` too.
    pub fn inspect(mut self, backend: Arc<dyn Inspect>) -> Self {
        self.backends.push(backend);
        self
    }

    /// Reads every record of every run and release, however old. Takes minutes where there are thousands.
    pub fn everything(mut self) -> Self {
        self.everything = true;
        self
    }

    /// Names these commands in what it finds.
    pub fn commands(mut self, commands: Commands) -> Self {
        self.commands = commands;
        self
    }
}
