//! What belongs to an image in a layout.

use std::collections::BTreeSet;

use super::{Descriptor, Layout, MANIFEST, SUBJECT};
use crate::{Result, vocabulary::Digest};

/// What there is to bring into a registry.
#[derive(Debug, Default)]
pub(crate) struct Cargo {
    /// Configurations, layers and the like.
    pub(crate) blobs: Vec<Descriptor>,
    /// Manifests, those first that others name; what is attached to the image or a part of it comes after it.
    pub(crate) manifests: Vec<Descriptor>,
    /// Entries of the index: the image, and what is attached to it.
    pub(crate) entries: Vec<Descriptor>,
    seen: BTreeSet<Digest>,
}

impl Cargo {
    /// Everything that belongs to `image` in `source`.
    pub(crate) fn of(operation: &'static str, source: &Layout, image: Digest) -> Result<Self> {
        source.check(operation)?;
        let mut cargo = Self::default();
        let bytes = source.document(operation, image)?;
        let index = source.index(operation)?;
        let listed = index.entry(image).map_or(MANIFEST, |entry| entry.media_type.as_str());
        let entry = Descriptor::of(listed, &bytes);
        cargo.add(operation, source, &entry)?;
        cargo.entries.push(entry);
        let subjects: Vec<_> = cargo.manifests.iter().map(|manifest| manifest.digest).collect();
        for subject in subjects {
            for (kind, entry) in source.referrers(operation, subject)? {
                cargo.add(operation, source, &entry)?;
                let entry = entry.plain().artifact(kind);
                cargo.entries.push(entry.annotated(SUBJECT, subject.to_string()));
            }
        }
        Ok(cargo)
    }

    fn add(&mut self, operation: &'static str, source: &Layout, document: &Descriptor) -> Result<()> {
        if !self.seen.insert(document.digest) {
            return Ok(());
        }
        for child in source.manifest(operation, document.digest)?.children() {
            if child.is_document() {
                self.add(operation, source, child)?;
            } else if self.seen.insert(child.digest) {
                self.blobs.push(child.clone());
            }
        }
        self.manifests.push(document.plain());
        Ok(())
    }
}
