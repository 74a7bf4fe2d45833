//! Databases of RDS and Aurora: a snapshot before a migration, and the way back from one.
//!
//! A snapshot is taken once for a key, waited for, and adopted by whoever asks for the same key again. Going back is a
//! chain of steps of its own, because RDS restores into a *new* database: [`RestoreDatabase`] makes it beside the old
//! one, with the old one's groups, [`VerifyDatabase`] looks at it, and [`SwitchDatabase`] lets it take the old one's
//! name. The last **loses what was written since**, so it is asked for by an [`AcceptedLoss`] that says how much; a run
//! never restores by itself.
//!
//! ```no_run
//! # use std::sync::Arc;
//! # use ecolaura_deploy_aws::{Account, rds::*};
//! # use ecolaura_deploy_core::{Result, pipeline::{Pipeline, constant}};
//! # fn example(account: &Account, release: &mut Pipeline, check: Arc<dyn DatabaseCheck>) -> Result<()> {
//! let database = RdsDatabase::instance(account, "shop");
//! let accepted = AcceptedLoss::of_the_last(std::time::Duration::from_hours(1), "orders were written twice: INC-7");
//!
//! let restored = release.add("restore", RestoreDatabase::new(&database), constant(RestorePoint::Latest));
//! let verified = release.add("verify", VerifyDatabase::new(&database, check), restored);
//! release.add("switch", SwitchDatabase::new(&database, accepted), verified);
//! # Ok(()) }
//! ```

mod backups;
mod calls;
mod database;
#[cfg(any(test, feature = "test-util"))]
pub mod fake;
mod loss;
mod making;
mod restore;
mod restored;
mod retention;
mod seen;
mod snapshot;
mod switch;
#[cfg(test)]
mod tests;
mod verify;
mod wait;

pub use self::{
    backups::SnapshotBackups,
    database::{Database, Endpoint, RdsDatabase},
    loss::AcceptedLoss,
    restore::{RestoreDatabase, RestoreUndo},
    restored::{Identity, RestorePoint, Restored},
    retention::RdsRetention,
    snapshot::{Snapshot, SnapshotDatabase},
    switch::{SwitchDatabase, SwitchUndo},
    verify::{DatabaseCheck, VerifyDatabase},
};

/// What is ours has these tags.
mod tags {
    /// What their names begin with.
    pub(super) const PREFIX: &str = "ecolaura-deploy:";
    /// Under which key it was asked for.
    pub(super) const KEY: &str = "ecolaura-deploy:key";
    /// Of which database it was taken, or which one it was restored beside.
    pub(super) const DATABASE: &str = "ecolaura-deploy:database";
    /// In which run.
    pub(super) const RUN: &str = "ecolaura-deploy:run";
    /// Up to when its data goes.
    pub(super) const POINT: &str = "ecolaura-deploy:point";
    /// It has had the name that programs know: it may hold data that nothing else holds.
    pub(super) const SERVED: &str = "ecolaura-deploy:served";
}
