//! An image out of the engine, into a layout.

use std::{io, path::Path};

use http_body_util::BodyExt as _;
use hyper::Method;
use tokio::io::AsyncWriteExt as _;

use super::engine::Engine;
use crate::{
    Context, Error, ErrorKind, Result,
    files::{Temporary, blocking},
    image::Layout,
    local::image::{ImageArchive, Imported, read_archive},
    vocabulary::{Digest, Platform},
};

/// How often is said how far the bytes are, in bytes.
const SAID: u64 = 8 * 1024 * 1024;

/// Brings the image that the engine calls `name`, and whose id it said is `id`, into `layout`.
pub(super) async fn export(
    (cx, operation): (&Context, &'static str),
    engine: &Engine,
    (name, id): (&str, Digest),
    platform: &Platform,
    layout: &Layout,
) -> Result<Imported> {
    let mut archive = layout.temporary(operation)?;
    cx.bounded(operation, save((cx, operation), engine, name, &mut archive)).await??;
    let wanted = ImageArchive::new(archive.path()).platform(platform.clone());
    let (context, layout) = (cx.clone(), layout.clone());
    let unit = move || {
        let _archive = archive;
        let imported = read_archive(&context, &wanted, &layout)?;
        // An engine names an image by its configuration, or, with containerd's store, by its manifest.
        let config = layout.manifest(operation, imported.image.digest)?.config.map(|config| config.digest);
        if config == Some(id) || imported.image.digest == id {
            return Ok(imported);
        }
        Err(Error::new(ErrorKind::Corrupt, operation, "the engine saved another image than it built")
            .with("expected", id)
            .with("found", imported.image.digest))
    };
    blocking(operation, unit).await
}

async fn save(
    (cx, operation): (&Context, &'static str),
    engine: &Engine,
    name: &str,
    archive: &mut Temporary,
) -> Result<()> {
    let path = archive.path().to_owned();
    let failed = |error: io::Error| Error::io(operation, Path::new(&path), error);
    let mut file = tokio::fs::File::from_std(archive.file().try_clone().map_err(failed)?);
    let mut answer = engine.ask(operation, Method::GET, &format!("/images/{name}/get")).await?;
    let mut bytes = 0;
    while let Some(frame) = answer.response.body_mut().frame().await {
        let frame = frame.map_err(|error| engine.broken(operation, error))?;
        let Ok(piece) = frame.into_data() else { continue };
        file.write_all(&piece).await.map_err(failed)?;
        let before = bytes;
        bytes += piece.len() as u64;
        if before / SAID != bytes / SAID {
            cx.progress("bytes", bytes, None);
        }
    }
    file.flush().await.map_err(failed)
}
