//! An API server for tests that answers what the test says, and remembers what it was asked.

use std::{
    collections::BTreeMap,
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use ecolaura_deploy_core::Context;
use futures_util::{StreamExt as _, stream};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::{Request, Response, body::Frame, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

use crate::{Connect, Connection};

/// What was asked.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Value,
}

impl Asked {
    pub(crate) fn bearer(&self) -> Option<&str> {
        self.headers.get("authorization")?.strip_prefix("Bearer ")
    }
}

/// What is answered.
pub(crate) struct Answer {
    status: u16,
    body: String,
    open: bool,
}

impl Answer {
    pub(crate) fn json(body: &Value) -> Self {
        Self::text(body.to_string())
    }

    pub(crate) fn text(body: impl Into<String>) -> Self {
        Self { status: 200, body: body.into(), open: false }
    }

    /// A watch that says this and then nothing more.
    pub(crate) fn open(body: impl Into<String>) -> Self {
        Self { open: true, ..Self::text(body) }
    }

    /// A refusal as Kubernetes writes it.
    pub(crate) fn status(code: u16, reason: &str, message: &str) -> Self {
        let body = json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure",
            "code": code, "reason": reason, "message": message,
        });
        Self { status: code, ..Self::json(&body) }
    }

    pub(crate) fn not_found() -> Self {
        Self::status(404, "NotFound", "not found")
    }
}

type Handler = dyn Fn(&Asked) -> Answer + Send + Sync;

pub(crate) struct FakeServer {
    address: SocketAddr,
    scheme: &'static str,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: JoinHandle<()>,
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl FakeServer {
    pub(crate) async fn start(handler: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        Self::serve(Arc::new(handler), None).await
    }

    pub(crate) async fn start_tls(
        tls: Arc<rustls::ServerConfig>,
        handler: impl Fn(&Asked) -> Answer + Send + Sync + 'static,
    ) -> Self {
        Self::serve(Arc::new(handler), Some(tls.into())).await
    }

    async fn serve(handler: Arc<Handler>, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::default();
        let seen: Arc<Mutex<Vec<Asked>>> = Arc::clone(&asked);
        let scheme = if tls.is_some() { "https" } else { "http" };
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (handler, seen, tls) = (handler.clone(), seen.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => connection(stream, handler, seen).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                connection(stream, handler, seen).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, scheme, asked, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    pub(crate) async fn connection(&self, cx: &Context) -> Connection {
        let folder = tempfile::tempdir().unwrap();
        let config = json!({
            "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c"}}],
            "clusters": [{"name": "c", "cluster": {"server": self.url()}}],
        });
        let file = folder.path().join("config");
        std::fs::write(&file, config.to_string()).unwrap();
        Connect::kubeconfig(file).connect(cx).await.unwrap()
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

async fn connection(stream: impl AsyncRead + AsyncWrite + Unpin, handler: Arc<Handler>, seen: Arc<Mutex<Vec<Asked>>>) {
    let service = service_fn(|request: Request<Incoming>| {
        let (handler, seen) = (handler.clone(), seen.clone());
        async move {
            let asked = read(request).await;
            let answer = handler(&asked);
            seen.lock().unwrap().push(asked);
            let response = Response::builder().status(answer.status).header("content-type", "application/json");
            let said = stream::once(async { Ok::<_, Infallible>(Frame::data(bytes(answer.body))) });
            let rest = if answer.open { stream::pending().left_stream() } else { stream::empty().right_stream() };
            Ok::<_, Infallible>(response.body(StreamBody::new(said.chain(rest).boxed())).unwrap())
        }
    });
    drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
}

fn bytes(text: String) -> hyper::body::Bytes {
    hyper::body::Bytes::from(text)
}

async fn read(request: Request<Incoming>) -> Asked {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Asked {
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        headers: parts
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()))
            .collect(),
        body: serde_json::from_slice(&body).unwrap_or_default(),
    }
}
