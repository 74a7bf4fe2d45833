//! The fake behind a server of HTTP on this machine, for the SDK's client as it is in production.

use std::{convert::Infallible, net::SocketAddr};

use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, task::JoinHandle};

use super::{Asked, FakeS3, Fate, refusal};

/// It stops when it is dropped.
#[derive(Debug)]
pub(crate) struct Served {
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FakeS3 {
    /// Serves this bucket, and what else the fake has.
    pub(crate) async fn serve(&self) -> Served {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, fake) = (listener.local_addr().unwrap(), self.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let fake = fake.clone();
                let service = service_fn(move |request| {
                    let fake = fake.clone();
                    async move { Ok::<_, Infallible>(fake.answer_http(request).await) }
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        Served { address, task }
    }

    async fn answer_http(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (mut parts, body) = request.into_parts();
        let content = body.collect().await.unwrap().to_bytes();
        parts.uri = format!("http://s3.fake{}", parts.uri).parse().unwrap();
        let is_head = parts.method == hyper::Method::HEAD;
        let request = Request::from_parts(parts, SdkBody::from(content.to_vec()));
        let asked = Asked::of(&HttpRequest::try_from(request).unwrap());
        let answer = match (self.fates.lock().unwrap())(&asked.line) {
            Fate::Refused(status, code) => refusal(status, code),
            _ => {
                let mut state = self.state.lock().unwrap();
                state.log.push(asked.line.clone());
                self.answer(&asked, &mut state)
            }
        };
        (self.watch.lock().unwrap())(&asked.line);
        let (parts, body) = answer.try_into_http1x().unwrap().into_parts();
        let content = if is_head { Bytes::new() } else { Bytes::copy_from_slice(body.bytes().unwrap_or_default()) };
        Response::from_parts(parts, Full::new(content))
    }
}
