//! Numbers that no other process draws, replaceable in tests.

use std::{
    fmt,
    hash::{BuildHasher, RandomState},
};

/// Draws numbers that tell one process's records from another's.
pub trait NonceSource: fmt::Debug + Send + Sync + 'static {
    /// The next one.
    fn next(&self) -> u64;
}

/// Numbers that the operating system seeds.
#[derive(Debug, Clone, Copy, Default)]
pub struct RandomNonces;

impl NonceSource for RandomNonces {
    fn next(&self) -> u64 {
        RandomState::new().hash_one(std::process::id())
    }
}

/// The same numbers for the same seed (`SplitMix64`; Steele, Lea and Flood, 2014), for tests.
#[derive(Debug)]
pub struct SeededNonces(std::sync::atomic::AtomicU64);

impl SeededNonces {
    /// Begins at `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed.into())
    }
}

impl NonceSource for SeededNonces {
    fn next(&self) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let state = self.0.fetch_add(STEP, std::sync::atomic::Ordering::Relaxed).wrapping_add(STEP);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}
