//! What migration files are and what may be done with them: pure rules that every migrator shares.

#[cfg(any(feature = "sqlite", feature = "test-util"))]
mod assess;
#[cfg(any(feature = "sqlite", feature = "test-util"))]
mod files;
#[cfg(feature = "sqlite")]
mod folder;
#[cfg(any(feature = "sqlite", feature = "test-util"))]
mod problem;
pub(crate) mod script;

#[cfg(any(feature = "sqlite", feature = "test-util"))]
pub(crate) use self::{
    assess::{Down, LedgerRow, assess, ways_down},
    files::{Entry, Files},
    problem::refuse,
};
#[cfg(feature = "test-util")]
pub(crate) use self::{files::sort, problem::Problem};
#[cfg(feature = "sqlite")]
pub(crate) use self::{files::without_transaction, folder::read};
