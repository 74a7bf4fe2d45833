//! For tests of backends and of pipelines: conformance suites, in-memory fakes, fault wrappers, servers that
//! the environment names.

pub mod conformance;
pub mod fake;
pub mod faulty;
pub mod inject;
pub mod invariants;
pub mod matrix;
pub mod recording;
pub mod servers;
pub mod simulation;

pub use self::faulty::{Fault, Faulty};
