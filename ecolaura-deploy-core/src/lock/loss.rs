//! How a lock is lost while it is held.

use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

use super::{epoch::Ground, look};
use crate::{Error, ErrorKind, Result};

/// Whether an epoch is lost, and why. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Loss {
    token: CancellationToken,
    why: Arc<OnceLock<String>>,
}

impl Loss {
    pub(super) fn token(&self) -> &CancellationToken {
        &self.token
    }

    pub(super) fn lose(&self, why: impl FnOnce() -> String) {
        self.why.get_or_init(why);
        self.token.cancel();
    }

    /// Fails if it was lost, or is now.
    pub(super) async fn check(&self, ground: &Ground, number: u64) -> Result<()> {
        if self.why.get().is_none()
            && let Some(newer) = newer(ground, number).await?
        {
            self.lose(|| newer);
        }
        match self.why.get() {
            None => Ok(()),
            Some(why) => {
                let message = format!("epoch {number} of {} is over: {why}", ground.keys.environment());
                Err(Error::new(ErrorKind::Fenced, "lock.check", message)
                    .advice("stop: this deployer changes nothing more"))
            }
        }
    }
}

/// Says who has a newer epoch, if anybody has. An epoch that cannot be read is one.
pub(super) async fn newer(ground: &Ground, number: u64) -> Result<Option<String>> {
    let store = ground.store.as_ref();
    let numbers = look::numbers(store, &ground.keys).await?;
    let newer: Vec<u64> = numbers.into_iter().rev().take_while(|newer| *newer > number).collect();
    for newer in newer {
        if store.list(&ground.keys.epoch(newer)).await?.is_empty() {
            continue;
        }
        let seen = look::see(store, &ground.keys, newer).await.ok().flatten();
        let holder =
            seen.and_then(|seen| seen.holder).map_or_else(|| "another".to_owned(), |holder| holder.to_string());
        return Ok(Some(format!("{holder} has epoch {newer}")));
    }
    Ok(None)
}
