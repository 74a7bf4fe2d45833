//! The fault matrix: what can befall the runs of a simulation, case by case, for any run store, and what befalls a backend
//! beside its own server.
//!
//! ```no_run
//! use ecolaura_deploy_core::testing::{matrix::{Cell, Matrix, reference}, simulation::Verdict};
//! let folder = std::env::temp_dir().join("sources-of-the-reference");
//! let simulation = reference(&folder);
//! for cell in Matrix::new(&simulation).crashes() {
//!     if let Cell::Case(case) = cell {
//!         assert_eq!(case.judge(&simulation), Verdict::Survived, "{}", case.name);
//!     }
//! }
//! ```

mod holders;
mod reference;
mod scene;
mod table;

use std::time::Duration;

pub use self::{reference::reference, scene::Scene, table::Table};
use crate::{
    testing::{
        Fault,
        inject::{CALLS, CallFault, CrashPoint, Damage, Entry, Lasting, StoreFault, applicable},
        simulation::{Mishap, Observed, Profile, Simulation, Verdict},
    },
    vocabulary::Digest,
};

/// What must hold in one case beyond the invariants: the promises that are broken.
pub type Check = fn(&Observed) -> Vec<String>;

/// One case.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Case {
    /// `A`, as in the names of its cases.
    pub family: &'static str,
    /// `A/happy/record-07/after-fsync`
    pub name: String,
    /// What goes wrong.
    pub mishaps: Vec<Mishap>,
    /// What must hold beyond the invariants.
    pub check: Option<Check>,
}

impl Case {
    /// Of its name, so that a case is the same whichever others there are.
    fn seed(&self) -> u64 {
        let digest = Digest::of(&self.name);
        digest.as_bytes().iter().take(4).fold(0, |seed, byte| seed * 256 + u64::from(*byte))
    }

    /// Plays it, and judges.
    ///
    /// # Panics
    ///
    /// If the pipeline does not succeed when nothing goes wrong.
    pub fn judge(&self, simulation: &Simulation) -> Verdict {
        match self.check {
            Some(check) => simulation.clone().check(check).judge(self.seed(), &self.mishaps),
            None => simulation.judge(self.seed(), &self.mishaps),
        }
    }
}

/// A cell of the matrix.
#[derive(Debug, Clone)]
pub enum Cell {
    /// It can be played in a simulation.
    Case(Case),
    /// It plays itself.
    Scene(Scene),
    /// It makes no sense.
    Senseless {
        /// The family.
        family: &'static str,
        /// What was combined.
        name: String,
        /// The reason.
        why: String,
    },
}

fn case(family: &'static str, name: impl Into<String>, mishaps: Vec<Mishap>) -> Cell {
    checked(family, name, mishaps, None)
}

fn checked(family: &'static str, name: impl Into<String>, mishaps: Vec<Mishap>, check: Option<Check>) -> Cell {
    Cell::Case(Case { family, name: format!("{family}/{}", name.into()), mishaps, check })
}

fn senseless(family: &'static str, name: impl Into<String>, why: impl Into<String>) -> Cell {
    Cell::Senseless { family, name: name.into(), why: why.into() }
}

/// A way that a run goes.
#[derive(Debug)]
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

/// The ways that the runs of a simulation go, and what can befall them.
#[derive(Debug)]
pub struct Matrix {
    paths: Vec<Path>,
    slow: Path,
}

impl Matrix {
    /// Of the [reference pipeline](reference()), upon whatever run store; its steps are known by name.
    ///
    /// # Panics
    ///
    /// If the pipeline does not succeed when nothing goes wrong.
    pub fn new(simulation: &Simulation) -> Self {
        Self { paths: paths(simulation), slow: slow(simulation) }
    }

    /// A: a crash at each record boundary.
    pub fn crashes(&self) -> Vec<Cell> {
        crashes(&self.paths)
    }

    /// A2: a damaged store. The process dies some records later, so that the damage lies within the records.
    pub fn damages(&self) -> Vec<Cell> {
        damages(self.happy())
    }

    /// A3: I/O errors of the store.
    pub fn store_errors(&self) -> Vec<Cell> {
        store_errors(self.happy())
    }

    /// B: each call of a backend that `is_wanted` by name, in each class of errors: the first one, the middle one and the
    /// last one. Where the way forward does not make a call, the way back from a late failure may.
    pub fn calls(&self, is_wanted: impl Fn(&str) -> bool) -> Vec<Cell> {
        calls(&self.paths, is_wanted)
    }

