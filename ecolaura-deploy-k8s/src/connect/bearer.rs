//! The layer of a client that gives each request its token.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response, StatusCode, header::AUTHORIZATION};
use kube::client::Body;
use tower::{BoxError, Layer, Service, ServiceExt as _, buffer::Buffer};

use super::token::Tokens;

/// As many requests as a client of `kube` lets wait.
const WAITING: usize = 1024;

#[derive(Debug, Clone)]
pub(super) struct BearerLayer(pub(super) Arc<Tokens>);

type Sent<R> = Pin<Box<dyn Future<Output = Result<R, BoxError>> + Send>>;

impl<S> Layer<S> for BearerLayer
where
    S: Service<Request<Body>, Error = BoxError> + Send + 'static,
    S::Future: Send,
{
    type Service = WithBearer<S>;

    fn layer(&self, inner: S) -> Self::Service {
        WithBearer { inner: Buffer::new(inner, WAITING), tokens: self.0.clone() }
    }
}

/// Sends each request with the present token, and once more with another if the server refuses it.
pub(super) struct WithBearer<S: Service<Request<Body>>> {
    inner: Buffer<Request<Body>, S::Future>,
    tokens: Arc<Tokens>,
}

impl<S: Service<Request<Body>>> fmt::Debug for WithBearer<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WithBearer").field("tokens", &self.tokens).finish_non_exhaustive()
    }
}

impl<S, B> Service<Request<Body>> for WithBearer<S>
where
    S: Service<Request<Body>, Response = Response<B>, Error = BoxError> + Send + 'static,
    S::Future: Future<Output = Result<Response<B>, BoxError>> + Send + 'static,
    B: Send + 'static,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = Sent<Response<B>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        // Each sending waits for its own turn.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (inner, tokens) = (self.inner.clone(), self.tokens.clone());
        Box::pin(async move {
            let again = copy(&request);
            let bearer = tokens.bearer().await?;
            let response = inner.clone().oneshot(with(request, bearer.header)).await?;
            if response.status() != StatusCode::UNAUTHORIZED {
                return Ok(response);
            }
            tokens.refused(bearer.serial);
            let Some(again) = again else { return Ok(response) };
            let bearer = tokens.bearer().await?;
            inner.oneshot(with(again, bearer.header)).await
        })
    }
}

fn with(mut request: Request<Body>, header: http::HeaderValue) -> Request<Body> {
    request.headers_mut().insert(AUTHORIZATION, header);
    request
}

/// The same request, unless its body is a stream.
fn copy(request: &Request<Body>) -> Option<Request<Body>> {
    let mut copy = Request::new(request.body().try_clone()?);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.version_mut() = request.version();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    Some(copy)
}
