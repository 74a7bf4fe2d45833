//! Being broken on purpose, to see a release refused.

use std::{
    str::FromStr,
    sync::atomic::{AtomicU64, Ordering},
};

/// How to misbehave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misbehaviour {
    /// Not at all.
    None,
    /// Every second API request is answered with 500; health stays fine.
    Errors,
    /// Every API request takes half a second longer; health stays fine.
    Slow,
    /// The process ends with status 70 shortly after its start.
    Crash,
    /// It is never ready.
    Unready,
}

impl Misbehaviour {
    pub(crate) const EXPECTED: &str = "none, errors, slow, crash or unready";
}

impl FromStr for Misbehaviour {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "none" => Ok(Self::None),
            "errors" => Ok(Self::Errors),
            "slow" => Ok(Self::Slow),
            "crash" => Ok(Self::Crash),
            "unready" => Ok(Self::Unready),
            _ => Err(()),
        }
    }
}

/// Says yes to every second asking.
#[derive(Debug, Default)]
pub(crate) struct EverySecond(AtomicU64);

impl EverySecond {
    pub(crate) fn next(&self) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed) % 2 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_requests_are_hit() {
        let turns = EverySecond::default();
        assert_eq!((0..10).filter(|_| turns.next()).count(), 5);
    }
}
