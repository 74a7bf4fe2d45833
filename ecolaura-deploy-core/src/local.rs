//! The embedded backends: real, small, for development and tests on one machine.

pub mod approval;
pub mod cdn;
pub mod cluster;
mod files;
pub mod flags;
pub mod image;
pub mod metrics;
mod oci;
pub mod registry;
pub mod scan;
pub mod secrets;
