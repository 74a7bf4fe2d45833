//! AWS backends of [`ecolaura_deploy_core`].
//!
//! [`Connect`] makes an [`Account`], which every backend is built on: credentials by the SDK's chain, one region, one
//! owner of retries. It depends on the core crate and the AWS SDK, never on Kubernetes.
//!
//! What has to be allowed is data too: [`access`] makes the policy of a plan, and says who may take on its role.
//!
//! Every call says itself at the target [`CALLS`] of `tracing`, with the fields `action` and `resource` as an IAM policy
//! names them.
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `cloudfront` | invalidations by `CloudFront`, for `s3` |
//! | `ecr` | ECR: logins for core's `OciRegistry`, repositories as a step, scans for core's gate |
//! | `eks` | EKS: where a cluster is, and tokens for it, which the Kubernetes crate takes through the core |
//! | `rds` | snapshots as backups, and the way back from one: restore beside, verify, switch |
//! | `run-store` | `S3RunStore`, a `RunStore`: records and the epoch lock in a bucket |
//! | `s3` | `S3Cdn`, a `CdnPublisher` on a bucket |
//! | `secrets-manager` | `SecretsManager`, a `SecretStore` |
//! | `sso` | credentials of IAM Identity Center, as `aws sso login` leaves them |
//! | `test-util` | fakes of services, for tests of programs that use this crate |
//!
//! Nothing is on by default; without features there are accounts alone.

pub mod access;
mod account;
mod error;
#[cfg(test)]
#[cfg_attr(
    not(any(feature = "ecr", feature = "secrets-manager")),
    expect(dead_code, reason = "some services use the rest")
)]
mod fake;

#[cfg(feature = "ecr")]
pub mod ecr;
#[cfg(feature = "eks")]
pub mod eks;
#[cfg(any(test, all(feature = "rds", feature = "test-util")))]
mod form;
#[cfg(any(feature = "rds", feature = "secrets-manager"))]
mod key;
#[cfg(feature = "s3")]
pub mod publish;
#[cfg(feature = "rds")]
pub mod rds;
#[cfg(feature = "run-store")]
mod run_store;
#[cfg(feature = "secrets-manager")]
mod secrets;

#[cfg(feature = "s3")]
pub use self::publish::S3Cdn;
#[cfg(feature = "run-store")]
pub use self::run_store::S3RunStore;
#[cfg(feature = "secrets-manager")]
pub use self::secrets::SecretsManager;
pub use self::{
    account::{Account, Connect, Identity, Lifetime, Scope},
    error::CALLS,
};
