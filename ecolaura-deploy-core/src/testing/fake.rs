//! In-memory fakes of the traits.

pub mod cdn_publisher;
pub mod cluster_target;
pub mod image_builder;
pub mod migrator;
pub mod registry;
pub mod small;
