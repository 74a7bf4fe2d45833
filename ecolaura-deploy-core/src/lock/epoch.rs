//! The lock of an environment while it is held.

use std::sync::Arc;

use jiff::Timestamp;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    Gone, Holder,
    claims::{self, Claim},
    layout::{self, Keys, Released},
    loss::Loss,
    process::Machine,
    prune,
};
use crate::{
    Result,
    clock::Clock,
    nonce::NonceSource,
    store::{self, Created, EnvironmentState, RunStore, seal},
    vocabulary::EnvironmentName,
};

/// What an epoch works with.
#[derive(Debug, Clone)]
pub(super) struct Ground {
    pub(super) store: Arc<dyn RunStore>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) nonces: Arc<dyn NonceSource>,
    pub(super) keys: Keys,
    pub(super) machine: Arc<dyn Machine>,
}

impl Ground {
    pub(super) fn nonce(&self) -> String {
        format!("{:016x}", self.nonces.next())
    }

    /// Whether the holder of what has `nonce` is gone.
    pub(super) fn is_gone(&self, holder: &Holder, nonce: &str) -> Gone {
        claims::is_gone(self.machine.as_ref(), self.keys.environment(), holder, nonce)
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// An environment that is ours. Beats in the background until it is dropped; dropped without [`Epoch::release`] it
/// stays held by a holder that is gone, and whoever comes next takes it over.
#[derive(Debug)]
pub(crate) struct Epoch {
    pub(super) ground: Ground,
    pub(super) number: u64,
    pub(super) warnings: Vec<String>,
    pub(super) state: EnvironmentState,
    pub(super) loss: Loss,
    pub(super) beats: tokio::task::JoinHandle<()>,
    pub(super) stop: DropGuard,
    pub(super) claim: Claim,
}

impl Epoch {
    /// The fencing token.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn environment(&self) -> &EnvironmentName {
        self.ground.keys.environment()
    }

    /// The environment's state as it was found, after the epoch was ours.
    pub(crate) fn state(&self) -> &EnvironmentState {
        &self.state
    }

    /// Cancelled when a newer epoch was seen, or when no sign of life could be given for a whole term.
    pub(crate) fn lost(&self) -> &CancellationToken {
        self.loss.token()
    }

    /// What should be read: from whom it was taken over and why, a clock that went back, damage.
    pub(crate) fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Whether it is still ours. Reads only, one list. Fails with [`crate::ErrorKind::Fenced`] if a newer epoch is there, or
    /// if it was lost before.
    pub(crate) async fn check(&self) -> Result<()> {
        self.loss.check(&self.ground, self.number).await
    }

    /// Writes `state` as the snapshot of this epoch, with what is live now, and then that the epoch is over. Removes
    /// old beats, epochs and snapshots, of which the newest stay, so that no number is ever used twice.
    ///
    /// If the snapshot cannot be written the environment is released all the same, and the error told: what the
    /// snapshot says is in the records too. A cancel leaves the epoch held by a holder that is gone.
    pub(crate) async fn release(self, state: EnvironmentState) -> Result<()> {
        let Self { ground, number, loss, beats, stop, claim, .. } = self;
        drop(stop);
        // It ends at its next breath; a beat that comes late changes nothing.
        let _ = beats.await;
        loss.check(&ground, number).await?;
        let written = snapshot(&ground, number, state).await;
        mark_released(&ground, number).await?;
        drop(claim);
        written?;
        prune::prune(&ground, number).await;
        Ok(())
    }

    /// Says that the epoch is over, without a snapshot: what came before still holds.
    pub(super) async fn give_back(self) -> Result<()> {
        let Self { ground, number, beats, stop, claim, .. } = self;
        drop(stop);
        let _ = beats.await;
        mark_released(&ground, number).await?;
        drop(claim);
        Ok(())
    }
}

async fn snapshot(ground: &Ground, number: u64, mut state: EnvironmentState) -> Result<()> {
    state.epoch = number;
    state.at = Some(ground.now());
    store::write_state(ground.store.as_ref(), ground.keys.environment(), state).await
}

async fn mark_released(ground: &Ground, number: u64) -> Result<()> {
    let body = Released { schema: layout::SCHEMA, nonce: ground.nonce(), at: ground.now() };
    // Whoever wrote it, it is released.
    let (line, _) = seal::seal(&body)?;
    store::settle(ground.store.as_ref(), &ground.keys.released(number), line).await.map(|_: Created| ())
}
