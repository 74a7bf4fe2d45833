//! Reading a blob as it comes, verified on the way.

use std::{
    io,
    pin::Pin,
    task::{Context as Task, Poll, ready},
};

use futures_util::TryStreamExt as _;
use reqwest::{Method, Response, StatusCode};
use tokio::{
    io::{AsyncRead, ReadBuf},
    time::{Instant, Sleep},
};
use tokio_util::io::StreamReader;

use super::call::{Ask, Call, PATIENCE};
use crate::{
    Error, ErrorKind, Result,
    backend::BlobReader,
    vocabulary::{Digest, Digester, Repository},
};

pub(super) async fn open(call: &Call<'_>, repository: &Repository, digest: Digest) -> Result<BlobReader> {
    let url = call.url(&format!("blobs/{digest}"))?;
    let get = || async {
        let response = call.send(&Ask::new(Method::GET, url.clone())).await?;
        match response.status() {
            StatusCode::OK => Ok(response),
            StatusCode::NOT_FOUND => {
                let message = format!("`{}` has no blob {digest}", call.registry.place.host);
                Err(Error::new(ErrorKind::NotFound, call.operation, message).with("repository", repository))
            }
            _ => Err(call.refused(response).await),
        }
    };
    let response = call.retried(get).await?;
    Ok(Box::new(Incoming::new(response, digest, call.registry.place.host.clone())))
}

/// The read that would end it fails if its bytes do not match its digest.
struct Incoming {
    body: Box<dyn AsyncRead + Send + Unpin>,
    host: String,
    expected: Digest,
    /// `None` once the end was verified.
    digester: Option<Digester>,
    /// Runs out when nothing comes.
    patience: Pin<Box<Sleep>>,
}

impl Incoming {
    fn new(response: Response, expected: Digest, host: String) -> Self {
        let pieces = response.bytes_stream().map_err(|error| io::Error::other(error.without_url()));
        let body = Box::new(StreamReader::new(Box::pin(pieces)));
        let patience = Box::pin(tokio::time::sleep(PATIENCE));
        Self { body, host, expected, digester: Some(Digester::new()), patience }
    }

    fn verify(&mut self) -> io::Result<()> {
        let Some(digester) = self.digester.take() else { return Ok(()) };
        match digester.finish() {
            found if found == self.expected => Ok(()),
            found => {
                let (host, expected) = (&self.host, self.expected);
                let message = format!("`{host}` sent {found} for the blob {expected}: it does not match its digest");
                Err(io::Error::new(io::ErrorKind::InvalidData, message))
            }
        }
    }
}

impl AsyncRead for Incoming {
    fn poll_read(mut self: Pin<&mut Self>, task: &mut Task<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        if Pin::new(&mut self.body).poll_read(task, buffer)?.is_pending() {
            ready!(self.patience.as_mut().poll(task));
            let message = format!("`{}` does not answer: nothing came for {} s", self.host, PATIENCE.as_secs());
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, message)));
        }
        self.patience.as_mut().reset(Instant::now() + PATIENCE);
        let read = &buffer.filled()[before..];
        if read.is_empty() {
            return Poll::Ready(self.verify());
        }
        if let Some(digester) = &mut self.digester {
            digester.update(read);
        }
        Poll::Ready(Ok(()))
    }
}
