//! The built-in steps: one for every action of a release. Each is a thin adapter between the executor and one backend
//! trait.

mod analyst;
mod approve;
mod call;
mod command;
mod database;
mod files;
mod flag;
mod gate;
mod image;
mod record;
mod rollout;
mod site;

pub use self::{
    analyst::MetricAnalyst,
    approve::Approve,
    call::{Call, call, check},
    command::{Command, CommandOutput},
    database::{BackupDatabase, MeasureData, Migrate, Safeguard, SchemaUndo},
    flag::{FlagUndo, SetFlag},
    gate::{ScanGate, WindowGate},
    image::{BuildImage, PushImage, TagUndo},
    record::{RecordRelease, RecordUndo},
    rollout::{Analyst, Rollout, Strategy},
    site::{PublishSite, SiteUndo},
};
