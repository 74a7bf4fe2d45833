//! The image that another one begins from.

use std::path::Path;

use super::{
    layers::{self, Change},
    tree::Tree,
    walk::ancestors,
};
use crate::{
    Context, Error, ErrorKind, Result,
    local::oci::{Configuration, Descriptor, LAYER, Layout, Manifest, parse},
    vocabulary::{Digest, Platform},
};

/// An image in a layout.
#[derive(Debug, Clone)]
pub(super) struct Base {
    pub(super) layout: Layout,
    pub(super) digest: Digest,
    pub(super) manifest: Manifest,
    pub(super) config: Configuration,
}

impl Base {
    /// The image for `platform` that `reference`, a tag or a digest, names in the layout at `folder`. Blocks.
    pub(super) fn find(operation: &'static str, folder: &Path, reference: &str, platform: &Platform) -> Result<Self> {
        let layout = Layout::new(folder);
        layout.check(operation)?;
        let digest = pick(operation, &layout, reference, platform)?;
        let manifest = layout.manifest(operation, digest)?;
        if let Some(reason) = manifest.unsupported() {
            return Err(Error::new(ErrorKind::Unsupported, operation, format!("base `{reference}`: {reason}")));
        }
        let config = manifest.config.as_ref().map_or(digest, |config| config.digest);
        let what = format!("`{}`", layout.blob(config).display());
        let config: Configuration = parse(operation, &what, &layout.document(operation, config)?)?;
        let found = Platform::new(&config.os, &config.architecture);
        if found != *platform {
            return Err(Error::invalid(operation, format!("base `{reference}` is for {found}, expected {platform}")));
        }
        let (layers, unpacked) = (manifest.layers.len(), config.rootfs.diff_ids.len());
        if layers != unpacked {
            let message = format!("base `{reference}` has {layers} layers, and {unpacked} in its configuration");
            return Err(Error::new(ErrorKind::Corrupt, operation, message));
        }
        Ok(Self { layout, digest, manifest, config })
    }

    /// Its layers as OCI names them, also if another tool does otherwise.
    pub(super) fn layers(&self) -> Vec<Descriptor> {
        let layers = self.manifest.layers.iter().map(|layer| match layer.media_type.as_str() {
            "application/vnd.docker.image.rootfs.diff.tar.gzip" => Descriptor::new(LAYER, layer.digest, layer.size),
            _ => layer.clone(),
        });
        layers.collect()
    }

    /// The folders and links that its layers leave. Blocks.
    pub(super) fn tree(&self, cx: &Context, operation: &'static str) -> Result<Tree> {
        let mut tree = Tree::default();
        layers::read((cx, operation), &self.layout, &self.manifest.layers, &mut |change| {
            note(&mut tree, change);
            Ok(())
        })?;
        Ok(tree)
    }
}

/// The digest of the manifest, through an index if the reference leads to one.
fn pick(operation: &'static str, layout: &Layout, reference: &str, platform: &Platform) -> Result<Digest> {
    let index = layout.index(operation)?;
    let by_digest = || index.entry(reference.parse().ok()?);
    let Some(mut entry) = index.tagged(reference).or_else(by_digest).cloned() else {
        let tags: Vec<_> = index
            .manifests
            .iter()
            .filter_map(|entry| entry.annotation(crate::local::oci::REF_NAME))
            .map(|tag| format!("`{tag}`"))
            .collect();
        let there = if tags.is_empty() { "no tag".to_owned() } else { tags.join(", ") };
        let message = format!("base: `{}` has no image `{reference}`; it has {there}", layout.dir().display());
        return Err(Error::new(ErrorKind::NotFound, operation, message));
    };
    for _ in 0..4 {
        let manifests = layout.manifest(operation, entry.digest)?.manifests;
        if manifests.is_empty() {
            return Ok(entry.digest);
        }
        let found = manifests.into_iter().find(|entry| entry.is_for(platform));
        entry = found.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, operation, format!("base `{reference}` has no image for {platform}"))
        })?;
    }
    Err(Error::new(ErrorKind::Unsupported, operation, format!("base `{reference}` is an index of indexes of indexes")))
}

fn note(tree: &mut Tree, change: Change<'_>) {
    match change {
        Change::Emptied(folder) => tree.clear(folder),
        Change::Removed(path) => tree.remove(path),
        Change::Put { path, kind, link, .. } => {
            ancestors(path).for_each(|folder| tree.expect_folder(folder));
            match (kind, link) {
                (tar::EntryType::Directory, _) => tree.add_folder(path),
                (tar::EntryType::Symlink, Some(target)) => tree.add_link(path, &target),
                _ => tree.remove(path),
            }
        }
    }
}
