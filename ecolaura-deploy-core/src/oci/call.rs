//! One call of a caller, and the requests that it makes.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use reqwest::{
    Body, Method, Request, Response, StatusCode, Url,
    header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue},
};

use super::{OciRegistry, auth::Access, refusal::Refusal, retry};
use crate::{
    Context, Error, ErrorKind, Result, Retry,
    image::{INDEX, MANIFEST},
    vocabulary::{Digest, Repository},
};

/// The most that an answer of a token server or a list may hold, in bytes.
pub(super) const DOCUMENT: u64 = 16 * 1024 * 1024;
/// How long nothing may come.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);
pub(super) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
/// The documents that are known here, newest first.
const KNOWN: [&str; 4] = [
    MANIFEST,
    INDEX,
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];

pub(super) const PULL: &str = "pull";
pub(super) const PUSH: &str = "pull,push";
pub(super) const DELETE: &str = "pull,push,delete";

/// A request that can be made again.
#[derive(Debug, Clone)]
pub(super) struct Ask {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: bytes::Bytes,
}

impl Ask {
    pub(super) fn new(method: Method, url: Url) -> Self {
        Self { method, url, headers: HeaderMap::new(), body: bytes::Bytes::new() }
    }

    /// For one of the documents that are known here.
    pub(super) fn document(method: Method, url: Url) -> Self {
        // In one line: some registries read no second one.
        Self::new(method, url).header(ACCEPT, KNOWN.join(", "))
    }

    /// A value that no header may hold is left out; values are made here or were headers before.
    pub(super) fn header(mut self, name: HeaderName, value: impl TryInto<HeaderValue>) -> Self {
        if let Ok(value) = value.try_into() {
            self.headers.append(name, value);
        }
        self
    }

    pub(super) fn body(mut self, body: impl Into<bytes::Bytes>) -> Self {
        self.body = body.into();
        self
    }

    fn request(&self) -> Request {
        let mut request = Request::new(self.method.clone(), self.url.clone());
        *request.headers_mut() = self.headers.clone();
        if !matches!(self.method, Method::GET | Method::HEAD) {
            request.headers_mut().insert(CONTENT_LENGTH, self.body.len().into());
            *request.body_mut() = Some(Body::from(self.body.clone()));
        }
        request
    }
}

/// What is asked of the registry, for whom.
#[derive(Debug)]
pub(super) struct Call<'a> {
    pub(super) cx: &'a Context,
    pub(super) operation: &'static str,
    pub(super) registry: &'a OciRegistry,
    pub(super) access: Access,
    client: &'a reqwest::Client,
    /// That asking for blobs of other repositories leads nowhere.
    unmounted: AtomicBool,
}

impl<'a> Call<'a> {
    /// To do `actions` in `repository`; `None` if that is in another registry.
    pub(super) async fn within(
        registry: &'a OciRegistry,
        (cx, operation): (&'a Context, &'static str),
        repository: &Repository,
        actions: &'static str,
    ) -> Result<Option<Self>> {
        cx.check(operation)?;
        let Some(path) = registry.place.path(repository) else { return Ok(None) };
        let access = Access { repository: path, actions, source: None };
        let client = registry.client(operation)?;
        let call = Self { cx, operation, registry, access, client, unmounted: AtomicBool::new(false) };
        registry.auth.tell(&call).await;
        Ok(Some(call))
    }

    /// The same, failing where `repository` is in another registry.
    pub(super) async fn own(
        registry: &'a OciRegistry,
        whom: (&'a Context, &'static str),
        repository: &Repository,
        actions: &'static str,
    ) -> Result<Self> {
        let call = Self::within(registry, whom, repository, actions).await?;
        call.ok_or_else(|| elsewhere(registry, ErrorKind::InvalidInput, whom.1, repository))
    }

    /// Lets the registry take the blob `digest` out of the repository `from`; `None` if it does not. It is only a shorter
    /// way, so that whatever goes wrong with it, the token for both repositories too, is no matter.
    pub(super) async fn mount(&self, digest: Digest, from: &str) -> Option<Response> {
        if self.unmounted.load(Ordering::Relaxed) {
            return None;
        }
        let mut url = self.url("blobs/uploads/").ok()?;
        url.query_pairs_mut().append_pair("mount", &digest.to_string()).append_pair("from", from);
        let access = Access { source: Some(from.to_owned()), ..self.access.clone() };
        let both = Call { access, unmounted: AtomicBool::new(false), ..*self };
        match both.send(&Ask::new(Method::POST, url)).await {
            Ok(response) => Some(response).filter(|response| response.status().is_success()),
            Err(error) => {
                tracing::debug!(%error, from, "no blobs are mounted");
                self.unmounted.store(true, Ordering::Relaxed);
                None
            }
        }
    }

    /// `rest` below the repository.
    pub(super) fn url(&self, rest: &str) -> Result<Url> {
        let url = self.registry.place.base.join(&format!("v2/{}/{rest}", self.access.repository));
        url.map_err(|error| Error::internal(self.operation, "a request's address is none").with_source(error))
    }

