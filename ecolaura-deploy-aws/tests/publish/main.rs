//! The publisher of sites against real servers that speak S3, which `.ci/with-servers` starts: versitygw, which
//! `ECOLAURA_TEST_S3` names, moto, which `ECOLAURA_TEST_AWS` names, and with `--minio` `MinIO`, which
//! `ECOLAURA_TEST_MINIO` names.

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
