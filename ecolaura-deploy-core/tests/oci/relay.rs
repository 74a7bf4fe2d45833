//! Between the client and a real registry whose password changes in the middle of something: the registry itself refuses
//! the former one from then on.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use http_body_util::{Either, Full};
use hyper::{Method, Request, Response, StatusCode, body::Incoming, header, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// Stops with the value.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    state: Arc<Mutex<State>>,
    serving: JoinHandle<()>,
}

struct State {
    registry: String,
    /// The former login and the present one, and the first request that takes the present one alone.
    former: Option<(String, String, Method, &'static str)>,
    /// How often the registry answered that it wants another login.
    refused: usize,
}

type Answer = Response<Either<Incoming, Full<bytes::Bytes>>>;

impl Relay {
    /// Takes the login `former` for `present` until the first request of `method` whose address contains `part`.
    pub(crate) async fn start(
        registry: &str,
        (former, present): (&str, &str),
        (method, part): (Method, &'static str),
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let former = Some((format!("Basic {former}"), format!("Basic {present}"), method, part));
        let state = State { registry: registry.to_owned(), former, refused: 0 };
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&shared);
                tokio::spawn(async move {
                    let service = service_fn(move |request| forward(Arc::clone(&state), request));
                    let server = hyper::server::conn::http1::Builder::new();
                    _ = server.serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address, state, serving }
    }

    pub(crate) fn refused(&self) -> usize {
        self.state.lock().unwrap().refused
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn forward(state: Arc<Mutex<State>>, mut request: Request<Incoming>) -> Result<Answer, Infallible> {
    let registry = {
        let mut state = state.lock().unwrap();
        let login = request.headers().get(header::AUTHORIZATION).and_then(|login| login.to_str().ok());
        if let Some((former, present, method, part)) = &state.former
            && login == Some(former)
        {
            if method == request.method() && request.uri().to_string().contains(part) {
                state.former = None;
            } else {
                let present = present.parse().unwrap();
                request.headers_mut().insert(header::AUTHORIZATION, present);
            }
        }
        state.registry.clone()
    };
    let stream = TcpStream::connect(registry).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let Ok(response) = sender.send_request(request).await else {
        let mut gone = Response::new(Either::Right(Full::default()));
        *gone.status_mut() = StatusCode::BAD_GATEWAY;
        return Ok(gone);
    };
    if response.status() == StatusCode::UNAUTHORIZED {
        state.lock().unwrap().refused += 1;
    }
    Ok(response.map(Either::Left))
}
