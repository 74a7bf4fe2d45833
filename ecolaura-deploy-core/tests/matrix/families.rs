//! The tables that the cases are made of.

mod holders;
mod security;

use std::time::Duration;

use ecolaura_deploy_core::{
    testing::{
        Fault,
        inject::{CALLS, CallFault, CrashPoint, Damage, Entry, Lasting, StoreFault, applicable},
        simulation::{Mishap, Observed, Profile, Simulation},
    },
    vocabulary::Digest,
};

/// What must hold in one case beyond the invariants: the promises that are broken.
pub(crate) type Check = fn(&Observed) -> Vec<String>;

/// One case.
pub(crate) struct Case {
    pub(crate) family: &'static str,
    pub(crate) name: String,
    pub(crate) mishaps: Vec<Mishap>,
    pub(crate) check: Option<Check>,
}

impl Case {
    /// Of its name, so that a case is the same whichever others there are.
    pub(crate) fn seed(&self) -> u64 {
        let digest = Digest::of(&self.name);
        digest.as_bytes().iter().take(4).fold(0, |seed, byte| seed * 256 + u64::from(*byte))
    }
}

/// A case that calls the real code with a hostile input. It answers with what is wrong.
pub(crate) struct Trap {
    pub(crate) family: &'static str,
    pub(crate) name: String,
    pub(crate) spring: Box<dyn Fn() -> Result<(), String> + Send>,
}

/// A cell of the matrix.
pub(crate) enum Plan {
    Case(Case),
    Trap(Trap),
    Senseless { family: &'static str, name: String, why: String },
}

fn case(family: &'static str, name: impl Into<String>, mishaps: Vec<Mishap>) -> Plan {
    checked(family, name, mishaps, None)
}

fn checked(family: &'static str, name: impl Into<String>, mishaps: Vec<Mishap>, check: Option<Check>) -> Plan {
    Plan::Case(Case { family, name: format!("{family}/{}", name.into()), mishaps, check })
}

fn senseless(family: &'static str, name: impl Into<String>, why: impl Into<String>) -> Plan {
    Plan::Senseless { family, name: name.into(), why: why.into() }
}

/// A way that a run goes.
struct Path {
    name: &'static str,
    mishaps: Vec<Mishap>,
    profile: Profile,
}

/// A way that takes longer than some terms of the lock, so that the holder gives signs of life.
fn slow(simulation: &Simulation) -> Path {
    let fault = CallFault::Slow(Duration::from_mins(5));
    Path::new(simulation, "slow", vec![Mishap::Call { call: "cluster.apply".to_owned(), nth: 1, fault }])
}

fn fails(step: &str) -> Mishap {
    // In every process: a bug does not go away because somebody else comes upon it.
    Mishap::Step { step: step.to_owned(), fault: Fault::FailAfter, processes: 6 }
}

fn paths(simulation: &Simulation) -> Vec<Path> {
    let refused = Mishap::Call { call: "metrics.query".to_owned(), nth: 3, fault: CallFault::Rejected };
    [
        ("happy", Vec::new()),
        ("push-fails", vec![fails("push")]),
        ("migrate-fails", vec![fails("migrate")]),
        ("rollout-fails", vec![fails("rollout")]),
        ("analysis-fails", vec![refused]),
        ("site-fails", vec![fails("site")]),
        ("record-fails", vec![fails("record")]),
    ]
    .into_iter()
    .map(|(name, mishaps)| Path::new(simulation, name, mishaps))
    .collect()
}

impl Path {
    fn new(simulation: &Simulation, name: &'static str, mishaps: Vec<Mishap>) -> Self {
        let profile = simulation.play(0, &mishaps).profile();
        Self { name, mishaps, profile }
    }

    fn and(&self, mishap: Mishap) -> Vec<Mishap> {
        self.mishaps.iter().cloned().chain([mishap]).collect()
    }

    /// The place among all calls of the first one that `step` makes under the lock.
    fn at_step(&self, step: &str) -> Option<u32> {
        self.at(|entry| entry.caller.step == step && entry.caller.epoch > 0)
    }

    /// The place among all calls of the first one that is so.
    fn at(&self, is: impl Fn(&Entry) -> bool) -> Option<u32> {
        (1..).zip(&self.profile.ledger).find(|(_, entry)| is(entry)).map(|(nth, _)| nth)
    }

