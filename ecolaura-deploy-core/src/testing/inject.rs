//! Faults of backends and of the run store, by call and by record: what a test of a pipeline or of a backend's user
//! wraps its backends in.
//!
//! An [`Injector`] is told which calls fail and how, and keeps the ledger of what happened behind the faults. Any backend
//! becomes one with faults by [`Injected::new`]. A [`Disk`] is the run store that outlives simulated [`Process`]es.
//! Which fault makes sense for which call is a table: [`applicable`].

mod calls;
mod crash;
mod fault;
mod injector;
mod ledger;
mod process;
pub(crate) mod schedule;
mod wrap;

pub use self::{
    calls::{CALLS, Call, applicable, call},
    crash::{CrashPoint, CrashStore, Create, Damage, Disk, Lasting, StoreFault},
    fault::CallFault,
    injector::Injector,
    ledger::{Caller, Entry, Reached},
    process::Process,
    wrap::Injected,
};

#[cfg(test)]
mod tests;
