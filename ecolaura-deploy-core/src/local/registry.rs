//! A registry that is a folder of OCI image layouts, one for each repository.
//!
//! The layout of the repository `ecolaura/backend` is the folder `ecolaura+backend`: other tools that read layouts
//! can be pointed at it, and no name of a repository can clash with a file of another's layout. A tag is an entry of
//! the layout's index with the annotation `org.opencontainers.image.ref.name`; an image without a tag has an entry
//! too. Two repositories share nothing, so that one can be removed by removing its folder.
//!
//! Who sets tags leaves its epoch in the annotation `com.ecolaura.deploy.epoch.ENVIRONMENT` of the index, in the same
//! rename, and an older one is refused ([`crate::fence`]). A tool that writes the index anew and drops annotations also
//! drops that. Pushes by digest need no epoch.
//!
//! For one machine: whoever may write the folder may change what it holds, but not unnoticed, as everything is read
//! and written by digest.

use std::{path::PathBuf, time::Duration};

use async_trait::async_trait;

use self::{push::push, reader::VerifiedFile};
use crate::{
    Context, Error, ErrorKind, Result,
    backend::{BlobReader, Registry, RegistryCapabilities, TagChange},
    leftovers::GRACE,
    local::{
        files::blocking,
        oci::{Index, Layout, REF_NAME},
    },
    vocabulary::{BuiltImage, Digest, Name, PinnedImage, Repository, Tag},
};

mod leftovers;
mod push;
mod reader;
#[cfg(test)]
mod tests;

/// A registry on disk. Safe under concurrent processes of one machine.
///
/// Everything is on disk before a call answers, and a blob is verified whenever it is written or read: one that is
/// damaged is an [`ErrorKind::Corrupt`] which names the file, the digest expected and the one found.
///
/// ```
/// # async fn example(cx: &ecolaura_deploy_core::Context) -> ecolaura_deploy_core::Result<()> {
/// use ecolaura_deploy_core::{
///     backend::{ImageBuilder, ImageEntry, ImageSpec, Registry},
///     local::{image::LayoutBuilder, registry::LayoutRegistry},
///     vocabulary::Platform,
/// };
/// let builder = LayoutBuilder::new("target/images", "builder".parse()?);
/// let spec = ImageSpec::new(Platform::current()).layer([ImageEntry::new("target/release/backend", "/backend")]);
/// let built = builder.build(cx, &spec).await?;
///
/// let registry = LayoutRegistry::new("target/registry", "registry".parse()?).immutable_tags();
/// let pinned = registry.push(cx, &built, &"ecolaura/backend".parse()?).await?;
/// assert!(registry.contains(cx, &pinned).await?);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct LayoutRegistry {
    dir: PathBuf,
    name: Name,
    immutable: bool,
    grace: Duration,
}

impl LayoutRegistry {
    /// The registry in the folder `dir`, which is made by the first push; `name` is for plans and records.
    pub fn new(dir: impl Into<PathBuf>, name: Name) -> Self {
        Self { dir: dir.into(), name, immutable: false, grace: GRACE }
    }

    /// Refuses to move a tag to another digest once it is set. It can be removed, so that a release that failed can
    /// be undone.
    pub fn immutable_tags(mut self) -> Self {
        self.immutable = true;
        self
    }

    /// How old a blob that no manifest names must be to count as left over (default 1 hour). A push of this library
    /// holds a lock while it needs one; this is for other tools that write the layout.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    fn layout(&self, repository: &Repository) -> Layout {
        Layout::new(self.dir.join(repository.as_str().replace('/', "+")))
    }

    /// Reads from the layout of `repository`, off the runtime's threads.
    async fn read<T: Send + 'static>(
        &self,
        cx: &Context,
        operation: &'static str,
        repository: &Repository,
        work: impl FnOnce(&Layout) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        cx.check(operation)?;
        let layout = self.layout(repository);
        blocking(operation, move || work(&layout)).await
    }
}

#[async_trait]
impl Registry for LayoutRegistry {
    fn name(&self) -> &Name {
        &self.name
    }

    fn capabilities(&self) -> RegistryCapabilities {
        let capabilities = RegistryCapabilities::new().fences();
        if self.immutable { capabilities.immutable_tags() } else { capabilities }
    }

