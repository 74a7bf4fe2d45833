//! The objects of a lock: their keys and what they hold.

use jiff::Timestamp;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::Holder;
use crate::{
    Result,
    pipeline::Landing,
    store::{RunStore, seal},
    vocabulary::EnvironmentName,
};

/// The version of the form of a lock's objects.
pub(super) const SCHEMA: u32 = 1;
/// What an environment's epochs begin with, beside their numbers.
pub(super) const FIRST: &str = "first";

/// `held`: who has the epoch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Held {
    pub(super) schema: u32,
    pub(super) nonce: String,
    pub(super) epoch: u64,
    pub(super) run: String,
    pub(super) holder: Holder,
    pub(super) since: Timestamp,
    pub(super) term_ms: u64,
    pub(super) landing: Landing,
}

/// `first`: the number of the first epoch, until there is one.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct First {
    pub(super) schema: u32,
    pub(super) nonce: String,
    pub(super) epoch: u64,
}

/// `beat-M`: the holder, or the waiter, lives. The time is for people.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Beat {
    pub(super) schema: u32,
    pub(super) nonce: String,
    pub(super) beat: u64,
    pub(super) at: Timestamp,
}

/// `released`: the holder is done.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Released {
    pub(super) schema: u32,
    pub(super) nonce: String,
    pub(super) at: Timestamp,
}

/// `ticket`: who waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ticket {
    pub(super) schema: u32,
    pub(super) nonce: String,
    pub(super) run: String,
    pub(super) holder: Holder,
    pub(super) since: Timestamp,
    pub(super) landing: Landing,
}

/// The keys of one environment's lock.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    environment: EnvironmentName,
}

impl Keys {
    pub(crate) fn new(environment: &EnvironmentName) -> Self {
        Self { environment: environment.clone() }
    }

    pub(super) fn environment(&self) -> &EnvironmentName {
        &self.environment
    }

    pub(super) fn epochs(&self) -> String {
        format!("environments/{}/epochs", self.environment)
    }

    pub(super) fn first(&self) -> String {
        format!("{}/{FIRST}", self.epochs())
    }

    /// 10 digits, so that keys sort as numbers do.
    pub(super) fn epoch(&self, number: u64) -> String {
        format!("{}/{number:010}", self.epochs())
    }

    pub(super) fn held(&self, number: u64) -> String {
        format!("{}/held", self.epoch(number))
    }

    pub(super) fn released(&self, number: u64) -> String {
        format!("{}/released", self.epoch(number))
    }

    pub(super) fn waiting(&self) -> String {
        format!("environments/{}/waiting", self.environment)
    }
}

pub(super) fn beat(folder: &str, number: u64) -> String {
    format!("{folder}/beat-{number:08}")
}

/// The number of the newest beat among the keys of a folder.
pub(super) fn newest_beat(keys: &[String]) -> Option<u64> {
    keys.iter().filter_map(|key| key.rsplit_once("/beat-")?.1.parse().ok()).max()
}

/// The object under `key`, checked; `None` if there is none.
pub(super) async fn read<T: DeserializeOwned>(store: &dyn RunStore, key: &str) -> Result<Option<T>> {
    let Some(line) = store.get(key).await? else { return Ok(None) };
    seal::open(key, &line, SCHEMA).map(|(value, _)| Some(value))
}
