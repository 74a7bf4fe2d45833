//! What the examples of AWS share: the account that the environment names, and what servers that play AWS do not do.

mod played;

use ecolaura_deploy_aws::{Account, Connect};
use ecolaura_deploy_core::{Context, Result};

pub use self::played::{Played, by_path};

/// The account that the environment names, in `region` or the one of the environment. `AWS_ENDPOINT_URL` names servers
/// that play AWS.
pub async fn connect(cx: &Context, region: Option<&str>) -> Result<Account> {
    let mut connect = Connect::new();
    if let Some(region) = region {
        connect = connect.region(region);
    }
    if let Some(endpoint) = std::env::var("AWS_ENDPOINT_URL").ok().filter(|endpoint| !endpoint.is_empty()) {
        connect = connect.endpoint(endpoint).path_style();
    }
    connect.connect(cx).await
}

/// Whether servers play AWS: they keep no images, and nobody shows a site.
pub fn is_played(account: &Account) -> bool {
    account.endpoint().is_some()
}
