//! Who registries are told that we are.

use std::fmt;

use async_trait::async_trait;

pub use self::docker::DockerConfig;
use crate::{Context, Result, Secret};

mod docker;

/// Names under which Docker Hub is known.
const HUB: [&str; 3] = ["docker.io", "index.docker.io", "registry-1.docker.io"];
/// What Docker's `config.json` calls it.
const HUB_LOGIN: &str = "https://index.docker.io/v1/";

pub(crate) fn is_hub(host: &str) -> bool {
    HUB.contains(&host)
}

/// Whether `host` is the name of a registry, and no address.
#[cfg(feature = "docker")]
pub(crate) fn is_host(host: &str) -> bool {
    host == HUB_LOGIN || (!host.is_empty() && !host.contains(['/', '@']) && !host.contains(char::is_whitespace))
}

/// Under which name logins for `host` are kept.
pub(crate) fn kept_as(host: &str) -> &str {
    if is_hub(host) { HUB_LOGIN } else { host }
}

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

    pub(crate) fn secret(&self) -> Option<&Secret<String>> {
        match self {
            Self::Anonymous => None,
            Self::Basic { password: secret, .. } | Self::Identity(secret) | Self::Bearer(secret) => Some(secret),
        }
    }

    /// Who it is, for errors.
    pub(crate) fn who(&self) -> String {
        match self {
            Self::Anonymous => "nobody (no credentials)".to_owned(),
            Self::Basic { username, .. } => format!("`{username}`"),
            Self::Identity(_) | Self::Bearer(_) => "the owner of the token".to_owned(),
        }
    }
}

/// Knows what to log in with at which registry. A [`Credential`] is none: it does not say whose it is.
#[async_trait]
pub trait CredentialSource: fmt::Debug + Send + Sync + 'static {
    /// What to log in with at `host`, which for Docker Hub is `https://index.docker.io/v1/`. Asked when the registry
    /// first wants to know, and again when it takes the answer no longer; answers are kept in between.
    async fn credential(&self, cx: &Context, host: &str) -> Result<Credential>;
}

const _: fn(&dyn CredentialSource) = |_| {};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_for_docker_hub_are_kept_under_its_old_name() {
        for host in ["docker.io", "index.docker.io", "registry-1.docker.io"] {
            assert_eq!(kept_as(host), "https://index.docker.io/v1/");
        }
        assert_eq!(kept_as("127.0.0.1:5000"), "127.0.0.1:5000");
    }
}
