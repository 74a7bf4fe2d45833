//! A blob on its way out: read in pieces, verified before the last one goes.

use std::{
    fmt,
    fs::File,
    io::{self, Read as _},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use reqwest::Body;
use tokio::sync::mpsc;

use super::origin::{Origin, PIECE, Pieces};
use crate::{
    Context, Error, ErrorKind, Result,
    files::{blocking, measure},
    image::{Descriptor, Layout, corrupt, open_blob},
    vocabulary::{Digest, Digester},
};

/// Pieces that wait to be sent, of each blob.
const WAITING: usize = 2;
/// How often is said how far the bytes are, in bytes.
const SAID: u64 = 4 * 1024 * 1024;

/// How far the bytes of an image are.
#[derive(Debug)]
pub(super) struct Meter {
    cx: Context,
    done: AtomicU64,
    said: AtomicU64,
    total: u64,
}

impl Meter {
    pub(super) fn new(cx: &Context, total: u64) -> Self {
        Self { cx: cx.clone(), done: AtomicU64::new(0), said: AtomicU64::new(0), total }
    }

    pub(super) fn add(&self, bytes: u64) {
        let done = self.done.fetch_add(bytes, Ordering::Relaxed) + bytes;
        if done >= self.said.load(Ordering::Relaxed) + SAID || done == self.total {
            self.said.store(done, Ordering::Relaxed);
            self.cx.progress("bytes", done, Some(self.total));
        }
    }

    fn take_back(&self, bytes: u64) {
        self.done.fetch_sub(bytes, Ordering::Relaxed);
        self.said.store(self.done.load(Ordering::Relaxed), Ordering::Relaxed);
    }
}

/// One try at sending a blob. What it counted is taken back unless it was [kept](Outflow::keep).
#[derive(Debug)]
pub(super) struct Outflow {
    meter: Arc<Meter>,
    kept: bool,
    seen: Arc<Seen>,
    source: Arc<tokio::sync::Mutex<Source>>,
}

/// What was not sent yet.
struct Source {
    pieces: Pieces,
    /// Of a piece that was too large for a request.
    rest: Bytes,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("rest", &self.rest.len()).finish_non_exhaustive()
    }
}

impl Source {
    /// The next piece, or as much of it as there is `room` for.
    async fn next(&mut self, room: u64) -> Option<Result<Bytes>> {
        if self.rest.is_empty() {
            match self.pieces.next().await? {
                Ok(piece) => self.rest = piece,
                error => return Some(error),
            }
        }
        let length = usize::try_from(room).unwrap_or(usize::MAX).min(self.rest.len());
        Some(Ok(self.rest.split_to(length)))
    }
}

/// What is known of the pieces.
#[derive(Debug, Default)]
pub(super) struct Seen {
    sent: AtomicU64,
    reading: AtomicBool,
    fault: Mutex<Option<Error>>,
}

