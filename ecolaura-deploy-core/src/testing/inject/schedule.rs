//! Pauses that a seed decides.

use std::time::Duration;

use super::injector::LONGEST;
use crate::vocabulary::Digest;

/// The pause of `turn` at `place`: the same in every run with `seed`.
pub(super) fn pause(seed: u64, turn: &str, place: &str) -> Duration {
    let longest = u64::try_from(LONGEST.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(1 + number(seed, &format!("{turn} {place}")) % longest)
}

/// A number that `seed` and `text` decide.
pub(crate) fn number(seed: u64, text: &str) -> u64 {
    let digest = Digest::of(format!("{seed} {text}")).to_hex();
    u64::from_str_radix(digest.get(..16).unwrap_or_default(), 16).unwrap_or_default()
}
