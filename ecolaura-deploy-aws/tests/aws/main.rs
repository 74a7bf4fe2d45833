//! The backends against moto, which `.ci/with-servers` starts and `ECOLAURA_TEST_AWS` names.
//!
//! Where moto does not do as AWS does, the crate's own tests have a fake that keeps to what AWS documents.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod account;
mod calls;
#[cfg(feature = "ecr")]
mod ecr;
#[cfg(feature = "eks")]
mod eks;
#[cfg(all(feature = "ecr", feature = "eks", feature = "secrets-manager"))]
mod granted;
#[cfg(feature = "secrets-manager")]
mod secrets;
mod support;
