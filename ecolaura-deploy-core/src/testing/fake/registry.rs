//! A fake [`Registry`].

use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::Value;

use super::image_builder::FakeImageBuilder;
use crate::{
    Context, Error, ErrorKind, Result,
    backend::{BlobReader, Registry, RegistryCapabilities, TagChange},
    fence::Epochs,
    vocabulary::{BuiltImage, Digest, Name, PinnedImage, Repository, Tag},
};

/// A call that a [`FakeRegistry`] got and carried out, as far as it writes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegistryCall {
    /// An image was pushed; how many of its blobs were new.
    Pushed(PinnedImage, usize),
    /// A tag was moved, set or removed.
    Tagged(TagChange),
}

/// A registry in memory that remembers what was asked of it. It takes images from layouts on disk, and from a
/// [`FakeImageBuilder`].
#[derive(Debug)]
pub struct FakeRegistry {
    name: Name,
    capabilities: RegistryCapabilities,
    source: Option<Arc<FakeImageBuilder>>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    repositories: BTreeMap<Repository, Contents>,
    calls: Vec<RegistryCall>,
}

#[derive(Debug, Default)]
struct Contents {
    blobs: BTreeMap<Digest, Bytes>,
    /// Manifests, with what they are attached to and as what.
    manifests: BTreeMap<Digest, Option<(Digest, String)>>,
    tags: BTreeMap<Tag, Digest>,
    epochs: Epochs,
}

impl FakeRegistry {
    /// An empty registry with movable tags. It refuses older epochs.
    pub fn new(name: Name) -> Self {
        Self { name, capabilities: RegistryCapabilities::new().fences(), source: None, state: Mutex::default() }
    }

    /// Refuses to move a tag once it is set.
    pub fn immutable_tags(mut self) -> Self {
        self.capabilities = self.capabilities.immutable_tags();
        self
    }

    /// Takes what `builder` has built from its memory.
    pub fn taking_from(mut self, builder: Arc<FakeImageBuilder>) -> Self {
        self.source = Some(builder);
        self
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The calls that wrote, in their order.
    pub fn calls(&self) -> Vec<RegistryCall> {
        self.state().calls.clone()
    }

    /// Loses a blob or manifest of `repository`.
    pub fn forget(&self, repository: &Repository, digest: Digest) {
        if let Some(contents) = self.state().repositories.get_mut(repository) {
            contents.blobs.remove(&digest);
            contents.manifests.remove(&digest);
        }
    }

    fn source(&self, image: &BuiltImage) -> Source {
        match &self.source {
            Some(builder) if builder.blob(image.digest).is_some() => Source::Memory(Arc::clone(builder)),
            _ => Source::Layout(image.clone()),
        }
    }
}

/// Where the blobs of an image are.
enum Source {
    Memory(Arc<FakeImageBuilder>),
    Layout(BuiltImage),
}

impl Source {
    fn blob(&self, digest: Digest) -> Result<Bytes> {
        const OPERATION: &str = "registry.push";
        let missing = |place: String| {
            Error::new(ErrorKind::NotFound, OPERATION, format!("there is no blob {digest}")).with("expected at", place)
        };
        let bytes = match self {
            Self::Memory(builder) => builder.blob(digest).ok_or_else(|| missing("the builder".to_owned()))?,
            Self::Layout(image) => {
                let path = image.layout.join("blobs/sha256").join(digest.to_hex());
                match std::fs::read(&path) {
                    Ok(bytes) => bytes.into(),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {
                        return Err(missing(path.display().to_string()));
                    }
                    Err(error) => return Err(Error::io(OPERATION, path, error)),
                }
            }
        };
        match Digest::of(&bytes) {
            found if found == digest => Ok(bytes),
            found => Err(Error::new(ErrorKind::Corrupt, OPERATION, "a blob does not match its digest")
                .with("expected", digest)
                .with("found", found)),
        }
    }

    /// The digests that the index lists.
    fn listed(&self) -> Result<Vec<Digest>> {
        match self {
            Self::Memory(builder) => Ok(builder.manifests()),
            Self::Layout(image) => {
                let path = image.layout.join("index.json");
                let bytes = std::fs::read(&path).map_err(|error| Error::io("registry.push", &path, error))?;
                let index = json("index", &bytes)?;
                Ok(digests(&index["manifests"]))
            }
        }
    }

