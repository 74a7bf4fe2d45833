//! The first and the last of a long sequence, in bounded memory.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// Keeps the first `HEAD` and the last `TAIL` items of what it is given, and counts the rest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept<T, const HEAD: usize, const TAIL: usize> {
    head: Vec<T>,
    tail: VecDeque<T>,
    seen: u64,
}

impl<T, const HEAD: usize, const TAIL: usize> Default for Kept<T, HEAD, TAIL> {
    fn default() -> Self {
        Self { head: Vec::new(), tail: VecDeque::new(), seen: 0 }
    }
}

impl<T, const HEAD: usize, const TAIL: usize> Kept<T, HEAD, TAIL> {
    pub(super) fn push(&mut self, item: T) {
        self.seen += 1;
        if self.head.len() < HEAD {
            self.head.push(item);
            return;
        }
        self.tail.push_back(item);
        if self.tail.len() > TAIL {
            self.tail.pop_front();
        }
    }

    /// How many there were.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// How many were dropped, between [`Kept::head`] and [`Kept::tail`].
    pub fn dropped(&self) -> u64 {
        self.seen - (self.head.len() + self.tail.len()) as u64
    }

    /// The first ones.
    pub fn head(&self) -> impl Iterator<Item = &T> {
        self.head.iter()
    }

    /// The ones after those of [`Kept::head`] that are the last.
    pub fn tail(&self) -> impl Iterator<Item = &T> {
        self.tail.iter()
    }

    /// The last `count`, or as many as follow each other without a gap.
    pub fn last(&self, count: usize) -> impl Iterator<Item = &T> {
        let head = if self.dropped() == 0 { self.head.as_slice() } else { &[] };
        let skip = (head.len() + self.tail.len()).saturating_sub(count);
        head.iter().chain(&self.tail).skip(skip)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_both_ends() {
        let mut kept = Kept::<u32, 2, 3>::default();
        for item in 0..4 {
            kept.push(item);
        }
        assert_eq!((kept.last(9).count(), kept.dropped()), (4, 0));
        for item in 4..100 {
            kept.push(item);
        }
        assert_eq!(kept.head().copied().collect::<Vec<_>>(), [0, 1]);
        assert_eq!(kept.last(9).copied().collect::<Vec<_>>(), [97, 98, 99]);
        assert_eq!((kept.seen(), kept.dropped()), (100, 95));
    }
}
