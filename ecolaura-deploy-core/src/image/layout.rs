//! An OCI image layout on disk.
//!
//! ```text
//! oci-layout             the version of the format
//! index.json             the manifests, with their tags; replaced in one rename
//! blobs/sha256/HEX       manifests, configurations, layers, by digest
//! incoming/              what is being written
//! lock                   held by all who write, alone by the one who sweeps
//! index.lock             held alone while `index.json` is changed
//! ```

mod leftovers;

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{Read as _, Seek as _},
    path::{Path, PathBuf},
};

use super::{DOCUMENT, Descriptor, Index, Manifest, parse, write};
use crate::{
    Context, Error, ErrorKind, Result,
    files::{self, Hold, Temporary, blocking, create_folder, read_if_there, remove, replace},
    vocabulary::Digest,
};

const VERSION: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;
/// What may lie in a folder that becomes a layout: somebody else may be making it just now.
const OWN: [&str; 6] = ["oci-layout", "blobs", "incoming", "lock", "index.lock", "index.json"];

/// What a writer removes first, if nobody else writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sweep {
    /// Files that a killed process left half written.
    Partial,
    /// These, and blobs that no manifest of the index names.
    Unreferenced,
}

/// Where things are.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    dir: PathBuf,
}

impl Layout {
    pub(crate) fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn blob(&self, digest: Digest) -> PathBuf {
        self.dir.join("blobs").join("sha256").join(digest.to_hex())
    }

    /// Whether the blob is there with the size that it must have. It was complete when it got its name.
    pub(crate) fn holds(&self, blob: &Descriptor) -> bool {
        fs::metadata(self.blob(blob.digest)).is_ok_and(|found| found.is_file() && found.len() == blob.size)
    }

