//! What befalls the processes of a simulation.

use std::{fmt, ops::RangeInclusive, time::Duration};

use super::{draw::Dice, machine::Aftermath};
use crate::testing::{
    Fault,
    inject::{CallFault, CrashPoint, Damage, Entry, Lasting, StoreFault, applicable},
};

/// One thing that goes wrong. Calls and records are counted from 1, beginning with the first process.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mishap {
    /// The `nth` call of this name has a fault.
    Call {
        /// `world.method`.
        call: String,
        /// Which.
        nth: u32,
        /// What happens.
        fault: CallFault,
    },
    /// A step has a fault.
    Step {
        /// The step.
        step: String,
        /// What happens.
        fault: Fault,
        /// In how many processes: 1 for the first alone.
        processes: u32,
    },
    /// The `nth` record fails, or the process dies at it.
    Store {
        /// Which create of the run store.
        nth: usize,
        /// What happens.
        fault: StoreFault,
        /// For how long.
        lasting: Lasting,
    },
    /// After the first process, the `nth` object that was created is damaged.
    Damage {
        /// Which create of the run store.
        nth: usize,
        /// How.
        damage: Damage,
    },
    /// The process is killed at the `nth` of all calls.
    Kill {
        /// Which call.
        nth: u32,
        /// Whether the backend has done it by then, and only nobody hears of it.
        done: bool,
    },
    /// The first process is cancelled when the `nth` of all calls begins.
    Cancel {
        /// Which call.
        nth: u32,
    },
    /// So many processes begin at the same moment.
    Together {
        /// How many.
        processes: u32,
    },
    /// The wall clock jumps when the `nth` of all calls begins.
    Clock {
        /// Which call.
        nth: u32,
        /// How far, in seconds.
        seconds: i64,
    },
    /// Behind the `nth` of all calls the process that began last loses the run store, for as long as it lives. Others
    /// reach it.
    StoreLost {
        /// Which call.
        nth: u32,
        /// How its calls fail from then on.
        fault: CallFault,
        /// Whether another process begins at once; otherwise it begins when this one has ended.
        beside: bool,
    },
    /// All processes run on one machine, and this becomes of it when one has died.
    OneMachine {
        /// What.
        aftermath: Aftermath,
    },
    /// The first process is paused when the `nth` of all calls begins. A second one begins, and the first goes on after
    /// `calls` more calls, or when the second has ended.
    Takeover {
        /// Which call.
        nth: u32,
        /// How many calls later it goes on.
        calls: u32,
    },
}

impl Mishap {
    /// A process that dies at the `nth` record.
    pub fn crash(nth: usize, point: CrashPoint) -> Self {
        Self::Store { nth, fault: StoreFault::Crash(point), lasting: Lasting::Once }
    }
}

impl fmt::Display for Mishap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Call { call, nth, fault } => write!(f, "{call}-{nth:02}/{}", fault.class()),
            Self::Step { step, fault, .. } => write!(f, "{step}/{fault:?}"),
            Self::Store { nth, fault: StoreFault::Crash(point), .. } => write!(f, "record-{nth:02}/{}", point.name()),
            Self::Store { nth, fault, lasting } => write!(f, "record-{nth:02}/{fault:?}/{lasting:?}"),
            Self::Damage { nth, damage } => write!(f, "record-{nth:02}/{}", damage.name()),
            Self::Kill { nth, done } => write!(f, "call-{nth:03}/killed-{}", if *done { "after" } else { "before" }),
            Self::Together { processes } => write!(f, "{processes}-together"),
            Self::Clock { nth, seconds } => write!(f, "call-{nth:03}/clock-{seconds:+}-s"),
            Self::Cancel { nth } => write!(f, "call-{nth:03}/cancel"),
            Self::StoreLost { nth, fault, beside } => {
                let beside = if *beside { "/beside" } else { "" };
                write!(f, "call-{nth:03}/store-lost/{}{beside}", fault.class())
            }
            Self::OneMachine { aftermath } => write!(f, "one-machine/{}", aftermath.name()),
            Self::Takeover { nth, calls } => write!(f, "call-{nth:03}/paused-for-{calls}-calls"),
        }
    }
}

