//! Accepting connections at a Service's port.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinHandle,
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    forward::{Way, forward},
    route::Router,
};
use crate::vocabulary::ServiceName;

/// Connections to one port at the same time; more wait to be accepted.
const CONNECTIONS: usize = 1024;

/// How long a connection may take to send the head of a request.
const HEAD: Duration = Duration::from_secs(30);

/// How long to wait when no connection can be accepted, which is when files run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long requests under way may take once the port is closed.
const GRACE: Duration = Duration::from_secs(30);

/// When the cluster was last used, by a request or a call.
#[derive(Debug)]
pub(in super::super) struct Use {
    last: Mutex<Instant>,
    busy: AtomicUsize,
}

/// A use that lasts; over when dropped.
#[derive(Debug)]
pub(in super::super) struct InUse(Arc<Use>);

impl Use {
    pub(in super::super) fn new() -> Self {
        Self { last: Mutex::new(Instant::now()), busy: AtomicUsize::new(0) }
    }

    pub(in super::super) fn begin(self: &Arc<Self>) -> InUse {
        self.busy.fetch_add(1, Ordering::AcqRel);
        InUse(Arc::clone(self))
    }

    /// How long it has not been used.
    pub(in super::super) fn idle(&self) -> Duration {
        if self.busy.load(Ordering::Acquire) > 0 {
            return Duration::ZERO;
        }
        self.last.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        *self.0.last.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.0.busy.fetch_sub(1, Ordering::AcqRel);
    }
}

/// A port of a Service that is served. Closed when dropped.
#[derive(Debug)]
pub(in super::super) struct Listener {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Listener {
    /// Serves `port` of the Service `endpoint` on `listener`.
    pub(in super::super) fn start(
        listener: TcpListener,
        (endpoint, port): (ServiceName, u16),
        router: Arc<Router>,
        used: Arc<Use>,
    ) -> Self {
        let stop = CancellationToken::new();
        let way = Arc::new(Way { endpoint, port, router, used });
        let task = tokio::spawn(serve(listener, way, stop.clone()));
        Self { stop, task }
    }

    /// Accepts nothing more and returns when the requests under way are over.
    pub(in super::super) async fn stop(mut self) {
        self.stop.cancel();
        _ = (&mut self.task).await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn serve(listener: TcpListener, way: Arc<Way>, stop: CancellationToken) {
    let connections = TaskTracker::new();
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    let accept = async || {
        let permit = Arc::clone(&permits).acquire_owned().await;
        (permit, listener.accept().await)
    };
    while let Some((permit, accepted)) = stop.run_until_cancelled(accept()).await {
        let Ok((stream, peer)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let (way, stop) = (Arc::clone(&way), stop.clone());
        connections.spawn(async move {
            connection(stream, peer, way, stop).await;
            drop(permit);
        });
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// Serves one caller until it leaves; once `stop` is cancelled, until its request is over.
async fn connection(stream: TcpStream, peer: SocketAddr, way: Arc<Way>, stop: CancellationToken) {
    _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let way = Arc::clone(&way);
        async move { Ok::<_, Infallible>(forward(&way, peer, request).await) }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD).half_close(true);
    let connection = server.serve_connection(TokioIo::new(stream), service).with_upgrades();
    tokio::pin!(connection);
    // A connection that breaks is the caller's affair.
    tokio::select! {
        _ = connection.as_mut() => {}
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            _ = tokio::time::timeout(GRACE, connection).await;
        }
    }
}
