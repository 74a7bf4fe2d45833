//! The clock of a test stands still while the client waits for its next try, so that waiting takes no time. It runs
//! otherwise: a socket is not part of the runtime's time.

use std::cell::{Cell, RefCell};

thread_local! {
    static USED: Cell<bool> = const { Cell::new(false) };
    /// What the request that went wrong was about.
    static STANDS: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// From here on, in this test.
pub(crate) fn stand_still_while_waiting() {
    USED.set(true);
}

/// Until the request for `target` comes again.
pub(crate) fn pause(target: &str) {
    if USED.get() && STANDS.with_borrow(Option::is_none) {
        STANDS.set(Some(about(target)));
        tokio::time::pause();
    }
}

pub(crate) fn resume(target: &str) {
    if STANDS.with_borrow(|stands| stands.as_ref().is_some_and(|stands| target.contains(stands))) {
        STANDS.set(None);
        tokio::time::resume();
    }
}

/// The digest in it: each upload has an address of its own.
fn about(target: &str) -> String {
    let mut words = target.split(|found: char| !found.is_ascii_hexdigit());
    words.find(|word| word.len() >= 62).map_or(target, |word| &word[word.len() - 62..]).to_owned()
}
