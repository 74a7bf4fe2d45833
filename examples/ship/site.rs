//! The site: its rules, and what it is told about its environment.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use ecolaura_deploy_core::{
    Context, Error, Result,
    backend::{AppliedWorkload, ClusterTarget},
    cdn::{HeaderRule, SiteSource},
    step::{Applied, EffectClass, NoUndo, Planned, Step, StepPlan},
    steps::SiteFiles,
    vocabulary::Name,
};
use serde::Deserialize;
use serde_json::json;

use super::{
    backends::Platform,
    pipeline::{BACKEND, NOTIFICATIONS},
};

/// How long to wait for the address of a service that is being rolled out beside.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Deserialize)]
struct Header {
    glob: String,
    name: String,
    value: String,
}

/// `source` with the headers that the sample wants, where they are sent with it.
pub fn rules(source: SiteSource, platform: &Platform) -> Result<SiteSource> {
    if !platform.storage.sends_headers() {
        return Ok(source);
    }
    let path = platform.layout.app("web/headers.json");
    let bytes = std::fs::read(&path).map_err(|error| Error::io("site.rules", &path, error))?;
    let headers: Vec<Header> = serde_json::from_slice(&bytes)
        .map_err(|error| Error::invalid("site.rules", format!("`{}`: {error}", path.display())))?;
    Ok(headers
        .into_iter()
        .fold(source, |source, Header { glob, name, value }| source.header(HeaderRule::new(glob, name, value))))
}

/// Makes the site's `config.json` from the addresses at which the services answer. It only reads, so a plan knows its
/// answer as soon as the services have addresses.
///
/// The notifications service goes its own way: if it has no address within half a minute, the site does without.
#[derive(Debug, Clone)]
pub struct SiteConfig {
    cluster: Arc<dyn ClusterTarget>,
    namespace: Name,
}

impl SiteConfig {
    /// For the services of `namespace`.
    pub fn new(cluster: Arc<dyn ClusterTarget>, namespace: Name) -> Self {
        Self { cluster, namespace }
    }

    /// The file, and whether every address is in it.
    async fn file(&self, cx: &Context) -> Result<(SiteFiles, bool)> {
        let addresses = self.cluster.status(cx, &self.namespace).await?.addresses;
        let of =
            |service: &str| addresses.iter().find(|(name, _)| name.as_str() == service).map(|(_, url)| url.as_str());
        let (api, notifications) = (of(BACKEND), of(NOTIFICATIONS));
        let config = json!({
            "environment": self.namespace.as_str(),
            "api": api.unwrap_or_default(),
            "notifications": notifications.unwrap_or_default(),
        });
        let files = SiteFiles([("config.json".to_owned(), format!("{config}\n"))].into());
        Ok((files, api.is_some() && notifications.is_some()))
    }
}

#[async_trait]
impl Step for SiteConfig {
    type Input = AppliedWorkload;
    type Output = SiteFiles;
    type Undo = NoUndo;

    fn kind(&self) -> &'static str {
        "configure site"
    }

    fn effect_class(&self) -> EffectClass {
        EffectClass::Pure
    }

    async fn plan(&self, cx: &Context, _live: Planned<AppliedWorkload>) -> Result<StepPlan<SiteFiles>> {
        let (files, whole) = self.file(cx).await?;
        Ok(if whole { StepPlan::unchanged(Vec::new(), files) } else { StepPlan::gate(None) })
    }

    async fn apply(&self, cx: &Context, _live: AppliedWorkload) -> Result<Applied<SiteFiles, NoUndo>> {
        let began = tokio::time::Instant::now();
        loop {
            let (files, whole) = self.file(cx).await?;
            if whole || began.elapsed() > PATIENCE {
                return Ok(Applied::new(files));
            }
            cx.sleep("site.configure", Duration::from_millis(100)).await?;
        }
    }
}
