//! Which locks this process has at this moment. A lock of this process that is not among them was dropped.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{
    Gone, Holder,
    process::{self, Machine},
};
use crate::vocabulary::EnvironmentName;

type Key = (EnvironmentName, String);

/// Counted, since seeded nonces may come twice.
static CLAIMS: Mutex<BTreeMap<Key, usize>> = Mutex::new(BTreeMap::new());

fn claims() -> MutexGuard<'static, BTreeMap<Key, usize>> {
    CLAIMS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An entry that goes when it is dropped.
#[derive(Debug)]
pub(super) struct Claim(Key);

impl Claim {
    pub(super) fn new(environment: &EnvironmentName, nonce: &str) -> Self {
        let key = (environment.clone(), nonce.to_owned());
        *claims().entry(key.clone()).or_default() += 1;
        Self(key)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut claims = claims();
        let left = claims.get(&self.0).map_or(0, |count| count - 1);
        match left {
            0 => claims.remove(&self.0),
            _ => claims.insert(self.0.clone(), left),
        };
    }
}

/// Whether the holder of what has `nonce` is gone, as far as `machine` can tell. A lock of this very process is gone when
/// it was dropped.
pub(super) fn is_gone(machine: &dyn Machine, environment: &EnvironmentName, holder: &Holder, nonce: &str) -> Gone {
    if claims().contains_key(&(environment.clone(), nonce.to_owned())) {
        return Gone::No;
    }
    match process::is_gone(machine, holder) {
        Gone::No if *holder == Holder::this_process() => Gone::Yes,
        told => told,
    }
}
