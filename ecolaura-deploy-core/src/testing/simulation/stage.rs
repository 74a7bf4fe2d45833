//! The processes of a simulation, one after the other or beside each other, and what befalls them.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use super::{
    Make,
    life::{Ended, Job, Scene},
    mishap::Mishap,
};
use crate::{run::RunResult, testing::inject::Process};

/// How many processes there are at most until the environment must be closed.
const PROCESSES: u32 = 6;
/// How many deploys the next one may take: one that goes on with what is open, one that does the rest.
const NEXT: u32 = 3;

pub(super) fn job(make: &Arc<Make>) -> Job {
    Job { make: Arc::clone(make), faults: Vec::new(), cancel: CancellationToken::new() }
}

/// The faults of the steps of process `number`.
fn step_faults(mishaps: &[Mishap], number: u32) -> Vec<(String, crate::testing::Fault)> {
    let fault = |mishap: &Mishap| match mishap {
        Mishap::Step { step, fault, processes } if number <= *processes => Some((step.clone(), *fault)),
        _ => None,
    };
    mishaps.iter().filter_map(fault).collect()
}

/// The processes of one simulation, and what befalls them.
pub(super) struct Stage {
    pub(super) scene: Scene,
    /// The process that a mishap befalls.
    pub(super) current: Arc<Mutex<Option<Process>>>,
    pub(super) cancel: CancellationToken,
    pub(super) mishaps: Vec<Mishap>,
    pub(super) make: Arc<Make>,
    pub(super) earlier: usize,
}

impl Stage {
    pub(super) fn arm(&self) {
        let Scene { injector, disk, .. } = &self.scene;
        for mishap in &self.mishaps {
            match mishap {
                Mishap::Call { call, nth, fault } => injector.at(call.clone(), *nth, *fault),
                Mishap::Store { nth, fault, lasting } => disk.fail_at(self.earlier + nth, *fault, *lasting),
                Mishap::Kill { nth, done: false } => injector.when(*nth, self.at_current(Process::kill)),
                Mishap::Kill { nth, done: true } => injector.when_done(*nth, self.at_current(Process::kill)),
                Mishap::Takeover { nth, calls } => injector.when(*nth, self.pause_current(*calls)),
                Mishap::Clock { nth, seconds } => {
                    let (clock, seconds) = (Arc::clone(&self.scene.clock), *seconds);
                    injector.when(*nth, move || clock.jump(seconds));
                }
                Mishap::Cancel { nth } => {
                    let cancel = self.cancel.clone();
                    injector.when(*nth, move || cancel.cancel());
                }
                Mishap::StoreLost { nth, fault, .. } => {
                    let fault = *fault;
                    injector.when(*nth, self.at_current(move |process| process.cut_off(fault)));
                }
                Mishap::Step { .. } | Mishap::Damage { .. } | Mishap::Together { .. } | Mishap::OneMachine { .. } => {}
            }
        }
    }

    /// Does `what` to the process that began last.
    fn at_current<F: Fn(&Process) + Send>(&self, what: F) -> impl FnOnce() + Send + use<F> {
        let current = Arc::clone(&self.current);
        move || current.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(what)
    }

    /// Pauses the process that began last, for so many calls of others.
    fn pause_current(&self, calls: u32) -> impl FnOnce() + Send + use<> {
        let (pause, injector) = (self.at_current(Process::pause), self.scene.injector.clone());
        let current = Arc::clone(&self.current);
        move || {
            pause();
            let paused = current.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let now = u32::try_from(injector.ledger().len()).unwrap_or(u32::MAX);
            injector.when(now.saturating_add(calls), move || paused.iter().for_each(Process::resume));
        }
    }

    fn process(&self, number: u32) -> Process {
        let process = Process::new(number);
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(process.clone());
        process
    }

    fn job(&self, number: u32) -> Job {
        let cancel = if number == 1 { self.cancel.clone() } else { CancellationToken::new() };
        Job { make: Arc::clone(&self.make), faults: step_faults(&self.mishaps, number), cancel }
    }

    /// Processes until the environment is closed, or enough of them have tried.
    pub(super) async fn processes(&self) -> Vec<(u32, Ended)> {
        let together = self.mishaps.iter().find_map(|mishap| match mishap {
            Mishap::Together { processes } => Some(*processes),
            _ => None,
        });
        let mut processes = self.together(1, together.unwrap_or(1)).await;
        self.damage();
        let asks = |ended: &Ended| matches!(ended, Ended::Finished(RunResult::NeedsOperator { .. }));
        let over = |processes: &[(u32, Ended)]| {
            super::case::last(&self.scene.disk, processes).is_some_and(|ended| ended.closes() || asks(ended))
        };
        for _ in 1..PROCESSES {
            if over(&processes) {
                break;
            }
            let number = self.last_number() + 1;
            processes.extend(self.together(number, 1).await);
        }
        processes
    }

    fn last_number(&self) -> u32 {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map_or(0, Process::number)
    }

    /// Lets so many processes live, from `first` on, in the order in which they end.
    async fn together(&self, first: u32, processes: u32) -> Vec<(u32, Ended)> {
        let ended = Mutex::new(Vec::new());
        let lives = (first..first + processes).map(|number| self.one(number, &ended));
        join_all(lives.collect::<Vec<_>>()).await;
        ended.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets process `number` live, and another one beside it if it is paused or loses the store; that one may be too.
    async fn one(&self, number: u32, ended: &Mutex<Vec<(u32, Ended)>>) {
        let note = |number, how| ended.lock().unwrap_or_else(PoisonError::into_inner).push((number, how));
        let process = self.process(number);
        let mut life = Box::pin(self.scene.live(&process, self.job(number)));
        tokio::select! {
            biased;
            how = &mut life => return note(number, how),
            () = stands(&process) => {}
            () = process.is_alone(), if self.goes_on_beside() => {}
        }
        let other = async {
            Box::pin(self.one(self.last_number() + 1, ended)).await;
            process.resume();
        };
        tokio::join!(async { note(number, life.await) }, other);
    }

    fn goes_on_beside(&self) -> bool {
        self.mishaps.iter().any(|mishap| matches!(mishap, Mishap::StoreLost { beside: true, .. }))
    }

    fn damage(&self) {
        let creates = self.scene.disk.creates();
        for mishap in &self.mishaps {
            if let Mishap::Damage { nth, damage } = mishap
                && let Some(create) = creates.get(self.earlier + nth - 1)
            {
                self.scene.disk.damage(&create.key, *damage);
            }
        }
    }

    /// Whatever happened, somebody deploys again, and nothing goes wrong any more.
    pub(super) async fn next_deploys(&self) -> Vec<Ended> {
        self.scene.injector.heal();
        self.scene.disk.heal();
        let first = self.last_number() + 1;
        let mut next = Vec::new();
        for number in first..first + NEXT {
            let ended = self.scene.live(&self.process(number), job(&self.make)).await;
            let done = matches!(ended, Ended::Finished(RunResult::Succeeded));
            next.push(ended);
            if done {
                break;
            }
        }
        next
    }
}

/// Returns when `process` is paused; never if it dies first.
async fn stands(process: &Process) {
    process.stands().await;
    if !process.is_paused() {
        std::future::pending::<()>().await;
    }
}
