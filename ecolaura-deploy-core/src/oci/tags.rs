//! Moving and removing tags.

use reqwest::{Method, StatusCode};

use super::{
    OciRegistry,
    call::{Ask, Call, DELETE, PUSH},
    documents::{Document, Put},
    refusal::Refusal,
};
use crate::{Context, Effect, Error, ErrorKind, Result, Retry, backend::TagChange, vocabulary::Digest};

const OPERATION: &str = "registry.set_tag";

pub(super) async fn set_tag(registry: &OciRegistry, cx: &Context, change: &TagChange) -> Result<Option<Digest>> {
    let actions = if change.to.is_some() { PUSH } else { DELETE };
    let mut asked = false;
    let work = async {
        let call = Call::own(registry, (cx, OPERATION), &change.repository, actions).await?;
        let had = call.digest(change.tag.as_str()).await?;
        match (had, change.to) {
            (had, to) if had == to => {}
            (Some(had), None) => remove(&call, change, had, &mut asked).await?,
            (had, Some(to)) => point(&call, change, (had, to), &mut asked).await?,
            (None, None) => {}
        }
        Ok(had)
    };
    let result = cx.bounded(OPERATION, work).await.flatten();
    result.map_err(|error| match error.kind() {
        // Whether it arrived cannot be told.
        ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::Cancelled if asked => {
            error.with_effect(Effect::Unknown)
        }
        _ => error,
    })
}

async fn point(
    call: &Call<'_>,
    change: &TagChange,
    (had, to): (Option<Digest>, Digest),
    asked: &mut bool,
) -> Result<()> {
    let document = call.verified(&change.repository, to).await?;
    if let (Some(had), true) = (had, call.registry.immutable) {
        return Err(immutable(change, had, to));
    }
    *asked = true;
    call.retried(|| point_once(call, change, (had, to), &document)).await
}

async fn point_once(
    call: &Call<'_>,
    change: &TagChange,
    (had, to): (Option<Digest>, Digest),
    document: &Document,
) -> Result<()> {
    let error = match call.put(change.tag.as_str(), document).await {
        Ok(Put::Stored { .. }) => return Ok(()),
        Ok(Put::Refused(refusal)) if refusal.status.is_client_error() => {
            return refused(call, change, to, refusal).await;
        }
        Ok(Put::Refused(refusal)) => refusal.error(call),
        Err(error) => error,
    };
    // It may have arrived all the same; and whoever moved the tag since then is not overwritten.
    match call.digest_once(change.tag.as_str()).await {
        Ok(Some(found)) if found == to => Ok(()),
        Ok(found) if found == had => Err(error),
        Ok(found) => Err(moved(change, found, to)),
        Err(_) => Err(error),
    }
}

/// What a refusal of a tag means: some registries refuse what is so already.
async fn refused(call: &Call<'_>, change: &TagChange, to: Digest, refusal: Refusal) -> Result<()> {
    let about = refusal.is_about_immutability();
    let error = refusal.error(call).with("tag", &change.tag);
    if !about {
        return Err(error);
    }
    match call.digest(change.tag.as_str()).await? {
        Some(found) if found == to => Ok(()),
        Some(found) => Err(immutable(change, found, to).with_source(error)),
        None => Err(error),
    }
}

fn immutable(change: &TagChange, had: Digest, to: Digest) -> Error {
    let TagChange { repository, tag, .. } = change;
    let message = format!("the tag `{repository}:{tag}` is immutable and points to {had}, not to {to}");
    Error::new(ErrorKind::AlreadyExists, OPERATION, message).advice("give the new image a new tag")
}

fn moved(change: &TagChange, found: Option<Digest>, to: Digest) -> Error {
    let TagChange { repository, tag, .. } = change;
    let now = found.map_or_else(|| "is gone".to_owned(), |found| format!("points to {found}"));
    let message = format!("somebody else changed the tag `{repository}:{tag}` meanwhile: it {now}, not to {to}");
    Error::new(ErrorKind::Conflict, OPERATION, message).with_effect(Effect::Unknown)
}

/// Removes the tag. Some registries remove with the last tag of an image the image: it is then stored again.
async fn remove(call: &Call<'_>, change: &TagChange, had: Digest, asked: &mut bool) -> Result<()> {
    if !call.registry.removable {
        return Err(cannot_remove(call, change));
    }
    let document = call.verified(&change.repository, had).await?;
    let url = call.url(&format!("manifests/{}", change.tag))?;
    let ask = Ask::new(Method::DELETE, url);
    *asked = true;
    let delete = || async {
        let response = call.send(&ask).await?;
        match response.status() {
            status if status.is_success() => Ok(()),
            // An earlier attempt.
            StatusCode::NOT_FOUND => Ok(()),
            StatusCode::BAD_REQUEST | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => {
                Err(cannot_remove(call, change).with_source(call.refused(response).await))
            }
            _ => Err(call.refused(response).await),
        }
    };
    call.retried(delete).await?;
    if call.has(had).await? {
        return Ok(());
    }
    let restored = call.store(&document).await;
    restored.map(|_| ()).map_err(|error| {
        let message = format!("with its tag `{}` the image {had} was removed too", change.tag);
        Error::new(error.kind(), OPERATION, message)
            .with_effect(Effect::Partial)
            .with_retry(Retry::Never)
            .advice("push the image again")
            .with_source(error)
    })
}

fn cannot_remove(call: &Call<'_>, change: &TagChange) -> Error {
    let host = &call.registry.place.host;
    let message =
        format!("the registry `{host}` does not remove tags, so `{}:{}` stays", change.repository, change.tag);
    Error::new(ErrorKind::Unsupported, OPERATION, message)
}
