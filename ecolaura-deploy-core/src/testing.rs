//! For tests of backends and of pipelines: conformance suites, in-memory fakes, fault wrappers.

pub mod conformance;
pub mod fake;
pub mod faulty;
pub mod inject;
pub mod recording;

pub use self::faulty::{Fault, Faulty};