    /// The effects of steps and of their undoing, each with its place among all calls.
    fn effects(&self) -> impl Iterator<Item = (u32, &Entry)> {
        let counted = (1..).zip(&self.profile.ledger);
        counted.filter(|(_, entry)| entry.is_effect() && !entry.call.starts_with("store."))
    }
}

pub(crate) fn all(simulation: &Simulation) -> Vec<Plan> {
    let paths = paths(simulation);
    let happy = &paths[0];
    let mut plans = crashes(&paths);
    plans.extend(damages(happy));
    plans.extend(store_errors(happy));
    plans.extend(calls(&paths));
    plans.extend(holders::all(happy, &slow(simulation)));
    plans.extend(switches(&paths));
    plans.extend(security::all());
    plans
}

/// A: a crash at each record boundary.
fn crashes(paths: &[Path]) -> Vec<Plan> {
    let mut plans = Vec::new();
    for path in paths {
        for nth in 1..=path.profile.keys.len() {
            for point in CrashPoint::ALL {
                let mishap = Mishap::crash(nth, point);
                plans.push(case("A", format!("{}/{mishap}", path.name), path.and(mishap)));
            }
        }
    }
    plans
}

/// A2: a damaged store. The process dies some records later, so that the damage lies within the records.
fn damages(happy: &Path) -> Vec<Plan> {
    let records = happy.profile.keys.len();
    let mut plans = Vec::new();
    for nth in 1..=records {
        for damage in Damage::ALL {
            let mishap = Mishap::Damage { nth, damage };
            let name = mishap.to_string();
            let numbered = happy.profile.keys[nth - 1].rsplit('/').next().is_some_and(|key| key.parse::<u64>().is_ok());
            if damage == Damage::Duplicate && !numbered {
                plans.push(senseless("A2", name, "its key has no number, so nothing comes after it"));
                continue;
            }
            let later = (nth + 2).min(records);
            plans.push(case("A2", name, vec![mishap, Mishap::crash(later, CrashPoint::AfterFsync)]));
        }
    }
    plans
}

/// A3: I/O errors of the store.
fn store_errors(happy: &Path) -> Vec<Plan> {
    let faults = [
        ("no-space", StoreFault::NoSpace),
        ("fsync-lost", StoreFault::FsyncFailed { kept: false }),
        ("fsync-kept", StoreFault::FsyncFailed { kept: true }),
        ("read-only", StoreFault::ReadOnly),
        ("no-permission", StoreFault::NoPermission),
    ];
    let mut plans = Vec::new();
    for nth in 1..=happy.profile.keys.len() {
        for (name, fault) in faults {
            for (duration, lasting) in [("once", Lasting::Once), ("from-then", Lasting::FromThen)] {
                let mishap = Mishap::Store { nth, fault, lasting };
                plans.push(case("A3", format!("record-{nth:02}/{name}/{duration}"), vec![mishap]));
            }
        }
    }
    plans
}

/// B: each call of a backend, in each class of errors: the first one, and the last one if there are several. Where the
/// way forward does not make a call, the way back from a late failure may.
fn calls(paths: &[Path]) -> Vec<Plan> {
    let mut plans = Vec::new();
    for call in CALLS {
        let times =
            |path: &Path| path.profile.calls.iter().find(|(name, _)| *name == call.name).map(|(_, times)| *times);
        let found = paths.iter().find_map(|path| Some((path, times(path)?)));
        for fault in CallFault::CLASSES {
            let name = format!("{}/{}", call.name, fault.class());
            let senseless = |why: &str| senseless("B", name.clone(), why);
            match (applicable(call.name, fault), found) {
                (Err(why), _) => plans.push(senseless(why)),
                (_, None) => plans.push(senseless("no step of the reference pipeline makes this call")),
                (Ok(()), Some((path, times))) => {
                    let mut places = vec![1, times.div_ceil(2), times];
                    places.dedup();
                    for nth in places {
                        let mishap = Mishap::Call { call: call.name.to_owned(), nth, fault };
                        plans.push(case("B", format!("{}/{mishap}", path.name), path.and(mishap)));
                    }
                }
            }
        }
    }
    plans
}

/// J: a crash between each effect and its outcome, and right before the effect: on the way forward and on the way back.
fn switches(paths: &[Path]) -> Vec<Plan> {
    let mut plans = Vec::new();
    for path in paths {
        for (nth, entry) in path.effects() {
            for done in [false, true] {
                let moment = if done { "done" } else { "begun" };
                let name = format!("{}/{}-{:02}/{moment}", path.name, entry.call, entry.nth);
                plans.push(case("J", name, path.and(Mishap::Kill { nth, done })));
            }
        }
    }
    plans
}
