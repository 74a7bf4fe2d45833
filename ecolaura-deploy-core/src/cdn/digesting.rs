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
    each(cx, operation, files, move |cx, path, buffer| read(cx, operation, path, buffer)).await
}

/// Does `work` on each of `items`, with as many threads as there are processors, each with a buffer of its own. Answers in
/// their order; `Err` says what is wrong with one. A cancel stops all.
pub(super) async fn each<T, R, W>(
    cx: &Context,
    operation: &'static str,
    items: Vec<T>,
    work: W,
) -> Result<Vec<Result<R, String>>>
where
    T: Send + Sync + 'static,
    R: Send + 'static,
    W: Fn(&Context, &T, &mut [u8]) -> Result<R> + Send + Sync + 'static,
{
    let total = items.len();
    let workers = std::thread::available_parallelism().map_or(2, usize::from).min(total);
    let shared = Arc::new((items, work, AtomicUsize::new(0)));
    let handles: Vec<_> = (0..workers)
        .map(|_| {
            let (cx, shared) = (cx.clone(), Arc::clone(&shared));
            tokio::task::spawn_blocking(move || turns(&cx, &shared.0, &shared.1, &shared.2))
        })
        .collect();
    let mut results: Vec<Result<R, String>> = (0..total).map(|_| Err(String::new())).collect();
    for handle in handles {
        let part = handle.await.map_err(|error| Error::internal(operation, "a worker died").with_source(error))?;
        for (index, result) in part? {
            results[index] = result;
        }
    }
    Ok(results)
}

fn turns<T, R>(
    cx: &Context,
    items: &[T],
    work: &impl Fn(&Context, &T, &mut [u8]) -> Result<R>,
    next: &AtomicUsize,
) -> Result<Vec<(usize, Result<R, String>)>> {
    let mut done = Vec::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let index = next.fetch_add(1, Ordering::Relaxed);
        let Some(item) = items.get(index) else { return Ok(done) };
        match work(cx, item, &mut buffer) {
            Ok(result) => done.push((index, Ok(result))),
            Err(error) if matches!(error.kind(), ErrorKind::Cancelled | ErrorKind::Timeout) => return Err(error),
            Err(error) => done.push((index, Err(error.message().to_owned()))),
        }
        if index % 512 == 511 {
            cx.progress("files", index as u64 + 1, Some(items.len() as u64));
        }
    }
}

/// The digest and size of the file at `path`.
pub(super) fn read(cx: &Context, operation: &'static str, path: &Path, buffer: &mut [u8]) -> Result<(Digest, u64)> {
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
