//! What the scanner reads of manifests and configurations.

use serde::Deserialize;
use tokio::io::AsyncReadExt as _;

use crate::{
    Context, Error, ErrorKind, Result,
    backend::Registry,
    vocabulary::{Digest, PinnedImage},
};

/// One blob that a manifest names.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Descriptor {
    pub(super) media_type: String,
    pub(super) digest: Digest,
}

/// How a layer is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    Plain,
    Gzip,
}

impl Descriptor {
    /// `None` for compressions that are not read here.
    pub(super) fn packing(&self) -> Option<Packing> {
        match self.media_type.rsplit(['.', '+']).next()? {
            "tar" => Some(Packing::Plain),
            "gzip" => Some(Packing::Gzip),
            _ => None,
        }
    }
}

/// An image manifest, or an index, which has no configuration.
#[derive(Debug, Deserialize)]
pub(super) struct Manifest {
    config: Option<Descriptor>,
    #[serde(default)]
    pub(super) layers: Vec<Descriptor>,
    #[serde(default)]
    manifests: Vec<serde::de::IgnoredAny>,
}

impl Manifest {
    pub(super) async fn read(cx: &Context, registry: &dyn Registry, image: &PinnedImage) -> Result<Self> {
        let bytes = registry.manifest(cx, image).await?;
        serde_json::from_slice(&bytes).map_err(|error| corrupt("manifest", image).with_source(error))
    }

    /// Why an image of this kind is not scanned.
    pub(super) fn unsupported(&self) -> Option<String> {
        if !self.manifests.is_empty() || self.config.is_none() {
            let count = self.manifests.len();
            return Some(format!("an index of {count} images, not an image; scan the image of each platform"));
        }
        let layer = self.layers.iter().find(|layer| layer.packing().is_none())?;
        Some(format!("the layer {} is of the kind `{}`, which is not read", layer.digest.short(), layer.media_type))
    }
}

#[derive(Deserialize)]
struct ImageConfig {
    #[serde(default)]
    config: Option<ProcessConfig>,
}

#[derive(Deserialize)]
struct ProcessConfig {
    #[serde(default, rename = "User")]
    user: Option<String>,
}

/// The user of the image's processes; empty if there is none.
pub(super) async fn user(
    cx: &Context,
    registry: &dyn Registry,
    image: &PinnedImage,
    manifest: &Manifest,
) -> Result<String> {
    let Some(config) = &manifest.config else { return Ok(String::new()) };
    let bytes = small_blob(cx, registry, image, &config.digest, "configuration").await?;
    let config: ImageConfig =
        serde_json::from_slice(&bytes).map_err(|error| corrupt("configuration", image).with_source(error))?;
    Ok(config.config.and_then(|config| config.user).unwrap_or_default())
}

/// The bytes of a document, at most 64 MiB of them.
pub(super) async fn small_blob(
    cx: &Context,
    registry: &dyn Registry,
    image: &PinnedImage,
    digest: &Digest,
    what: &str,
) -> Result<Vec<u8>> {
    const LIMIT: u64 = 64 * 1024 * 1024;
    let blob = registry.blob(cx, &image.repository, digest).await?;
    let mut bytes = Vec::new();
    let read = blob.take(LIMIT).read_to_end(&mut bytes).await;
    read.map_err(|error| corrupt(what, image).with("blob", digest).with_source(error))?;
    if bytes.len() as u64 == LIMIT {
        let message = format!("the {what} is larger than 64 MiB");
        return Err(Error::new(ErrorKind::LimitExceeded, "scan.scan", message).with("image", image));
    }
    Ok(bytes)
}

pub(super) fn corrupt(what: &str, image: &PinnedImage) -> Error {
    Error::new(ErrorKind::Corrupt, "scan.scan", format!("the {what} of the image cannot be read"))
        .with("image", image)
        .advice("build and push the image again")
}
