//! A server that is far away: what comes and goes takes its time.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, tcp},
    sync::mpsc,
    time::{Instant, sleep_until},
};

/// How much of a connection is under way at a time, in pieces of at most 64 KiB.
const UNDER_WAY: usize = 64;
const PIECE: usize = 64 * 1024;

/// Answers with an address that leads to `server`, there and back in `trip` and the time that the server takes.
pub(crate) async fn relay(server: String, trip: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((near, _)) = listener.accept().await {
            let server = server.clone();
            tokio::spawn(async move {
                let Ok(far) = TcpStream::connect(&server).await else { return };
                _ = (near.set_nodelay(true), far.set_nodelay(true));
                let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), far.into_split());
                tokio::join!(carry(near_in, far_out, trip / 2), carry(far_in, near_out, trip / 2));
            });
        }
    });
    address.to_string()
}

async fn carry(mut from: tcp::OwnedReadHalf, mut to: tcp::OwnedWriteHalf, delay: Duration) {
    let (sender, mut receiver) = mpsc::channel::<(Instant, Vec<u8>)>(UNDER_WAY);
    let read = async move {
        loop {
            let mut piece = Vec::with_capacity(PIECE);
            match from.read_buf(&mut piece).await {
                Ok(count) if count > 0 && sender.send((Instant::now() + delay, piece)).await.is_ok() => {}
                _ => return,
            }
        }
    };
    let write = async move {
        while let Some((at, piece)) = receiver.recv().await {
            sleep_until(at).await;
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
        // Nobody waits for a goodbye.
        _ = to.shutdown().await;
    };
    tokio::join!(read, write);
}
