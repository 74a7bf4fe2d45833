//! Reading documents of an image from a registry.

use tokio::io::AsyncReadExt as _;

use super::{Configuration, DOCUMENT, Manifest, parse};
use crate::{
    Context, Error, ErrorKind, Result,
    backend::Registry,
    vocabulary::{Digest, PinnedImage},
};

const AGAIN: &str = "build and push the image again";

/// The manifest of `image`.
pub(crate) async fn read_manifest(
    cx: &Context,
    operation: &'static str,
    registry: &dyn Registry,
    image: &PinnedImage,
) -> Result<Manifest> {
    let bytes = registry.manifest(cx, image).await?;
    parse(operation, &format!("the manifest of `{image}`"), &bytes).map_err(|error| error.advice(AGAIN))
}

/// The configuration that `manifest` names.
pub(crate) async fn read_config(
    cx: &Context,
    operation: &'static str,
    registry: &dyn Registry,
    image: &PinnedImage,
    manifest: &Manifest,
) -> Result<Configuration> {
    let Some(config) = &manifest.config else { return Ok(Configuration::default()) };
    let bytes = small_blob(cx, operation, registry, image, config.digest).await?;
    parse(operation, &format!("the configuration of `{image}`"), &bytes).map_err(|error| error.advice(AGAIN))
}

/// The bytes of a document, whose digest the registry verifies.
pub(crate) async fn small_blob(
    cx: &Context,
    operation: &'static str,
    registry: &dyn Registry,
    image: &PinnedImage,
    digest: Digest,
) -> Result<Vec<u8>> {
    let blob = registry.blob(cx, &image.repository, &digest).await?;
    let mut bytes = Vec::new();
    blob.take(DOCUMENT + 1).read_to_end(&mut bytes).await.map_err(|error| {
        Error::new(ErrorKind::Corrupt, operation, format!("the blob {digest} of `{image}` cannot be read: {error}"))
            .advice(AGAIN)
            .with_source(error)
    })?;
    if bytes.len() as u64 > DOCUMENT {
        let message = format!("the document {digest} of `{image}` is larger than {} MiB", DOCUMENT >> 20);
        return Err(Error::new(ErrorKind::LimitExceeded, operation, message));
    }
    Ok(bytes)
}
