//! Digests of many files at once.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::{
    Context, Error, ErrorKind, Result,
    vocabulary::{Digest, Digester},
};

/// The digest and size of one file, or why it cannot be read.
pub(crate) type Measured = Result<(Digest, u64), String>;

/// Measures `files` with as many threads as there are processors, in their order.
pub(crate) async fn measure(cx: &Context, operation: &'static str, files: Vec<PathBuf>) -> Result<Vec<Measured>> {
    let total = files.len();
    let workers = std::thread::available_parallelism().map_or(2, usize::from).min(total);
    let (files, next) = (Arc::new(files), Arc::new(AtomicUsize::new(0)));
    let handles: Vec<_> = (0..workers)
        .map(|_| {
            let (cx, files, next) = (cx.clone(), Arc::clone(&files), Arc::clone(&next));
            tokio::task::spawn_blocking(move || work(&cx, operation, &files, &next))
        })
        .collect();
    let mut measured: Vec<Measured> = (0..total).map(|_| Err(String::new())).collect();
    for handle in handles {
        let part = handle.await.map_err(|error| Error::internal(operation, "a worker died").with_source(error))?;
        for (index, result) in part? {
            measured[index] = result;
        }
    }
    Ok(measured)
}

fn work(
    cx: &Context,
    operation: &'static str,
    files: &[PathBuf],
    next: &AtomicUsize,
) -> Result<Vec<(usize, Measured)>> {
    let mut done = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let index = next.fetch_add(1, Ordering::Relaxed);
        let Some(path) = files.get(index) else { return Ok(done) };
        match read(cx, operation, path, &mut buffer) {
            Ok(measured) => done.push((index, Ok(measured))),
            Err(error) if matches!(error.kind(), ErrorKind::Cancelled | ErrorKind::Timeout) => return Err(error),
            Err(error) => done.push((index, Err(error.message().to_owned()))),
        }
        if index % 512 == 511 {
            cx.progress("files", index as u64 + 1, Some(files.len() as u64));
        }
    }
}

fn read(cx: &Context, operation: &'static str, path: &Path, buffer: &mut [u8]) -> Result<(Digest, u64)> {
    let failed = |error| Error::io(operation, path, error);
    let mut file = File::open(path).map_err(failed)?;
    let (mut digester, mut size) = (Digester::new(), 0);
    loop {
        cx.check(operation)?;
        let count = file.read(buffer).map_err(failed)?;
        if count == 0 {
            return Ok((digester.finish(), size));
        }
        digester.update(&buffer[..count]);
        size += count as u64;
    }
}
