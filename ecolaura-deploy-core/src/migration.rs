//! What migration files are and what may be done with them: pure rules that every migrator shares. And a migrator in
//! another process: [`serve`] answers there what [`Question`] asks.

#[cfg(any(feature = "sqlite", feature = "test-util"))]
mod assess;
mod elsewhere;
#[cfg(any(feature = "sqlite", feature = "test-util"))]
mod files;
#[cfg(feature = "sqlite")]
mod folder;
#[cfg(any(feature = "sqlite", feature = "test-util"))]
mod problem;
pub(crate) mod script;

pub use self::elsewhere::{Answer, Call, QUESTION, Question, serve};
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
