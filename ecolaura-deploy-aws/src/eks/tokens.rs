//! Tokens for a cluster: a question to STS, signed and not sent, that the cluster sends in our place.

#[cfg(test)]
mod tests;

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use aws_credential_types::{Credentials, provider::ProvideCredentials};
use aws_sigv4::{
    http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign},
    sign::v4,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ecolaura_deploy_core::{
    Context, Error, ErrorKind, Result, Secret,
    backend::{Token, TokenSource},
};

use crate::{Account, account, error};

const OPERATION: &str = "eks.token";
const PREFIX: &str = "k8s-aws-v1.";

/// The signed header that binds a token to its cluster.
const CLUSTER: &str = "x-k8s-aws-id";

/// The signature's own life, of which the cluster makes a quarter of an hour.
const SIGNED: Duration = Duration::from_mins(1);

/// A minute less than a cluster accepts.
const LIFE: Duration = Duration::from_mins(14);

/// Tokens for one cluster, as `aws eks get-token` makes them, without asking anybody. They are the identity of the
/// account's credentials and end with these, if that is earlier.
pub struct EksTokens {
    account: Account,
    cx: Context,
    cluster: String,
}

impl EksTokens {
    /// For the cluster `name`. The clock and the redactor of `cx` are used.
    pub fn new(account: &Account, cx: &Context, name: impl Into<String>) -> Self {
        Self { account: account.clone(), cx: cx.clone(), cluster: name.into() }
    }

    fn now(&self) -> SystemTime {
        let seconds = self.cx.clock().now().as_second();
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.try_into().unwrap_or_default())
    }

    /// The regional STS: the global one is in one region, and may be away while ours is there.
    fn question(&self) -> String {
        let region = self.account.region();
        let aws = format!("https://sts.{region}.{}", account::domain(region));
        let endpoint = self.account.endpoint().unwrap_or(&aws).trim_end_matches('/');
        format!("{endpoint}/?Action=GetCallerIdentity&Version=2011-06-15")
    }

    fn signed(&self, credentials: &Credentials, now: SystemTime) -> Result<String> {
        // The causes would name parts of what is signed.
        let failed = |_| Error::internal(OPERATION, "the question to STS could not be signed");
        let mut settings = SigningSettings::default();
        settings.signature_location = SignatureLocation::QueryParams;
        settings.expires_in = Some(SIGNED);
        let identity = credentials.clone().into();
        let parameters = v4::SigningParams::builder()
            .identity(&identity)
            .region(self.account.region())
            .name("sts")
            .time(now)
            .settings(settings)
            .build()
            .map_err(|error| failed(error.to_string()))?;
        let url = self.question();
        let headers = [(CLUSTER, self.cluster.as_str())];
        let signable = SignableRequest::new("GET", url.as_str(), headers.into_iter(), SignableBody::empty())
            .map_err(|error| failed(error.to_string()))?;
        let (instructions, _) =
            sign(signable, &parameters.into()).map_err(|error| failed(error.to_string()))?.into_parts();
        let mut request = http::Request::get(&url).body(()).map_err(|error| failed(error.to_string()))?;
        instructions.apply_to_request_http1x(&mut request);
        Ok(request.uri().to_string())
    }
}

#[async_trait]
impl TokenSource for EksTokens {
    async fn token(&self) -> Result<Token> {
        let Some(provider) = self.account.sdk_config().credentials_provider() else {
            return Err(Error::new(ErrorKind::Unauthenticated, OPERATION, "no credentials are configured"));
        };
        let credentials = provider.provide_credentials().await;
        let credentials = credentials.map_err(|failure| error::no_credentials(&self.cx, OPERATION, &failure))?;
        let now = self.now();
        let life = credentials.expiry().map_or(LIFE, |end| end.duration_since(now).unwrap_or_default().min(LIFE));
        if life.is_zero() {
            return Err(Error::new(ErrorKind::Unauthenticated, OPERATION, "the credentials have ended")
                .with("cluster", &self.cluster)
                .advice("log in again"));
        }
        let token = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(self.signed(&credentials, now)?));
        let token = Secret::new(token);
        self.cx.redactor().register(&token);
        Ok(Token::new(token).good_for(life))
    }
}

impl fmt::Debug for EksTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EksTokens")
            .field("cluster", &self.cluster)
            .field("account", &self.account)
            .finish_non_exhaustive()
    }
}
