//! Requests, one by one or in a steady stream.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::JoinSet};
use tokio_util::sync::CancellationToken;

type Sender = SendRequest<Full<Bytes>>;

pub(super) async fn connect(address: &str) -> Result<Sender, String> {
    let stream = TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    tokio::spawn(connection);
    Ok(sender)
}

pub(super) async fn send(
    sender: &mut Sender,
    method: &str,
    path: &str,
    body: &str,
) -> Result<(StatusCode, String), String> {
    let request = Request::builder().method(method).uri(path).header("host", "test").body(Full::from(body.to_owned()));
    let response = sender.send_request(request.unwrap()).await.map_err(|error| error.to_string())?;
    let status = response.status();
    let body = response.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

/// One GET on a connection of its own.
pub(super) async fn get(address: &str, path: &str) -> Result<(StatusCode, String), String> {
    send(&mut connect(address).await?, "GET", path, "").await
}

/// Answers that came, by their text, `failed: …` among them.
pub(super) type Tally = BTreeMap<String, usize>;

/// A steady stream of requests from several callers, most on connections that are kept.
pub(super) struct Load {
    tally: Arc<Mutex<Tally>>,
    /// How many answers each caller has had.
    counts: Vec<Arc<AtomicUsize>>,
    stop: CancellationToken,
    callers: JoinSet<()>,
}

impl Load {
    pub(super) fn start(address: &str) -> Self {
        let (tally, stop) = (Arc::new(Mutex::new(Tally::new())), CancellationToken::new());
        let (mut callers, mut counts) = (JoinSet::new(), Vec::new());
        for caller in 0..6 {
            // Some requests are slow, some cannot be repeated, and some callers do not keep their connection.
            let (method, path) = [("GET", "/"), ("POST", "/"), ("GET", "/slow?20")][caller % 3];
            let call = Caller { address: address.to_owned(), method, path, keep: caller < 4, count: Arc::default() };
            counts.push(Arc::clone(&call.count));
            callers.spawn(call.run(Arc::clone(&tally), stop.clone()));
        }
        Self { tally, counts, stop, callers }
    }

    pub(super) fn tally(&self) -> Tally {
        self.tally.lock().unwrap().clone()
    }

    async fn rounds(&self, rounds: usize) {
        let count = |caller: &Arc<AtomicUsize>| caller.load(Ordering::Relaxed);
        let before: Vec<usize> = self.counts.iter().map(count).collect();
        while self.counts.iter().zip(&before).any(|(caller, before)| count(caller) < before + rounds) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// What is answered to requests that begin from now on, at least `rounds` of each caller.
    pub(super) async fn more(&self, rounds: usize) -> Tally {
        self.rounds(1).await;
        let before = self.tally();
        self.rounds(rounds).await;
        let mut more = self.tally();
        for (text, number) in &mut more {
            *number -= before.get(text).unwrap_or(&0);
        }
        more.retain(|_, number| *number > 0);
        more
    }

    /// Ends it; every request that began has its answer.
    pub(super) async fn end(mut self) -> Tally {
        self.stop.cancel();
        while let Some(ended) = self.callers.join_next().await {
            ended.unwrap();
        }
        self.tally()
    }
}

struct Caller {
    address: String,
    method: &'static str,
    path: &'static str,
    keep: bool,
    count: Arc<AtomicUsize>,
}

impl Caller {
    async fn run(self, tally: Arc<Mutex<Tally>>, stop: CancellationToken) {
        let mut kept = None;
        while !stop.is_cancelled() {
            let text = match self.ask(&mut kept).await {
                Ok((StatusCode::OK, body)) => body.trim_start_matches("half ").to_owned(),
                Ok((status, body)) => format!("failed: {status} {body}"),
                Err(error) => format!("failed: {error}"),
            };
            *tally.lock().unwrap().entry(text).or_default() += 1;
            self.count.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn ask(&self, kept: &mut Option<Sender>) -> Result<(StatusCode, String), String> {
        let mut sender = match kept.take().filter(|sender| !sender.is_closed()) {
            Some(sender) => sender,
            None => connect(&self.address).await?,
        };
        let answer = send(&mut sender, self.method, self.path, "").await;
        if self.keep && sender.ready().await.is_ok() {
            *kept = Some(sender);
        }
        answer
    }
}
