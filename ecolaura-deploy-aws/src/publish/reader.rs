//! Reads a file piece by piece, and its digest on the way.

use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use ecolaura_deploy_core::{
    Error, ErrorKind, Result,
    backend::SiteObject,
    vocabulary::{Digest, Digester},
};

/// Memory for parts, used again and again: an allocator keeps of large pieces that were freed as much again.
#[derive(Debug, Default)]
pub(super) struct Buffers(Mutex<Vec<Vec<u8>>>);

impl Buffers {
    fn take(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }
}

/// A part, whose memory goes back when nobody needs it any more.
struct Lent {
    bytes: Vec<u8>,
    home: Arc<Buffers>,
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        self.home.0.lock().unwrap_or_else(PoisonError::into_inner).push(bytes);
    }
}

/// A file that is being read, off the runtime's threads.
#[derive(Debug)]
pub(super) struct Reader {
    operation: &'static str,
    path: PathBuf,
    file: File,
    digester: Digester,
    read: u64,
}

/// All of the file at `path`, which has to be `object`'s content.
pub(super) async fn whole(operation: &'static str, path: &Path, object: &SiteObject) -> Result<Bytes> {
    let (path, object) = (path.to_owned(), object.clone());
    // In one go: small files are many.
    blocking(operation, move || {
        let mut reader = Reader::new(operation, path)?;
        // One byte more shows a file that grew.
        let content = reader.fill(Vec::new(), object.size + 1)?;
        reader.verify(&object)?;
        Ok(content.into())
    })
    .await
}

impl Reader {
    pub(super) async fn open(operation: &'static str, path: &Path) -> Result<Self> {
        let path = path.to_owned();
        blocking(operation, move || Self::new(operation, path)).await
    }

    fn new(operation: &'static str, path: PathBuf) -> Result<Self> {
        match File::open(&path) {
            Ok(file) => Ok(Self { operation, path, file, digester: Digester::new(), read: 0 }),
            Err(error) => Err(Error::io(operation, &path, error)),
        }
    }

    /// The next `most` bytes, into memory that is of `buffers`; fewer at the end of the file only.
    pub(super) async fn next_within(mut self, most: u64, buffers: &Arc<Buffers>) -> Result<(Self, Bytes)> {
        let home = Arc::clone(buffers);
        blocking(self.operation, move || {
            let bytes = self.fill(home.take(), most)?;
            Ok((self, Bytes::from_owner(Lent { bytes, home })))
        })
        .await
    }

    fn fill(&mut self, mut piece: Vec<u8>, most: u64) -> Result<Vec<u8>> {
        piece.clear();
        piece.reserve_exact(usize::try_from(most).unwrap_or_default());
        let read = self.file.by_ref().take(most).read_to_end(&mut piece);
        read.map_err(|error| Error::io(self.operation, &self.path, error))?;
        self.digester.update(&piece);
        self.read += piece.len() as u64;
        Ok(piece)
    }

    /// Makes sure that what was read is `object`'s content.
    pub(super) fn verify(self, object: &SiteObject) -> Result<()> {
        let found = (self.digester.finish(), self.read);
        if found == (object.digest, object.size) {
            return Ok(());
        }
        Err(changed(self.operation, &self.path, object, found))
    }

    /// How much was read.
    pub(super) fn read(&self) -> u64 {
        self.read
    }
}

fn changed(operation: &'static str, path: &Path, object: &SiteObject, found: (Digest, u64)) -> Error {
    Error::new(ErrorKind::Corrupt, operation, format!("`{}` changed after the site was read", path.display()))
        .with("expected", format!("{}, {} bytes", object.digest, object.size))
        .with("found", format!("{}, {} bytes", found.0, found.1))
        .advice("let the build finish before publishing, then publish again")
}

async fn blocking<T: Send + 'static>(
    operation: &'static str,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let join = tokio::task::spawn_blocking(work).await;
    join.map_err(|error| Error::internal(operation, "file work panicked").with_source(error))?
}
