//! A blob of another registry on its way into this one: in pieces, without a file or the whole of it in memory.

use std::{io, sync::Arc};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use tokio::io::AsyncReadExt as _;

use super::{
    origin::{PIECE, Pieces, Source},
    outflow::Seen,
};
use crate::{
    Context, Error, ErrorKind, Result, Retry,
    backend::BlobReader,
    image::Descriptor,
    vocabulary::{Digest, Digester},
};

pub(super) async fn open(
    (cx, operation): (&Context, &'static str),
    source: Source<'_>,
    blob: &Descriptor,
    seen: &Arc<Seen>,
) -> Result<Pieces> {
    let reader = source.registry.blob(cx, source.repository, &blob.digest).await;
    let inflow = Inflow {
        reader: reader.map_err(|error| source.blame(error))?,
        operation,
        place: source.place(),
        expected: (blob.digest, blob.size),
        digester: Some(Digester::new()),
        read: 0,
        held: None,
        seen: Arc::clone(seen),
    };
    Ok(stream::try_unfold(inflow, Inflow::next).boxed())
}

struct Inflow {
    reader: BlobReader,
    operation: &'static str,
    place: String,
    expected: (Digest, u64),
    /// `None` once the end was verified.
    digester: Option<Digester>,
    read: u64,
    /// Goes when there is another one, or the end was verified: so no registry is ever sent the whole of something else.
    held: Option<Bytes>,
    seen: Arc<Seen>,
}

impl Inflow {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>> {
        while let Some(digester) = &mut self.digester {
            let mut piece = Vec::with_capacity(PIECE);
            self.seen.reads(true);
            let read = (&mut self.reader).take(PIECE as u64).read_to_end(&mut piece).await;
            self.seen.reads(false);
            if let Err(error) = read {
                return Err(self.unreadable(error));
            }
            digester.update(&piece);
            self.read += piece.len() as u64;
            if self.read > self.expected.1 {
                let (digest, size) = self.expected;
                return Err(self.corrupt(format!("more came for the blob {digest} than the {size} bytes that it has")));
            }
            if piece.is_empty() {
                self.verify()?;
                break;
            }
            if let Some(piece) = self.held.replace(piece.into()) {
                return Ok(Some((piece, self)));
            }
        }
        Ok(self.held.take().map(|last| (last, self)))
    }

    fn verify(&mut self) -> Result<()> {
        let Some(digester) = self.digester.take() else { return Ok(()) };
        let ((digest, size), found) = (self.expected, digester.finish());
        if self.read == size && found == digest {
            return Ok(());
        }
        let message = match found == digest {
            true => format!("a manifest says that the blob {digest} has {size} bytes, and it has {}", self.read),
            false => format!("{} of {size} bytes came for the blob {digest}, and are {found}", self.read),
        };
        Err(self.corrupt(message))
    }

    /// Repeatable: it may have been damaged on the way.
    fn corrupt(&self, message: String) -> Error {
        Error::new(ErrorKind::Corrupt, self.operation, message)
            .with("copied from", &self.place)
            .with_retry(Retry::After(None))
    }

    fn unreadable(&self, error: io::Error) -> Error {
        match error.downcast::<Error>() {
            Ok(known) => known.with("copied from", &self.place),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => self.corrupt(error.to_string()),
            Err(error) => {
                let message = format!("the blob {} broke off: {error}", self.expected.0);
                Error::new(ErrorKind::Unavailable, self.operation, message)
                    .with("copied from", &self.place)
                    .with_source(error)
            }
        }
    }
}
