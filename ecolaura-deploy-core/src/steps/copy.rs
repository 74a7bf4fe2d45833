//! Bringing an image from one registry to another.

use std::sync::Arc;

use async_trait::async_trait;

use crate::{
    Context, Error, ErrorKind, Result,
    backend::Registry,
    oci::OciRegistry,
    plan::{Action, Change, World},
    step::{Applied, EffectClass, NoUndo, Planned, Step, StepPlan},
    vocabulary::{PinnedImage, Repository},
};

/// Copies an image by digest from another registry, or another repository, with all that is attached to it: from
/// staging's registry to production's ([`OciRegistry::copy_from`]). Moves no tag.
///
/// It has nothing to do where the image and what is attached to it are there. Nothing is undone: what is stored under
/// its digest takes nothing from anybody.
#[derive(Debug, Clone)]
pub struct CopyImage {
    from: Arc<dyn Registry>,
    to: Arc<OciRegistry>,
    repository: Repository,
}

impl CopyImage {
    /// Copies what `from` has to `repository` of `to`.
    pub fn new(from: Arc<dyn Registry>, to: Arc<OciRegistry>, repository: Repository) -> Self {
        Self { from, to, repository }
    }

    fn change(&self, action: Action, reason: String) -> Vec<Change> {
        // The same object name as before the digest is known: what is found then stays within what was announced.
        vec![Change::new(World::Registry, format!("{}@sha256", self.repository), action, reason)]
    }

    async fn plan_known(&self, cx: &Context, image: PinnedImage) -> Result<StepPlan<PinnedImage>> {
        let (copy, short) = (PinnedImage::new(self.repository.clone(), image.digest), image.digest.short());
        if self.to.has_copy(cx, self.from.as_ref(), &image, &self.repository).await? {
            return Ok(StepPlan::unchanged(self.change(Action::NoOp, format!("{short} is there")), copy));
        }
        if !self.from.contains(cx, &image).await? {
            let message = format!("`{}` has no image `{image}`", self.from.name());
            return Err(Error::new(ErrorKind::NotFound, "registry.copy", message).advice("push the image there first"));
        }
        let reason = format!("{short} of {} is not there as a whole", self.from.name());
        let mut plan = StepPlan::changing(self.change(Action::Create, reason));
        plan.output = Some(copy);
        Ok(plan)
    }
}

#[async_trait]
impl Step for CopyImage {
    type Input = PinnedImage;
    type Output = PinnedImage;
    type Undo = NoUndo;

    fn kind(&self) -> &'static str {
        "copy image"
    }

    fn effect_class(&self) -> EffectClass {
        EffectClass::Converging
    }

    async fn plan(&self, cx: &Context, image: Planned<PinnedImage>) -> Result<StepPlan<PinnedImage>> {
        match image {
            Planned::Known(image) => self.plan_known(cx, image).await,
            Planned::After(step) => {
                Ok(StepPlan::changing(self.change(Action::Create, format!("digest known after `{step}`"))))
            }
        }
    }

    async fn apply(&self, cx: &Context, image: PinnedImage) -> Result<Applied<PinnedImage, NoUndo>> {
        let copy = self.to.copy_from(cx, self.from.as_ref(), &image, &self.repository).await?;
        cx.status(format!("copied to {copy}"));
        Ok(Applied::new(copy))
    }
}
