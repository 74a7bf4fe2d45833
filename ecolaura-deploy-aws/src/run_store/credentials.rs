//! The account's credentials, as `object_store` takes them.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use aws_credential_types::{
    Credentials,
    provider::{ProvideCredentials, SharedCredentialsProvider, error::CredentialsError},
};
use ecolaura_deploy_core::Context;
use object_store::{CredentialProvider, aws::AwsCredential};
use tokio::sync::Mutex;

use crate::Account;

/// How long before their end others are asked for.
const EARLY: Duration = Duration::from_mins(5);
/// How long those are kept that tell no end, as the SDK does.
const UNTOLD: Duration = Duration::from_mins(15);

/// Asks the account's provider, and keeps what it gave until shortly before its end: providers themselves ask whoever
/// gives credentials each time.
pub(super) struct Bridge {
    /// For its clock.
    cx: Context,
    provider: Option<SharedCredentialsProvider>,
    kept: Mutex<Option<Kept>>,
}

struct Kept {
    credential: Arc<AwsCredential>,
    until: SystemTime,
    end: SystemTime,
}

impl Kept {
    fn new(credentials: &Credentials, now: SystemTime) -> Self {
        let credential = AwsCredential {
            key_id: credentials.access_key_id().to_owned(),
            secret_key: credentials.secret_access_key().to_owned(),
            token: credentials.session_token().map(str::to_owned),
        };
        let until = credentials.expiry().map_or(now + UNTOLD, |end| end - EARLY);
        Self { credential: Arc::new(credential), until, end: credentials.expiry().unwrap_or(until) }
    }
}

impl Bridge {
    pub(super) fn new(cx: &Context, account: &Account) -> Self {
        Self { cx: cx.clone(), provider: account.sdk_config().credentials_provider(), kept: Mutex::default() }
    }

    async fn credential_at(&self, now: SystemTime) -> Result<Arc<AwsCredential>, CredentialsError> {
        let mut kept = self.kept.lock().await;
        if let Some(good) = kept.as_ref().filter(|kept| now < kept.until) {
            return Ok(Arc::clone(&good.credential));
        }
        let provider = self.provider.as_ref().ok_or_else(|| CredentialsError::not_loaded("none are configured"))?;
        match (provider.provide_credentials().await, kept.as_ref()) {
            (Ok(credentials), _) => {
                let fresh = Kept::new(&credentials, now);
                let credential = Arc::clone(&fresh.credential);
                *kept = Some(fresh);
                Ok(credential)
            }
            // Whoever gives them is away; these are good still.
            (Err(_), Some(old)) if now < old.end => Ok(Arc::clone(&old.credential)),
            (Err(error), _) => Err(error),
        }
    }
}

impl fmt::Debug for Bridge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bridge").field("provider", &self.provider).finish_non_exhaustive()
    }
}

#[async_trait]
impl CredentialProvider for Bridge {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let now = self.cx.clock().now().as_second().try_into().unwrap_or_default();
        let credential = self.credential_at(SystemTime::UNIX_EPOCH + Duration::from_secs(now)).await;
        credential.map_err(|error| object_store::Error::Generic { store: "S3", source: Box::new(error) })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use aws_credential_types::provider::future;

    use super::*;

    /// Gives credentials that last an hour, `left` times.
    #[derive(Debug)]
    struct Hourly {
        given: AtomicU64,
        left: u64,
    }

    impl ProvideCredentials for Hourly {
        fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
        where
            Self: 'a,
        {
            let given = self.given.fetch_add(1, Ordering::SeqCst);
            let end = at(60 * (given + 1));
            future::ProvideCredentials::ready(match given < self.left {
                true => Ok(Credentials::new(format!("AKIA{given}"), "a-secret-of-an-hour", None, Some(end), "test")),
                false => Err(CredentialsError::provider_error("nobody is there")),
            })
        }
    }

    fn at(minutes: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_hours(24) + Duration::from_mins(minutes)
    }

    fn hourly(left: u64) -> Bridge {
        let provider = SharedCredentialsProvider::new(Hourly { given: AtomicU64::new(0), left });
        let cx = Context::new("test".parse().unwrap());
        Bridge { cx, provider: Some(provider), kept: Mutex::default() }
    }

    #[tokio::test]
    async fn credentials_are_asked_for_once_and_renewed_before_they_end() {
        let bridge = hourly(u64::MAX);
        let mut given = Vec::new();
        for minute in [0, 1, 54, 56, 58, 100, 116] {
            given.push(bridge.credential_at(at(minute)).await.unwrap().key_id.clone());
        }
        assert_eq!(given, ["AKIA0", "AKIA0", "AKIA0", "AKIA1", "AKIA1", "AKIA1", "AKIA2"]);
        assert!(!format!("{bridge:?}").contains("secret-of"), "{bridge:?}");
    }

    #[tokio::test]
    async fn credentials_that_cannot_be_renewed_are_used_to_their_end() {
        let bridge = hourly(1);
        bridge.credential_at(at(0)).await.unwrap();
        assert_eq!(bridge.credential_at(at(59)).await.unwrap().key_id, "AKIA0");
        assert!(bridge.credential_at(at(61)).await.is_err());
    }
}
