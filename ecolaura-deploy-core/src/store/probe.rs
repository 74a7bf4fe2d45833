//! Whether a store keeps what the lock and the journal rest on.

use super::{Created, RunStore};
use crate::{Error, ErrorKind, Result};

/// Creates one object twice below `probe/` and `nonce`, and removes it: a store must refuse the second create, and show
/// what the first one wrote.
///
/// Fails with [`ErrorKind::Unsupported`] if it does not, and as its calls do. A cancel leaves at most that object.
pub async fn probe(store: &dyn RunStore, nonce: &str) -> Result<()> {
    let folder = format!("probe/{nonce}");
    let probed = wrong(store, &folder).await;
    let removed = store.remove(&format!("{folder}/object")).await;
    if let Some(wrong) = probed? {
        let message = format!("the run store {wrong}: it cannot hold a lock");
        return Err(Error::new(ErrorKind::Unsupported, "lock.probe", message)
            .advice("use a store with conditional creates and consistent listings"));
    }
    removed
}

/// What is wrong with it.
async fn wrong(store: &dyn RunStore, folder: &str) -> Result<Option<&'static str>> {
    let key = format!("{folder}/object");
    let (first, second) = (format!("one of {folder}"), format!("two of {folder}"));
    let created = store.create(&key, first.clone().into()).await?;
    let again = store.create(&key, second.into()).await?;
    let found = store.get(&key).await?;
    let listed = store.list(folder).await?;
    let shown = found.is_some() && listed.contains(&key);
    Ok(match (again, found) {
        (Created::Yes, _) => Some("writes over what exists"),
        (_, Some(found)) if found != first.as_bytes() => Some("writes over what exists"),
        _ if created == Created::Exists || !shown => Some("does not show what was just written"),
        _ => None,
    })
}
