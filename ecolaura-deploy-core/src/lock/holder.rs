//! Who holds a lock, and whether it can be proven gone.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::process::{self, Machine, ThisMachine};

/// A process that deploys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Holder {
    /// The machine's name.
    pub host: String,
    /// The process id.
    pub pid: u32,
    /// What makes the id unique: boot id, process namespace and start time. Empty where they cannot be told.
    pub proof: String,
}

/// Whether a process has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gone {
    /// It has: this machine has the same boot and process namespace, and no such process.
    Yes,
    /// It lives.
    No,
    /// It ran elsewhere, or this machine does not tell.
    CannotTell,
}

impl Holder {
    /// A process by its three marks. Tests name processes of other machines with it.
    pub fn new(host: impl Into<String>, pid: u32, proof: impl Into<String>) -> Self {
        Self { host: host.into(), pid, proof: proof.into() }
    }

    /// The running process. Reads only.
    pub fn this_process() -> Self {
        Self::of_process(std::process::id())
    }

    /// The process `pid` of this machine, as it is now.
    pub(crate) fn of_process(pid: u32) -> Self {
        Self::on(&ThisMachine, pid)
    }

    /// The process `pid` of `machine`, as it is now.
    pub(crate) fn on(machine: &dyn Machine, pid: u32) -> Self {
        let proof = process::proof(machine, pid).map(|proof| proof.to_string()).unwrap_or_default();
        Self { host: machine.host(), pid, proof }
    }

    /// Whether it has ended, as far as this machine can tell. Reads only. Nothing that cannot be read counts as a
    /// proof.
    pub fn is_gone(&self) -> Gone {
        process::is_gone(&ThisMachine, self)
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.pid)
    }
}
