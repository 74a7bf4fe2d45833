//! The records of an environment that are no run's: its epochs, its states, its releases.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::runs::{Fault, READS};
use crate::{
    Error, Result,
    store::{RunStore, SCHEMA, seal},
    vocabulary::EnvironmentName,
};

/// Those that are damaged or of a newer program.
pub(super) async fn faults(store: &dyn RunStore, environment: &EnvironmentName) -> Result<Vec<Fault>> {
    let root = format!("environments/{environment}");
    let mut keys = Vec::new();
    for name in store.names(&root).await?.into_iter().filter(|name| name != "runs") {
        keys.extend(store.list(&format!("{root}/{name}")).await?);
    }
    let check = async |key: String| {
        let Some(line) = store.get(&key).await? else { return Ok(None) };
        let opened = seal::open::<serde_json::Value>(&key, &line, SCHEMA);
        Ok::<_, Error>(opened.err().map(|error| Fault { key, bytes: Some(line.len()), error }))
    };
    stream::iter(keys).map(check).buffered(READS).try_filter_map(async |fault| Ok(fault)).try_collect().await
}
