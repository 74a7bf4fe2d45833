//! Attaching documents to images that are in the registry: bills of materials, provenance, what a scan found.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

use bytes::Bytes;

use super::{
    OciRegistry,
    bring::{self, Reached},
    call::{Call, PUSH},
    origin::Origin,
};
use crate::{
    Context, Error, ErrorKind, Result,
    files::blocking,
    image::{DOCUMENT, Descriptor, EMPTY, MANIFEST, Manifest, parse, write},
    vocabulary::PinnedImage,
};

const OPERATION: &str = "registry.attach";

/// A document to be attached to an image, of at most 64 MiB.
///
/// ```
/// use ecolaura_deploy_core::oci::Attachment;
/// let bill = Attachment::file("application/vnd.cyclonedx+json", "target/backend.cdx.json");
/// let findings = Attachment::new("application/vnd.example.scan", r#"{"findings": []}"#)
///     .media_type("application/json")
///     .annotation("org.opencontainers.image.created", "2026-11-26T12:00:00Z");
/// ```
#[derive(Debug, Clone)]
pub struct Attachment {
    kind: String,
    media_type: String,
    content: Content,
    annotations: BTreeMap<String, String>,
}

#[derive(Debug, Clone)]
enum Content {
    Bytes(Bytes),
    File(PathBuf),
}

impl Attachment {
    /// These bytes, as an artifact of `kind`, by which it is found.
    pub fn new(kind: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self::of(kind.into(), Content::Bytes(bytes.into().into()))
    }

    /// The content of the file at `path`, which is read when it is attached.
    pub fn file(kind: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        Self::of(kind.into(), Content::File(path.into()))
    }

    fn of(kind: String, content: Content) -> Self {
        Self { media_type: kind.clone(), kind, content, annotations: BTreeMap::new() }
    }

    /// The bytes are of this media type, not of the kind's.
    pub fn media_type(mut self, media_type: impl Into<String>) -> Self {
        self.media_type = media_type.into();
        self
    }

    /// With this annotation on its manifest. A time makes it another artifact each time.
    pub fn annotation(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.annotations.insert(key.into(), value.into());
        self
    }

    fn check(&self) -> Result<()> {
        for (what, text) in [("kind", &self.kind), ("media type", &self.media_type)] {
            let known = |found: char| found.is_ascii_alphanumeric() || "!#$&-^_.+/".contains(found);
            let parts = text.split_once('/').filter(|(kind, name)| !kind.is_empty() && !name.is_empty());
            if parts.is_none_or(|(_, name)| name.contains('/')) || !text.chars().all(known) {
                let message = format!("the {what} of an attachment is `{text}`, expected a media type");
                return Err(Error::invalid(OPERATION, message).advice("for example `application/vnd.cyclonedx+json`"));
            }
        }
        Ok(())
    }

    async fn bytes(&self) -> Result<Bytes> {
        let (what, bytes) = match &self.content {
            Content::Bytes(bytes) => ("the attachment".to_owned(), bytes.clone()),
            Content::File(path) => {
                let from = path.clone();
                (format!("`{}`", path.display()), blocking(OPERATION, move || read(&from)).await?.into())
            }
        };
        if bytes.len() as u64 > DOCUMENT {
            let message = format!("{what} is larger than {} MiB", DOCUMENT >> 20);
            return Err(Error::new(ErrorKind::LimitExceeded, OPERATION, message));
        }
        Ok(bytes)
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(DOCUMENT + 1).read_to_end(&mut bytes));
    read.map(|_| bytes).map_err(|error| Error::io(OPERATION, path, error))
}

impl OciRegistry {
    /// Attaches `attachment` to `subject`, which must be there, and answers with the artifact that it became:
    /// [`referrers`](crate::backend::Registry::referrers) names it from then on, also in a registry without a list of
    /// its own, where the tag stands in for it that the specification gives.
    ///
    /// Idempotent: the same document with the same annotations is the same artifact. A cancel leaves at most blobs
    /// without a manifest, or an artifact that is not listed, which the next attempt lists. Fails with `NotFound` (no
    /// such image or file), `InvalidInput` (in another registry, or a kind that is no media type), `LimitExceeded`,
    /// `PermissionDenied`, `Unauthenticated`, `Unavailable`.
    pub async fn attach(&self, cx: &Context, subject: &PinnedImage, attachment: &Attachment) -> Result<PinnedImage> {
        let reached = Reached::default();
        let work = attach(self, cx, (subject, attachment), &reached);
        cx.bounded(OPERATION, work).await.flatten().map_err(|error| reached.judge(error))
    }
}

async fn attach(
    registry: &OciRegistry,
    cx: &Context,
    (subject, attachment): (&PinnedImage, &Attachment),
    reached: &Reached,
) -> Result<PinnedImage> {
    attachment.check()?;
    let bytes = attachment.bytes().await?;
    let call = Call::own(registry, (cx, OPERATION), &subject.repository, PUSH).await?;
    let document = call.verified(&subject.repository, subject.digest).await?;
    let parsed: Manifest = parse(OPERATION, &format!("the manifest of `{subject}`"), &document.bytes)?;
    let described = parsed.media_type.unwrap_or(document.media_type);

    let layer = Descriptor::of(&attachment.media_type, &bytes);
    let parts = [(Descriptor::of(EMPTY, b"{}"), Bytes::from_static(b"{}")), (layer.clone(), bytes)];
    for (blob, content) in parts {
        bring::blobs(&call, Origin::Memory(&content), &[blob], reached).await?;
    }
    let mut artifact = Manifest::artifact(&attachment.kind, Descriptor::of(&described, &document.bytes), layer);
    artifact.annotations = Some(attachment.annotations.clone()).filter(|all| !all.is_empty());
    let bytes = write(OPERATION, &artifact)?;
    let pinned = PinnedImage::new(subject.repository.clone(), crate::vocabulary::Digest::of(&bytes));
    reached.note(Reached::MANIFEST);
    bring::manifest(&call, MANIFEST, bytes).await?;
    Ok(pinned)
}
