//! Whether a store can hold a lock at all.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::epoch::Ground;
use crate::{
    Result,
    store::{RunStore, probe},
};

/// The stores that passed.
static PASSED: Mutex<Vec<Weak<dyn RunStore>>> = Mutex::new(Vec::new());

/// Refuses a store that cannot hold a lock. Once for each store in this process.
pub(super) async fn once(ground: &Ground) -> Result<()> {
    if has_passed(&ground.store) {
        return Ok(());
    }
    probe(ground.store.as_ref(), &ground.nonce()).await?;
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
