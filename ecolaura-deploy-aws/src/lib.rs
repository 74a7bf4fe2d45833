//! AWS backends of [`ecolaura_deploy_core`].
//!
//! [`Connect`] makes an [`Account`], which every backend is built on: credentials by the SDK's chain, one region, one
//! owner of retries. It depends on the core crate and the AWS SDK, never on Kubernetes.
//!
//! What has to be allowed is data too: [`access`] makes the policy of a plan, and says who may take on its role.
//!
//! Every call says itself at the target [`CALLS`] of `tracing`, with the fields `action` and `resource` as an IAM policy
//! names them; [`Called`] reads them.
//!
//! # Features
//!
//! | feature | adds |
//! |---|---|
//! | `appconfig` | `AppConfigFlags`, a `FeatureFlags` |
//! | `cloudfront` | invalidations by `CloudFront`, for `s3` |
//! | `cloudwatch` | `CloudWatchMetrics`, a `MetricSource`, and alarms as a gate |
//! | `ecr` | ECR: logins for core's `OciRegistry`, repositories as a step, scans for core's gate |
//! | `eks` | EKS: where a cluster is, and tokens for it, which the Kubernetes crate takes through the core |
//! | `iam` | whether the policies of a role are enough for a plan, before its first effect |
//! | `key-value-store` | `PointerCdn`, a `CdnPublisher` that switches a site by one write to a `CloudFront` `KeyValueStore` |
//! | `rds` | snapshots as backups, and the way back from one: restore beside, verify, switch |
//! | `run-store` | `S3RunStore`, a `RunStore`: records and the epoch lock in a bucket |
//! | `s3` | `S3Cdn`, a `CdnPublisher` on a bucket |
//! | `secrets-manager` | `SecretsManager`, a `SecretStore` |
//! | `security-groups` | an audit of security groups as a gate, and ingress that ends with the step |
//! | `sso` | credentials of IAM Identity Center, as `aws sso login` leaves them |
//! | `test-util` | fakes of services, for tests of programs that use this crate |
//!
//! Nothing is on by default; without features there are accounts alone.
//!
//! # What a feature costs
//!
//! Seconds of a processor (user and system) that `cargo build` took for a feature on top of what was built before it, for
//! development, with Rust 1.95 on a machine of two processors that had other work too. Most of it is the SDK's client of
//! the service.
//!
//! | feature | seconds |
//! |---|---|
//! | none | 137 |
//! | `secrets-manager` | 9 |
//! | `appconfig` | 14 |
//! | `eks` | 29 |
//! | `iam` | 38 |
//! | `run-store` | 46 |
//! | `rds` | 48 |
//! | `cloudfront` | 54 |
//! | `ecr` | 62 |
//! | `cloudwatch` | 64 |
//! | `s3` | 66 |
//! | `key-value-store`, where `s3` is there | 96 |
//! | `security-groups` | 214 |

#[cfg(test)]
extern crate self as ecolaura_deploy_aws;

pub mod access;
mod account;
#[cfg(feature = "appconfig")]
mod appconfig;
mod called;
mod error;
#[cfg(test)]
#[cfg_attr(not(feature = "appconfig"), expect(dead_code, reason = "some services use the rest"))]
mod fake;

#[cfg(test)]
#[path = "../tests/aws/calls.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod calls;
#[cfg(feature = "cloudwatch")]
pub mod cloudwatch;
#[cfg(feature = "ecr")]
pub mod ecr;
#[cfg(feature = "eks")]
pub mod eks;
#[cfg(any(
    all(test, any(feature = "iam", feature = "rds", feature = "security-groups")),
    all(feature = "rds", feature = "test-util")
))]
mod form;
#[cfg(test)]
mod granted;
#[cfg(any(feature = "appconfig", feature = "rds", feature = "secrets-manager", feature = "security-groups"))]
mod key;
#[cfg(feature = "s3")]
pub mod publish;
#[cfg(feature = "rds")]
pub mod rds;
#[cfg(feature = "run-store")]
mod run_store;
#[cfg(feature = "secrets-manager")]
mod secrets;
#[cfg(feature = "security-groups")]
pub mod security_groups;
#[cfg(any(
    feature = "appconfig",
    feature = "cloudfront",
    feature = "ecr",
    feature = "rds",
    feature = "security-groups"
))]
mod wait;

#[cfg(feature = "appconfig")]
pub use self::appconfig::AppConfigFlags;
#[cfg(feature = "key-value-store")]
pub use self::publish::PointerCdn;
#[cfg(feature = "s3")]
pub use self::publish::S3Cdn;
#[cfg(feature = "run-store")]
pub use self::run_store::S3RunStore;
#[cfg(feature = "secrets-manager")]
pub use self::secrets::SecretsManager;
pub use self::{
    account::{Account, Connect, Identity, Lasting, Lifetime, Role, Scope},
    called::{CALLS, Called},
};
