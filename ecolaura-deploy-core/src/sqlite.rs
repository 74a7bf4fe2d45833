//! Migrations on SQLite, in the file naming and ledger of sqlx, so that both tools can be used on one database in any
//! order.
//!
//! ```text
//! app.sqlite                       the database
//! app.sqlite.lock                  held by whoever migrates, backs up or restores
//! app.sqlite.KEY.backup            a backup; `.json` beside it: digest, size, schema version, how it was proven
//! app.sqlite.replaced-DIGEST-N     what a restore replaced
//! app.sqlite.restored.json         what the last restore did
//! ```
//!
//! For one machine: SQLite's locks do not hold on network file systems.

mod backup;
mod change;
mod connection;
mod disk;
mod fence;
mod ledger;
mod leftovers;
mod lock;
mod measure;
mod migrator;
mod restore;

pub use self::migrator::{Resolution, SqliteMigrator};
use crate::{Error, Result};

/// Runs `work`, which blocks, where it may.
async fn blocking<T: Send + 'static>(
    operation: &'static str,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::internal(operation, "the file work ended early").with_source(error))?
}

#[cfg(test)]
#[cfg(feature = "test-util")]
mod tests;
