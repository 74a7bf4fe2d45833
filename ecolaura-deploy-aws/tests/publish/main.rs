//! The publisher of sites against real servers that speak S3, which `.ci/with-servers` starts: versitygw, which
//! `ECOLAURA_TEST_S3` names, and moto, which `ECOLAURA_TEST_AWS` names.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod browsing;
#[path = "../aws/calls.rs"]
mod calls;
mod conformance;
mod distribution;
mod granted;
mod publishing;
mod servers;
mod support;
