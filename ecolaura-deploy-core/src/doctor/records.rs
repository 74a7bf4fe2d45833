//! The records of an environment that are no run's: its epochs, its states, its releases.

use std::ops::Range;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{Doctor, runs::NEWEST};
use crate::{
    Context, Error, Result,
    store::{Fault, READERS, SCHEMA, StoredReleases, seal},
};

/// Those that are damaged or of a newer program, and how many were not read.
pub(super) struct Checked {
    pub(super) faults: Vec<Fault>,
    pub(super) unread: usize,
}

impl Doctor {
    pub(super) async fn check(&self, cx: &Context, operation: &'static str) -> Result<Checked> {
        let root = format!("environments/{}", self.environment);
        let (mut keys, mut unread) = (Vec::new(), 0);
        for name in self.store.names(&root).await?.into_iter().filter(|name| name != "runs") {
            let mut found = self.store.list(&format!("{root}/{name}")).await?;
            if name == "releases" && !self.everything {
                unread = self.keep_needed(&mut found).await;
            }
            keys.extend(found);
        }
        let check = async |key: String| {
            cx.check(operation)?;
            let Some(line) = self.store.get(&key).await? else { return Ok(None) };
            let opened = seal::open::<serde_json::Value>(&key, &line, SCHEMA);
            Ok::<_, Error>(opened.err().map(|error| Fault { key, bytes: Some(line.len()), error }))
        };
        let found = stream::iter(keys).map(check).buffered(READERS);
        let faults = found.try_filter_map(async |fault| Ok(fault)).try_collect().await?;
        Ok(Checked { faults, unread })
    }

    /// Leaves the newest releases, and the one that the live one goes back to. How many went.
    async fn keep_needed(&self, keys: &mut Vec<String>) -> usize {
        let older: Range<usize> = 0..keys.len().saturating_sub(NEWEST);
        let releases = StoredReleases::new(self.store.as_ref(), &self.environment);
        let back = releases.newest().await.ok().flatten().and_then(|live| live.back).map(|back| releases.key(back));
        let needed = keys[older.clone()].iter().find(|key| Some(*key) == back.as_ref()).cloned();
        let unread = older.len() - usize::from(needed.is_some());
        keys.splice(older, needed);
        unread
    }
}
