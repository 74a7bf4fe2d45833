//! One blob into the registry: in one request, or in pieces where that is wanted or the registry wants it.

use std::{sync::Arc, time::Duration};

use reqwest::{
    Body, Method, Request, Response, StatusCode, Url,
    header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderValue, RANGE},
};

use self::session::Session;
use super::{
    bring::Reached,
    call::{Ask, Call, PATIENCE},
    origin::Origin,
    outflow::{Meter, Outflow},
};
use crate::{Error, ErrorKind, Result, Retry, image::Descriptor};

mod session;
mod sizes;

pub(super) use self::sizes::Sizes;

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

/// Why a session did not end with the blob, and another one may.
enum Again {
    /// There is a new login.
    Login,
    /// So many bytes in one request is not how the registry takes it.
    Size(u64, Response),
    Failed(Error),
}

impl From<Error> for Again {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

async fn send(
    call: &Call<'_>,
    origin: Origin<'_>,
    blob: &Descriptor,
    (meter, reached): (&Arc<Meter>, &Reached),
) -> Result<()> {
    let mut renewed = false;
    loop {
        let Some(mut session) = Session::begin(call, origin, blob).await? else {
            reached.note(Reached::BLOBS);
            meter.add(blob.size);
            return Ok(());
        };
        let outflow = Outflow::open((call.cx, call.operation), origin, blob, meter).await?;
        reached.note(Reached::BLOBS);
        let least = session.least;
        let size = call.registry.sizes.of(blob.size, least);
        match fill(&mut session, blob, &outflow, (size, !renewed)).await {
            Ok(()) => {
                session.end();
                outflow.keep();
                return Ok(());
            }
            Err(Again::Login) => renewed = true,
            Err(Again::Size(bytes, response)) => {
                if !call.registry.sizes.lower((bytes, least), response.status()) {
                    return Err(call.refused(response).await.with("blob", blob.digest));
                }
            }
            Err(Again::Failed(error)) => return Err(outflow.fault().unwrap_or(error)),
        }
    }
}

/// Sends the blob in pieces of `size`, or in one if that is `None`, and lets the registry store it.
async fn fill(
    session: &mut Session<'_>,
    blob: &Descriptor,
    outflow: &Outflow,
    (size, renews): (Option<u64>, bool),
) -> Result<(), Again> {
    let call = session.call;
    let mut sent = 0;
    while let Some(piece) = size.map(|size| size.min(blob.size - sent)).filter(|piece| *piece > 0) {
        let mut request = session.request(Method::PATCH, session.url.clone(), piece).await?;
        let range = HeaderValue::from_str(&format!("{sent}-{}", sent + piece - 1));
        request.headers_mut().extend(range.ok().map(|range| (CONTENT_RANGE, range)));
        *request.body_mut() = Some(outflow.body(Some(piece)));
        sent += piece;
        let response = exchange(session, request, outflow, (sent, renews)).await?;
        match response.status() {
            status if status.is_success() => session.go_on(&response, sent)?,
            StatusCode::PAYLOAD_TOO_LARGE => return Err(Again::Size(piece, response)),
            _ => return Err(refused(call, blob, response).await.into()),
        }
    }
    let mut url = session.url.clone();
    url.query_pairs_mut().append_pair("digest", &blob.digest.to_string());
    let mut request = session.request(Method::PUT, url, blob.size - sent).await?;
    *request.body_mut() = Some(if size.is_none() { outflow.body(None) } else { Body::default() });
    let response = exchange(session, request, outflow, (blob.size, renews)).await?;
    match response.status() {
        status if status.is_success() => Ok(call.verify(&response, blob.digest)?),
        status if size.is_none() && sizes::is_about_size(status) => Err(Again::Size(blob.size, response)),
        _ => Err(refused(call, blob, response).await.into()),
    }
}

async fn exchange(
    session: &Session<'_>,
    request: Request,
    outflow: &Outflow,
    (until, renews): (u64, bool),
) -> Result<Response, Again> {
    let call = session.call;
    let login = request.headers().get(AUTHORIZATION).cloned();
    let response = call.stream(request, stalled(outflow, until)).await?;
    if renews && call.renews(&response, login.as_ref()).await? {
        return Err(Again::Login);
    }
    Ok(response)
}

impl Session<'_> {
    async fn request(&self, method: Method, url: Url, length: u64) -> Result<Request> {
        let login = self.call.login(&url).await?;
        let mut request = Request::new(method, url);
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        headers.insert(CONTENT_LENGTH, length.into());
        headers.extend(login.map(|login| (AUTHORIZATION, login)));
        Ok(request)
    }

    /// To where the next piece goes, if the registry has the `sent` bytes that it was sent.
    fn go_on(&mut self, response: &Response, sent: u64) -> Result<()> {
        self.url = session::location(self.call, response)?;
        let range = response.headers().get(RANGE).and_then(|range| range.to_str().ok());
        let range = range.map(|range| range.strip_prefix("bytes=").unwrap_or(range));
        let Some(end) = range.and_then(|range| range.split_once('-')?.1.parse::<u64>().ok()) else { return Ok(()) };
        if end + 1 == sent {
            return Ok(());
        }
        let (host, has) = (&self.call.registry.place.host, end + 1);
        let message = format!("`{host}` has {has} bytes of a blob of which it was sent {sent}");
        Err(Error::new(ErrorKind::Conflict, self.call.operation, message).with_retry(Retry::After(None)))
    }
}

/// Ends when no piece was taken for a while that was there to be taken: where pieces come from has a patience of its own.
async fn stalled(outflow: &Outflow, until: u64) {
    loop {
        let before = outflow.sent();
        tokio::time::sleep(if before < until { PATIENCE } else { STORING }).await;
        if outflow.sent() == before && !outflow.reads() {
            return;
        }
    }
}

/// Why the registry does not have `blob`. A session that is gone, or bytes that were damaged on the way, are worth another
/// try: it was verified while it was read.
async fn refused(call: &Call<'_>, blob: &Descriptor, response: Response) -> Error {
    let error = call.refused(response).await.with("blob", blob.digest);
    match error.kind() {
        ErrorKind::Conflict | ErrorKind::Corrupt | ErrorKind::NotFound => error.with_retry(Retry::After(None)),
        _ => error,
    }
}
