//! The built-in steps: one for every action of a release. Each is a thin adapter between the executor and one backend
//! trait.

mod analyst;
mod approve;
mod call;
mod command;
#[cfg(feature = "oci")]
mod copy;
mod data;
mod database;
mod files;
mod flag;
mod gate;
mod image;
mod keep;
mod promote;
mod record;
mod revert;
mod rollout;
mod site;
mod tag;

#[cfg(feature = "oci")]
pub use self::copy::CopyImage;
pub use self::{
    analyst::MetricAnalyst,
    approve::Approve,
    call::{Call, call, check},
    command::{Command, CommandOutput},
    data::{MeasureData, VerifyData},
    database::{BackupDatabase, BackupDatabaseOf, ImageSchemaUndo, Migrate, MigrateOf, Safeguard, SchemaUndo},
    flag::{FlagUndo, SetFlag},
    gate::{ScanGate, WindowGate},
    image::{BuildImage, PushImage},
    keep::{KeepFolder, KeptFolders},
    promote::PromoteRelease,
    record::{RecordRelease, RecordUndo},
    revert::{RevertDatabase, RevertUndo},
    rollout::{Analyst, Rollout, Strategy},
    site::{PublishFolder, PublishSite, SiteFiles, SiteUndo},
    tag::{TagImage, TagUndo},
};
