//! Manifests and indexes, by tag or digest.

use reqwest::{
    Method, Response, StatusCode,
    header::{CONTENT_TYPE, HeaderName},
};

use super::{
    call::{Ask, Call},
    refusal::Refusal,
};
use crate::{
    Error, ErrorKind, Result, Retry,
    image::{DOCUMENT, MANIFEST},
    vocabulary::{Digest, Repository},
};

/// By which a registry says that it lists what a manifest is attached to.
const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");

/// A document as it came.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) media_type: String,
    pub(super) bytes: Vec<u8>,
}

/// What came of sending a document.
#[derive(Debug)]
pub(super) enum Put {
    Stored { lists_subject: bool },
    Refused(Refusal),
}

impl Call<'_> {
    /// The digest of what `reference` names; `None` if it is not there.
    pub(super) async fn digest(&self, reference: &str) -> Result<Option<Digest>> {
        self.retried(|| self.digest_once(reference)).await
    }

    pub(super) async fn digest_once(&self, reference: &str) -> Result<Option<Digest>> {
        let response = self.send(&Ask::document(Method::HEAD, self.url(&format!("manifests/{reference}"))?)).await?;
        match response.status() {
            StatusCode::NOT_FOUND => Ok(None),
            StatusCode::OK => match self.said_digest(&response)? {
                Some(digest) => Ok(Some(digest)),
                // Old registries do not say it.
                None => Ok(self.document_once(reference).await?.map(|document| Digest::of(document.bytes))),
            },
            _ => Err(self.refused(response).await),
        }
    }

    /// Whether there is a manifest of this digest.
    pub(super) async fn has(&self, digest: Digest) -> Result<bool> {
        match self.digest(&digest.to_string()).await? {
            None => Ok(false),
            Some(found) if found == digest => Ok(true),
            Some(found) => Err(self.damaged(digest, found)),
        }
    }

    /// The document that `reference` names; `None` if it is not there.
    pub(super) async fn document(&self, reference: &str) -> Result<Option<Document>> {
        self.retried(|| self.document_once(reference)).await
    }

    async fn document_once(&self, reference: &str) -> Result<Option<Document>> {
        let response = self.send(&Ask::document(Method::GET, self.url(&format!("manifests/{reference}"))?)).await?;
        match response.status() {
            StatusCode::NOT_FOUND => Ok(None),
            StatusCode::OK => self.read(response).await.map(Some),
            _ => Err(self.refused(response).await),
        }
    }

    async fn read(&self, response: Response) -> Result<Document> {
        let kind = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let media_type = kind.unwrap_or(MANIFEST).to_owned();
        Ok(Document { media_type, bytes: self.bytes(response, DOCUMENT).await? })
    }

    /// The document of this digest, verified.
    pub(super) async fn verified(&self, repository: &Repository, digest: Digest) -> Result<Document> {
        let reference = digest.to_string();
        let read = || async {
            let document = self.document_once(&reference).await?;
            let document = document.ok_or_else(|| self.no_image(repository, digest))?;
            match Digest::of(&document.bytes) {
                found if found == digest => Ok(document),
                found => Err(self.damaged(digest, found)),
            }
        };
        self.retried(read).await
    }

    pub(super) fn no_image(&self, repository: &Repository, digest: Digest) -> Error {
        let message = format!("`{repository}` of `{}` has no manifest {digest}", self.registry.place.host);
        Error::new(ErrorKind::NotFound, self.operation, message).advice("push the image first")
    }

    /// Stores `document` under `reference`.
    pub(super) async fn put(&self, reference: &str, document: &Document) -> Result<Put> {
        let url = self.url(&format!("manifests/{reference}"))?;
        let ask = Ask::new(Method::PUT, url).header(CONTENT_TYPE, document.media_type.as_str());
        let response = self.send(&ask.body(document.bytes.clone())).await?;
        if !response.status().is_success() {
            return Ok(Put::Refused(Refusal::read(self, response).await));
        }
        self.verify(&response, Digest::of(&document.bytes))?;
        Ok(Put::Stored { lists_subject: response.headers().contains_key(SUBJECT) })
    }

    /// Stores `document` under its digest; answers whether the registry lists what it is attached to.
    pub(super) async fn store(&self, document: &Document) -> Result<bool> {
        let reference = Digest::of(&document.bytes).to_string();
        let store = || async {
            match self.put(&reference, document).await? {
                Put::Stored { lists_subject } => Ok(lists_subject),
                Put::Refused(refusal) => Err(damaged_on_the_way(refusal.error(self).with("manifest", &reference))),
            }
        };
        self.retried(store).await
    }
}

/// The digest was made here from what was sent.
fn damaged_on_the_way(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Corrupt => error.with_retry(Retry::After(None)),
        _ => error,
    }
}
