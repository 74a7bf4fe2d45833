//! Which account and region, and by which credentials.

use std::{fmt, net::IpAddr, num::NonZeroU32, time::Duration};

use aws_config::{BehaviorVersion, Region, retry::RetryConfig, timeout::TimeoutConfig};
use aws_credential_types::{
    Credentials,
    provider::{self, ProvideCredentials, SharedCredentialsProvider, future},
};
#[cfg(feature = "run-store")]
use aws_smithy_runtime_api::client::http::SharedHttpConnector;
use aws_smithy_types::checksum_config::{RequestChecksumCalculation, ResponseChecksumValidation};
use ecolaura_deploy_core::{Context, Error, Result, Secret, redact::Redactor};

use super::{Account, Role, http};

const OPERATION: &str = "account.connect";

/// How long one attempt of a call may take to be answered. What sends files, or makes S3 move them, has its own.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

/// Which account and region, and by which credentials: those that the SDK finds in the environment, in the shared files,
/// from a web identity, a container or the instance, unless others are given.
///
/// ```no_run
/// # async fn example() -> ecolaura_deploy_core::Result<()> {
/// use std::time::Duration;
///
/// use ecolaura_deploy_aws::Connect;
/// use ecolaura_deploy_core::Context;
///
/// let cx = Context::new("staging".parse()?);
/// let account = Connect::new().region("eu-central-1").connect(&cx).await?;
/// account.expect(&cx, "111122223333", "eu-central-1").await?;
/// account.covers(&cx, Duration::from_mins(40)).await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Default)]
#[must_use = "nothing is connected until `connect` is called"]
pub struct Connect {
    region: Option<String>,
    profile: Option<String>,
    endpoint: Option<String>,
    path_style: bool,
    attempts: Option<NonZeroU32>,
    keys: Option<(String, Secret<String>)>,
    provider: Option<SharedCredentialsProvider>,
    role: Option<Role>,
}

impl Connect {
    /// As the environment and the shared files say.
    pub fn new() -> Self {
        Self::default()
    }

    /// In this region, whatever the environment says.
    pub fn region(self, region: impl Into<String>) -> Self {
        Self { region: Some(region.into()), ..self }
    }

    /// By this profile of the shared files.
    pub fn profile(self, profile: impl Into<String>) -> Self {
        Self { profile: Some(profile.into()), ..self }
    }

    /// At `endpoint` (`http://host:port`) in the place of AWS, for all services: an S3-compatible store, a test server.
    /// Checksums are then sent and checked only where a call needs them, since many stores refuse others.
    pub fn endpoint(self, endpoint: impl Into<String>) -> Self {
        Self { endpoint: Some(endpoint.into()), ..self }
    }

    /// Puts buckets into the path of an address instead of its host.
    pub fn path_style(self) -> Self {
        Self { path_style: true, ..self }
    }

    /// With this key, for stores that have no other way to log in.
    pub fn keys(self, id: impl Into<String>, secret: Secret<String>) -> Self {
        Self { keys: Some((id.into(), secret)), ..self }
    }

    /// With the credentials of `provider`: a role to assume, another chain.
    pub fn credentials(self, provider: impl ProvideCredentials + 'static) -> Self {
        Self { provider: Some(SharedCredentialsProvider::new(provider)), ..self }
    }

    /// As `role`, which the credentials that are found otherwise take on. It is taken on again before its credentials end,
    /// and by [`Account::lasting`] before they would end within what is planned.
    pub fn assume(self, role: Role) -> Self {
        Self { role: Some(role), ..self }
    }

    /// How often the SDK makes a call that can be repeated, with growing pauses: 3 times unless said otherwise. Nobody
    /// above multiplies that; what was tried as often says so.
    pub fn attempts(self, attempts: NonZeroU32) -> Self {
        Self { attempts: Some(attempts), ..self }
    }

