//! Building, pushing and pinning images.

use std::sync::Arc;

use async_trait::async_trait;

use super::tag::{self, TagUndo};
use crate::{
    Context, Result,
    backend::{ImageBuilder, ImageSpec, Registry, TagChange},
    plan::{Action, Change, World},
    step::{Applied, EffectClass, Leaf, NoUndo, Planned, Step, StepPlan, Undoer},
    vocabulary::{BuiltImage, Digest, PinnedImage, Repository, Tag},
};

impl Leaf for ImageSpec {}

/// Builds an image from an [`ImageSpec`], unless one of the same inputs is still there.
#[derive(Debug, Clone)]
pub struct BuildImage {
    builder: Arc<dyn ImageBuilder>,
    name: String,
}

impl BuildImage {
    /// Builds with `builder`; `name` is for plans.
    pub fn new(builder: Arc<dyn ImageBuilder>, name: impl Into<String>) -> Self {
        Self { builder, name: name.into() }
    }

    fn change(&self, action: Action, reason: impl Into<String>) -> Vec<Change> {
        vec![Change::new(World::Image, &self.name, action, reason)]
    }
}

#[async_trait]
impl Step for BuildImage {
    type Input = ImageSpec;
    type Output = BuiltImage;
    type Undo = NoUndo;

    fn kind(&self) -> &'static str {
        "build image"
    }

    fn effect_class(&self) -> EffectClass {
        EffectClass::Converging
    }

    async fn plan(&self, cx: &Context, spec: Planned<ImageSpec>) -> Result<StepPlan<BuiltImage>> {
        let spec = match spec {
            Planned::Known(spec) => spec,
            Planned::After(step) => {
                return Ok(StepPlan::changing(self.change(Action::Create, format!("inputs known after `{step}`"))));
            }
        };
        let fingerprint = self.builder.fingerprint(cx, &spec).await?;
        let plan = match cx.recall::<BuiltImage>(self.kind(), &fingerprint).await {
            Some(image) if self.builder.exists(cx, &image).await? => {
                StepPlan::unchanged(self.change(Action::NoOp, format!("unchanged, {}", image.digest.short())), image)
            }
            Some(_) => StepPlan::changing(self.change(Action::Create, "built before, no longer there")),
            None => StepPlan::changing(self.change(Action::Create, "not built from these inputs")),
        };
        Ok(plan.fingerprint(fingerprint))
    }

    async fn apply(&self, cx: &Context, spec: ImageSpec) -> Result<Applied<BuiltImage, NoUndo>> {
        let image = self.builder.build(cx, &spec).await?;
        cx.status(format!("{} is {}, {} bytes", self.name, image.digest.short(), image.size));
        Ok(Applied::new(image))
    }
}

/// Pushes an image by digest, then moves tags to it. From here on the image is named by digest alone.
#[derive(Debug, Clone)]
pub struct PushImage {
    registry: Arc<dyn Registry>,
    repository: Repository,
    tags: Vec<Tag>,
}

impl PushImage {
    /// Pushes to `repository` of `registry`.
    pub fn new(registry: Arc<dyn Registry>, repository: Repository) -> Self {
        Self { registry, repository, tags: Vec::new() }
    }

    /// With this tag too. A tag is a label for people; nothing is deployed by it.
    pub fn tag(mut self, tag: Tag) -> Self {
        self.tags.push(tag);
        self
    }

    async fn plan_known(&self, cx: &Context, digest: Digest) -> Result<StepPlan<PinnedImage>> {
        let image = PinnedImage::new(self.repository.clone(), digest);
        // The same object name as before the digest is known: what is found then stays within what was announced.
        let object = format!("{}@sha256", self.repository);
        let mut changes = vec![if self.registry.contains(cx, &image).await? {
            Change::new(World::Registry, object, Action::NoOp, format!("{} is there", digest.short()))
        } else {
            Change::new(World::Registry, object, Action::Create, format!("{} is not there", digest.short()))
        }];
        for tag in &self.tags {
            changes.push(tag::change(cx, self.registry.as_ref(), &self.repository, tag, Some(&digest)).await?);
        }
        let idle = changes.iter().all(|change| change.action == Action::NoOp);
        let mut plan = if idle { StepPlan::unchanged(changes, image) } else { StepPlan::changing(changes) };
        plan.output.get_or_insert_with(|| PinnedImage::new(self.repository.clone(), digest));
        Ok(plan)
    }
}

#[async_trait]
impl Step for PushImage {
    type Input = BuiltImage;
    type Output = PinnedImage;
    type Undo = TagUndo;

    fn kind(&self) -> &'static str {
        "push image"
    }

    fn effect_class(&self) -> EffectClass {
        EffectClass::Converging
    }

    async fn plan(&self, cx: &Context, image: Planned<BuiltImage>) -> Result<StepPlan<PinnedImage>> {
        let step = match image {
            Planned::Known(image) => return self.plan_known(cx, image.digest).await,
            Planned::After(step) => step,
        };
        let reason = format!("digest known after `{step}`");
        let object = format!("{}@sha256", self.repository);
        let mut changes = vec![Change::new(World::Registry, object, Action::Create, reason)];
        for tag in &self.tags {
            changes.push(tag::change(cx, self.registry.as_ref(), &self.repository, tag, None).await?);
        }
        Ok(StepPlan::changing(changes))
    }

    async fn prepare(&self, cx: &Context, _image: &BuiltImage) -> Result<Option<TagUndo>> {
        tag::snapshot(cx, self.registry.as_ref(), &self.repository, &self.tags).await
    }

    async fn apply(&self, cx: &Context, image: BuiltImage) -> Result<Applied<PinnedImage, TagUndo>> {
        let pinned = self.registry.push(cx, &image, &self.repository).await?;
        for tag in &self.tags {
            let change = TagChange::new(self.repository.clone(), tag.clone(), Some(pinned.digest));
            self.registry.set_tag(cx, &change).await?;
        }
        cx.status(format!("pinned as {pinned}"));
        Ok(Applied::new(pinned))
    }

    fn undoer(&self) -> Option<Arc<dyn Undoer<TagUndo>>> {
        Some(tag::undoer(&self.registry))
    }
}
