//! Removing what is over.

use super::{epoch::Ground, layout, look};
use crate::{lock::Gone, store};

/// How many epochs stay, the present one included, for people to read and for snapshots that get damaged.
const KEPT: usize = 8;

/// Removes the beats of the released epoch `number`, what the first number was agreed on with, old epochs, old
/// snapshots, and the tickets of waiters that are gone. What cannot be removed now is removed by the next release.
pub(super) async fn prune(ground: &Ground, number: u64) {
    let keys = &ground.keys;
    let beats = ground.store.list(&keys.epoch(number)).await.unwrap_or_default();
    remove(ground, beats.into_iter().filter(|key| key.contains("/beat-")).collect()).await;
    let names = ground.store.names(&keys.epochs()).await.unwrap_or_default();
    if names.iter().any(|name| name == layout::FIRST) {
        remove(ground, vec![keys.first()]).await;
    }
    let old: Vec<u64> = look::numbered(&names).into_iter().filter(|old| *old <= number).rev().skip(KEPT).collect();
    for old in old {
        remove(ground, ground.store.list(&keys.epoch(old)).await.unwrap_or_default()).await;
    }
    store::prune_states(ground.store.as_ref(), keys.environment(), KEPT).await;
    tickets(ground).await;
}

async fn tickets(ground: &Ground) {
    let keys = ground.store.list(&ground.keys.waiting()).await.unwrap_or_default();
    let tickets: Vec<&String> = keys.iter().filter(|key| key.ends_with("/ticket")).collect();
    for key in tickets {
        let Ok(Some(ticket)) = layout::read::<layout::Ticket>(ground.store.as_ref(), key).await else { continue };
        if ground.is_gone(&ticket.holder, &ticket.nonce) == Gone::Yes {
            let folder = key.trim_end_matches("ticket");
            remove(ground, keys.iter().filter(|key| key.starts_with(folder)).cloned().collect()).await;
        }
    }
}

async fn remove(ground: &Ground, keys: Vec<String>) {
    for key in keys {
        let _ = ground.store.remove(&key).await;
    }
}