impl Outflow {
    /// Begins to read `blob`.
    pub(super) async fn open(
        whom: (&Context, &'static str),
        origin: Origin<'_>,
        blob: &Descriptor,
        meter: &Arc<Meter>,
    ) -> Result<Self> {
        let seen = Arc::<Seen>::default();
        let source = Source { pieces: origin.pieces(whom, blob, &seen).await?, rest: Bytes::new() };
        let source = Arc::new(tokio::sync::Mutex::new(source));
        Ok(Self { meter: Arc::clone(meter), kept: false, seen, source })
    }

    /// The next `length` bytes for a request; all that is left if that is `None`.
    pub(super) fn body(&self, length: Option<u64>) -> Body {
        let (source, seen, meter) = (Arc::clone(&self.source), Arc::clone(&self.seen), Arc::clone(&self.meter));
        let pieces = stream::unfold(length.unwrap_or(u64::MAX), move |left| {
            let (source, seen, meter) = (Arc::clone(&source), Arc::clone(&seen), Arc::clone(&meter));
            async move {
                if left == 0 {
                    return None;
                }
                let piece = seen.take(&meter, source.lock().await.next(left).await?);
                let length = piece.as_ref().map_or(0, |piece| piece.len() as u64);
                Some((piece, left - length))
            }
        });
        Body::wrap_stream(pieces)
    }

    /// How many bytes were taken so far.
    pub(super) fn sent(&self) -> u64 {
        self.seen.sent.load(Ordering::Relaxed)
    }

    /// Whether the next piece is waited for.
    pub(super) fn reads(&self) -> bool {
        self.seen.reading.load(Ordering::Relaxed)
    }

    /// What was wrong with the blob, if that is why it was not sent.
    pub(super) fn fault(&self) -> Option<Error> {
        self.seen.fault.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(super) fn keep(mut self) {
        self.kept = true;
    }
}

impl Seen {
    /// Notes whether a piece is waited for.
    pub(super) fn reads(&self, reading: bool) {
        self.reading.store(reading, Ordering::Relaxed);
    }

    /// An error breaks the request off.
    fn take(&self, meter: &Meter, piece: Result<Bytes>) -> io::Result<Bytes> {
        match piece {
            Ok(piece) => {
                self.sent.fetch_add(piece.len() as u64, Ordering::Relaxed);
                meter.add(piece.len() as u64);
                Ok(piece)
            }
            Err(error) => {
                *self.fault.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                Err(io::ErrorKind::InvalidData.into())
            }
        }
    }
}

impl Drop for Outflow {
    fn drop(&mut self) {
        if !self.kept {
            self.meter.take_back(self.sent());
        }
    }
}

/// The pieces of a blob's file.
pub(super) async fn file(
    (cx, operation): (&Context, &'static str),
    layout: &Layout,
    blob: &Descriptor,
) -> Result<Pieces> {
    let (path, digest, size) = (layout.blob(blob.digest), blob.digest, blob.size);
    let (at, context) = (path.clone(), cx.clone());
    let open = move || open_whole((&context, operation), &at, digest, size);
    let file = blocking(operation, open).await?;
    let (sender, mut receiver) = mpsc::channel(WAITING);
    tokio::task::spawn_blocking(move || {
        if let Err(error) = pump(operation, file, &path, digest, &sender) {
            _ = sender.blocking_send(Err(error));
        }
    });
    Ok(stream::poll_fn(move |task| receiver.poll_recv(task)).boxed())
}

fn open_whole((cx, operation): (&Context, &'static str), path: &Path, digest: Digest, size: u64) -> Result<File> {
    let mut file = open_blob(operation, path, digest)?;
    let found = file.metadata().map_err(|error| Error::io(operation, path, error))?.len();
    if found == size {
        return Ok(file);
    }
    let found = measure(cx, operation, &mut file, path)?.0;
    if found == digest {
        let message = format!("the manifest says that {digest} has {size} bytes, and it has others");
        return Err(Error::new(ErrorKind::Corrupt, operation, message).with("file", path.display()));
    }
    Err(corrupt(operation, path, digest, found))
}

/// Reads `file` to its end, or until nobody wants it any more. The last piece goes only if all of them together are what
/// they should be, so that no registry is ever sent the whole of something else.
fn pump(
    operation: &'static str,
    mut file: File,
    path: &Path,
    expected: Digest,
    sender: &mpsc::Sender<Result<Bytes>>,
) -> Result<()> {
    let (mut digester, mut held) = (Digester::new(), None::<Bytes>);
    loop {
        let mut piece = Vec::with_capacity(PIECE);
        let read = (&mut file).take(PIECE as u64).read_to_end(&mut piece);
        read.map_err(|error| Error::io(operation, path, error))?;
        if piece.is_empty() {
            break;
        }
        digester.update(&piece);
        if let Some(piece) = held.replace(piece.into())
            && sender.blocking_send(Ok(piece)).is_err()
        {
            return Ok(());
        }
    }
    match digester.finish() {
        found if found != expected => Err(corrupt(operation, path, expected, found)),
        _ => {
            held.map(|piece| sender.blocking_send(Ok(piece)));
            Ok(())
        }
    }
}
