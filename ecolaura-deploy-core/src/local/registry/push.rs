//! From a layout into the registry: blobs first, manifests last, the index at the end.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::{
    Context, Error, ErrorKind, Result,
    local::{
        files::blocking,
        oci::{Cargo, Index, Layout, Sweep},
    },
    vocabulary::{BuiltImage, Digest},
};

const OPERATION: &str = "registry.push";

/// Brings `image`, and what is attached to it, into `target`.
pub(super) async fn push(cx: &Context, image: &BuiltImage, target: &Layout) -> Result<()> {
    cx.check(OPERATION)?;
    let (source, digest) = (Layout::new(&image.layout), image.digest);
    let from = source.clone();
    let cargo = blocking(OPERATION, move || Cargo::of(OPERATION, &from, digest)).await.map_err(explain)?;
    let _writing = target.writing(cx, OPERATION, Sweep::Partial).await?;
    let (done, total) = (Arc::new(AtomicU64::new(0)), cargo.blobs.iter().map(|blob| blob.size).sum());
    stream::iter(cargo.blobs.into_iter().map(|blob| {
        let (digest, size, done) = (blob.digest, blob.size, Arc::clone(&done));
        let bring = bring(cx, &source, target, digest);
        async move {
            bring.await?;
            cx.progress("bytes", done.fetch_add(size, Ordering::Relaxed) + size, Some(total));
            Ok::<_, Error>(())
        }
    }))
    .buffer_unordered(cx.limits().parallel_transfers.get())
    .try_collect::<()>()
    .await?;
    for manifest in &cargo.manifests {
        bring(cx, &source, target, manifest.digest).await?;
    }
    let entries = cargo.entries;
    let list = move |index: &mut Index| {
        let missing: Vec<_> = entries.into_iter().filter(|entry| index.entry(entry.digest).is_none()).collect();
        index.manifests.extend(missing);
        Ok(())
    };
    target.update(cx, OPERATION, list).await
}

async fn bring(cx: &Context, source: &Layout, target: &Layout, digest: Digest) -> Result<bool> {
    let (context, source, target) = (cx.clone(), source.clone(), target.clone());
    blocking(OPERATION, move || target.import(&context, OPERATION, &source, digest)).await.map_err(explain)
}

fn explain(error: Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound => error.advice("build the image again, then push it"),
        _ => error,
    }
}