    async fn resolve(&self, cx: &Context, repository: &Repository, tag: &Tag) -> Result<Option<PinnedImage>> {
        const OPERATION: &str = "registry.resolve";
        let wanted = tag.clone();
        let find =
            move |layout: &Layout| Ok(layout.index(OPERATION)?.tagged(wanted.as_str()).map(|entry| entry.digest));
        let digest = self.read(cx, OPERATION, repository, find).await?;
        Ok(digest.map(|digest| PinnedImage::new(repository.clone(), digest)))
    }

    async fn contains(&self, cx: &Context, image: &PinnedImage) -> Result<bool> {
        const OPERATION: &str = "registry.contains";
        let digest = image.digest;
        self.read(cx, OPERATION, &image.repository, move |layout| layout.stores(OPERATION, digest)).await
    }

    async fn push(&self, cx: &Context, image: &BuiltImage, to: &Repository) -> Result<PinnedImage> {
        push(cx, image, &self.layout(to)).await?;
        Ok(PinnedImage::new(to.clone(), image.digest))
    }

    async fn set_tag(&self, cx: &Context, change: &TagChange) -> Result<Option<Digest>> {
        const OPERATION: &str = "registry.set_tag";
        cx.check(OPERATION)?;
        let layout = self.layout(&change.repository);
        if !layout.dir().exists() {
            return change.to.map_or(Ok(None), |digest| Err(no_image(OPERATION, &change.repository, digest)));
        }
        let (context, change, immutable) = (cx.clone(), change.clone(), self.immutable);
        let tag = move |index: &mut Index| {
            index.admit(OPERATION, &context)?;
            retag(index, &change, immutable)
        };
        layout.update(cx, OPERATION, tag).await
    }

    async fn manifest(&self, cx: &Context, image: &PinnedImage) -> Result<Vec<u8>> {
        const OPERATION: &str = "registry.manifest";
        let wanted = image.clone();
        let read = move |layout: &Layout| {
            layout.document(OPERATION, wanted.digest).map_err(|error| match error.kind() {
                ErrorKind::NotFound => no_image(OPERATION, &wanted.repository, wanted.digest),
                _ => error,
            })
        };
        self.read(cx, OPERATION, &image.repository, read).await
    }

    async fn blob(&self, cx: &Context, repository: &Repository, digest: &Digest) -> Result<BlobReader> {
        const OPERATION: &str = "registry.blob";
        let (wanted, shown) = (*digest, repository.clone());
        let open = move |layout: &Layout| VerifiedFile::open(OPERATION, layout, wanted);
        let file = self.read(cx, OPERATION, repository, open).await;
        Ok(Box::new(file.map_err(|error| error.with("repository", shown))?))
    }

    async fn referrers(&self, cx: &Context, image: &PinnedImage) -> Result<Vec<(String, Digest)>> {
        const OPERATION: &str = "registry.referrers";
        let digest = image.digest;
        self.read(cx, OPERATION, &image.repository, move |layout| {
            Ok(layout.referrers(OPERATION, digest)?.into_iter().map(|(kind, entry)| (kind, entry.digest)).collect())
        })
        .await
    }
}

fn no_image(operation: &'static str, repository: &Repository, digest: Digest) -> Error {
    Error::new(ErrorKind::NotFound, operation, format!("`{repository}` has no manifest {digest}"))
        .advice("push the image first")
}

/// Moves, sets or removes a tag in `index`, and answers with the digest it had.
fn retag(index: &mut Index, change: &TagChange, immutable: bool) -> Result<Option<Digest>> {
    const OPERATION: &str = "registry.set_tag";
    let TagChange { repository, tag, to } = change;
    let held = index.tagged(tag.as_str()).cloned();
    let had = held.as_ref().map(|entry| entry.digest);
    if had == *to {
        return Ok(had);
    }
    if let (Some(had), Some(to), true) = (had, to, immutable) {
        let message = format!("the tag `{repository}:{tag}` is immutable and points to {had}, not to {to}");
        return Err(Error::new(ErrorKind::AlreadyExists, OPERATION, message).advice("give the new image a new tag"));
    }
    let find = |digest| index.entry(digest).ok_or_else(|| no_image(OPERATION, repository, digest));
    let entry = to.map(|digest| find(digest).map(|entry| entry.clone().annotated(REF_NAME, tag.as_str())));
    let entry = entry.transpose()?;
    index.manifests.retain(|entry| entry.annotation(REF_NAME) != Some(tag.as_str()));
    index.manifests.extend(entry);
    if let Some(held) = held.filter(|held| index.entry(held.digest).is_none()) {
        // Only the tag kept it in the index.
        index.manifests.push(held.plain());
    }
    Ok(had)
}
