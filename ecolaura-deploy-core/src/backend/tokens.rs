//! Bearer tokens, as one backend makes them and another sends them.

use std::{fmt, time::Duration};

use async_trait::async_trait;

use crate::{Result, Secret};

/// A bearer token, and how long it is good for.
#[derive(Debug, Clone)]
pub struct Token {
    value: Secret<String>,
    life: Option<Duration>,
}

impl Token {
    /// One that is good until the server says otherwise.
    pub fn new(value: Secret<String>) -> Self {
        Self { value, life: None }
    }

    /// Good for `life` from when it was asked for.
    pub fn good_for(self, life: Duration) -> Self {
        Self { life: Some(life), ..self }
    }

    /// The token itself.
    pub fn value(&self) -> &Secret<String> {
        &self.value
    }

    /// How long it is good for, from when it was asked for; `None` until the server says otherwise.
    pub fn life(&self) -> Option<Duration> {
        self.life
    }
}

/// Makes the tokens that a connection authenticates with.
///
/// It is asked by one caller at a time: before the first call, some time before a token ends, and once after the
/// server has refused one. What it answers is kept until then, so it should not keep tokens itself.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait TokenSource: fmt::Debug + Send + Sync + 'static {
    /// A new token. An error is the error of the call that needed the token, unless the token before is still good.
    ///
    /// Idempotent. A cancel leaves nothing behind.
    async fn token(&self) -> Result<Token>;
}

const _: fn(&dyn TokenSource) = |_| {};