    /// Sends `ask`, again with a login if the registry wants one, and once more with a new one if that is refused: it may
    /// have changed since it was asked for. Answers whatever the status.
    pub(super) async fn send(&self, ask: &Ask) -> Result<Response> {
        let mut renewed = false;
        loop {
            let login = self.login(&ask.url).await?;
            let with = login.iter().fold(ask.clone(), |ask, login| ask.header(AUTHORIZATION, login.clone()));
            let response = self.send_as_is(&with).await?;
            if renewed || !self.renews(&response, login.as_ref()).await? {
                return Ok(response);
            }
            renewed = login.is_some();
        }
    }

    /// The login for a request to `url`: none for places that the registry only named.
    pub(super) async fn login(&self, url: &Url) -> Result<Option<HeaderValue>> {
        if url.origin() != self.registry.place.base.origin() {
            return Ok(None);
        }
        self.registry.auth.header(self).await
    }

    /// Whether `response` asked for another login than `used` and there is one now.
    pub(super) async fn renews(&self, response: &Response, used: Option<&HeaderValue>) -> Result<bool> {
        let asked = response.status() == StatusCode::UNAUTHORIZED
            && response.url().origin() == self.registry.place.base.origin();
        Ok(asked && self.registry.auth.renew(self, used, response.headers()).await?)
    }

    pub(super) async fn send_as_is(&self, ask: &Ask) -> Result<Response> {
        match tokio::time::timeout(PATIENCE, self.client.execute(ask.request())).await {
            Ok(sent) => sent.map_err(|error| self.unreachable(error)),
            Err(_) => Err(self.silent(&ask.url)),
        }
    }

    /// To send `ask` once, whatever becomes of this call.
    pub(super) fn detached(&self, ask: &Ask) -> impl Future<Output = ()> + Send + 'static {
        let sent = self.client.execute(ask.request());
        async move { drop(sent.await) }
    }

    /// Sends what cannot be sent twice, until `stalled` ends.
    pub(super) async fn stream(&self, request: Request, stalled: impl Future<Output = ()>) -> Result<Response> {
        let url = request.url().clone();
        tokio::select! {
            sent = self.client.execute(request) => sent.map_err(|error| self.unreachable(error)),
            () = stalled => Err(self.silent(&url)),
        }
    }

    pub(super) fn silent(&self, url: &Url) -> Error {
        let host = self.host_of(url);
        let message = format!("`{host}` does not answer: nothing came for {} s", PATIENCE.as_secs());
        Error::new(ErrorKind::Unavailable, self.operation, message).with("repository", &self.access.repository)
    }

    fn host_of(&self, url: &Url) -> String {
        let place = &self.registry.place;
        let named = url.origin() == place.base.origin();
        if named { place.host.clone() } else { url.host_str().unwrap_or_default().to_owned() }
    }

    fn unreachable(&self, error: reqwest::Error) -> Error {
        let host = error.url().map_or_else(|| self.registry.place.host.clone(), |url| self.host_of(url));
        // Its address may hold the secret of an upload.
        retry::transport(self.operation, &host, &error.without_url()).with("repository", &self.access.repository)
    }

    /// The body of `response`, at most `limit` bytes of it.
    pub(super) async fn bytes(&self, mut response: Response, limit: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        loop {
            let Ok(piece) = tokio::time::timeout(PATIENCE, response.chunk()).await else {
                return Err(self.silent(response.url()));
            };
            let Some(piece) = piece.map_err(|error| self.unreachable(error))? else { return Ok(bytes) };
            bytes.extend_from_slice(&piece);
            if bytes.len() as u64 > limit {
                let message = format!("`{}` sends a document of more than {limit} bytes", self.registry.place.host);
                return Err(Error::new(ErrorKind::LimitExceeded, self.operation, message));
            }
        }
    }

    /// The error that `response` is.
    pub(super) async fn refused(&self, response: Response) -> Error {
        Refusal::read(self, response).await.error(self)
    }

    /// The digest that the registry says it has under what was asked for.
    pub(super) fn said_digest(&self, response: &Response) -> Result<Option<Digest>> {
        let Some(value) = response.headers().get(CONTENT_DIGEST) else { return Ok(None) };
        let text = value.to_str().unwrap_or_default();
        let digest = text.parse().map_err(|error| {
            let message = format!("`{}` names the digest `{text}`", self.registry.place.host);
            Error::new(ErrorKind::Unsupported, self.operation, message).with_source(error)
        });
        digest.map(Some)
    }

    /// Fails if the registry says that it has something else than `expected`. Repeatable: it was damaged on the way.
    pub(super) fn verify(&self, response: &Response, expected: Digest) -> Result<()> {
        match self.said_digest(response)? {
            Some(found) if found != expected => Err(self.damaged(expected, found).with_retry(Retry::After(None))),
            _ => Ok(()),
        }
    }

    pub(super) fn damaged(&self, expected: Digest, found: Digest) -> Error {
        let message = format!("what `{}` has does not match its digest", self.registry.place.host);
        Error::new(ErrorKind::Corrupt, self.operation, message)
            .with("repository", &self.access.repository)
            .with("expected", expected)
            .with("found", found)
            .advice("push the image again; if that does not help, the registry's storage is damaged")
    }
}

/// That `repository` is not in `registry`.
pub(super) fn elsewhere(
    registry: &OciRegistry,
    kind: ErrorKind,
    operation: &'static str,
    repository: &Repository,
) -> Error {
    let message = format!("`{repository}` is not in the registry `{}`", registry.place.host);
    Error::new(kind, operation, message).advice("name the repository without a host, or use the registry of that host")
}
