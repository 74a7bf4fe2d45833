//! The executor, with steps whose effects are entries of a ledger.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a helper of tests fails the test")]

mod cancel;
mod deadlines;
mod faults;
mod golden;
mod groups;
mod journal;
mod plans;
mod properties;
mod resume;
mod retries;
mod suspended;
mod undoing;
mod world;
