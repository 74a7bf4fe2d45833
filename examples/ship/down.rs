//! Ending what a run left up.

use ecolaura_deploy_core::{Context, Result};

use super::{backends::Platform, site_server};

/// Ends the services, their agent and the sites' server below the folder of `platform`, and says what was there.
pub async fn stop(cx: &Context, platform: &Platform) -> Result<Vec<String>> {
    let mut lines = platform.host.stop(cx).await?;
    let sites = site_server::stop(&platform.layout).await?;
    lines.extend(sites.then(|| "the server of the sites has ended".to_owned()));
    if lines.is_empty() {
        lines.push("nothing was running".to_owned());
    }
    lines.push(format!("databases, sites and records are still in {}", platform.layout.root().display()));
    Ok(lines)
}
