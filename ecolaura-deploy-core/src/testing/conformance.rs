//! One behaviour suite for each trait: its specification. Run by the fakes, every backend and every wrapper.

pub mod cdn_publisher;
pub mod cluster_target;
mod fencing;
pub mod image_builder;
mod layout;
pub mod migrator;
pub mod registry;
pub mod run_store;
mod runner;
pub mod small;
