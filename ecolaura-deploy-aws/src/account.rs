//! An AWS account in a region: who we are there, and for how long.

mod connect;
mod http;
mod lasting;
mod lifetime;
#[cfg(feature = "s3")]
mod renewal;
mod role;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc, time::Duration};

use aws_types::SdkConfig;
use ecolaura_deploy_core::{Context, Error, ErrorKind, Result, redact::Redactor};
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

#[cfg(feature = "s3")]
pub(crate) use self::connect::PATIENCE;
#[cfg(feature = "run-store")]
pub(crate) use self::connect::connector;
#[cfg(test)]
pub(crate) use self::connect::retries;
#[cfg(all(test, feature = "s3"))]
pub(crate) use self::connect::timeouts;
#[cfg(feature = "rds")]
pub(crate) use self::lifetime::minutes;
#[cfg(feature = "s3")]
pub(crate) use self::renewal::{Renewal, renewing};
pub(crate) use self::role::NotTakenOn;
pub use self::{connect::Connect, lasting::Lasting, lifetime::Lifetime, role::Role};
use crate::error::Call;

/// An account in a region, as [`Connect`] has reached it. Cheap to clone; clones share credentials and connections.
#[derive(Clone)]
pub struct Account(Arc<Inner>);

struct Inner {
    config: SdkConfig,
    region: String,
    path_style: bool,
    attempts: u32,
    identity: OnceCell<Identity>,
    role: Option<Arc<role::Assumed>>,
}

/// Who AWS says that we are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Identity {
    /// The number of the account.
    pub account: String,
    /// The user, or the role and its session.
    pub arn: String,
}

/// Where resources are: what their names, the ARNs, begin with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Scope {
    /// `aws`, or another part of AWS that is apart from all others.
    pub partition: String,
    /// The region.
    pub region: String,
    /// The number of the account.
    pub account: String,
}

impl Scope {
    /// The resources of `account` in `region`.
    pub fn new(region: impl Into<String>, account: impl Into<String>) -> Self {
        let region = region.into();
        let partition = partition(&region).to_owned();
        Self { partition, region, account: account.into() }
    }

    /// The name of `resource` of `service`.
    ///
    /// ```
    /// use ecolaura_deploy_aws::Scope;
    /// let scope = Scope::new("eu-central-1", "111122223333");
    /// assert_eq!(scope.arn("eks", "cluster/shop"), "arn:aws:eks:eu-central-1:111122223333:cluster/shop");
    /// ```
    pub fn arn(&self, service: &str, resource: impl fmt::Display) -> String {
        let Self { partition, region, account } = self;
        format!("arn:{partition}:{service}:{region}:{account}:{resource}")
    }

    /// What the names of AWS's hosts end with there.
    #[cfg(feature = "ecr")]
    pub(crate) fn domain(&self) -> &'static str {
        domain(&self.region)
    }
}

/// The partition of a region, by the beginning of its name.
pub(crate) fn partition(region: &str) -> &'static str {
    let partitions = [
        ("cn-", "aws-cn"),
        ("us-gov-", "aws-us-gov"),
        ("us-iso-", "aws-iso"),
        ("us-isob-", "aws-iso-b"),
        ("eu-isoe-", "aws-iso-e"),
        ("us-isof-", "aws-iso-f"),
        ("eusc-", "aws-eusc"),
    ];
    partitions.into_iter().find(|(start, _)| region.starts_with(start)).map_or("aws", |(_, partition)| partition)
}

/// What the names of AWS's hosts in `region` end with.
#[cfg(any(feature = "ecr", feature = "eks", feature = "run-store"))]
pub(crate) fn domain(region: &str) -> &'static str {
    match partition(region) {
        "aws-cn" => "amazonaws.com.cn",
        "aws-eusc" => "amazonaws.eu",
        "aws-iso" => "c2s.ic.gov",
        "aws-iso-b" => "sc2s.sgov.gov",
        "aws-iso-e" => "cloud.adc-e.uk",
        "aws-iso-f" => "csp.hci.ic.gov",
        _ => "amazonaws.com",
    }
}

impl Account {
    pub(crate) fn new(config: SdkConfig, region: String, path_style: bool, attempts: u32) -> Self {
        Self(Arc::new(Inner { config, region, path_style, attempts, identity: OnceCell::new(), role: None }))
    }

    /// The same as `role`.
    pub(crate) async fn as_role(&self, role: &Role, redactor: &Redactor) -> Self {
        let (config, role) = role.taken_on(&self.0.config, redactor).await;
        let Inner { path_style, attempts, .. } = *self.0;
        let (region, identity) = (self.0.region.clone(), OnceCell::new());
        Self(Arc::new(Inner { config, region, path_style, attempts, identity, role: Some(role) }))
    }

    /// The region.
    pub fn region(&self) -> &str {
        &self.0.region
    }

    /// The configuration that clients of the SDK are made from, for services that this crate does not know.
    pub fn sdk_config(&self) -> &SdkConfig {
        &self.0.config
    }

    /// The endpoint that stands in the place of AWS, if there is one.
    pub fn endpoint(&self) -> Option<&str> {
        self.0.config.endpoint_url()
    }