    /// Everything that belongs to `image`: blobs, manifests with their subjects.
    fn collect(&self, image: Digest) -> Result<Contents> {
        let mut contents = Contents::default();
        for manifest in self.listed()?.into_iter().chain([image]) {
            let bytes = self.blob(manifest)?;
            let document = json("manifest", &bytes)?;
            let subject = digest(&document["subject"]);
            if manifest != image && subject != Some(image) {
                continue;
            }
            let kind = document["artifactType"].as_str().unwrap_or_default().to_owned();
            for blob in digest(&document["config"]).into_iter().chain(digests(&document["layers"])) {
                contents.blobs.insert(blob, self.blob(blob)?);
            }
            contents.blobs.insert(manifest, bytes);
            contents.manifests.insert(manifest, subject.map(|subject| (subject, kind)));
        }
        Ok(contents)
    }
}

fn json(what: &str, bytes: &[u8]) -> Result<Value> {
    serde_json::from_slice(bytes)
        .map_err(|error| Error::new(ErrorKind::Corrupt, "registry.push", format!("the {what} is no JSON: {error}")))
}

fn digest(descriptor: &Value) -> Option<Digest> {
    descriptor["digest"].as_str()?.parse().ok()
}

fn digests(descriptors: &Value) -> Vec<Digest> {
    descriptors.as_array().into_iter().flatten().filter_map(digest).collect()
}

impl State {
    fn store(&mut self, pinned: &PinnedImage, brought: Contents) {
        let contents = self.repositories.entry(pinned.repository.clone()).or_default();
        let before = contents.blobs.len();
        contents.blobs.extend(brought.blobs);
        contents.manifests.extend(brought.manifests);
        let new = contents.blobs.len() - before;
        self.calls.push(RegistryCall::Pushed(pinned.clone(), new));
    }

    fn retag(&mut self, cx: &Context, change: &TagChange, immutable: bool) -> Result<Option<Digest>> {
        const OPERATION: &str = "registry.set_tag";
        let TagChange { repository, tag, to } = change;
        let contents = self.repositories.entry(repository.clone()).or_default();
        contents.epochs.admit(OPERATION, cx)?;
        let had = contents.tags.get(tag).copied();
        if had == *to {
            return Ok(had);
        }
        if let (Some(had), Some(to), true) = (had, to, immutable) {
            let message = format!("the tag `{repository}:{tag}` is immutable and points to {had}, not to {to}");
            return Err(Error::new(ErrorKind::AlreadyExists, OPERATION, message));
        }
        match to {
            Some(to) if !contents.manifests.contains_key(to) => {
                let message = format!("`{repository}` has no manifest {to}");
                return Err(Error::new(ErrorKind::NotFound, OPERATION, message));
            }
            Some(to) => contents.tags.insert(tag.clone(), *to),
            None => contents.tags.remove(tag),
        };
        self.calls.push(RegistryCall::Tagged(change.clone()));
        Ok(had)
    }

    fn blob(&self, operation: &'static str, repository: &Repository, digest: Digest) -> Result<Bytes> {
        let found = self.repositories.get(repository).and_then(|contents| contents.blobs.get(&digest));
        found
            .cloned()
            .ok_or_else(|| Error::new(ErrorKind::NotFound, operation, format!("`{repository}` has no blob {digest}")))
    }
}

#[async_trait]
impl Registry for FakeRegistry {
    fn name(&self) -> &Name {
        &self.name
    }

    fn capabilities(&self) -> RegistryCapabilities {
        self.capabilities
    }

    async fn resolve(&self, cx: &Context, repository: &Repository, tag: &Tag) -> Result<Option<PinnedImage>> {
        cx.check("registry.resolve")?;
        let state = self.state();
        let digest = state.repositories.get(repository).and_then(|contents| contents.tags.get(tag));
        Ok(digest.map(|digest| PinnedImage::new(repository.clone(), *digest)))
    }

    async fn contains(&self, cx: &Context, image: &PinnedImage) -> Result<bool> {
        cx.check("registry.contains")?;
        let state = self.state();
        Ok(state.repositories.get(&image.repository).is_some_and(|all| all.manifests.contains_key(&image.digest)))
    }

    async fn push(&self, cx: &Context, image: &BuiltImage, to: &Repository) -> Result<PinnedImage> {
        cx.check("registry.push")?;
        let contents = self.source(image).collect(image.digest)?;
        let pinned = PinnedImage::new(to.clone(), image.digest);
        self.state().store(&pinned, contents);
        Ok(pinned)
    }

    async fn set_tag(&self, cx: &Context, change: &TagChange) -> Result<Option<Digest>> {
        cx.check("registry.set_tag")?;
        self.state().retag(cx, change, self.capabilities.immutable_tags)
    }

    async fn manifest(&self, cx: &Context, image: &PinnedImage) -> Result<Vec<u8>> {
        const OPERATION: &str = "registry.manifest";
        cx.check(OPERATION)?;
        Ok(self.state().blob(OPERATION, &image.repository, image.digest)?.to_vec())
    }

    async fn blob(&self, cx: &Context, repository: &Repository, digest: &Digest) -> Result<BlobReader> {
        const OPERATION: &str = "registry.blob";
        cx.check(OPERATION)?;
        Ok(Box::new(io::Cursor::new(self.state().blob(OPERATION, repository, *digest)?)))
    }

    async fn referrers(&self, cx: &Context, image: &PinnedImage) -> Result<Vec<(String, Digest)>> {
        cx.check("registry.referrers")?;
        let state = self.state();
        let manifests = state.repositories.get(&image.repository).into_iter().flat_map(|all| &all.manifests);
        let attached = manifests.filter_map(|(digest, subject)| {
            let (subject, kind) = subject.as_ref()?;
            (*subject == image.digest).then(|| (kind.clone(), *digest))
        });
        Ok(attached.collect())
    }
}