    /// Fails unless there is a layout of a version that is known.
    pub(crate) fn check(&self, operation: &'static str) -> Result<()> {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Version {
            image_layout_version: String,
        }
        let path = self.dir.join("oci-layout");
        let Some(bytes) = read_if_there(operation, &path)? else {
            let message = format!("`{}` is not an OCI image layout: it has no file `oci-layout`", self.dir.display());
            return Err(Error::new(ErrorKind::NotFound, operation, message));
        };
        let found: Version = parse(operation, &format!("`{}`", path.display()), &bytes)?;
        if found.image_layout_version.starts_with("1.") {
            return Ok(());
        }
        let message = format!("`{}` is of version {}, expected 1.0.0", path.display(), found.image_layout_version);
        Err(Error::new(ErrorKind::Unsupported, operation, message))
    }

    /// Makes what is missing of the layout, unless the folder holds something else.
    pub(crate) fn create(&self, operation: &'static str) -> Result<()> {
        if self.dir.join("oci-layout").exists() {
            self.check(operation)?;
        } else {
            self.refuse_other_content(operation)?;
        }
        create_folder(operation, &self.dir.join("blobs").join("sha256"))?;
        create_folder(operation, &self.incoming())?;
        if !self.dir.join("oci-layout").exists() {
            replace(operation, &self.dir.join("oci-layout"), VERSION.as_bytes())?;
        }
        Ok(())
    }

    fn refuse_other_content(&self, operation: &'static str) -> Result<()> {
        let Ok(entries) = fs::read_dir(&self.dir) else { return create_folder(operation, &self.dir) };
        let foreign = entries.flatten().map(|entry| entry.file_name()).find(|name| {
            let name = name.to_string_lossy();
            !OWN.contains(&name.as_ref()) && !name.ends_with(".partial")
        });
        let Some(name) = foreign else { return Ok(()) };
        let message = format!("`{}` holds `{}` and is no OCI image layout", self.dir.display(), name.to_string_lossy());
        Err(Error::invalid(operation, message).advice("name an empty folder, or one that is a layout"))
    }

    fn incoming(&self) -> PathBuf {
        self.dir.join("incoming")
    }

    pub(crate) fn temporary(&self, operation: &'static str) -> Result<Temporary> {
        Temporary::new(operation, &self.incoming())
    }

    /// Waits for the right to write blobs, and makes the layout. While the answer lives, nobody sweeps.
    pub(crate) async fn writing(&self, cx: &Context, operation: &'static str, sweep: Sweep) -> Result<File> {
        let (layout, context) = (self.clone(), cx.clone());
        let prepare = move || {
            layout.create(operation)?;
            let lock = files::open_lock(operation, &layout.dir.join("lock"))?;
            if lock.try_lock().is_ok() {
                layout.sweep(&context, operation, sweep)?;
            }
            Ok(())
        };
        blocking(operation, prepare).await?;
        files::lock(cx, operation, self.dir.join("lock"), Hold::Shared).await
    }

    fn sweep(&self, cx: &Context, operation: &'static str, sweep: Sweep) -> Result<()> {
        for entry in fs::read_dir(self.incoming()).into_iter().flatten().flatten() {
            remove(operation, &entry.path())?;
        }
        if sweep == Sweep::Partial {
            return Ok(());
        }
        let index = self.index(operation)?;
        let mut named = BTreeSet::new();
        for entry in &index.manifests {
            if let Err(error) = self.name_all(operation, entry, &mut named) {
                cx.warn(format!("nothing is swept in `{}`: {}", self.dir.display(), error.report()));
                return Ok(());
            }
        }
        for entry in fs::read_dir(self.dir.join("blobs").join("sha256")).into_iter().flatten().flatten() {
            let digest = entry.file_name().to_str().and_then(|hex| format!("sha256:{hex}").parse::<Digest>().ok());
            if digest.is_some_and(|digest| !named.contains(&digest)) {
                cx.check(operation)?;
                remove(operation, &entry.path())?;
            }
        }
        Ok(())
    }

    /// Adds the digests of `entry` and of all that it names.
    fn name_all(&self, operation: &'static str, entry: &Descriptor, named: &mut BTreeSet<Digest>) -> Result<()> {
        if !named.insert(entry.digest) || !entry.is_document() {
            return Ok(());
        }
        let manifest = self.manifest(operation, entry.digest)?;
        manifest.children().try_for_each(|child| self.name_all(operation, child, named))
    }

    /// `index.json`; empty if it is not there.
    pub(crate) fn index(&self, operation: &'static str) -> Result<Index> {
        let path = self.dir.join("index.json");
        let bytes = read_if_there(operation, &path)?;
        let parsed = bytes.map(|bytes| parse(operation, &format!("`{}`", path.display()), &bytes)).transpose()?;
        Ok(parsed.unwrap_or_default())
    }

    /// Changes `index.json`, alone. Nothing is written if nothing changed or `change` fails.
    pub(crate) async fn update<T: Send + 'static>(
        &self,
        cx: &Context,
        operation: &'static str,
        change: impl FnOnce(&mut Index) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let lock = files::lock(cx, operation, self.dir.join("index.lock"), Hold::Alone).await?;
        let layout = self.clone();
        let unit = move || {
            let _lock = lock;
            let before = layout.index(operation)?;
            let mut after = before.clone();
            let answer = change(&mut after)?;
            if after != before {
                replace(operation, &layout.dir.join("index.json"), &write(operation, &after)?)?;
            }
            Ok(answer)
        };
        blocking(operation, unit).await
    }

    /// The bytes of a document, verified.
    pub(crate) fn document(&self, operation: &'static str, digest: Digest) -> Result<Vec<u8>> {
        let path = self.blob(digest);
        let mut file = open_blob(operation, &path, digest)?;
        let mut bytes = Vec::new();
        file.by_ref().take(DOCUMENT + 1).read_to_end(&mut bytes).map_err(|error| Error::io(operation, &path, error))?;
        if bytes.len() as u64 > DOCUMENT {
            let message = format!("`{}` is no document: it holds more than {} MiB", path.display(), DOCUMENT >> 20);
            return Err(Error::new(ErrorKind::LimitExceeded, operation, message));
        }
        match Digest::of(&bytes) {
            found if found == digest => Ok(bytes),
            found => Err(corrupt(operation, &path, digest, found)),
        }
    }

    /// A manifest, verified.
    pub(crate) fn manifest(&self, operation: &'static str, digest: Digest) -> Result<Manifest> {
        let what = format!("`{}`", self.blob(digest).display());
        parse(operation, &what, &self.document(operation, digest)?)
    }

    /// Whether the manifest is good and all that it names is there.
    pub(crate) fn is_whole(&self, operation: &'static str, digest: Digest) -> bool {
        let Ok(manifest) = self.manifest(operation, digest) else { return false };
        let present =
            |child: &Descriptor| self.holds(child) && (!child.is_document() || self.is_whole(operation, child.digest));
        manifest.children().all(present)
    }

    /// Whether the manifest is listed, and it and what is attached to it are there. What is damaged counts as missing,
    /// so that whoever makes or brings it does so again.
    pub(crate) fn stores(&self, operation: &'static str, digest: Digest) -> Result<bool> {
        let index = self.index(operation)?;
        let mut attached = index.attached(digest);
        Ok(index.entry(digest).is_some()
            && self.is_whole(operation, digest)
            && attached.all(|entry| self.is_whole(operation, entry.digest)))
    }

    /// What is attached to the manifest `subject`, with its kind. An entry whose blob is gone is passed over.
    pub(crate) fn referrers(&self, operation: &'static str, subject: Digest) -> Result<Vec<(String, Descriptor)>> {
        let (mut found, mut seen) = (Vec::new(), BTreeSet::from([subject]));
        for entry in self.index(operation)?.manifests {
            if !seen.insert(entry.digest) || !entry.is_document() {
                continue;
            }
            let manifest = match self.manifest(operation, entry.digest) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                manifest => manifest?,
            };
            if manifest.subject.as_ref().is_some_and(|found| found.digest == subject) {
                found.push((manifest.kind(), entry));
            }
        }
        Ok(found)
    }

    /// Stores a document.
    pub(crate) fn store(&self, operation: &'static str, media_type: &str, bytes: &[u8]) -> Result<Descriptor> {
        let blob = Descriptor::of(media_type, bytes);
        if self.document(operation, blob.digest).is_err() {
            let mut temporary = self.temporary(operation)?;
            temporary.write(operation, bytes)?;
            temporary.rename(operation, &self.blob(blob.digest))?;
        }
        Ok(blob)
    }

    /// Takes over a blob of another layout, verified on the way; one that is here and good stays. Answers whether it
    /// was taken.
    pub(crate) fn import(&self, cx: &Context, operation: &'static str, from: &Self, digest: Digest) -> Result<bool> {
        let (source, target) = (from.blob(digest), self.blob(digest));
        if let Ok(mut present) = File::open(&target)
            && files::measure(cx, operation, &mut present, &target)?.0 == digest
        {
            return Ok(false);
        }
        let mut input = open_blob(operation, &source, digest)?;
        let mut temporary = self.temporary(operation)?;
        let found = if clone_content(temporary.file(), &input) {
            let start = temporary.file().rewind();
            start.map_err(|error| Error::io(operation, &source, error))?;
            files::measure(cx, operation, temporary.file(), &source)?.0
        } else {
            temporary.copy(cx, operation, &mut input, &source)?.0
        };
        if found != digest {
            return Err(corrupt(operation, &source, digest, found));
        }
        temporary.rename(operation, &target)?;
        Ok(true)
    }
}

pub(crate) fn open_blob(operation: &'static str, path: &Path, digest: Digest) -> Result<File> {
    File::open(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => {
            let message = format!("the layout has no blob {digest}");
            Error::new(ErrorKind::NotFound, operation, message).with("expected at", path.display())
        }
        _ => Error::io(operation, path, error),
    })
}

/// A blob that does not match its digest.
pub(crate) fn corrupt(operation: &'static str, path: &Path, expected: Digest, found: Digest) -> Error {
    Error::new(ErrorKind::Corrupt, operation, format!("`{}` does not match its digest", path.display()))
        .with("expected", expected)
        .with("found", found)
        .advice("remove this file and run again; the image is then made anew")
}

/// Shares the content of `from` where the file system can: later writes to either do not reach the other, unlike with
/// a hard link.
fn clone_content(to: &File, from: &File) -> bool {
    #[cfg(target_os = "linux")]
    return rustix::fs::ioctl_ficlone(to, from).is_ok();
    #[cfg(not(target_os = "linux"))]
    return {
        _ = (to, from);
        false
    };
}
