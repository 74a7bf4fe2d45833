//! Everything that needs a real cluster. `.ci/with-servers` starts one.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]
#![expect(clippy::print_stdout, reason = "what was measured is said")]

mod access;
mod applying;
mod conformance;
mod corpus;
mod diagnosing;
mod failures;
mod fleet;
mod interrupted;
mod jobs;
mod migrating;
mod operating;
mod routes;
mod support;
mod traffic;
