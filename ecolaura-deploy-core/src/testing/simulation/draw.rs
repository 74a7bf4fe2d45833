//! Numbers that a seed decides.

use crate::nonce::{NonceSource, SeededNonces};

/// Draws numbers.
#[derive(Debug)]
pub(super) struct Dice(SeededNonces);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(SeededNonces::new(seed))
    }

    /// From 0 to below `end`; 0 if that is 0.
    pub(super) fn below(&self, end: u64) -> u64 {
        self.0.next().checked_rem(end).unwrap_or_default()
    }

    /// From `first` to `last`, both included; `first` if there is nothing between.
    pub(super) fn between(&self, first: u32, last: u32) -> u32 {
        let choices = u64::from(last.saturating_sub(first)) + 1;
        first + u32::try_from(self.below(choices)).unwrap_or_default()
    }

    /// From 1 to `last`.
    pub(super) fn size(&self, last: usize) -> usize {
        1 + usize::try_from(self.below(last as u64)).unwrap_or_default()
    }

    pub(super) fn pick<'a, T>(&self, choices: &'a [T]) -> Option<&'a T> {
        choices.get(usize::try_from(self.below(choices.len() as u64)).unwrap_or_default())
    }
}
