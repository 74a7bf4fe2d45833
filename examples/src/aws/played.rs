//! What servers that play AWS do not do: keep images. A registry of the platform's own keeps them, and ECR is told which
//! images there are, as it learns itself when they are pushed to it.

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_ecr::{Client, error::DisplayErrorContext, operation::put_image::PutImageError, types::ImageIdentifier};
use ecolaura_deploy_aws::Account;
use ecolaura_deploy_core::{
    Context, Error, ErrorKind, Result,
    backend::{BlobReader, ImageScanner, Registry, RegistryCapabilities, ScanReport, TagChange},
    vocabulary::{BuiltImage, Digest, Name, PinnedImage, Repository, Tag},
};

/// Images in `near`, and their names in the ECR of an account that is played.
#[derive(Debug)]
pub struct Played {
    near: Arc<dyn Registry>,
    ecr: Client,
}

impl Played {
    /// Images in `near`, told to the ECR of `account`.
    pub fn new(near: Arc<dyn Registry>, account: &Account) -> Self {
        Self { near, ecr: Client::new(account.sdk_config()) }
    }

    async fn tell(&self, cx: &Context, image: &PinnedImage) -> Result<()> {
        let manifest = String::from_utf8_lossy(&self.near.manifest(cx, image).await?).into_owned();
        let digest = image.digest.to_string();
        let request = self
            .ecr
            .put_image()
            .repository_name(path(&image.repository))
            .image_tag(image.digest.to_hex())
            .image_digest(digest)
            .image_manifest(manifest);
        match request.send().await {
            Ok(_) => Ok(()),
            Err(error) if error.as_service_error().is_some_and(PutImageError::is_image_already_exists_exception) => {
                Ok(())
            }
            Err(error) => {
                let message = format!("`{image}` was not told: {}", DisplayErrorContext(&error));
                Err(Error::new(ErrorKind::Unavailable, "played.push", message))
            }
        }
    }
}

/// A repository without its host.
fn path(repository: &Repository) -> &str {
    let whole = repository.as_str();
    match whole.split_once('/') {
        Some((host, path)) if host.contains(['.', ':']) || host == "localhost" => path,
        _ => whole,
    }
}

#[async_trait]
impl Registry for Played {
    fn name(&self) -> &Name {
        self.near.name()
    }

    fn capabilities(&self) -> RegistryCapabilities {
        self.near.capabilities()
    }

    async fn resolve(&self, cx: &Context, repository: &Repository, tag: &Tag) -> Result<Option<PinnedImage>> {
        self.near.resolve(cx, repository, tag).await
    }

    /// Servers that play AWS forget when they end, and the near registry does not.
    async fn contains(&self, cx: &Context, image: &PinnedImage) -> Result<bool> {
        let id = ImageIdentifier::builder().image_digest(image.digest.to_string()).build();
        let known = self.ecr.describe_images().repository_name(path(&image.repository)).image_ids(id).send().await;
        Ok(known.is_ok() && self.near.contains(cx, image).await?)
    }

    async fn push(&self, cx: &Context, image: &BuiltImage, to: &Repository) -> Result<PinnedImage> {
        let pushed = self.near.push(cx, image, to).await?;
        self.tell(cx, &pushed).await?;
        Ok(pushed)
    }

    async fn set_tag(&self, cx: &Context, change: &TagChange) -> Result<Option<Digest>> {
        self.near.set_tag(cx, change).await
    }

    async fn manifest(&self, cx: &Context, image: &PinnedImage) -> Result<Vec<u8>> {
        self.near.manifest(cx, image).await
    }

    async fn blob(&self, cx: &Context, repository: &Repository, digest: &Digest) -> Result<BlobReader> {
        self.near.blob(cx, repository, digest).await
    }

    async fn referrers(&self, cx: &Context, image: &PinnedImage) -> Result<Vec<(String, Digest)>> {
        self.near.referrers(cx, image).await
    }
}

/// Asks `scanner` for images by their path alone, since their host is not ECR's.
pub fn by_path(scanner: Arc<dyn ImageScanner>) -> Arc<dyn ImageScanner> {
    Arc::new(ByPath(scanner))
}

#[derive(Debug)]
struct ByPath(Arc<dyn ImageScanner>);

#[async_trait]
impl ImageScanner for ByPath {
    fn name(&self) -> &Name {
        self.0.name()
    }

    async fn database(&self, cx: &Context) -> Result<String> {
        self.0.database(cx).await
    }

    async fn scan(&self, cx: &Context, image: &PinnedImage) -> Result<ScanReport> {
        let there = PinnedImage::new(path(&image.repository).parse()?, image.digest);
        let report = self.0.scan(cx, &there).await?;
        Ok(ScanReport::new(image.clone(), report.outcome, report.packages, report.database))
    }
}
