//! Shows what is in a site's bucket, where no `CloudFront` does: `GET` over HTTP/1.1, `/` as its `index.html`, what is
//! not there as the site's `404.html`. It caches nothing, so it needs no invalidation.

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use aws_sdk_s3::{Client, operation::get_object::GetObjectOutput};
use ecolaura_deploy_core::{Error, ErrorKind, Result, vocabulary::EnvironmentName};
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, task::JoinHandle};

use super::{Aws, SITE};

/// A server of one site. It ends when it is dropped.
#[derive(Debug)]
pub struct Edge {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Edge {
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Edge {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Shows the site of `environment` at `address`.
pub async fn serve(aws: &Aws, environment: &EnvironmentName, address: SocketAddr) -> Result<Edge> {
    let failed = |error: std::io::Error| {
        Error::new(ErrorKind::Unavailable, "edge.serve", format!("cannot listen on {address}")).with_source(error)
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let config = aws_sdk_s3::config::Builder::from(aws.account.sdk_config()).force_path_style(true).build();
    let bucket =
        Arc::new(Bucket { client: Client::from_conf(config), name: aws.settings.place(environment)?.bucket.clone() });
    let task = tokio::spawn(async move {
        // One that could not be taken is gone; the next may come.
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let bucket = Arc::clone(&bucket);
            tokio::spawn(async move {
                let answer = service_fn(move |request| {
                    let bucket = Arc::clone(&bucket);
                    async move { Ok::<_, Infallible>(bucket.answer(&request).await) }
                });
                // A caller that goes away is no error.
                _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
            });
        }
    });
    Ok(Edge { address, task })
}

struct Bucket {
    client: Client,
    name: String,
}

impl Bucket {
    async fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if request.method() != Method::GET {
            return plain(StatusCode::METHOD_NOT_ALLOWED, "only GET");
        }
        let path = request.uri().path().trim_start_matches('/');
        let key = if path.is_empty() || path.ends_with('/') { format!("{path}index.html") } else { path.to_owned() };
        if let Some(found) = self.read(&key, StatusCode::OK).await {
            return found;
        }
        let missing = self.read("404.html", StatusCode::NOT_FOUND).await;
        missing.unwrap_or_else(|| plain(StatusCode::NOT_FOUND, "not there"))
    }

    async fn read(&self, key: &str, status: StatusCode) -> Option<Response<Full<Bytes>>> {
        let found = self.client.get_object().bucket(&self.name).key(format!("{SITE}/{key}")).send().await.ok()?;
        let mut answer = Response::builder().status(status);
        for (name, value) in headers(&found) {
            answer = answer.header(name, value);
        }
        let body = found.body.collect().await.ok()?.into_bytes();
        answer.body(Full::new(body)).ok()
    }
}

fn headers(found: &GetObjectOutput) -> impl Iterator<Item = (header::HeaderName, &str)> {
    [
        (header::CONTENT_TYPE, found.content_type()),
        (header::CACHE_CONTROL, found.cache_control()),
        (header::CONTENT_ENCODING, found.content_encoding()),
        (header::ETAG, found.e_tag()),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(Bytes::from_static(text.as_bytes())));
    *answer.status_mut() = status;
    answer
}
