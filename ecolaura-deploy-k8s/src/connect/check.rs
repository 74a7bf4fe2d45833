//! Who a connection is, and to what.

use std::fmt;

use ecolaura_deploy_core::{Context, ErrorKind, Result};
use k8s_openapi::api::authentication::v1::{SelfSubjectReview, UserInfo};
use kube::{Api, api::PostParams};
use serde::{Deserialize, Serialize};

use crate::{Connection, error::Call};

const OPERATION: &str = "cluster.check";

/// Who asks which server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Identity {
    /// The server's address.
    pub server: String,
    /// Its version, `v1.34.4`.
    pub version: String,
    /// The user that it takes this connection for; empty if it does not tell.
    pub user: String,
    /// The user's groups.
    pub groups: Vec<String>,
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = if self.user.is_empty() { "somebody" } else { &self.user };
        write!(f, "{user} at {} (Kubernetes {})", self.server, self.version)
    }
}

impl Connection {
    /// Asks the server for its version and for whom it takes this connection. Changes nothing, and does not wait for a
    /// server that is away.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unavailable`] with the address and the reason if it cannot be reached,
    /// [`ErrorKind::Unauthenticated`] if it does not know who asks.
    pub async fn check(&self, cx: &Context) -> Result<Identity> {
        let version = Call::reads(OPERATION, "the server's version");
        let version = self.once(cx, &version, |client| async move { client.apiserver_version().await }).await?;
        let who = Call::reads(OPERATION, "whom the server takes this connection for");
        let asked = self.once(cx, &who, |client| async move {
            Api::<SelfSubjectReview>::all(client).create(&PostParams::default(), &SelfSubjectReview::default()).await
        });
        let user = match asked.await {
            Ok(review) => review.status.and_then(|status| status.user_info).unwrap_or_default(),
            // Servers before 1.28 do not tell.
            Err(error) if error.kind() == ErrorKind::NotFound => UserInfo::default(),
            Err(error) => return Err(error),
        };
        Ok(Identity {
            server: self.server().to_owned(),
            version: version.git_version,
            user: user.username.unwrap_or_default(),
            groups: user.groups.unwrap_or_default(),
        })
    }
}
