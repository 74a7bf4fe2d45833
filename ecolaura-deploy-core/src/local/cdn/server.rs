//! The server's life: accept, answer, stop.

use std::{convert::Infallible, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::graceful::GracefulShutdown,
};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{index::Site, response::respond};
use crate::{Error, ErrorKind, Result};

/// How long requests under way may take once the server is to stop.
const GRACE: Duration = Duration::from_secs(5);

/// How long to wait when no connection can be accepted, which is when files run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A server that runs. It stops when it is dropped, too.
#[derive(Debug)]
pub struct StaticServer {
    address: SocketAddr,
    task: JoinHandle<()>,
    stop: DropGuard,
}

impl StaticServer {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops accepting, lets requests under way end, for at most 5 s, and returns then.
    pub async fn stop(self) {
        drop(self.stop);
        // A panic in it was reported by the runtime, and it has stopped all the same.
        _ = self.task.await;
    }
}

/// Serves the site that a [`DirectoryCdn`](super::DirectoryCdn) keeps in `dir`, at `address` (port 0 picks one), in a
/// task of its own. Fails with `AlreadyExists` (the port is taken), `PermissionDenied`.
///
/// `GET` and `HEAD` over HTTP/1.1 with the published headers, `ETag` and 304. A switch is seen by the next request.
/// Of a file that has compressed variants (`SiteSource::compress`), each gets the best that it accepts, with `Vary`.
/// Assets of releases that are kept are served on; pages only of the live one. An unknown path is 404 with the site's
/// `404.html`, never another page.
pub async fn serve(dir: impl Into<PathBuf>, address: SocketAddr) -> Result<StaticServer> {
    let failed = |error: std::io::Error| {
        let kind = match error.kind() {
            std::io::ErrorKind::AddrInUse => ErrorKind::AlreadyExists,
            std::io::ErrorKind::PermissionDenied => ErrorKind::PermissionDenied,
            _ => ErrorKind::Unavailable,
        };
        Error::new(kind, "cdn.serve", format!("cannot listen on {address}: {error}"))
            .with_source(error)
            .advice("stop what listens there, or choose port 0 for a free one")
    };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let stop = CancellationToken::new();
    let task = tokio::spawn(serve_until(dir.into(), listener, stop.clone()));
    Ok(StaticServer { address, task, stop: stop.drop_guard() })
}

/// Serves as [`serve`] does, on `listener`, until `stop` is cancelled and requests under way have ended.
pub async fn serve_until(dir: PathBuf, listener: TcpListener, stop: CancellationToken) {
    let site = Arc::new(Site::new(dir));
    let connections = GracefulShutdown::new();
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(30));
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let site = Arc::clone(&site);
        let service = service_fn(move |request| {
            let site = Arc::clone(&site);
            async move { Ok::<_, Infallible>(respond(site, request).await) }
        });
        let connection = connections.watch(server.serve_connection(TokioIo::new(stream), service));
        // A connection that breaks is the browser's affair.
        tokio::spawn(async move { _ = connection.await });
    }
    drop(listener);
    _ = tokio::time::timeout(GRACE, connections.shutdown()).await;
}
