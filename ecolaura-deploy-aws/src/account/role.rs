//! A role that is taken on, and taken on again before its credentials end.

use std::{fmt, sync::Arc, time::Duration};

use aws_config::{identity::IdentityCache, sts::AssumeRoleProvider};
use aws_credential_types::{
    Credentials,
    provider::{self, ProvideCredentials, SharedCredentialsProvider, future},
};
use aws_types::SdkConfig;
use ecolaura_deploy_core::{
    clock::{Clock as _, SystemClock},
    redact::Redactor,
};
use jiff::Timestamp;
use tokio::sync::Mutex;

use super::{connect::Telling, lifetime::until};

/// How long before their end credentials are renewed anyway.
const EARLY: Duration = Duration::from_mins(5);

/// A role to work as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Role {
    arn: String,
    session: String,
    length: Option<Duration>,
    external: Option<String>,
}

impl Role {
    /// The role `arn`, for sessions of an hour that are called `ecolaura-deploy`.
    pub fn new(arn: impl Into<String>) -> Self {
        Self { arn: arn.into(), session: "ecolaura-deploy".to_owned(), length: None, external: None }
    }

    /// Calls the sessions so: they are what `CloudTrail` names.
    pub fn session(self, name: impl Into<String>) -> Self {
        Self { session: name.into(), ..self }
    }

    /// For sessions of this length, no longer than the role lets them be. A role that another role takes on lets them be
    /// an hour.
    pub fn length(self, length: Duration) -> Self {
        Self { length: Some(length), ..self }
    }

    /// With the id that the role's owner wants to hear.
    pub fn external_id(self, id: impl Into<String>) -> Self {
        Self { external: Some(id.into()), ..self }
    }

    /// `base` as this role.
    pub(super) async fn taken_on(&self, base: &SdkConfig, redactor: &Redactor) -> (SdkConfig, Arc<Assumed>) {
        let mut builder = AssumeRoleProvider::builder(&self.arn).session_name(&self.session).configure(base);
        if let Some(length) = self.length {
            builder = builder.session_length(length);
        }
        if let Some(id) = &self.external {
            builder = builder.external_id(id);
        }
        let provider = Telling::new(builder.build().await, redactor);
        let assumed = Arc::new(Assumed { provider, held: Mutex::default() });
        // The SDK would hold on to what it was given until seconds before its end.
        let config = base.to_builder().identity_cache(IdentityCache::no_cache());
        let provider = SharedCredentialsProvider::new(Holding(Arc::clone(&assumed)));
        (config.credentials_provider(provider).build(), assumed)
    }
}

/// The credentials of a role, which are held for all.
pub(crate) struct Assumed {
    provider: Telling,
    held: Mutex<Option<Credentials>>,
}

impl Assumed {
    /// Credentials that last for `left` from `now` on; the role is taken on again if those that are held do not. New ones
    /// may be shorter.
    pub(super) async fn lasting(&self, left: Duration, now: Timestamp) -> provider::Result {
        let mut held = self.held.lock().await;
        if let Some(credentials) = held.as_ref().filter(|held| lasts(held, left, now)) {
            return Ok(credentials.clone());
        }
        let credentials = self.provider.provide_credentials().await?;
        *held = Some(credentials.clone());
        Ok(credentials)
    }
}

fn lasts(credentials: &Credentials, left: Duration, now: Timestamp) -> bool {
    credentials.expiry().is_none_or(|end| until(end, now) >= left)
}

impl fmt::Debug for Assumed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Assumed")
    }
}

#[derive(Debug)]
struct Holding(Arc<Assumed>);

impl ProvideCredentials for Holding {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(self.0.lasting(EARLY, SystemClock.now()))
    }
}
