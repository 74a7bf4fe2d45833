//! Reading a blob, verified on the way.

use std::{
    io,
    path::PathBuf,
    pin::Pin,
    task::{Context as Task, Poll, ready},
};

use tokio::io::{AsyncRead, ReadBuf};

use crate::{
    Result,
    local::oci::{Layout, corrupt, open_blob},
    vocabulary::{Digest, Digester},
};

/// A blob's file. The read that would end it fails if its bytes do not match its digest.
#[derive(Debug)]
pub(super) struct VerifiedFile {
    file: tokio::fs::File,
    path: PathBuf,
    operation: &'static str,
    expected: Digest,
    /// `None` once the end was verified.
    digester: Option<Digester>,
}

impl VerifiedFile {
    pub(super) fn open(operation: &'static str, layout: &Layout, expected: Digest) -> Result<Self> {
        let path = layout.blob(expected);
        let file = tokio::fs::File::from_std(open_blob(operation, &path, expected)?);
        Ok(Self { file, path, operation, expected, digester: Some(Digester::new()) })
    }

    fn verify(&mut self) -> io::Result<()> {
        let Some(digester) = self.digester.take() else { return Ok(()) };
        match digester.finish() {
            found if found == self.expected => Ok(()),
            found => {
                let error = corrupt(self.operation, &self.path, self.expected, found);
                Err(io::Error::new(io::ErrorKind::InvalidData, error))
            }
        }
    }
}

impl AsyncRead for VerifiedFile {
    fn poll_read(mut self: Pin<&mut Self>, task: &mut Task<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.file).poll_read(task, buffer))?;
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