/// What a run without faults does: where something can go wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Profile {
    /// How many calls there are of each name.
    pub calls: Vec<(&'static str, u32)>,
    /// How many calls there are of all names.
    pub all_calls: u32,
    /// The steps.
    pub steps: Vec<String>,
    /// Each call, in order.
    pub ledger: Vec<Entry>,
    /// The key of each record, in order.
    pub keys: Vec<String>,
}

impl Profile {
    /// Between `count` mishaps that `dice` draw.
    pub(super) fn draw(&self, dice: &Dice, count: &RangeInclusive<u32>) -> Vec<Mishap> {
        let count = dice.between(*count.start(), *count.end());
        (0..count).filter_map(|_| self.one(dice)).collect()
    }

    fn one(&self, dice: &Dice) -> Option<Mishap> {
        match dice.below(100) {
            0..40 => self.call(dice),
            40..55 => Some(step(dice, dice.pick(&self.steps)?)),
            55..75 => Some(Mishap::crash(dice.size(self.keys.len()), *dice.pick(&CrashPoint::ALL)?)),
            75..80 => Some(Mishap::Kill { nth: dice.between(1, self.all_calls), done: dice.below(2) == 0 }),
            80..88 => {
                let lasting = if dice.below(4) == 0 { Lasting::FromThen } else { Lasting::Once };
                Some(Mishap::Store { nth: dice.size(self.keys.len()), fault: store_fault(dice), lasting })
            }
            88..93 => Some(Mishap::Cancel { nth: dice.between(1, self.all_calls) }),
            93 => Some(Mishap::Clock { nth: dice.between(1, self.all_calls), seconds: jump(dice) }),
            94 => Some(Mishap::Together { processes: dice.between(2, 4) }),
            _ => Some(Mishap::Takeover { nth: dice.between(1, self.all_calls), calls: dice.between(1, 400) }),
        }
    }

    fn call(&self, dice: &Dice) -> Option<Mishap> {
        let (call, times) = dice.pick(&self.calls)?;
        let fault = match dice.below(8) {
            0 => CallFault::Slow(Duration::from_secs(u64::from(dice.between(1, 7200)))),
            1 => CallFault::Outage(dice.between(2, 12)),
            _ => *dice.pick(&CallFault::CLASSES)?,
        };
        applicable(call, fault).is_ok().then(|| Mishap::Call {
            call: (*call).to_owned(),
            nth: dice.between(1, *times),
            fault,
        })
    }
}

fn step(dice: &Dice, step: &str) -> Mishap {
    Mishap::Step { step: step.to_owned(), fault: step_fault(dice), processes: dice.between(1, 2) }
}

fn jump(dice: &Dice) -> i64 {
    i64::from(dice.between(0, 14_400)) - 7200
}

fn step_fault(dice: &Dice) -> Fault {
    let seconds = Duration::from_secs(u64::from(dice.between(1, 3600)));
    let faults = [
        Fault::FailPlan,
        Fault::PanicPlan,
        Fault::FailPrepare,
        Fault::PanicPrepare,
        Fault::FailBefore,
        Fault::FailAfter,
        Fault::LoseAnswer,
        Fault::Flaky(1),
        Fault::Flaky(9),
        Fault::Hang,
        Fault::Slow(seconds),
        Fault::Panic,
        Fault::PanicAfter,
    ];
    dice.pick(&faults).copied().unwrap_or(Fault::FailBefore)
}

fn store_fault(dice: &Dice) -> StoreFault {
    let faults = [
        StoreFault::NoSpace,
        StoreFault::ReadOnly,
        StoreFault::NoPermission,
        StoreFault::FsyncFailed { kept: true },
        StoreFault::FsyncFailed { kept: false },
    ];
    dice.pick(&faults).copied().unwrap_or(StoreFault::NoSpace)
}
