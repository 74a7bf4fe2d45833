//! Credentials that end earlier than they said: they are asked for anew, and the call is made again.
//!
//! The SDK keeps what a provider gave until shortly before its end. A session that is revoked, or a machine whose clock is
//! wrong, is refused before; without this every call would be refused from then on.

use std::sync::{Arc, Mutex, PoisonError};

use aws_config::identity::IdentityCache;
use aws_smithy_runtime_api::client::{
    identity::{IdentityFuture, ResolveCachedIdentity, SharedIdentityCache, SharedIdentityResolver},
    interceptors::context::InterceptorContext,
    orchestrator::HttpResponse,
    retries::classifiers::{ClassifyRetry, RetryAction},
    runtime_components::RuntimeComponents,
};
use aws_smithy_types::{config_bag::ConfigBag, retry::ErrorKind};

use crate::error::is_expired;

/// The credentials of one client: kept by a cache of the SDK, until a service says that they have ended.
#[derive(Debug, Clone)]
pub(crate) struct Renewal(Arc<Mutex<SharedIdentityCache>>);

impl Renewal {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Mutex::new(IdentityCache::lazy().build())))
    }

    fn cache(&self) -> SharedIdentityCache {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn renew(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = IdentityCache::lazy().build();
    }
}

impl ResolveCachedIdentity for Renewal {
    fn resolve_cached_identity<'a>(
        &'a self,
        resolver: SharedIdentityResolver,
        runtime_components: &'a RuntimeComponents,
        config_bag: &'a ConfigBag,
    ) -> IdentityFuture<'a> {
        let cache = self.cache();
        IdentityFuture::new(
            async move { cache.resolve_cached_identity(resolver, runtime_components, config_bag).await },
        )
    }
}

/// Within the attempts that a call has.
impl ClassifyRetry for Renewal {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        if !context.response().is_some_and(says_expired) {
            return RetryAction::NoActionIndicated;
        }
        self.renew();
        RetryAction::retryable_error(ErrorKind::TransientError)
    }

    fn name(&self) -> &'static str {
        "renewal of credentials"
    }
}

/// A refusal of a `HEAD` has no document that could say it.
fn says_expired(response: &HttpResponse) -> bool {
    let body = response.body().bytes().unwrap_or_default();
    let text = String::from_utf8_lossy(body);
    let code = text.split_once("<Code>").and_then(|(_, rest)| rest.split_once("</Code>")).map(|(code, _)| code);
    match (response.status().as_u16(), code) {
        (400, None) => body.is_empty(),
        (400..=499, Some(code)) => is_expired(code),
        _ => false,
    }
}

/// A client whose credentials are renewed when a service says that they have ended.
macro_rules! renewing {
    ($builder:expr) => {{
        let renewal = $crate::account::Renewal::new();
        $builder.identity_cache(renewal.clone()).retry_classifier(renewal)
    }};
}
pub(crate) use renewing;
