//! A simulated process: it lives, is stopped for a while, or dies between two instructions.

use std::{pin::pin, sync::Arc};

use tokio::sync::watch;

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
    life: Arc<watch::Sender<Life>>,
    cut: Arc<watch::Sender<Option<CallFault>>>,
}

impl Process {
    /// A process that runs.
    pub fn new(number: u32) -> Self {
        Self { number, life: Arc::new(watch::Sender::new(Life::Running)), cut: Arc::default() }
    }

    /// Its number.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// Kills it, as `kill -9` does. It does not come back.
    pub fn kill(&self) {
        self.life.send_replace(Life::Dead);
    }

    /// Whether it was killed.
    pub fn is_dead(&self) -> bool {
        *self.life.borrow() == Life::Dead
    }

    /// Returns when it is dead.
    pub async fn died(&self) {
        let _ = self.life.subscribe().wait_for(|life| *life == Life::Dead).await;
    }

    /// Returns when it is stopped or dead.
    pub(crate) async fn stands(&self) {
        let _ = self.life.subscribe().wait_for(|life| *life != Life::Running).await;
    }

    /// From now on each of its calls to the run store has this fault.
    pub fn cut_off(&self, fault: CallFault) {
        self.cut.send_replace(Some(fault));
    }

    /// What it meets at the run store since it was cut off.
    pub fn is_cut_off(&self) -> Option<CallFault> {
        *self.cut.borrow()
    }

    /// Returns when it is cut off.
    pub(crate) async fn is_alone(&self) {
        let _ = self.cut.subscribe().wait_for(Option::is_some).await;
    }

    /// Stops it, as `SIGSTOP` or a sleeping laptop does.
    pub fn pause(&self) {
        self.turn(Life::Running, Life::Paused);
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.turn(Life::Paused, Life::Running);
    }

    /// Whether it is stopped.
    pub fn is_paused(&self) -> bool {
        *self.life.borrow() == Life::Paused
    }

    fn turn(&self, from: Life, to: Life) {
        self.life.send_if_modified(|life| {
            let turns = *life == from;
            if turns {
                *life = to;
            }
            turns
        });
    }

    /// Returns when it runs; never if it is dead.
    pub(super) async fn runs(&self) {
        if *self.life.borrow() != Life::Running {
            let _ = self.life.subscribe().wait_for(|life| *life == Life::Running).await;
        }
    }

    /// `work`, which goes on only while the process runs.
    pub(crate) async fn guard<F: Future>(&self, work: F) -> F::Output {
        let (mut work, mut life) = (pin!(work), self.life.subscribe());
        loop {
            self.runs().await;
            life.mark_unchanged();
            tokio::select! {
                biased;
                Ok(()) = life.changed() => {}
                value = &mut work => return value,
            }
        }
    }
}
