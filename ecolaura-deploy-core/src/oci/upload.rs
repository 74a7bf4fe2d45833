//! One blob into the registry.

use std::{sync::Arc, time::Duration};

use reqwest::{
    Method, Request, Response, StatusCode, Url,
    header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, LOCATION},
};

use super::{
    bring::Reached,
    call::{Ask, Call, PATIENCE},
    origin::Origin,
    outflow::{Meter, Outflow},
};
use crate::{Error, ErrorKind, Result, Retry, image::Descriptor};

/// How long a registry may take to store what it was sent: some copy it to where it stays.
const STORING: Duration = Duration::from_mins(5);
/// Brings `blob`, unless it is there. Every try begins with a new session: one that broke off cannot be gone on with
/// from its start.
pub(super) async fn upload(
    call: &Call<'_>,
    origin: Origin<'_>,
    blob: &Descriptor,
    (meter, reached): (&Arc<Meter>, &Reached),
) -> Result<()> {
    let bring = || async {
        let present = call.send(&Ask::new(Method::HEAD, call.url(&format!("blobs/{}", blob.digest))?)).await?;
        match present.status() {
            StatusCode::OK => {
                call.verify(&present, blob.digest)?;
                meter.add(blob.size);
                Ok(())
            }
            StatusCode::NOT_FOUND => send(call, origin, blob, (meter, reached)).await,
            _ => Err(call.refused(present).await),
        }
    };
    call.retried(bring).await
}

async fn send(
    call: &Call<'_>,
    origin: Origin<'_>,
    blob: &Descriptor,
    (meter, reached): (&Arc<Meter>, &Reached),
) -> Result<()> {
    let mut renewed = false;
    loop {
        let Some(session) = begin(call, origin, blob).await? else {
            reached.note(Reached::BLOBS);
            meter.add(blob.size);
            return Ok(());
        };
        let (mut request, login) = request(call, &session, blob).await?;
        let (outflow, body) = Outflow::open((call.cx, call.operation), origin, blob, meter).await?;
        *request.body_mut() = Some(body);
        reached.note(Reached::BLOBS);
        let response = match call.stream(request, stalled(&outflow, blob.size)).await {
            Ok(response) => response,
            Err(error) => return Err(outflow.fault().unwrap_or(error)),
        };
        if !renewed && call.renews(&response, login.as_ref()).await? {
            renewed = true;
            continue;
        }
        stored(call, blob, response).await?;
        outflow.keep();
        return Ok(());
    }
}

async fn request(call: &Call<'_>, session: &Url, blob: &Descriptor) -> Result<(Request, Option<HeaderValue>)> {
    let mut url = session.clone();
    url.query_pairs_mut().append_pair("digest", &blob.digest.to_string());
    let login = call.login(&url).await?;
    let mut request = Request::new(Method::PUT, url);
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(CONTENT_LENGTH, blob.size.into());
    headers.extend(login.clone().map(|login| (AUTHORIZATION, login)));
    Ok((request, login))
}

/// Where to send the blob; `None` if the registry took it from another repository.
async fn begin(call: &Call<'_>, origin: Origin<'_>, blob: &Descriptor) -> Result<Option<Url>> {
    let mut mounts = origin.mounts(&call.registry.place.host, blob);
    let elsewhere = mounts.find(|source| *source != call.access.repository);
    let mut response = None;
    if let Some(from) = elsewhere {
        let mut url = call.url("blobs/uploads/")?;
        url.query_pairs_mut().append_pair("mount", &blob.digest.to_string()).append_pair("from", from);
        // It is only a shorter way.
        response = Some(call.send(&Ask::new(Method::POST, url)).await?).filter(|found| found.status().is_success());
    }
    let response = match response {
        Some(response) => response,
        None => call.send(&Ask::new(Method::POST, call.url("blobs/uploads/")?)).await?,
    };
    match response.status() {
        StatusCode::CREATED => {
            call.verify(&response, blob.digest)?;
            Ok(None)
        }
        StatusCode::ACCEPTED => location(call, &response).map(Some),
        _ => Err(call.refused(response).await),
    }
}

fn location(call: &Call<'_>, response: &Response) -> Result<Url> {
    let place = &call.registry.place;
    let text = response.headers().get(LOCATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let session = Some(text).filter(|text| !text.is_empty()).and_then(|text| response.url().join(text).ok());
    let Some(session) = session else {
        let message = format!("`{}` opened an upload without saying where", place.host);
        return Err(Error::new(ErrorKind::Unsupported, call.operation, message));
    };
    if place.allows(&session) {
        return Ok(session);
    }
    let host = session.host_str().unwrap_or_default();
    let message = format!("`{}` wants blobs sent unencrypted to `{host}`", place.host);
    Err(Error::new(ErrorKind::Unsupported, call.operation, message)
        .advice("nothing was sent; the proxy before the registry should set `X-Forwarded-Proto: https`"))
}

/// Ends when no piece was taken for a while that was there to be taken: where pieces come from has a patience of its own.
async fn stalled(outflow: &Outflow, size: u64) {
    loop {
        let before = outflow.sent();
        tokio::time::sleep(if before < size { PATIENCE } else { STORING }).await;
        if outflow.sent() == before && !outflow.reads() {
            return;
        }
    }
}

/// Whether the registry has `blob` now. A session that is gone, or bytes that were damaged on the way, are worth another
/// try: it was verified while it was read.
async fn stored(call: &Call<'_>, blob: &Descriptor, response: Response) -> Result<()> {
    if response.status().is_success() {
        return call.verify(&response, blob.digest);
    }
    let error = call.refused(response).await.with("blob", blob.digest);
    Err(match error.kind() {
        ErrorKind::Conflict | ErrorKind::Corrupt | ErrorKind::NotFound => error.with_retry(Retry::After(None)),
        _ => error,
    })
}
