//! The tables that the cases are made of.

use ecolaura_deploy_core::{
    testing::{
        Fault,
        inject::{CALLS, CallFault, CrashPoint, Damage, Entry, Lasting, StoreFault, applicable},
        simulation::{Mishap, Profile, Simulation},
    },
    vocabulary::Digest,
};

/// One case.
pub(crate) struct Case {
    pub(crate) family: &'static str,
    pub(crate) name: String,
    pub(crate) mishaps: Vec<Mishap>,
}

impl Case {
    /// Of its name, so that a case is the same whichever others there are.
    pub(crate) fn seed(&self) -> u64 {
        let digest = Digest::of(&self.name);
        digest.as_bytes().iter().take(4).fold(0, |seed, byte| seed * 256 + u64::from(*byte))
    }
}

/// A cell of the matrix.
pub(crate) enum Plan {
    Case(Case),
    Senseless { family: &'static str, name: String, why: String },
}

fn case(family: &'static str, name: impl Into<String>, mishaps: Vec<Mishap>) -> Plan {
    Plan::Case(Case { family, name: format!("{family}/{}", name.into()), mishaps })
}

/// A way that a run goes.
struct Path {
    name: &'static str,
    mishaps: Vec<Mishap>,
    profile: Profile,
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
    .map(|(name, mishaps)| {
        let profile = simulation.play(0, &mishaps).profile();
        Path { name, mishaps, profile }
    })
    .collect()
}

impl Path {
    fn and(&self, mishap: Mishap) -> Vec<Mishap> {
        self.mishaps.iter().cloned().chain([mishap]).collect()
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
    plans.extend(holders(happy));
    plans.extend(switches(&paths));
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
                let why = "its key has no number, so nothing comes after it".to_owned();
                plans.push(Plan::Senseless { family: "A2", name, why });
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
            let senseless = |why: &str| Plan::Senseless { family: "B", name: name.clone(), why: why.to_owned() };
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

/// H: the lock, fencing, the clock.
fn holders(happy: &Path) -> Vec<Plan> {
    let mut plans = Vec::new();
    let most = if crate::is_long() { 64 } else { 16 };
    for processes in [2, 8, most] {
        plans.push(case("H", format!("race-of-{processes}"), vec![Mishap::Together { processes }]));
    }
    for step in &happy.profile.steps {
        let place =
            (1..).zip(&happy.profile.ledger).find(|(_, entry)| entry.caller.step == *step && entry.caller.epoch > 0);
        let Some((nth, _)) = place else {
            let why = "it calls no backend while it runs".to_owned();
            plans.push(Plan::Senseless { family: "H", name: format!("paused/{step}"), why });
            continue;
        };
        for (name, calls) in [("until-the-other-has-ended", 100_000), ("until-the-other-works", 150)] {
            plans.push(case("H", format!("paused/{step}/{name}"), vec![Mishap::Takeover { nth, calls }]));
        }
    }
    let middle = happy.profile.all_calls / 2;
    for seconds in [-3600, -600, 600, 3600] {
        let jump = Mishap::Clock { nth: middle, seconds };
        plans.push(case("H", format!("clock{seconds:+}/held"), vec![jump.clone()]));
        let waits = vec![jump, Mishap::Kill { nth: middle + 1, done: false }];
        plans.push(case("H", format!("clock{seconds:+}/waiting"), waits));
    }
    for (what, suffix) in [("acquire", "/held"), ("beat", "/beat-1"), ("release", "/released")] {
        let Some(nth) = happy.profile.keys.iter().position(|key| key.ends_with(suffix)).map(|place| place + 1) else {
            let why = "a run without mishaps is over before".to_owned();
            plans.push(Plan::Senseless { family: "H", name: what.to_owned(), why });
            continue;
        };
        for (name, kept) in [("stored", true), ("lost", false)] {
            let fault = StoreFault::FsyncFailed { kept };
            let mishap = Mishap::Store { nth, fault, lasting: Lasting::Once };
            plans.push(case("H", format!("ambiguous-{what}/{name}"), vec![mishap]));
        }
        let creates = happy.profile.ledger.iter().filter(|entry| entry.call == "store.create");
        let place = (1..).zip(creates).find(|(_, entry)| entry.subject.ends_with(suffix)).map(|(nth, _)| nth);
        let late = CallFault::Slow(std::time::Duration::from_mins(5));
        for (name, fault) in [("answer-lost", CallFault::LostAnswer), ("late", late)] {
            let mishap = Mishap::Call { call: "store.create".to_owned(), nth: place.unwrap_or(1), fault };
            plans.push(case("H", format!("{what}-{name}"), vec![mishap]));
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
