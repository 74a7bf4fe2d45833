//! The backends against moto, which `.ci/with-servers` starts and `ECOLAURA_TEST_AWS` names.
//!
//! Where moto does not do as AWS does, the crate's own tests have a fake that keeps to what AWS documents.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod account;
mod calls;
mod ecr;
mod eks;
mod granted;
mod secrets;
mod support;