    /// Whether buckets stand in the path of an address, as many S3-compatible stores have it, and not in its host.
    pub fn path_style(&self) -> bool {
        self.0.path_style
    }

    /// How often a call is made that fails.
    #[cfg(feature = "run-store")]
    pub(crate) fn attempts(&self) -> u32 {
        self.0.attempts
    }

    /// The same whose calls are made once: for whoever tries again by itself.
    pub fn without_retries(&self) -> Self {
        let config = self.0.config.to_builder().retry_config(connect::retries(1)).build();
        let identity = OnceCell::new_with(self.0.identity.get().cloned());
        let (region, role) = (self.0.region.clone(), self.0.role.clone());
        Self(Arc::new(Inner { config, region, identity, role, attempts: 1, ..*self.0 }))
    }

    /// Who we are, by `sts:GetCallerIdentity`, which nobody has to be allowed. Asked once.
    ///
    /// Fails with [`ErrorKind::Unauthenticated`] if there are no credentials or AWS does not take them.
    pub async fn identity(&self, cx: &Context) -> Result<Identity> {
        self.0.identity.get_or_try_init(|| self.ask_identity(cx)).await.cloned()
    }

    async fn ask_identity(&self, cx: &Context) -> Result<Identity> {
        const OPERATION: &str = "account.identity";
        let call = self.reads((cx, OPERATION), "sts:GetCallerIdentity", "*");
        let request = aws_sdk_sts::Client::new(&self.0.config).get_caller_identity().send();
        let answer = call.send(request).await?;
        match (answer.account, answer.arn) {
            (Some(account), Some(arn)) => Ok(Identity { account, arn }),
            _ => Err(Error::new(ErrorKind::Corrupt, OPERATION, "the answer names no account")),
        }
    }

    /// Where this account's resources are.
    pub async fn scope(&self, cx: &Context) -> Result<Scope> {
        Ok(Scope::new(self.region(), self.identity(cx).await?.account))
    }

    /// Makes sure that this is `account` and `region`, before anything is done to the wrong one.
    ///
    /// Fails with [`ErrorKind::InvalidInput`], naming what was found and what was expected, both where both differ.
    pub async fn expect(&self, cx: &Context, account: &str, region: &str) -> Result<Identity> {
        let identity = self.identity(cx).await?;
        let pairs = [("account", identity.account.as_str(), account), ("region", self.region(), region)];
        let wrong: Vec<_> = pairs.into_iter().filter(|(_, found, expected)| found != expected).collect();
        if wrong.is_empty() {
            return Ok(identity);
        }
        let said: Vec<_> =
            wrong.iter().map(|(what, found, expected)| format!("the {what} is {found}, not {expected}")).collect();
        let error = Error::invalid("account.expect", said.join(", and "));
        let error = wrong.iter().fold(error, |error, (what, found, expected)| {
            error.with(format!("{what} found"), found).with(format!("{what} expected"), expected)
        });
        Err(error
            .with("identity", &identity.arn)
            .advice("nothing was changed; check AWS_PROFILE, AWS_REGION and the role that is assumed"))
    }

    /// Makes sure that the credentials last for `planned`, and answers how long they last.
    ///
    /// Those that this process cannot renew, and that end earlier, are [`ErrorKind::Unauthenticated`]: a release that
    /// stops in its middle is worse than one that did not begin. Credentials that do not tell their end are let pass
    /// with a warning.
    pub async fn covers(&self, cx: &Context, planned: Duration) -> Result<Lifetime> {
        lifetime::covers(self, cx, planned).await
    }

    /// Makes sure that the credentials last for `planned` from now on, and answers how long they last. Those of a role
    /// that [`Connect::assume`] takes on are renewed first if they do not; for others it is [`Account::covers`].
    ///
    /// Before what cannot stop in its middle; [`Lasting`] does it for a step. Fails with [`ErrorKind::Unauthenticated`]
    /// if even new ones are too short, or the role cannot be taken on.
    pub async fn lasting(&self, cx: &Context, planned: Duration) -> Result<Lifetime> {
        match &self.0.role {
            Some(role) => lifetime::renewed(role, cx, planned).await,
            None => self.covers(cx, planned).await,
        }
    }

    /// A call that changes nothing. `resource` is what a policy has to name for `action`.
    pub(crate) fn reads<'a>(
        &self,
        (cx, operation): (&'a Context, &'static str),
        action: &'static str,
        resource: impl Into<String>,
    ) -> Call<'a> {
        Call { cx, operation, action, resource: resource.into(), writes: false, attempts: self.0.attempts }
    }

    /// A call that may have changed something when no answer came.
    #[cfg_attr(
        not(any(
            test,
            feature = "appconfig",
            feature = "ecr",
            feature = "rds",
            feature = "s3",
            feature = "secrets-manager",
            feature = "security-groups"
        )),
        expect(dead_code, reason = "only services change something")
    )]
    pub(crate) fn writes<'a>(
        &self,
        within: (&'a Context, &'static str),
        action: &'static str,
        resource: impl Into<String>,
    ) -> Call<'a> {
        Call { writes: true, ..self.reads(within, action, resource) }
    }
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account")
            .field("region", &self.0.region)
            .field("endpoint", &self.endpoint())
            .field("identity", &self.0.identity.get())
            .finish_non_exhaustive()
    }
}
