//! The traits that backends implement, one file for each world. All are object-safe, take [`Context`](crate::Context)
//! first and owned requests by reference, and document idempotency, what a cancel leaves behind, and error kinds.

mod approver;
mod cdn;
mod cluster;
mod flags;
mod image_builder;
mod leftovers;
mod metrics;
mod migrator;
mod registry;
mod scanner;
mod secrets;
mod tokens;

pub use self::{
    approver::*, cdn::*, cluster::*, flags::*, image_builder::*, leftovers::*, metrics::*, migrator::*, registry::*,
    scanner::*, secrets::*, tokens::*,
};
