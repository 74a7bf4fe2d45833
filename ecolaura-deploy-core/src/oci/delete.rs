//! Removing images.

use reqwest::{Method, StatusCode};

use super::{
    OciRegistry,
    call::{Ask, Call, DELETE},
    refusal::Refusal,
};
use crate::{
    Context, Effect, Error, ErrorKind, Result,
    image::{Manifest, parse},
    vocabulary::PinnedImage,
};

const OPERATION: &str = "registry.delete";

impl OciRegistry {
    /// Removes the manifest of `image`, and with it the tags that point to it. Its blobs go when the registry collects
    /// what nobody names.
    ///
    /// Nothing else is looked at: an index that names the manifest is broken afterwards, what it names itself or is
    /// attached to it stays, and whoever runs the image cannot pull it any more. To know that nobody needs it is the
    /// caller's matter.
    ///
    /// Idempotent: one that is gone is success. Fails with [`ErrorKind::Unsupported`] where the registry does not delete,
    /// `InvalidInput` (in another registry), `PermissionDenied`, `Unauthenticated`, `Unavailable`. A cancel leaves it
    /// removed or not.
    pub async fn delete(&self, cx: &Context, image: &PinnedImage) -> Result<()> {
        let mut reached = Effect::None;
        let work = delete(self, cx, image, &mut reached);
        let result = cx.bounded(OPERATION, work).await.flatten();
        result.map_err(|error| match (error.kind(), reached) {
            (_, Effect::Partial) => error.with_effect(Effect::Partial),
            (ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::Cancelled, reached) => error.with_effect(reached),
            _ => error,
        })
    }
}

async fn delete(registry: &OciRegistry, cx: &Context, image: &PinnedImage, reached: &mut Effect) -> Result<()> {
    let call = Call::own(registry, (cx, OPERATION), &image.repository, DELETE).await?;
    let reference = image.digest.to_string();
    // One of a kind that is not known here is not seen, and goes all the same.
    let document = call.document(&reference).await?;
    let ask = Ask::new(Method::DELETE, call.url(&format!("manifests/{reference}"))?);
    *reached = Effect::Unknown;
    match call.retried(|| delete_once(&call, image, &ask)).await {
        Err(error) if document.is_none() && error.kind() == ErrorKind::Unsupported => return Ok(()),
        deleted => deleted?,
    }
    *reached = Effect::Partial;
    // What cannot be read is attached to nothing that is known.
    let parsed = document.and_then(|document| parse::<Manifest>(OPERATION, "the manifest", &document.bytes).ok());
    match parsed.and_then(|manifest| manifest.subject) {
        Some(subject) => call.detach(subject.digest, image.digest).await,
        None => Ok(()),
    }
}

async fn delete_once(call: &Call<'_>, image: &PinnedImage, ask: &Ask) -> Result<()> {
    let response = call.send(ask).await?;
    // `404` comes of an earlier attempt.
    if response.status().is_success() || response.status() == StatusCode::NOT_FOUND {
        return Ok(());
    }
    let refusal = Refusal::read(call, response).await;
    let unable = matches!(refusal.status, StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED);
    let unable = unable || refusal.status.is_client_error() && refusal.has("UNSUPPORTED");
    let error = refusal.error(call);
    if !unable {
        return Err(error);
    }
    let message = format!("the registry `{}` does not delete images, so {image} stays", call.registry.place.host);
    Err(Error::new(ErrorKind::Unsupported, OPERATION, message)
        .advice(
            "allow it to delete (`storage.delete.enabled` of docker-registry), or remove the image by its own means",
        )
        .with_source(error))
}
