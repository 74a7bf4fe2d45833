//! Publishing a site.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    Context, Result,
    backend::CdnPublisher,
    cdn::{self, PublishOptions, SiteSource},
    plan::{Action, Change, World},
    step::{Applied, EffectClass, Leaf, Planned, Step, StepPlan, UndoData, Undoer},
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

/// Files of a site that a step made in memory, by key: what differs between environments, such as `config.json`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SiteFiles(pub BTreeMap<String, String>);

impl Leaf for SiteFiles {}

/// Publishes a folder that another step made, and files beside it. Otherwise as [`PublishSite`].
#[derive(Debug, Clone)]
pub struct PublishFolder(PublishSite);

impl PublishFolder {
    /// Publishes through `publisher`, by the rules and with the files of `source`, whose folder does not count.
    pub fn new(publisher: Arc<dyn CdnPublisher>, source: SiteSource) -> Self {
        Self(PublishSite::new(publisher, source))
    }

    /// With other options.
    pub fn options(self, options: PublishOptions) -> Self {
        Self(self.0.options(options))
    }

    fn of(&self, folder: PathBuf, files: SiteFiles) -> PublishSite {
        let source = self.0.source.clone().at(folder);
        let source = files.0.into_iter().fold(source, |source, (key, content)| source.file(key, content));
        PublishSite { source, ..self.0.clone() }
    }

    /// What is known before the files are: something will change, and assets that are gone will be forgotten later.
    async fn plan_unknown(&self, cx: &Context, step: &str) -> Result<StepPlan<Digest>> {
        let served = self.0.publisher.history(cx).await?.live.is_some();
        let actions = if served { &[Action::Update, Action::Delete][..] } else { &[Action::Create] };
        let object = format!("{}/*", self.0.publisher.name());
        let reason = format!("known after `{step}`");
        let change = |action: &Action| Change::new(World::Cdn, &object, *action, &reason);
        Ok(StepPlan::changing(actions.iter().map(change).collect()))
    }
}

#[async_trait]
impl Step for PublishFolder {
    type Input = (PathBuf, SiteFiles);
    type Output = Digest;
    type Undo = SiteUndo;

    fn kind(&self) -> &'static str {
        self.0.kind()
    }

    fn effect_class(&self) -> EffectClass {
        self.0.effect_class()
    }

    async fn plan(
        &self,
        cx: &Context,
        (folder, files): (Planned<PathBuf>, Planned<SiteFiles>),
    ) -> Result<StepPlan<Digest>> {
        match (folder, files) {
            (Planned::Known(folder), Planned::Known(files)) => {
                self.of(folder, files).plan(cx, Planned::Known(())).await
            }
            (Planned::After(step), _) | (_, Planned::After(step)) => self.plan_unknown(cx, &step).await,
        }
    }

    async fn prepare(&self, cx: &Context, _input: &(PathBuf, SiteFiles)) -> Result<Option<SiteUndo>> {
        self.0.prepare(cx, &()).await
    }

    async fn apply(&self, cx: &Context, (folder, files): (PathBuf, SiteFiles)) -> Result<Applied<Digest, SiteUndo>> {
        self.of(folder, files).apply(cx, ()).await
    }

    fn undoer(&self) -> Option<Arc<dyn Undoer<SiteUndo>>> {
        self.0.undoer()
    }
}

#[cfg(test)]
#[cfg(feature = "test-util")]
mod tests {
    use super::*;
    use crate::testing::fake::cdn_publisher::FakeCdn;

    #[tokio::test]
    async fn what_an_unknown_folder_turns_out_to_be_is_within_the_plan() {
        let dir = tempfile::tempdir().unwrap();
        let cx = Context::new("dev".parse().unwrap());
        let step = PublishFolder::new(Arc::new(FakeCdn::new("site".parse().unwrap())), SiteSource::new(""));
        let unknown = || (Planned::After("build site".to_owned()), Planned::Known(SiteFiles::default()));
        for names in [["a.html", "b.html"], ["b.html", "c.html"]] {
            let folder = dir.path().join(names[0]);
            std::fs::create_dir_all(&folder).unwrap();
            names.iter().for_each(|name| std::fs::write(folder.join(name), names[0]).unwrap());
            let files = SiteFiles([("config.json".to_owned(), names[0].to_owned())].into());
            let announced = step.plan(&cx, unknown()).await.unwrap().changes;
            let known = (Planned::Known(folder.clone()), Planned::Known(files.clone()));
            for found in step.plan(&cx, known).await.unwrap().changes {
                assert!(announced.iter().any(|change| found.within(change)), "{found}, announced: {announced:?}");
            }
            step.apply(&cx, (folder, files)).await.unwrap();
        }
    }
}
