//! The machine that simulated processes run on, as their locks see it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use rustix::process::Pid;

use crate::lock::{Holder, Machine, Stat};

/// What becomes of the machine when a process has died on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Aftermath {
    /// Nothing: the next one finds that there is no such process.
    Ended,
    /// Another program gets its process id.
    Reused,
    /// It is booted again.
    Rebooted,
    /// The next one runs in a container of its own, which counts processes anew.
    Contained,
}

impl Aftermath {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Ended, Self::Reused, Self::Rebooted, Self::Contained];

    /// As in the name of a case: `pid-reused`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ended => "ended",
            Self::Reused => "pid-reused",
            Self::Rebooted => "rebooted",
            Self::Contained => "in-a-container",
        }
    }

    /// Whether it proves that the process is gone. A machine of the same name that was booted at another time may be
    /// another machine, and so may a container.
    pub fn proves(self) -> bool {
        matches!(self, Self::Ended | Self::Reused)
    }
}

/// A process table. Clones are the same machine.
#[derive(Debug, Clone, Default)]
pub(super) struct SimMachine(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    boot: u32,
    namespace: u64,
    ticks: u64,
    processes: BTreeMap<u32, Stat>,
}

impl SimMachine {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts the process `pid`, or another one of that id.
    pub(super) fn start(&self, pid: u32) -> Holder {
        self.table().start(pid);
        Holder::on(self, pid)
    }

    pub(super) fn end(&self, pid: u32, aftermath: Aftermath) {
        let mut table = self.table();
        table.processes.remove(&pid);
        match aftermath {
            Aftermath::Ended => {}
            Aftermath::Reused => table.start(pid),
            Aftermath::Rebooted => {
                *table = Table { boot: table.boot + 1, namespace: table.namespace, ..Table::default() }
            }
            Aftermath::Contained => table.namespace += 1,
        }
    }
}

impl Table {
    fn start(&mut self, pid: u32) {
        self.ticks += 1;
        self.processes.insert(pid, Stat { state: 'S', threads: 1, start: self.ticks });
    }
}

impl Machine for SimMachine {
    fn host(&self) -> String {
        "simulated".to_owned()
    }

    fn ground(&self) -> Option<(String, u64)> {
        let table = self.table();
        Some((format!("boot-{}", table.boot), table.namespace))
    }

    fn lacks(&self, pid: Pid) -> bool {
        !self.table().processes.contains_key(&pid.as_raw_nonzero().get().unsigned_abs())
    }

    fn stat(&self, pid: u32) -> Option<Stat> {
        self.table().processes.get(&pid).copied()
    }
}