    /// Reads what the shared files say. AWS is not asked yet: see [`Account::identity`].
    ///
    /// Every secret among the credentials is made known to the redactor of `cx`, renewed ones too. Idempotent.
    ///
    /// Fails with [`InvalidInput`](ecolaura_deploy_core::ErrorKind::InvalidInput) if no region is known or the endpoint
    /// is no address.
    pub async fn connect(self, cx: &Context) -> Result<Account> {
        let place = self.endpoint.as_deref().map(Place::of).transpose()?;
        let attempts = self.attempts.map_or(3, NonZeroU32::get);
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .http_client(http::client(place.is_some_and(|place| place == Place::Here)))
            .retry_config(retries(attempts))
            .timeout_config(timeouts());
        if let Some(region) = self.region.clone() {
            loader = loader.region(Region::new(region));
        }
        if let Some(profile) = &self.profile {
            loader = loader.profile_name(profile);
        }
        if let Some(endpoint) = &self.endpoint {
            loader = loader
                .endpoint_url(endpoint)
                .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
                .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        }
        if let Some(provider) = self.given() {
            loader = loader.credentials_provider(provider);
        }
        let config = cx.bounded(OPERATION, Box::pin(loader.load())).await?;
        let Some(region) = config.region().map(|region| region.as_ref().to_owned()) else {
            return Err(Error::invalid(OPERATION, "no region is known")
                .with("profile", self.profile.as_deref().unwrap_or("default"))
                .advice("set AWS_REGION, or write `region = …` into the profile"));
        };
        let telling = config
            .credentials_provider()
            .map(|provider| SharedCredentialsProvider::new(Telling::new(provider, cx.redactor())));
        let mut builder = config.into_builder();
        builder.set_credentials_provider(telling);
        let account = Account::new(builder.build(), region, self.path_style, attempts);
        match &self.role {
            Some(role) => Ok(account.as_role(role, cx.redactor()).await),
            None => Ok(account),
        }
    }

    fn given(&self) -> Option<SharedCredentialsProvider> {
        let keys = self.keys.as_ref().map(|(id, secret)| {
            SharedCredentialsProvider::new(Credentials::new(id, secret.expose(), None, None, "given keys"))
        });
        self.provider.clone().or(keys)
    }
}

impl fmt::Debug for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connect")
            .field("region", &self.region)
            .field("profile", &self.profile)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

/// The SDK's own retries, `attempts` calls in all. The adaptive ones would let one throttled call slow down all others.
pub(crate) fn retries(attempts: u32) -> RetryConfig {
    RetryConfig::standard().with_max_attempts(attempts)
}

/// How long the SDK waits.
pub(crate) fn timeouts() -> TimeoutConfig {
    TimeoutConfig::builder().operation_attempt_timeout(PATIENCE).build()
}

/// A way to where `account` is, for clients that are not of the SDK.
#[cfg(feature = "run-store")]
pub(crate) fn connector(account: &Account) -> SharedHttpConnector {
    let place = account.endpoint().and_then(|endpoint| Place::of(endpoint).ok());
    http::connector(place == Some(Place::Here))
}

/// Where an endpoint is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// On this machine, which no proxy reaches.
    Here,
    Elsewhere,
}

impl Place {
    fn of(endpoint: &str) -> Result<Self> {
        let rest = ["https://", "http://"].into_iter().find_map(|scheme| endpoint.strip_prefix(scheme));
        let authority = rest.unwrap_or_default().split('/').next().unwrap_or_default();
        if authority.is_empty() || authority.contains('@') {
            let error = Error::invalid(OPERATION, "the endpoint is no address without a user and a password");
            return Err(error.advice("write `https://host:port`"));
        }
        let host = match authority.strip_prefix('[') {
            Some(v6) => v6.split(']').next(),
            None => authority.split(':').next(),
        };
        let host = host.unwrap_or_default();
        let here = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        Ok(if here { Self::Here } else { Self::Elsewhere })
    }
}

/// Tells the redactor every secret that its provider gives.
#[derive(Debug)]
pub(super) struct Telling {
    provider: SharedCredentialsProvider,
    redactor: Redactor,
}

impl ProvideCredentials for Telling {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.told())
    }

    fn fallback_on_interrupt(&self) -> Option<Credentials> {
        self.provider.fallback_on_interrupt()
    }
}

impl Telling {
    pub(super) fn new(provider: impl ProvideCredentials + 'static, redactor: &Redactor) -> Self {
        Self { provider: SharedCredentialsProvider::new(provider), redactor: redactor.clone() }
    }

    async fn told(&self) -> provider::Result {
        let credentials = self.provider.provide_credentials().await?;
        for secret in [Some(credentials.secret_access_key()), credentials.session_token()].into_iter().flatten() {
            self.redactor.register(&Secret::new(secret.to_owned()));
        }
        Ok(credentials)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_spoken_to_directly_and_logins_in_addresses_are_refused() {
        for here in ["http://127.0.0.1:5000", "http://localhost:9000/x", "https://[::1]:443"] {
            assert_eq!(Place::of(here).unwrap(), Place::Here, "{here}");
        }
        assert_eq!(Place::of("https://minio.example:9000").unwrap(), Place::Elsewhere);
        for wrong in ["127.0.0.1:5000", "http://", "ftp://host", "https://user:hunter2-hunter2@host"] {
            let error = Place::of(wrong).unwrap_err();
            assert!(!error.report().contains("hunter2"), "{error:?}");
        }
    }
}
