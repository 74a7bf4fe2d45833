//! Images that other tools saved as one file, into a layout.

mod archive;
mod choice;
mod docker;
mod oci;

use std::path::PathBuf;

use self::archive::Archive;
use super::super::{
    files::blocking,
    oci::{Descriptor, Index, Layout, Sweep},
};
use crate::{
    Context, Error, ErrorKind, Result,
    vocabulary::{BuiltImage, Platform},
};

const OPERATION: &str = "image.import";

/// A file that `docker save`, `podman save`, `skopeo copy` or `docker buildx --output type=oci` wrote: a tar archive,
/// compressed by gzip or not, of the kind `docker-archive` or of an OCI image layout.
///
/// ```
/// # async fn example(cx: &ecolaura_deploy_core::Context) -> ecolaura_deploy_core::Result<()> {
/// use ecolaura_deploy_core::local::image::ImageArchive;
/// let image = ImageArchive::new("backend.tar").reference("shop/backend:v1").import(cx, "target/images").await?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct ImageArchive {
    path: PathBuf,
    reference: Option<String>,
    platform: Option<Platform>,
}

impl ImageArchive {
    /// The archive at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), reference: None, platform: None }
    }

    /// Takes the image of this name, as the tool wrote it: `shop/backend:v1`. `docker.io/`, `library/` and `:latest` may
    /// be left out.
    pub fn reference(mut self, reference: impl Into<String>) -> Self {
        self.reference = Some(reference.into());
        self
    }

    /// Takes the image for this platform.
    pub fn platform(mut self, platform: Platform) -> Self {
        self.platform = Some(platform);
        self
    }

    /// Brings the image into the layout in the folder `layout`, which is made if it is not there. Afterwards it can be
    /// pushed.
    ///
    /// Of several images in the archive exactly one must fit the reference and the platform; but without a platform, an
    /// image for several of them is taken as a whole: the index of an OCI archive with all that it names, which must be
    /// there, or an index that is made of the images that docker saved under one name. An image of an OCI archive
    /// keeps its digest, and what is attached to it comes along. One that docker saved keeps its configuration, and so
    /// its image id; its layers are compressed as the builder's are, so that the same archive gives the same digest.
    ///
    /// Nothing is unpacked: entries are read by their names and stored by their digests, and no path in the archive is
    /// ever written to. Memory does not grow with the archive; a compressed one is unpacked into the layout's folder for
    /// the time. Idempotent; a cancel leaves at most blobs that no image needs. Fails with `NotFound` (no such file, or
    /// no such image in it), `InvalidInput` (several images fit), `Corrupt` naming file and entry (no archive, cut off,
    /// not as its digests say), `Unsupported` (a file of another kind), `LimitExceeded`.
    pub async fn import(&self, cx: &Context, layout: impl Into<PathBuf>) -> Result<BuiltImage> {
        cx.check(OPERATION)?;
        let layout = Layout::new(layout);
        let _writing = layout.writing(cx, OPERATION, Sweep::Partial).await?;
        let (context, wanted, target) = (cx.clone(), self.clone(), layout.clone());
        let imported = blocking(OPERATION, move || read(&context, &wanted, &target)).await?;
        cx.check(OPERATION)?;
        let entries = imported.entries;
        let list = move |index: &mut Index| {
            let missing: Vec<_> = entries.into_iter().filter(|entry| index.entry(entry.digest).is_none()).collect();
            index.manifests.extend(missing);
            Ok(())
        };
        layout.update(cx, OPERATION, list).await?;
        let dir = std::path::absolute(layout.dir()).map_err(|error| Error::io(OPERATION, layout.dir(), error))?;
        Ok(BuiltImage::new(dir, imported.image.digest, imported.platform, imported.size))
    }
}

/// What is in the layout and not yet in its index.
pub(crate) struct Imported {
    pub(crate) image: Descriptor,
    /// Of the index: the image, and what is attached to it.
    entries: Vec<Descriptor>,
    pub(crate) platform: Platform,
    /// The bytes of all blobs of the image.
    pub(crate) size: u64,
}

/// Brings the image that `wanted` names into `layout`, but not into its index. Blocks.
pub(crate) fn read(cx: &Context, wanted: &ImageArchive, layout: &Layout) -> Result<Imported> {
    let archive = Archive::open(cx, &wanted.path, layout)?;
    // What newer versions of docker save is of both kinds.
    if archive.has("index.json") {
        return oci::import(cx, &archive, wanted, layout);
    }
    if archive.has("manifest.json") {
        return docker::import(cx, &archive, wanted, layout);
    }
    let message =
        format!("`{}` holds no image: it has neither `index.json` nor `manifest.json`", wanted.path.display());
    Err(Error::new(ErrorKind::Unsupported, OPERATION, message)
        .advice("expected what `docker save` or `skopeo copy` writes; `docker export` saves no image"))
}
