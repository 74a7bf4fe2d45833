//! Publishing a site.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    Context, Result,
    backend::CdnPublisher,
    cdn::{self, PublishOptions, SiteSource},
    plan::Action,
    step::{Applied, EffectClass, Planned, Step, StepPlan, UndoData, Undoer},
    vocabulary::Digest,
};

/// The release of a site that was served before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SiteUndo {
    to: Digest,
}

impl UndoData for SiteUndo {
    const KIND: &'static str = "site release";
}

#[derive(Debug)]
struct SwitchBack(Arc<dyn CdnPublisher>);

#[async_trait]
impl Undoer<SiteUndo> for SwitchBack {
    fn target(&self) -> String {
        self.0.name().to_string()
    }

    fn describe(&self, undo: &SiteUndo) -> String {
        format!("serve release {} of {} again", undo.to, self.0.name())
    }

    async fn undo(&self, cx: &Context, undo: SiteUndo) -> Result<()> {
        cdn::switch_back(cx, self.0.as_ref(), Some(undo.to)).await
    }
}

/// Publishes a folder by the protocol of [`crate::cdn`]. Its output is the id of the release that is served. The
/// first publish of a site has nothing to go back to and stays when a run is undone.
#[derive(Debug, Clone)]
pub struct PublishSite {
    publisher: Arc<dyn CdnPublisher>,
    source: SiteSource,
    options: PublishOptions,
}

impl PublishSite {
    /// Publishes `source` through `publisher`.
    pub fn new(publisher: Arc<dyn CdnPublisher>, source: SiteSource) -> Self {
        Self { publisher, source, options: PublishOptions::default() }
    }

    /// With other options.
    pub fn options(mut self, options: PublishOptions) -> Self {
        self.options = options;
        self
    }
}

#[async_trait]
impl Step for PublishSite {
    type Input = ();
    type Output = Digest;
    type Undo = SiteUndo;

    fn kind(&self) -> &'static str {
        "publish site"
    }

    fn effect_class(&self) -> EffectClass {
        EffectClass::Converging
    }

    async fn plan(&self, cx: &Context, _input: Planned<()>) -> Result<StepPlan<Digest>> {
        let site = self.source.prepare(cx).await?;
        let changes = cdn::plan(cx, self.publisher.as_ref(), &site).await?;
        let live = self.publisher.history(cx).await?.live;
        let idle = changes.iter().all(|change| change.action == Action::NoOp);
        let plan = if idle { StepPlan::unchanged(changes, site.release()) } else { StepPlan::changing(changes) };
        let found = live.map_or_else(|| "nothing".to_owned(), |live| live.to_string());
        Ok(plan.precondition(format!("release of {}", self.publisher.name()), found))
    }

    async fn prepare(&self, cx: &Context, _input: &()) -> Result<Option<SiteUndo>> {
        Ok(self.publisher.history(cx).await?.live.map(|to| SiteUndo { to }))
    }

    async fn apply(&self, cx: &Context, _input: ()) -> Result<Applied<Digest, SiteUndo>> {
        let site = self.source.prepare(cx).await?;
        let report = cdn::publish(cx, self.publisher.as_ref(), &site, &self.options).await?;
        cx.status(format!(
            "{} files sent ({} bytes), {} paths invalidated",
            report.uploaded,
            report.bytes,
            report.invalidated.len()
        ));
        Ok(Applied::new(report.release))
    }

    fn undoer(&self) -> Option<Arc<dyn Undoer<SiteUndo>>> {
        Some(Arc::new(SwitchBack(Arc::clone(&self.publisher))))
    }
}
