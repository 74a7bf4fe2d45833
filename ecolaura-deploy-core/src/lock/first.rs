//! The number of an environment's first epoch. Each epoch is won by creating the object of the next number, so those who
//! want the first one must try for the same number, whatever their clocks say.

use jiff::Timestamp;

use super::{
    epoch::Ground,
    layout::{self, First, SCHEMA},
    look,
};
use crate::{
    ErrorKind, Result,
    store::{self, Created, seal},
};

/// The number to try for; `None` if there is an epoch by now.
///
/// Fails with [`Corrupt`](crate::ErrorKind::Corrupt) if what was agreed on cannot be read, and with the store's error.
pub(super) async fn agree(ground: &Ground) -> Result<Option<u64>> {
    let agreed = propose(ground).await?;
    // What was agreed on is removed once there is an epoch. Who proposes after that finds the epoch.
    let begun = look::look_at(ground.store.as_ref(), &ground.keys).await?.is_some()
        || store::newest_snapshot(ground.store.as_ref(), ground.keys.environment()).await? > 0;
    Ok(agreed.filter(|_| !begun))
}

/// What the first one proposed; `None` if it was removed.
async fn propose(ground: &Ground) -> Result<Option<u64>> {
    let (store, key) = (ground.store.as_ref(), ground.keys.first());
    let first = First { schema: SCHEMA, nonce: ground.nonce(), epoch: since_2026(ground.now()) };
    let line = seal::seal(&first)?.0;
    if store::settle(store, &key, line).await? == Created::Yes {
        return Ok(Some(first.epoch));
    }
    match layout::read::<First>(store, &key).await {
        Ok(agreed) => Ok(agreed.map(|agreed| agreed.epoch)),
        Err(error) if error.kind() == ErrorKind::Corrupt => Err(error.advice(format!("remove `{key}` and try again"))),
        Err(error) => Err(error),
    }
}

/// The seconds since the beginning of 2026. A store that was lost and made again hands out larger numbers than any that
/// a resource has seen, as long as there were fewer runs than seconds.
pub(super) fn since_2026(now: Timestamp) -> u64 {
    const BEGINNING: i64 = 1_767_225_600;
    u64::try_from(now.as_second() - BEGINNING).unwrap_or_default().max(1)
}
