//! Signs of life.

use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::{
    epoch::Ground,
    layout::{self, Beat, SCHEMA},
    loss::Loss,
};
use crate::{
    Error, ErrorKind, Result,
    store::{self, Created, seal},
};

/// Whose life it is, and how often it must be shown.
#[derive(Debug)]
pub(super) struct Beats {
    pub(super) ground: Ground,
    pub(super) number: u64,
    pub(super) term: Duration,
    pub(super) loss: Loss,
}

impl Beats {
    /// Beats four times a term until `stop`, or until the epoch is lost.
    pub(super) async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(async {
            let mut last = Instant::now();
            for number in 1.. {
                sleep(self.term / 4).await;
                if !self.beat(number, &mut last).await {
                    return;
                }
            }
        })
        .await;
    }

    /// One beat, tried until it is there. Whether to go on.
    async fn beat(&self, number: u64, last: &mut Instant) -> bool {
        let folder = self.ground.keys.epoch(self.number);
        let key = layout::beat(&folder, number);
        let Ok(line) = line(&self.ground, number) else { return false };
        loop {
            let began = Instant::now();
            let left = (*last + self.term).saturating_duration_since(began).max(self.term / 8);
            let create = store::settle(self.ground.store.as_ref(), &key, line.clone());
            let error = match timeout(left, create).await {
                Ok(Ok(Created::Yes)) => break *last = began,
                Ok(Ok(Created::Exists)) => return self.lose(|| format!("another wrote its beat {number}")),
                Ok(Err(error)) => error,
                Err(_) => Error::new(ErrorKind::Timeout, "lock.beat", "the store does not answer"),
            };
            if self.is_fenced().await {
                return false;
            }
            if last.elapsed() >= self.term {
                let silent = || format!("no sign of life could be written for {:?}: {}", self.term, error.report());
                return self.lose(silent);
            }
            sleep(self.term / 16).await;
        }
        // What stays of an older beat is removed with the epoch.
        let _ = self.ground.store.remove(&layout::beat(&folder, number - 1)).await;
        !self.is_fenced().await
    }

    fn lose(&self, why: impl FnOnce() -> String) -> bool {
        self.loss.lose(why);
        false
    }

    /// A store that does not answer must not keep the holder from giving up in time.
    async fn is_fenced(&self) -> bool {
        let check = self.loss.check(&self.ground, self.number);
        matches!(timeout(self.term / 8, check).await, Ok(Err(error)) if error.kind() == ErrorKind::Fenced)
    }
}

pub(super) fn line(ground: &Ground, beat: u64) -> Result<Vec<u8>> {
    let body = Beat { schema: SCHEMA, nonce: ground.nonce(), beat, at: ground.now() };
    seal::seal(&body).map(|(line, _)| line)
}
