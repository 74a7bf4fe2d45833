//! AWS backends of [`ecolaura_deploy_core`].
//!
//! [`Connect`] makes an [`Account`], which every backend is built on: credentials by the SDK's chain, one region, one
//! owner of retries. It depends on the core crate and the AWS SDK, never on Kubernetes.
//!
//! Every call says itself at the target [`CALLS`] of `tracing`, with the fields `action` and `resource` as an IAM policy
//! names them.
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `sso` | credentials of IAM Identity Center, as `aws sso login` leaves them |
//!
//! Nothing is on by default; without features there are accounts alone.

mod account;
mod error;
#[cfg(test)]
#[cfg_attr(not(feature = "secrets-manager"), expect(dead_code, reason = "some services use the rest"))]
mod fake;

pub use self::{
    account::{Account, Connect, Identity, Lifetime, Scope},
    error::CALLS,
};
