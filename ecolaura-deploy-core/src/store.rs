//! Where records live: create-only objects under keys. What a run promises about durability rests on this alone.

mod guarded;
mod journal;
mod object;
mod probe;
mod record;
mod releases;
pub(crate) mod seal;
mod state;

use std::{fmt, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;

pub(crate) use self::{
    guarded::Guarded,
    journal::Journal,
    record::{Chain, Fault, READERS, read_chain, read_whole, run_prefix},
    releases::{NewRelease, StoredRelease},
    state::{newest_snapshot, prune_states, write_state},
};
pub use self::{
    object::{ObjectRunStore, check_key},
    probe::probe,
    record::{Record, RecordBody, SCHEMA, read_run},
    releases::StoredReleases,
    state::{EnvironmentState, LiveRelease, OpenRun, RunNote, state},
};
use crate::Result;

/// What became of a create.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// The object is ours, and durable.
    Yes,
    /// Another one has the key, and is durable.
    Exists,
}

/// Create-only objects. Keys are `/`-separated, of letters, digits, `-`, `_` and `.`.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait RunStore: fmt::Debug + Send + Sync + 'static {
    /// Creates the object. Whatever this answers, what is under `key` by then is durable, also where a try before this
    /// one, or another writer, put it there. Bodies hold a nonce, so that an answer lost on the way can be told from
    /// another's success by reading back; implementations do that. A cancel leaves the object whole or absent. Fails
    /// with `LimitExceeded` (disk full), `PermissionDenied`, `Unavailable`.
    async fn create(&self, key: &str, body: Bytes) -> Result<Created>;

    /// The object; `None` if there is none. Reads only.
    async fn get(&self, key: &str) -> Result<Option<Bytes>>;

    /// The keys that begin with `prefix` and `/`, sorted. Reads only.
    async fn list(&self, prefix: &str) -> Result<Vec<String>>;

    /// The keys that begin with `prefix` and `/` and come after `after`, sorted. Reads only.
    async fn list_after(&self, prefix: &str, after: &str) -> Result<Vec<String>> {
        let mut keys = self.list(prefix).await?;
        keys.retain(|key| key.as_str() > after);
        Ok(keys)
    }

    /// The names right below `prefix`, sorted: those of objects, and what the keys of further ones go on with up to the
    /// next `/`. Reads only.
    async fn names(&self, prefix: &str) -> Result<Vec<String>> {
        let keys = self.list(prefix).await?;
        let below =
            |key: &String| Some(key.strip_prefix(prefix)?.trim_start_matches('/').split('/').next()?.to_owned());
        let mut names: Vec<String> = keys.iter().filter_map(below).collect();
        names.dedup();
        Ok(names)
    }

    /// Removes the object; none is success. Only for pruning whole old runs.
    async fn remove(&self, key: &str) -> Result<()>;
}

/// Creates the object, which holds something that no other writer writes. When the store answers with an error, what is
/// there decides: nobody may be left believing that another has what is his.
pub(crate) async fn settle(store: &dyn RunStore, key: &str, line: Vec<u8>) -> Result<Created> {
    let line = Bytes::from(line);
    let error = match store.create(key, line.clone()).await {
        Ok(created) => return Ok(created),
        Err(error) => error,
    };
    for _ in 0..3 {
        match store.get(key).await {
            // That it can be read does not mean that it is durable: the second create sees to it.
            Ok(Some(found)) if found == line && store.create(key, line.clone()).await.is_ok() => {
                return Ok(Created::Yes);
            }
            Ok(Some(found)) if found != line => return Ok(Created::Exists),
            Ok(None) => break,
            Ok(Some(_)) | Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
    Err(error)
}

const _: fn(&dyn RunStore) = |_| {};
