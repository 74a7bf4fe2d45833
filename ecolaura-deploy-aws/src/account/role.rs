//! A role that is taken on, and taken on again before its credentials end.

use std::{fmt, sync::Arc, time::Duration};

use aws_config::{identity::IdentityCache, sts::AssumeRoleProvider};
use aws_credential_types::{
    Credentials,
    provider::{self, ProvideCredentials, SharedCredentialsProvider, error::CredentialsError, future},
};
use aws_types::SdkConfig;
use ecolaura_deploy_core::{
    clock::{Clock as _, SystemClock},
    redact::Redactor,
};
use jiff::Timestamp;
use tokio::sync::Mutex;

use super::{connect::Telling, lifetime::until};
use crate::{CALLS, access::Grant};

/// How long before their end credentials are renewed anyway.
const EARLY: Duration = Duration::from_mins(5);

/// How long they have to last at least for a call.
const LATE: Duration = Duration::from_mins(1);

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

    /// What taking it on takes, of whoever does; the role's own trust has to name them too.
    pub fn taking_on(&self) -> Grant {
        Grant::new(["sts:AssumeRole"], [&self.arn])
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
        let assumed = Arc::new(Assumed { arn: self.arn.clone(), provider, held: Mutex::default() });
        // The SDK would hold on to what it was given until seconds before its end.
        let config = base.to_builder().identity_cache(IdentityCache::no_cache());
        let provider = SharedCredentialsProvider::new(Holding(Arc::clone(&assumed)));
        (config.credentials_provider(provider).build(), assumed)
    }
}

/// The credentials of a role, which are held for all.
pub(crate) struct Assumed {
    arn: String,
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
        tracing::debug!(target: CALLS, action = "sts:AssumeRole", resource = self.arn, "call");
        let given = self.provider.provide_credentials().await;
        let credentials = given.map_err(|source| {
            CredentialsError::provider_error(NotTakenOn { arn: self.arn.clone(), source: Box::new(source) })
        })?;
        *held = Some(credentials.clone());
        Ok(credentials)
    }

    /// Credentials for a call. While STS cannot be reached, those that are held serve until shortly before their end.
    async fn serving(&self, now: Timestamp) -> provider::Result {
        match self.lasting(EARLY, now).await {
            Ok(credentials) => Ok(credentials),
            Err(error) => {
                let held = self.held.lock().await;
                held.as_ref().filter(|held| lasts(held, LATE, now)).cloned().ok_or(error)
            }
        }
    }
}

/// That a role cannot be taken on.
#[derive(Debug)]
pub(crate) struct NotTakenOn {
    pub(crate) arn: String,
    source: Box<CredentialsError>,
}

impl fmt::Display for NotTakenOn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sts:AssumeRole on {}", self.arn)
    }
}

impl std::error::Error for NotTakenOn {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&*self.source)
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
        future::ProvideCredentials::new(self.0.serving(SystemClock.now()))
    }
}
