//! Tags: labels for people on images that are named by digest.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    Context, Result,
    backend::{Registry, TagChange},
    plan::{Action, Change, World},
    step::{Applied, EffectClass, Planned, Step, StepPlan, UndoData, Undoer},
    vocabulary::{Digest, PinnedImage, Repository, Tag},
};

/// Where tags pointed before they were moved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagUndo {
    repository: Repository,
    tags: Vec<(Tag, Option<Digest>)>,
}

impl UndoData for TagUndo {
    const KIND: &'static str = "registry tags";
}

#[derive(Debug)]
struct MoveTagsBack(Arc<dyn Registry>);

#[async_trait]
impl Undoer<TagUndo> for MoveTagsBack {
    fn target(&self) -> String {
        self.0.name().to_string()
    }

    fn describe(&self, undo: &TagUndo) -> String {
        let tags: Vec<String> = undo
            .tags
            .iter()
            .map(|(tag, digest)| match digest {
                Some(digest) => format!("move tag {}:{tag} back to {digest}", undo.repository),
                None => format!("remove tag {}:{tag}", undo.repository),
            })
            .collect();
        tags.join(", ")
    }

    async fn undo(&self, cx: &Context, undo: TagUndo) -> Result<()> {
        for (tag, digest) in undo.tags {
            if digest.is_none() && !self.0.capabilities().remove_tags {
                cx.warn(format!("tag {}:{tag} stays: this registry does not remove tags", undo.repository));
                continue;
            }
            self.0.set_tag(cx, &TagChange::new(undo.repository.clone(), tag, digest)).await?;
        }
        Ok(())
    }
}

pub(super) fn undoer(registry: &Arc<dyn Registry>) -> Arc<dyn Undoer<TagUndo>> {
    Arc::new(MoveTagsBack(Arc::clone(registry)))
}

/// What moving `tag` to `to`, once that is known, would change.
pub(super) async fn change(
    cx: &Context,
    registry: &dyn Registry,
    repository: &Repository,
    tag: &Tag,
    to: Option<&Digest>,
) -> Result<Change> {
    let object = format!("{repository}:{tag}");
    let present = registry.resolve(cx, repository, tag).await?;
    Ok(match (present, to) {
        (Some(image), Some(to)) if image.digest == *to => Change::unchanged(World::Registry, object),
        (Some(image), _) => {
            let reason = format!("points to {}", image.digest.short());
            Change::new(World::Registry, object, Action::Update, reason)
        }
        (None, _) => Change::new(World::Registry, object, Action::Create, "no such tag"),
    })
}

/// Where `tags` point; `None` without tags.
pub(super) async fn snapshot(
    cx: &Context,
    registry: &dyn Registry,
    repository: &Repository,
    tags: &[Tag],
) -> Result<Option<TagUndo>> {
    let mut found = Vec::with_capacity(tags.len());
    for tag in tags {
        let present = registry.resolve(cx, repository, tag).await?;
        found.push((tag.clone(), present.map(|image| image.digest)));
    }
    Ok((!found.is_empty()).then(|| TagUndo { repository: repository.clone(), tags: found }))
}

/// Moves a tag to an image that is in the registry already: `ecolaura/backend:staging` after a promotion. Nothing is
/// deployed by it.
#[derive(Debug, Clone)]
pub struct TagImage {
    registry: Arc<dyn Registry>,
    repository: Repository,
    tag: Tag,
}

impl TagImage {
    /// Moves `tag` of `repository` in `registry`.
    pub fn new(registry: Arc<dyn Registry>, repository: Repository, tag: Tag) -> Self {
        Self { registry, repository, tag }
    }
}

#[async_trait]
impl Step for TagImage {
    type Input = PinnedImage;
    type Output = PinnedImage;
    type Undo = TagUndo;

    fn kind(&self) -> &'static str {
        "tag image"
    }

    fn effect_class(&self) -> EffectClass {
        EffectClass::Converging
    }

    async fn plan(&self, cx: &Context, image: Planned<PinnedImage>) -> Result<StepPlan<PinnedImage>> {
        let digest = image.known().map(|image| &image.digest);
        let change = change(cx, self.registry.as_ref(), &self.repository, &self.tag, digest).await?;
        let idle = change.action == Action::NoOp;
        Ok(match image {
            Planned::Known(image) if idle => StepPlan::unchanged(vec![change], image),
            planned => {
                let mut plan = StepPlan::changing(vec![change]);
                plan.output = planned.known().cloned();
                plan
            }
        })
    }

    async fn prepare(&self, cx: &Context, _image: &PinnedImage) -> Result<Option<TagUndo>> {
        snapshot(cx, self.registry.as_ref(), &self.repository, std::slice::from_ref(&self.tag)).await
    }

    async fn apply(&self, cx: &Context, image: PinnedImage) -> Result<Applied<PinnedImage, TagUndo>> {
        let change = TagChange::new(self.repository.clone(), self.tag.clone(), Some(image.digest));
        self.registry.set_tag(cx, &change).await?;
        Ok(Applied::new(image))
    }

    fn undoer(&self) -> Option<Arc<dyn Undoer<TagUndo>>> {
        Some(undoer(&self.registry))
    }
}
