//! A simulated process: it lives, is stopped for a while, or dies between two instructions.

use std::{
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::Notify;

use super::CallFault;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Running,
    Paused,
    Dead,
}

/// What the calls of one process go through. After its death they never return, whatever they were doing; while it is
/// paused they do not go on. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Process {
    number: u32,
    shared: Arc<Shared>,
}

/// Not tokio's `watch`, which wakes in an order that is drawn by chance.
#[derive(Debug)]
struct Shared {
    life: Mutex<Life>,
    cut: Mutex<Option<CallFault>>,
    turned: Notify,
}

impl Process {
    /// A process that runs.
    pub fn new(number: u32) -> Self {
        let shared = Shared { life: Mutex::new(Life::Running), cut: Mutex::default(), turned: Notify::new() };
        Self { number, shared: Arc::new(shared) }
    }

    /// Its number.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Kills it, as `kill -9` does. It does not come back.
    pub fn kill(&self) {
        self.turn(|_| Life::Dead);
    }

    /// Whether it was killed.
    pub fn is_dead(&self) -> bool {
        self.life() == Life::Dead
    }

    /// Returns when it is dead.
    pub async fn died(&self) {
        self.until(|own| own.life() == Life::Dead).await;
    }

    /// Returns when it is stopped or dead.
    pub(crate) async fn stands(&self) {
        self.until(|own| own.life() != Life::Running).await;
    }

    /// From now on each of its calls to the run store has this fault.
    pub fn cut_off(&self, fault: CallFault) {
        *self.shared.cut.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
        self.shared.turned.notify_waiters();
    }

    /// What it meets at the run store since it was cut off.
    pub fn is_cut_off(&self) -> Option<CallFault> {
        *self.shared.cut.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when it is cut off.
    pub(crate) async fn is_alone(&self) {
        self.until(|own| own.is_cut_off().is_some()).await;
    }

    /// Stops it, as `SIGSTOP` or a sleeping laptop does.
    pub fn pause(&self) {
        self.turn(|life| if life == Life::Running { Life::Paused } else { life });
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.turn(|life| if life == Life::Paused { Life::Running } else { life });
    }

    /// Whether it is stopped.
    pub fn is_paused(&self) -> bool {
        self.life() == Life::Paused
    }

    fn life(&self) -> Life {
        *self.shared.life.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turn(&self, into: impl FnOnce(Life) -> Life) {
        let mut life = self.shared.life.lock().unwrap_or_else(PoisonError::into_inner);
        *life = into(*life);
        drop(life);
        self.shared.turned.notify_waiters();
    }

    async fn until(&self, is: impl Fn(&Self) -> bool) {
        loop {
            let mut turned = pin!(self.shared.turned.notified());
            turned.as_mut().enable();
            if is(self) {
                return;
            }
            turned.await;
        }
    }

    /// Returns when it runs; never if it is dead.
    pub(super) async fn runs(&self) {
        self.until(|own| own.life() == Life::Running).await;
    }

    /// `work`, which goes on only while the process runs.
    pub(crate) async fn guard<F: Future>(&self, work: F) -> F::Output {
        let mut work = pin!(work);
        loop {
            self.runs().await;
            tokio::select! {
                biased;
                () = self.stands() => {}
                value = &mut work => return value,
            }
        }
    }
}
