//! An upload that was opened, and is given up unless it ends with the blob.

use reqwest::{
    Method, Response, StatusCode, Url,
    header::{AUTHORIZATION, HeaderValue, LOCATION},
};

use crate::{
    Error, ErrorKind, Result,
    image::Descriptor,
    oci::{
        call::{Ask, Call, PATIENCE},
        origin::Origin,
    },
};

/// The fewest bytes that a piece may have, but for the last one.
const LEAST: &str = "oci-chunk-min-length";

/// Where a blob is sent. If it goes away before it [ended](Session::end), the registry is told to forget it, by the way:
/// one that does not hear of it forgets by itself after a time.
pub(super) struct Session<'a> {
    pub(super) call: &'a Call<'a>,
    pub(super) url: Url,
    /// The fewest bytes of a piece.
    pub(super) least: u64,
    login: Option<HeaderValue>,
    open: bool,
}

impl<'a> Session<'a> {
    /// Opens one; `None` if the registry took the blob from another repository.
    pub(super) async fn begin(call: &'a Call<'a>, origin: Origin<'_>, blob: &Descriptor) -> Result<Option<Self>> {
        let mut mounts = origin.mounts(&call.registry.place.host, blob);
        let elsewhere = mounts.find(|source| *source != call.access.repository);
        let mut mounted = None;
        if let Some(from) = elsewhere {
            mounted = call.mount(blob.digest, from).await;
        }
        let response = match mounted {
            Some(response) => response,
            None => call.send(&Ask::new(Method::POST, call.url("blobs/uploads/")?)).await?,
        };
        match response.status() {
            StatusCode::CREATED => {
                call.verify(&response, blob.digest)?;
                Ok(None)
            }
            StatusCode::ACCEPTED => Self::opened(call, &response).await.map(Some),
            _ => Err(call.refused(response).await),
        }
    }

    async fn opened(call: &'a Call<'a>, response: &Response) -> Result<Self> {
        let url = location(call, response)?;
        let least = response.headers().get(LEAST).and_then(|least| least.to_str().ok());
        let least = least.and_then(|least| least.parse().ok()).unwrap_or_default();
        let login = call.login(&url).await?;
        Ok(Self { call, url, least, login, open: true })
    }

    /// The registry has the blob, and the session is over.
    pub(super) fn end(mut self) {
        self.open = false;
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if !self.open {
            return;
        }
        let ask = Ask::new(Method::DELETE, self.url.clone());
        let ask = self.login.iter().fold(ask, |ask, login| ask.header(AUTHORIZATION, login.clone()));
        let work = self.call.detached(&ask);
        runtime.spawn(async move {
            // Whatever it answers, nobody is left to tell.
            _ = tokio::time::timeout(PATIENCE, work).await;
        });
    }
}

/// Where `response` says that the upload goes on.
pub(super) fn location(call: &Call<'_>, response: &Response) -> Result<Url> {
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
