//! One deployer for each environment: a lock of numbered epochs in the run store.
//!
//! `environments/ENV/epochs/N/held` is created create-only; who creates it holds the environment, and `N` is the
//! fencing token that every effect carries. `…/N/beat-M` says that the holder lives, `…/N/released` that it is done.
//! Nobody deletes another's lock: taking over is creating `N+1`, which exactly one contender can. `…/first` holds the
//! number of the first epoch until that is over.
//!
//! A holder may be taken over when it is proven gone (the same boot of the same machine and process namespace, and no
//! such process), or when no new beat was seen for its whole term, measured by the observer's own monotonic clock; no
//! wall clock is compared.

mod acquire;
mod beats;
mod claims;
mod decide;
mod epoch;
mod first;
mod holder;
mod layout;
mod look;
mod loss;
mod policy;
mod probe;
mod process;
mod prune;
#[cfg(test)]
mod tests;
mod waiters;

#[cfg(feature = "test-util")]
pub(crate) use self::process::Stat;
pub(crate) use self::{
    acquire::{Request, acquire},
    epoch::Epoch,
    layout::Keys,
    look::{numbers, see},
    process::{Machine, ThisMachine},
};
pub use self::{
    holder::{Gone, Holder},
    look::{Seen, look},
    policy::{LockPolicy, Wait},
};
