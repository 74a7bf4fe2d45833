//! The built-in steps: one for every action of a release. Each is a thin adapter between the executor and one backend
//! trait.

mod approve;
mod call;
mod check;
mod command;
mod database;
mod files;
mod flag;
mod image;
mod record;
mod rollout;
mod site;

pub use self::{
    approve::Approve,
    call::{Call, call},
    check::{Check, check},
    command::{Command, CommandOutput},
    database::{BackupDatabase, MeasureData, Migrate, Safeguard, SchemaUndo},
    flag::{FlagUndo, SetFlag},
    image::{BuildImage, PushImage, TagUndo},
    record::{RecordRelease, RecordUndo},
    rollout::{Analyst, Rollout, Strategy},
    site::{PublishSite, SiteUndo},
};
