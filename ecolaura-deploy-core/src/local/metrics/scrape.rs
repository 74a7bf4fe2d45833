//! Reading one page over HTTP.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};

use super::page::Page;
use crate::{BoxError, Error, ErrorKind, Result};

/// The largest page, in bytes.
const PAGE_LIMIT: usize = 4 * 1024 * 1024;

#[derive(Debug)]
pub(super) struct Scraper {
    client: Client<HttpConnector, Empty<Bytes>>,
    pub(super) timeout: Duration,
}

impl Scraper {
    pub(super) fn new() -> Self {
        // Pods come and go; a kept connection would outlive its pod.
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http();
        Self { client, timeout: Duration::from_secs(5) }
    }

    /// The page of the pod at `address`. Fails with `Unavailable`, `Timeout`, `LimitExceeded`, `Corrupt`, naming it.
    pub(super) async fn read(&self, address: &str) -> Result<Page> {
        let url = format!("http://{address}/metrics");
        let page = match tokio::time::timeout(self.timeout, self.fetch(&url)).await {
            Ok(text) => text.and_then(|text| Page::parse(&text)),
            Err(_) => {
                let message = format!("no page within {:?}", self.timeout);
                Err(Error::new(ErrorKind::Timeout, "metrics.read", message))
            }
        };
        page.map_err(|error| error.with("url", url))
    }

    async fn fetch(&self, url: &str) -> Result<String> {
        let uri: Uri = url
            .parse()
            .map_err(|error| Error::invalid("metrics.read", "a pod's address is not `host:port`").with_source(error))?;
        let request = Request::get(uri)
            .header("accept", "text/plain;version=0.0.4")
            .body(Empty::new())
            .map_err(|error| Error::internal("metrics.read", "the request is not valid").with_source(error))?;
        let response = self.client.request(request).await.map_err(|error| unavailable("no answer", error))?;
        if response.status() != StatusCode::OK {
            let message = format!("the answer is {}, expected 200", response.status());
            return Err(Error::new(ErrorKind::Unavailable, "metrics.read", message));
        }
        let body = Limited::new(response.into_body(), PAGE_LIMIT).collect().await.map_err(refuse_body)?;
        String::from_utf8(body.to_bytes().into())
            .map_err(|error| Error::new(ErrorKind::Corrupt, "metrics.read", "the page is not UTF-8").with_source(error))
    }
}

fn refuse_body(error: BoxError) -> Error {
    if error.is::<http_body_util::LengthLimitError>() {
        return Error::new(ErrorKind::LimitExceeded, "metrics.read", "the page is larger than 4 MiB")
            .advice("expose fewer series");
    }
    unavailable("the answer broke off", error)
}

fn unavailable(message: &str, error: impl Into<BoxError>) -> Error {
    Error::new(ErrorKind::Unavailable, "metrics.read", message)
        .advice("see whether the pod runs and serves `/metrics`")
        .with_source(error)
}
