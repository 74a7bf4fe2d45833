//! Which releases there are: the `live` pointer and the manifests.

use std::{collections::BTreeSet, fs, path::Path};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::store::Store;
use crate::{
    Context, Error, ErrorKind, Result,
    backend::{SiteHistory, SiteManifest},
    fence::Epochs,
    local::files::{read_if_there, remove, replace},
    vocabulary::Digest,
};

/// The content of `live`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Pointer {
    /// The release that is served.
    pub(super) live: Option<Digest>,
    /// The releases that are kept, in the order in which they were last activated.
    pub(super) releases: Vec<Digest>,
    /// Of those who changed it.
    #[serde(default, skip_serializing_if = "Epochs::is_empty")]
    pub(super) epochs: Epochs,
}

impl Pointer {
    /// With `release` live and newest.
    pub(super) fn activated(&self, release: Digest) -> Self {
        let others = self.releases.iter().copied().filter(|id| *id != release);
        Self { live: Some(release), releases: others.chain([release]).collect(), epochs: self.epochs.clone() }
    }

    /// Without all but the newest `keep` and the live one.
    pub(super) fn pruned(&self, keep: usize) -> Self {
        let first = self.releases.len().saturating_sub(keep);
        let kept = self.releases.iter().enumerate().filter(|(index, id)| *index >= first || Some(**id) == self.live);
        Self { live: self.live, releases: kept.map(|(_, id)| *id).collect(), epochs: self.epochs.clone() }
    }
}

impl Store {
    /// The bytes of `live`; `None` before the first release.
    pub(super) fn pointer_bytes(&self, operation: &'static str) -> Result<Option<Vec<u8>>> {
        read_if_there(operation, &self.path("live"))
    }

    /// What `live` says.
    pub(super) fn pointer(&self, operation: &'static str) -> Result<Pointer> {
        let bytes = self.pointer_bytes(operation)?;
        bytes.map_or_else(|| Ok(Pointer::default()), |bytes| self.parse_pointer(operation, &bytes))
    }

    pub(super) fn parse_pointer(&self, operation: &'static str, bytes: &[u8]) -> Result<Pointer> {
        parse(operation, &self.path("live"), bytes)
    }

    /// What `live` says, before and with the caller's epoch in it; nothing is written yet.
    pub(super) fn admitted(&self, operation: &'static str, cx: &Context) -> Result<(Pointer, Pointer)> {
        let before = self.pointer(operation)?;
        let mut pointer = before.clone();
        pointer.epochs.admit(operation, cx)?;
        Ok((before, pointer))
    }

    /// Replaces `live` in one rename.
    pub(super) fn set_pointer(&self, operation: &'static str, pointer: &Pointer) -> Result<()> {
        replace(operation, &self.path("live"), &json(operation, pointer)?)
    }

    /// A release's manifest, verified against its id.
    pub(super) fn read_manifest(&self, operation: &'static str, release: Digest) -> Result<SiteManifest> {
        let path = self.manifest(release);
        let bytes = fs::read(&path).map_err(|error| Error::io(operation, &path, error))?;
        let manifest: SiteManifest = parse(operation, &path, &bytes)?;
        if manifest.id() == release {
            Ok(manifest)
        } else {
            Err(corrupt(operation, &path, "its digest differs from its name"))
        }
    }

    pub(super) fn write_manifest(&self, operation: &'static str, manifest: &SiteManifest) -> Result<()> {
        replace(operation, &self.manifest(manifest.id()), &json(operation, manifest)?)
    }

    pub(super) fn history(&self, operation: &'static str) -> Result<SiteHistory> {
        let pointer = self.pointer(operation)?;
        let manifests = pointer.releases.iter().map(|id| Ok((*id, self.read_manifest(operation, *id)?)));
        Ok(SiteHistory::new(pointer.live, manifests.collect::<Result<_>>()?))
    }

    /// The keys of `manifest` whose content is not stored.
    pub(super) fn missing(&self, manifest: &SiteManifest) -> Vec<String> {
        let lost = manifest.0.iter().filter(|(_, object)| !self.holds(object.digest, object.size));
        lost.map(|(key, _)| key.clone()).collect()
    }

    /// The releases that have a manifest and are not kept: pruned ones, and those of a prune that was cut short.
    fn forgotten(&self, operation: &'static str, pointer: &Pointer) -> Result<Vec<Digest>> {
        let folder = self.path("releases");
        let mut forgotten = Vec::new();
        for entry in fs::read_dir(&folder).map_err(|error| Error::io(operation, &folder, error))? {
            let name = entry.map_err(|error| Error::io(operation, &folder, error))?.file_name();
            let hex = name.to_str().and_then(|name| name.strip_suffix(".json"));
            if let Some(Ok(id)) = hex.map(|hex| format!("sha256:{hex}").parse())
                && !pointer.releases.contains(&id)
            {
                forgotten.push(id);
            }
        }
        Ok(forgotten)
    }

    /// Forgets all but the newest `keep` releases and deletes what only the others name. Everything is read before
    /// anything is changed, and a manifest goes after its objects, so that a call that was cut short can be repeated.
    pub(super) fn prune(&self, cx: &Context, operation: &'static str, keep: usize) -> Result<Vec<String>> {
        let (before, pointer) = self.admitted(operation, cx)?;
        if pointer.live.is_none() {
            return Ok(Vec::new());
        }
        let kept = pointer.pruned(keep);
        let (mut keys, mut digests) = (BTreeSet::new(), BTreeSet::new());
        for id in &kept.releases {
            let manifest = self.read_manifest(operation, *id)?;
            digests.extend(manifest.0.values().map(|object| object.digest));
            keys.extend(manifest.0.into_keys());
        }
        let forgotten = self.forgotten(operation, &kept)?.into_iter();
        let forgotten: Vec<_> =
            forgotten.map(|id| Ok((id, self.read_manifest(operation, id)?))).collect::<Result<_>>()?;
        if kept != before {
            self.set_pointer(operation, &kept)?;
        }
        let mut deleted = BTreeSet::new();
        for (id, manifest) in forgotten {
            for object in manifest.0.values().filter(|object| !digests.contains(&object.digest)) {
                remove(operation, &self.object(object.digest))?;
            }
            deleted.extend(manifest.0.into_keys().filter(|key| !keys.contains(key)));
            remove(operation, &self.manifest(id))?;
        }
        self.sweep()?;
        Ok(deleted.into_iter().collect())
    }
}

fn json<T: Serialize>(operation: &'static str, value: &T) -> Result<Vec<u8>> {
    serde_json::to_vec(value)
        .map_err(|error| Error::internal(operation, "could not be written as JSON").with_source(error))
}

fn parse<T: DeserializeOwned>(operation: &'static str, path: &Path, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| corrupt(operation, path, &error.to_string()))
}

fn corrupt(operation: &'static str, path: &Path, why: &str) -> Error {
    Error::new(ErrorKind::Corrupt, operation, format!("`{}` is not as it was written: {why}", path.display()))
        .advice("restore the file, or remove the site's directory and publish again")
}
