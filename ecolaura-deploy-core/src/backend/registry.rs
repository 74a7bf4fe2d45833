//! Storing images: OCI registries and layouts.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncRead;

use crate::{
    Context, Result,
    vocabulary::{BuiltImage, Digest, Name, PinnedImage, Repository, Tag},
};

/// What a registry can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegistryCapabilities {
    /// Tags, once set, cannot be moved to another digest.
    pub immutable_tags: bool,
    /// [`TagChange::to`] may be `None`.
    pub remove_tags: bool,
    /// [`Registry::set_tag`] refuses older epochs.
    pub fences: bool,
}

impl RegistryCapabilities {
    /// A registry with movable, removable tags that cannot tell an older epoch.
    pub fn new() -> Self {
        Self { immutable_tags: false, remove_tags: true, fences: false }
    }

    /// The same with immutable tags.
    pub fn immutable_tags(mut self) -> Self {
        self.immutable_tags = true;
        self
    }

    /// The same, refusing older epochs.
    pub fn fences(mut self) -> Self {
        self.fences = true;
        self
    }
}

impl Default for RegistryCapabilities {
    fn default() -> Self {
        Self::new()
    }
}

/// A wish to move, set or remove a tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TagChange {
    /// The repository.
    pub repository: Repository,
    /// The tag.
    pub tag: Tag,
    /// Where it shall point; `None` removes it.
    pub to: Option<Digest>,
}

impl TagChange {
    /// `tag` of `repository` to `to`.
    pub fn new(repository: Repository, tag: Tag, to: Option<Digest>) -> Self {
        Self { repository, tag, to }
    }
}

/// The bytes of a blob, verified against its digest while they are read: the last read fails with `InvalidData` if
/// they do not match.
pub type BlobReader = Box<dyn AsyncRead + Send + Unpin>;

/// Holds images by digest and moves tags.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Registry: fmt::Debug + Send + Sync + 'static {
    /// The backend's name, for plans and records.
    fn name(&self) -> &Name;

    /// What it can do.
    fn capabilities(&self) -> RegistryCapabilities;

    /// The image that `tag` points to, `None` if there is no such tag or repository. Reads only.
    async fn resolve(&self, cx: &Context, repository: &Repository, tag: &Tag) -> Result<Option<PinnedImage>>;

    /// Whether the manifest is there. Reads only.
    async fn contains(&self, cx: &Context, image: &PinnedImage) -> Result<bool>;

    /// Uploads blobs, then the manifest by digest; sets no tag. Idempotent; blobs that exist are not sent again. A
    /// cancel leaves at most blobs without a manifest. No epoch is asked for: what is stored under its digest takes
    /// nothing from anybody. Fails with `NotFound` (no such layout or blob), `Corrupt` (a blob does not match its
    /// digest), `LimitExceeded`, `PermissionDenied`, `Unauthenticated`, `Unavailable`.
    async fn push(&self, cx: &Context, image: &BuiltImage, to: &Repository) -> Result<PinnedImage>;

    /// Moves, sets or removes a tag, atomically, and answers with the digest it had. The same digest again is
    /// success, also on an immutable tag. An older epoch than one that was let in for this repository is refused
    /// first, with `Fenced` ([`crate::fence`]), where [`RegistryCapabilities::fences`]. Fails with `AlreadyExists`
    /// naming both digests where tags are immutable, `NotFound` if the manifest is not there, `Unsupported`.
    async fn set_tag(&self, cx: &Context, change: &TagChange) -> Result<Option<Digest>>;

    /// The bytes of the manifest, verified. Fails with `NotFound`, `Corrupt`.
    async fn manifest(&self, cx: &Context, image: &PinnedImage) -> Result<Vec<u8>>;

    /// The bytes of a blob (configuration, layer, attached document) of `repository`. Fails with `NotFound`.
    async fn blob(&self, cx: &Context, repository: &Repository, digest: &Digest) -> Result<BlobReader>;

    /// The manifests that were attached to `image` (bills of materials, signatures), as `(artifact type, digest)`.
    async fn referrers(&self, cx: &Context, image: &PinnedImage) -> Result<Vec<(String, Digest)>>;
}

const _: fn(&dyn Registry) = |_| {};
