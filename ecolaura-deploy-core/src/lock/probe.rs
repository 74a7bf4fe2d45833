//! Whether a store can hold a lock at all.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::epoch::Ground;
use crate::{
    Error, ErrorKind, Result,
    store::{Created, RunStore},
};

/// The stores that passed.
static PASSED: Mutex<Vec<Weak<dyn RunStore>>> = Mutex::new(Vec::new());

/// Creates one object twice, and refuses a store that does not refuse the second one, or that does not show the first
/// one. Once for each store in this process.
pub(super) async fn once(ground: &Ground) -> Result<()> {
    if has_passed(&ground.store) {
        return Ok(());
    }
    let folder = format!("probe/{}", ground.nonce());
    let probed = probe(ground.store.as_ref(), &folder).await;
    let removed = ground.store.remove(&format!("{folder}/object")).await;
    if let Some(wrong) = probed? {
        let message = format!("the run store {wrong}: it cannot hold a lock");
        return Err(Error::new(ErrorKind::Unsupported, "lock.probe", message)
            .advice("use a store with conditional creates and consistent listings"));
    }
    removed?;
    let mut passed = PASSED.lock().unwrap_or_else(PoisonError::into_inner);
    passed.retain(|store| store.strong_count() > 0);
    passed.push(Arc::downgrade(&ground.store));
    Ok(())
}

/// A weak reference keeps the address from being used again.
fn has_passed(store: &Arc<dyn RunStore>) -> bool {
    let passed = PASSED.lock().unwrap_or_else(PoisonError::into_inner);
    passed.iter().any(|known| std::ptr::addr_eq(known.as_ptr(), Arc::as_ptr(store)))
}

/// What is wrong with it.
async fn probe(store: &dyn RunStore, folder: &str) -> Result<Option<&'static str>> {
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
