//! What happened lately.

use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
};

const KEPT: usize = 200;

/// The last events of a namespace, oldest first.
#[derive(Debug, Default)]
pub(super) struct Events(Mutex<VecDeque<String>>);

impl Events {
    pub(super) fn add(&self, text: String) {
        let mut events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if events.len() == KEPT {
            events.pop_front();
        }
        events.push_back(text);
    }

    pub(super) fn list(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}
