//! Images without a daemon: assembled from files into an OCI image layout, taken into one from the archives of other
//! tools, and unpacked from a registry.
//!
//! [`LayoutBuilder`] runs nothing: it takes files as they are. The same files and specification give the same digest,
//! on any machine: entries are sorted, owned by 0:0 and dated 1970, a file's mode is 0755 or 0644 unless it is given,
//! folders are 0755, and layers are compressed in blocks whose bounds do not depend on the number of processors.
//!
//! Where a layer of the base or below has a folder, it keeps its mode and owner; where it has a link to one, files are
//! put where the link leads, as a process in the image would see it.

use std::{num::NonZeroUsize, path::PathBuf};

use async_trait::async_trait;

use self::inspect::Inspected;
pub(crate) use self::problems::Problems;
use super::{files::blocking, oci::Layout};
use crate::{
    Context, Result,
    backend::{ImageBuilder, ImageSpec},
    vocabulary::{BuiltImage, Fingerprint, Name},
};

mod attached;
mod base;
mod bill;
mod build;
mod check;
mod config;
mod fingerprint;
mod gzip;
mod import;
mod inspect;
mod layers;
mod leftovers;
mod pack;
mod problems;
mod stream;
#[cfg(test)]
mod tests;
mod tree;
mod unpack;
mod walk;

#[cfg(feature = "docker")]
pub(crate) use self::{
    attached::{exists, store_with_bill},
    bill::{Bill, is_lock_file},
    build::{BUILT_BY, list},
    fingerprint::{NAMED, grouped},
    import::{Imported, read as read_archive},
    walk::changed,
};
pub use self::{
    import::ImageArchive,
    unpack::{ImageConfig, unpack},
};

/// Assembles images from files, folders and a base layout into an OCI image layout on disk.
///
/// Files are read as a stream and layers compressed on all processors; the memory does not grow with them. From
/// `spec.lock_files` a bill of materials (`CycloneDX`) is made and attached, which a scanner needs. All that is wrong
/// with a specification is told at once, before anything is written. Safe under concurrent processes of one machine.
///
/// A build that was cut short leaves at most blobs that no image needs; the next one removes them, unless another
/// build is under way. Links are taken as links, except for the source of an entry itself, which is followed.
///
/// ```
/// # async fn example(cx: &ecolaura_deploy_core::Context) -> ecolaura_deploy_core::Result<()> {
/// use ecolaura_deploy_core::{
///     backend::{ImageBuilder, ImageEntry, ImageSpec},
///     local::image::LayoutBuilder,
///     vocabulary::Platform,
/// };
/// let builder = LayoutBuilder::new("target/images", "builder".parse()?);
/// let spec = ImageSpec::new(Platform::current())
///     .layer([ImageEntry::new("target/release/backend", "/app/backend").mode(0o755)])
///     .entrypoint(["/app/backend"])
///     .user("65532:65532")
///     .port("8080/tcp")
///     .lock_file("Cargo.lock");
/// let image = builder.build(cx, &spec).await?;
/// assert!(builder.exists(cx, &image).await?);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct LayoutBuilder {
    layout: Layout,
    name: Name,
    keep: NonZeroUsize,
}

impl LayoutBuilder {
    /// Builds into the folder `layout`, which is made by the first build; `name` is for plans and records.
    pub fn new(layout: impl Into<PathBuf>, name: Name) -> Self {
        const KEPT: NonZeroUsize = NonZeroUsize::new(64).expect("64 is not 0");
        Self { layout: Layout::new(layout), name, keep: KEPT }
    }

    /// Keeps the newest `count` images of the layout, 64 unless this says otherwise. An image that is no longer there
    /// is built again when it is needed.
    pub fn keep(mut self, count: NonZeroUsize) -> Self {
        self.keep = count;
        self
    }
}

#[async_trait]
impl ImageBuilder for LayoutBuilder {
    fn name(&self) -> &Name {
        &self.name
    }

    async fn fingerprint(&self, cx: &Context, spec: &ImageSpec) -> Result<Fingerprint> {
        const OPERATION: &str = "image.fingerprint";
        cx.check(OPERATION)?;
        let (context, wanted) = (cx.clone(), spec.clone());
        let unit = move || {
            let mut problems = Problems::default();
            let inspected = Inspected::of(&context, OPERATION, &wanted, &mut problems)?;
            Ok((inspected, problems))
        };
        let (inspected, problems) = blocking(OPERATION, unit).await?;
        fingerprint::fingerprint(cx, OPERATION, spec, inspected, problems).await
    }

    async fn build(&self, cx: &Context, spec: &ImageSpec) -> Result<BuiltImage> {
        build::build(cx, self, spec).await
    }

    async fn exists(&self, cx: &Context, image: &BuiltImage) -> Result<bool> {
        attached::exists(cx, image).await
    }
}
