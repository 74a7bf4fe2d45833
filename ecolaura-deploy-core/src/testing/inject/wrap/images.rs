//! Building, storing and scanning images.

use async_trait::async_trait;

use super::Injected;
use crate::{
    Context, Result,
    backend::{
        BlobReader, ImageBuilder, ImageScanner, ImageSpec, Registry, RegistryCapabilities, ScanReport, TagChange,
    },
    vocabulary::{BuiltImage, Digest, Fingerprint, Name, PinnedImage, Repository, Tag},
};

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<T: ImageBuilder + ?Sized> ImageBuilder for Injected<T> {
    fn name(&self) -> &Name {
        self.inner.name()
    }

    async fn fingerprint(&self, cx: &Context, spec: &ImageSpec) -> Result<Fingerprint> {
        self.call("image.fingerprint", cx, "", self.inner.fingerprint(cx, spec)).await
    }

    async fn build(&self, cx: &Context, spec: &ImageSpec) -> Result<BuiltImage> {
        self.call("image.build", cx, "", self.inner.build(cx, spec)).await
    }

    async fn exists(&self, cx: &Context, image: &BuiltImage) -> Result<bool> {
        self.call("image.exists", cx, image.digest, self.inner.exists(cx, image)).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<T: Registry + ?Sized> Registry for Injected<T> {
    fn name(&self) -> &Name {
        self.inner.name()
    }

    fn capabilities(&self) -> RegistryCapabilities {
        self.inner.capabilities()
    }

    async fn resolve(&self, cx: &Context, repository: &Repository, tag: &Tag) -> Result<Option<PinnedImage>> {
        self.call("registry.resolve", cx, format!("{repository}:{tag}"), self.inner.resolve(cx, repository, tag)).await
    }

    async fn contains(&self, cx: &Context, image: &PinnedImage) -> Result<bool> {
        self.call("registry.contains", cx, image, self.inner.contains(cx, image)).await
    }

    async fn push(&self, cx: &Context, image: &BuiltImage, to: &Repository) -> Result<PinnedImage> {
        self.call("registry.push", cx, format!("{to}@{}", image.digest), self.inner.push(cx, image, to)).await
    }

    async fn set_tag(&self, cx: &Context, change: &TagChange) -> Result<Option<Digest>> {
        let subject = format!("{}:{}", change.repository, change.tag);
        self.call("registry.set_tag", cx, subject, self.inner.set_tag(cx, change)).await
    }

    async fn manifest(&self, cx: &Context, image: &PinnedImage) -> Result<Vec<u8>> {
        self.call("registry.manifest", cx, image, self.inner.manifest(cx, image)).await
    }

    async fn blob(&self, cx: &Context, repository: &Repository, digest: &Digest) -> Result<BlobReader> {
        self.call("registry.blob", cx, digest, self.inner.blob(cx, repository, digest)).await
    }

    async fn referrers(&self, cx: &Context, image: &PinnedImage) -> Result<Vec<(String, Digest)>> {
        self.call("registry.referrers", cx, image, self.inner.referrers(cx, image)).await
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<T: ImageScanner + ?Sized> ImageScanner for Injected<T> {
    fn name(&self) -> &Name {
        self.inner.name()
    }

    async fn database(&self, cx: &Context) -> Result<String> {
        self.call("scan.database", cx, "", self.inner.database(cx)).await
    }

    async fn scan(&self, cx: &Context, image: &PinnedImage) -> Result<ScanReport> {
        self.call("scan.scan", cx, image, self.inner.scan(cx, image)).await
    }
}
