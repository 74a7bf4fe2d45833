//! What this machine tells about its processes: `/proc` on Linux, nothing elsewhere.

use std::{fmt, fs, path::Path, str::FromStr};

use rustix::process::{Pid, test_kill_process};

use super::{Gone, Holder};

/// What a machine tells about its processes.
pub(crate) trait Machine: fmt::Debug + Send + Sync {
    /// Its name.
    fn host(&self) -> String;

    /// This boot, and the namespace that process ids are counted in; `None` where they cannot be told.
    fn ground(&self) -> Option<(String, u64)>;

    /// Whether it has no process of this id, not even one that it does not show.
    fn lacks(&self, pid: Pid) -> bool;

    /// What it shows of a process.
    fn stat(&self, pid: u32) -> Option<Stat>;
}

/// The machine that this program runs on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ThisMachine;

impl Machine for ThisMachine {
    fn host(&self) -> String {
        rustix::system::uname().nodename().to_string_lossy().into_owned()
    }

    /// `None` also where `/proc` counts processes in another namespace than ours.
    fn ground(&self) -> Option<(String, u64)> {
        let own: u32 = fs::read_link("/proc/self").ok()?.to_str()?.parse().ok()?;
        if own == std::process::id() { Some((boot()?, namespace()?)) } else { None }
    }

    fn lacks(&self, pid: Pid) -> bool {
        test_kill_process(pid) == Err(rustix::io::Errno::SRCH)
    }

    fn stat(&self, pid: u32) -> Option<Stat> {
        Stat::parse(&fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat")).ok()?)
    }
}

/// What makes a process id unique.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Proof {
    /// Drawn by the kernel at each boot.
    boot: String,
    /// The namespace that process ids are counted in. Its number is used again only when all its processes are gone.
    namespace: u64,
    /// In clock ticks since the boot.
    start: u64,
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "boot={} pidns={} start={}", self.boot, self.namespace, self.start)
    }
}

impl FromStr for Proof {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let read = || {
            let mut parts = text.split(' ');
            let boot = parts.next()?.strip_prefix("boot=").filter(|boot| !boot.is_empty())?.to_owned();
            let namespace = parts.next()?.strip_prefix("pidns=")?.parse().ok()?;
            let start = parts.next()?.strip_prefix("start=")?.parse().ok()?;
            parts.next().is_none().then_some(Self { boot, namespace, start })
        };
        read().ok_or(())
    }
}

/// What stands of a process in `/proc/PID/stat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) state: char,
    pub(crate) threads: u64,
    pub(crate) start: u64,
}

impl Stat {
    /// The name of the program, in parentheses, may hold anything, so the fields are counted from its end.
    fn parse(text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let number = |field: usize| fields.get(field)?.parse().ok();
        Some(Self { state: fields.first()?.chars().next()?, threads: number(17)?, start: number(19)? })
    }

    /// It ended and its parent has not asked for its status yet. A first thread that ended before the others looks the
    /// same, so those are counted.
    fn has_ended(&self) -> bool {
        matches!(self.state, 'X' | 'x') || (self.state == 'Z' && self.threads <= 1)
    }
}

/// What makes the id of a living process unique; `None` where it cannot be told.
pub(super) fn proof(machine: &dyn Machine, pid: u32) -> Option<Proof> {
    let (boot, namespace) = machine.ground()?;
    Some(Proof { boot, namespace, start: machine.stat(pid)?.start })
}

fn boot() -> Option<String> {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(text.trim().to_owned()).filter(|boot| !boot.is_empty() && !boot.contains(' '))
}

/// `pid:[4026531836]`
fn namespace() -> Option<u64> {
    let link = fs::read_link("/proc/self/ns/pid").ok()?;
    link.to_str()?.strip_prefix("pid:[")?.strip_suffix(']')?.parse().ok()
}

/// Whether `holder` has ended, as far as `machine` can tell. A process that it does not show may be hidden, so it is
/// asked for too.
pub(super) fn is_gone(machine: &dyn Machine, holder: &Holder) -> Gone {
    let Ok(then) = holder.proof.parse::<Proof>() else { return Gone::CannotTell };
    let Some(id) = i32::try_from(holder.pid).ok().and_then(Pid::from_raw) else { return Gone::CannotTell };
    if holder.host != machine.host() || machine.ground() != Some((then.boot, then.namespace)) {
        return Gone::CannotTell;
    }
    if machine.lacks(id) {
        return Gone::Yes;
    }
    match machine.stat(holder.pid) {
        Some(now) if now.start != then.start || now.has_ended() => Gone::Yes,
        Some(_) => Gone::No,
        None => Gone::CannotTell,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_program_may_hold_anything() {
        let text = "42 (a) R 1 (b)) S 1 42 42 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 3 0 12345 1 1";
        assert_eq!(Stat::parse(text), Some(Stat { state: 'S', threads: 3, start: 12345 }));
        assert_eq!(Stat::parse("42 (a"), None);
        assert_eq!(Stat::parse("42 (a) S 1"), None);
    }

    #[test]
    fn only_a_dead_process_without_living_threads_has_ended() {
        let ended = |state, threads| Stat { state, threads, start: 1 }.has_ended();
        assert!(ended('Z', 1) && ended('X', 1));
        assert!(!ended('Z', 2) && !ended('S', 1) && !ended('T', 1));
    }

    #[test]
    fn a_proof_is_read_back_and_nothing_else_is() {
        let proof = Proof { boot: "b-1".into(), namespace: 7, start: 9 };
        assert_eq!(proof.to_string().parse(), Ok(proof));
        for text in ["", "boot= pidns=1 start=1", "boot=b pidns=1", "boot=b pidns=x start=1", "boot=b pidns=1 start=1 "]
        {
            assert_eq!(text.parse::<Proof>(), Err(()), "{text}");
        }
    }
}
