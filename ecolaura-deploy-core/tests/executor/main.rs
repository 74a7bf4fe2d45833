//! The executor, with steps whose effects are entries of a ledger.

mod cancel;
mod deadlines;
mod faults;
mod golden;
mod groups;
mod journal;
mod plans;
mod properties;
mod retries;
mod suspended;
mod undoing;
mod world;
