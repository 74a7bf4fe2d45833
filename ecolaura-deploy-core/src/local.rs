//! The embedded backends: real, small, for development and tests on one machine.

pub mod approval;
pub mod cdn;
pub mod cluster;
pub mod flags;
pub mod image;
pub mod metrics;
pub mod registry;
pub mod scan;
pub mod secrets;

use crate::{files, image as oci};
