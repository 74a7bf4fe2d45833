//! Who the registry is told that we are.

use std::fmt;

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{Context, Result, Secret};

/// What to log in with. Secrets are told to the [`Context`]'s redactor when they are used, and never print.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Credential {
    /// Nothing.
    Anonymous,
    /// A name and a password, or a token that stands in its place.
    Basic {
        /// The name.
        username: String,
        /// The password.
        password: Secret<String>,
    },
    /// A token from which the registry's token server makes others (Docker's `identitytoken`).
    Identity(Secret<String>),
    /// A token that the registry takes as it is (Docker's `registrytoken`).
    Bearer(Secret<String>),
}

impl Credential {
    /// A name and a password.
    pub fn basic(username: impl Into<String>, password: Secret<String>) -> Self {
        Self::Basic { username: username.into(), password }
    }

    pub(super) fn secret(&self) -> Option<&Secret<String>> {
        match self {
            Self::Anonymous => None,
            Self::Basic { password: secret, .. } | Self::Identity(secret) | Self::Bearer(secret) => Some(secret),
        }
    }

    /// Who it is, for errors.
    pub(super) fn who(&self) -> String {
        match self {
            Self::Anonymous => "nobody (no credentials)".to_owned(),
            Self::Basic { username, .. } => format!("`{username}`"),
            Self::Identity(_) | Self::Bearer(_) => "the owner of the token".to_owned(),
        }
    }

    /// The value of `Authorization` that carries it as it is.
    pub(super) fn header(&self) -> Option<Secret<String>> {
        match self {
            Self::Basic { username, password } => {
                Some(Secret::new(format!("Basic {}", STANDARD.encode(format!("{username}:{}", password.expose())))))
            }
            Self::Bearer(token) => Some(Secret::new(format!("Bearer {}", token.expose()))),
            Self::Anonymous | Self::Identity(_) => None,
        }
    }
}

/// Knows what to log in with.
#[async_trait]
pub trait CredentialSource: fmt::Debug + Send + Sync + 'static {
    /// What to log in with at `host`, which for Docker Hub is `https://index.docker.io/v1/`. Asked when the registry first wants to know, and again when it takes the answer no
    /// longer; answers are kept in between.
    async fn credential(&self, cx: &Context, host: &str) -> Result<Credential>;
}

const _: fn(&dyn CredentialSource) = |_| {};

#[async_trait]
impl CredentialSource for Credential {
    async fn credential(&self, _cx: &Context, _host: &str) -> Result<Credential> {
        Ok(self.clone())
    }
}
