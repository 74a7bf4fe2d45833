//! Which version a request goes to, and which of its pods.

use crate::backend::Track;

/// Shares requests between two versions exactly: of any 100 in a row, `percent` go to the candidate, evenly spread.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Split {
    percent: u8,
    owed: u32,
}

impl Split {
    /// Sets the share; what is owed from before is forgotten.
    pub(super) fn set(&mut self, percent: u8) {
        if percent != self.percent {
            *self = Self { percent: percent.min(100), owed: 0 };
        }
    }

    /// Where the next request goes.
    pub(super) fn next(&mut self) -> Track {
        self.owed += u32::from(self.percent);
        if self.owed >= 100 {
            self.owed -= 100;
            return Track::Candidate;
        }
        Track::Stable
    }

    /// Whether the candidate may have a request at all.
    pub(super) fn includes_candidate(self) -> bool {
        self.percent > 0
    }
}

/// The place with the least load; among equals the first from `start` on, round and round.
pub(super) fn least_busy(loads: &[usize], start: usize) -> Option<usize> {
    let count = loads.len();
    (0..count).map(|step| (start + step) % count).min_by_key(|place| loads[*place])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_share_is_exact(percent in 0_u8..=100, skip in 0_usize..300) {
            let mut split = Split::default();
            split.set(percent);
            (0..skip).for_each(|_| _ = split.next());
            let candidates = (0..100).filter(|_| split.next() == Track::Candidate).count();
            prop_assert_eq!(candidates, usize::from(percent));
        }
    }

    #[test]
    fn the_least_busy_in_turn() {
        assert_eq!(least_busy(&[], 3), None);
        assert_eq!(least_busy(&[1, 0, 0], 2), Some(2));
        assert_eq!(least_busy(&[1, 0, 0], 0), Some(1));
        assert_eq!([0, 1, 2, 3].map(|start| least_busy(&[0, 0, 0], start)), [Some(0), Some(1), Some(2), Some(0)]);
    }
}
