//! Clusters of EKS: where they are, and tokens for them.
//!
//! The Kubernetes crate connects with both, and knows nothing of AWS:
//!
//! ```text
//! let cluster = EksCluster::find(&account, &cx, "production").await?;
//! let connect = Connect::tokens(cluster.endpoint(), Arc::new(cluster.tokens(&account, &cx)))
//!     .certificate_authority(cluster.certificate_authority());
//! ```

mod tokens;

use aws_sdk_eks::{Client, types::ClusterStatus};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ecolaura_deploy_core::{Context, Error, ErrorKind, Result};

pub use self::tokens::EksTokens;
use crate::{Account, Scope, access::Grant};

const OPERATION: &str = "eks.find";

/// Where a cluster is, as AWS tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EksCluster {
    name: String,
    endpoint: String,
    authority: Vec<u8>,
    version: String,
}

impl EksCluster {
    /// The cluster `name`. Reads only.
    ///
    /// Fails with [`ErrorKind::NotFound`], naming the region that was looked into, with [`ErrorKind::Unavailable`] while
    /// it is being made, and with [`ErrorKind::Conflict`] if it failed or is being deleted.
    pub async fn find(account: &Account, cx: &Context, name: &str) -> Result<Self> {
        let resource = resource(&account.scope(cx).await?, name);
        let call = account.reads((cx, OPERATION), "eks:DescribeCluster", resource);
        let request = Client::new(account.sdk_config()).describe_cluster().name(name).send();
        let found = call.send(request).await.map_err(|error| error.with("region", account.region()))?;
        let cluster = found.cluster.ok_or_else(|| corrupt(name, "is described by nothing"))?;
        serves(name, cluster.status())?;
        let endpoint = cluster.endpoint.ok_or_else(|| corrupt(name, "has no endpoint"))?;
        let authority = cluster.certificate_authority.and_then(|authority| authority.data);
        let authority = authority.ok_or_else(|| corrupt(name, "has no certificate authority"))?;
        let authority = STANDARD
            .decode(authority.trim())
            .map_err(|_| corrupt(name, "has a certificate authority that is no base64"))?;
        let version = cluster.version.unwrap_or_default();
        Ok(Self { name: name.to_owned(), endpoint, authority, version })
    }

    /// What [`find`](EksCluster::find) of `name` takes. Tokens take nothing; what they may do in the cluster is said
    /// there.
    pub fn finding(scope: &Scope, name: &str) -> Grant {
        Grant::new(["eks:DescribeCluster"], [resource(scope, name)])
    }

    /// `https://…`
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The certificates that the API server's are signed by, as PEM.
    pub fn certificate_authority(&self) -> &[u8] {
        &self.authority
    }

    /// The version of Kubernetes, such as `1.34`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Tokens for the identity of `account`.
    pub fn tokens(&self, account: &Account, cx: &Context) -> EksTokens {
        EksTokens::new(account, cx, &self.name)
    }
}

fn resource(scope: &Scope, name: &str) -> String {
    scope.arn("eks", format_args!("cluster/{name}"))
}

fn corrupt(name: &str, problem: &str) -> Error {
    Error::new(ErrorKind::Corrupt, OPERATION, format!("the cluster `{name}` {problem}"))
}

/// Whether a cluster in this state has an API server.
fn serves(name: &str, status: Option<&ClusterStatus>) -> Result<()> {
    let failed = |kind, state: &ClusterStatus| {
        Error::new(kind, OPERATION, format!("the cluster `{name}` is {}", state.as_str().to_lowercase()))
    };
    match status {
        Some(state @ (ClusterStatus::Creating | ClusterStatus::Pending)) => {
            Err(failed(ErrorKind::Unavailable, state).advice("wait until it is active"))
        }
        Some(state @ (ClusterStatus::Deleting | ClusterStatus::Failed)) => Err(failed(ErrorKind::Conflict, state)),
        _ => Ok(()),
    }
}
