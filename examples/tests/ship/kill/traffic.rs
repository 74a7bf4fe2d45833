//! Somebody who uses the backend all the time.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::Duration,
};

use crate::user::try_get;

#[derive(Default)]
struct Seen {
    answers: AtomicU64,
    failures: Mutex<Vec<String>>,
    stop: AtomicBool,
}

/// Requests, one after the other, until it is dropped.
pub struct Traffic {
    seen: Arc<Seen>,
    thread: Option<JoinHandle<()>>,
}

impl Traffic {
    pub fn at(address: String) -> Self {
        let seen = Arc::new(Seen::default());
        let shared = Arc::clone(&seen);
        let thread = std::thread::spawn(move || {
            while !shared.stop.load(Relaxed) {
                match try_get(&address, "/api/summary") {
                    Ok(answer) if answer.starts_with("HTTP/1.1 200") => _ = shared.answers.fetch_add(1, Relaxed),
                    Ok(answer) => shared.fail(answer.lines().next().unwrap_or("no answer").to_owned()),
                    Err(error) => shared.fail(error.to_string()),
                }
                std::thread::sleep(Duration::from_millis(25));
            }
        });
        Self { seen, thread: Some(thread) }
    }

    /// How many requests were answered.
    pub fn answers(&self) -> u64 {
        self.seen.answers.load(Relaxed)
    }

    /// What went wrong since the last call.
    pub fn failures(&self) -> Vec<String> {
        std::mem::take(&mut *self.seen.failures.lock().unwrap())
    }
}

impl Seen {
    fn fail(&self, why: String) {
        self.failures.lock().unwrap().push(why);
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.seen.stop.store(true, Relaxed);
        _ = self.thread.take().map(JoinHandle::join);
    }
}
