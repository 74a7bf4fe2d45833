//! For tests of backends and of pipelines: conformance suites, in-memory fakes, fault wrappers.

pub mod conformance;
pub mod fake;