    /// H: the lock, fencing, the clock; races of up to `most` processes.
    pub fn holders(&self, most: u32) -> Vec<Cell> {
        holders::all(self.happy(), &self.slow, most)
    }

    /// J: a crash between each effect and its outcome, and right before the effect: on the way forward and on the way
    /// back.
    pub fn switches(&self) -> Vec<Cell> {
        switches(&self.paths)
    }

    fn happy(&self) -> &Path {
        &self.paths[0]
    }
}

fn crashes(paths: &[Path]) -> Vec<Cell> {
    let mut cells = Vec::new();
    for path in paths {
        for nth in 1..=path.profile.keys.len() {
            for point in CrashPoint::ALL {
                let mishap = Mishap::crash(nth, point);
                cells.push(case("A", format!("{}/{mishap}", path.name), path.and(mishap)));
            }
        }
    }
    cells
}

fn damages(happy: &Path) -> Vec<Cell> {
    let keys = &happy.profile.keys;
    let records = keys.len();
    let mut cells = Vec::new();
    for nth in 1..=records {
        let later = (nth + 2).min(records).max(next_beside(keys, nth));
        for damage in Damage::ALL {
            let mishap = Mishap::Damage { nth, damage };
            let name = mishap.to_string();
            let numbered = keys[nth - 1].rsplit('/').next().is_some_and(|key| key.parse::<u64>().is_ok());
            if damage == Damage::Duplicate && !numbered {
                cells.push(senseless("A2", name, "its key has no number, so nothing comes after it"));
                continue;
            }
            cells.push(case("A2", name, vec![mishap, Mishap::crash(later, CrashPoint::AfterFsync)]));
        }
    }
    cells
}

/// The place of the next record in the folder of the one at `nth`; of that one itself if it is the last: a record that is
/// lost behind all others is as one that was never written.
fn next_beside(keys: &[String], nth: usize) -> usize {
    let folder = |place: usize| keys[place - 1].rsplit_once('/').map(|(folder, _)| folder);
    (nth + 1..=keys.len()).find(|later| folder(*later) == folder(nth)).unwrap_or(nth)
}

fn store_errors(happy: &Path) -> Vec<Cell> {
    let faults = [
        ("no-space", StoreFault::NoSpace),
        ("fsync-lost", StoreFault::FsyncFailed { kept: false }),
        ("fsync-kept", StoreFault::FsyncFailed { kept: true }),
        ("read-only", StoreFault::ReadOnly),
        ("no-permission", StoreFault::NoPermission),
    ];
    let mut cells = Vec::new();
    for nth in 1..=happy.profile.keys.len() {
        for (name, fault) in faults {
            for (duration, lasting) in [("once", Lasting::Once), ("from-then", Lasting::FromThen)] {
                let mishap = Mishap::Store { nth, fault, lasting };
                cells.push(case("A3", format!("record-{nth:02}/{name}/{duration}"), vec![mishap]));
            }
        }
    }
    cells
}

fn calls(paths: &[Path], is_wanted: impl Fn(&str) -> bool) -> Vec<Cell> {
    let mut cells = Vec::new();
    for call in CALLS.iter().filter(|call| is_wanted(call.name)) {
        let times =
            |path: &Path| path.profile.calls.iter().find(|(name, _)| *name == call.name).map(|(_, times)| *times);
        let found = paths.iter().find_map(|path| Some((path, times(path)?)));
        for fault in CallFault::CLASSES {
            let name = format!("{}/{}", call.name, fault.class());
            let senseless = |why: &str| senseless("B", name.clone(), why);
            match (applicable(call.name, fault), found) {
                (Err(why), _) => cells.push(senseless(why)),
                (_, None) => cells.push(senseless("no step of the reference pipeline makes this call")),
                (Ok(()), Some((path, times))) => {
                    let mut places = vec![1, times.div_ceil(2), times];
                    places.dedup();
                    for nth in places {
                        let mishap = Mishap::Call { call: call.name.to_owned(), nth, fault };
                        cells.push(case("B", format!("{}/{mishap}", path.name), path.and(mishap)));
                    }
                }
            }
        }
    }
    cells
}

fn switches(paths: &[Path]) -> Vec<Cell> {
    let mut cells = Vec::new();
    for path in paths {
        for (nth, entry) in path.effects() {
            for done in [false, true] {
                let moment = if done { "done" } else { "begun" };
                let name = format!("{}/{}-{:02}/{moment}", path.name, entry.call, entry.nth);
                cells.push(case("J", name, path.and(Mishap::Kill { nth, done })));
            }
        }
    }
    cells
}
