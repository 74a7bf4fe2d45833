//! Which calls there are, and which faults make sense for them.

use super::CallFault;

/// A method of a backend trait that reaches the backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Call {
    /// `world.method`.
    pub name: &'static str,
    /// Whether it changes anything.
    pub writes: bool,
}

const fn reads(name: &'static str) -> Call {
    Call { name, writes: false }
}

const fn writes(name: &'static str) -> Call {
    Call { name, writes: true }
}

/// Every call, world by world.
pub const CALLS: &[Call] = &[
    reads("image.fingerprint"),
    writes("image.build"),
    reads("image.exists"),
    reads("registry.resolve"),
    reads("registry.contains"),
    writes("registry.push"),
    writes("registry.set_tag"),
    reads("registry.manifest"),
    reads("registry.blob"),
    reads("registry.referrers"),
    reads("cluster.plan"),
    writes("cluster.apply"),
    reads("cluster.wait_until_ready"),
    writes("cluster.shift"),
    reads("cluster.status"),
    writes("cluster.restore"),
    reads("cluster.logs"),
    reads("cdn.history"),
    writes("cdn.upload"),
    reads("cdn.missing"),
    writes("cdn.activate"),
    writes("cdn.invalidate"),
    writes("cdn.prune"),
    reads("database.plan"),
    writes("database.migrate"),
    writes("database.revert"),
    writes("database.backup"),
    writes("database.restore"),
    reads("database.measure"),
    reads("metrics.query"),
    reads("secrets.resolve"),
    reads("secrets.get"),
    reads("scan.database"),
    reads("scan.scan"),
    reads("approval.request"),
    reads("flags.get"),
    writes("flags.set"),
    writes("store.create"),
    reads("store.get"),
    reads("store.list"),
    reads("store.list_after"),
    reads("store.names"),
    writes("store.remove"),
];

/// The call of this name.
pub fn call(name: &str) -> Option<Call> {
    CALLS.iter().copied().find(|call| call.name == name)
}

/// Pairs that make no sense: calls (a world, or a whole name), faults, why.
const SENSELESS: &[(&[&str], &[CallFault], &str)] = &[
    (
        &["image"],
        &[CallFault::SlowDown, CallFault::Unauthenticated, CallFault::Conflict],
        "a builder works alone on this machine: nobody limits it, asks who it is, or builds the same image otherwise",
    ),
    (
        &["cdn.history", "database.plan", "scan.database"],
        &[CallFault::Rejected],
        "it asks for everything there is: there is no input that could be refused",
    ),
    (
        &["store"],
        &[CallFault::SlowDown, CallFault::Rejected],
        "a store retries below the trait, and its keys and bodies are the library's own",
    ),
    (&["store.create"], &[CallFault::Conflict], "another's object is an answer of this call, not an error"),
];

/// Reads that can meet a conflict: a reference to a version of a secret that is gone; a migration that was edited.
const CONFLICTING_READS: &[&str] = &["secrets.get", "database.plan"];

/// Whether `fault` makes sense for the call of this name; the reason if not.
pub fn applicable(name: &str, fault: CallFault) -> Result<(), &'static str> {
    let call = call(name).ok_or("there is no such call")?;
    if !call.writes && fault.is_like(CallFault::LostAnswer) {
        return Err("a read has no effect that could happen without an answer: it is a timeout");
    }
    if !call.writes && fault.is_like(CallFault::Conflict) && !CONFLICTING_READS.contains(&name) {
        return Err("a read is in nobody's way");
    }
    let world = name.split('.').next().unwrap_or_default();
    let senseless = SENSELESS.iter().find(|(calls, faults, _)| {
        (calls.contains(&world) || calls.contains(&name)) && faults.iter().any(|one| one.is_like(fault))
    });
    senseless.map_or(Ok(()), |(_, _, why)| Err(why))
}
