//! What is attached to an image: by the referrers API, and where there is none by the tag that stands in for it.

use reqwest::StatusCode;

use super::{
    call::Call,
    documents::{Document, Put},
};
use crate::{
    Error, ErrorKind, Result, Retry,
    image::{Descriptor, INDEX, Index, parse, write},
    vocabulary::Digest,
};

/// How a registry without the API answers.
const WITHOUT: [StatusCode; 3] = [StatusCode::NOT_FOUND, StatusCode::METHOD_NOT_ALLOWED, StatusCode::NOT_IMPLEMENTED];
/// How often a list is written anew because somebody else wrote it at the same time.
const TURNS: u32 = 10;

impl Call<'_> {
    /// The entries that are attached to `subject`.
    pub(super) async fn attached(&self, subject: Digest) -> Result<Vec<Descriptor>> {
        let first = self.url(&format!("referrers/{subject}"))?;
        let what = format!("the list of what is attached, of `{}`,", self.registry.place.host);
        match self.pages::<Index>(&what, first, &WITHOUT).await? {
            Some(pages) => Ok(pages.into_iter().flat_map(|page| page.manifests).collect()),
            None => Ok(self.stand_in(subject).await?.manifests),
        }
    }

    /// The index under the tag that the specification gives to registries without the API.
    async fn stand_in(&self, subject: Digest) -> Result<Index> {
        let tag = stand_in_tag(subject);
        let Some(document) = self.document(&tag).await? else { return Ok(Index::default()) };
        parse(self.operation, &format!("`{}:{tag}`", self.access.repository), &document.bytes)
    }

    /// Adds `entry` to that index.
    pub(super) async fn attach(&self, subject: Digest, entry: Descriptor) -> Result<()> {
        let add = |index: &mut Index| {
            let missing = index.entry(entry.digest).is_none();
            index.manifests.extend(missing.then(|| entry.clone()));
            missing
        };
        self.relist(subject, add).await
    }

    /// Takes `digest` off that index, if there is one that names it.
    pub(super) async fn detach(&self, subject: Digest, digest: Digest) -> Result<()> {
        let take_off = |index: &mut Index| {
            let named = index.entry(digest).is_some();
            index.manifests.retain(|entry| entry.digest != digest);
            named
        };
        self.relist(subject, take_off).await
    }

    /// Writes that index as `change` makes it, which answers whether there was something to change. Nothing there tells
    /// two writers apart, so what was written is read back, and written again if somebody else wrote without it.
    async fn relist(&self, subject: Digest, change: impl Fn(&mut Index) -> bool) -> Result<()> {
        let _turn = self.registry.attaching.lock().await;
        let tag = stand_in_tag(subject);
        for _ in 0..TURNS {
            let mut index = self.stand_in(subject).await?;
            if !change(&mut index) {
                return Ok(());
            }
            let document = Document { media_type: INDEX.to_owned(), bytes: write(self.operation, &index)? };
            let put = || async {
                match self.put(&tag, &document).await? {
                    Put::Stored { .. } => Ok(()),
                    Put::Refused(refusal) => Err(refusal.error(self).with("tag", &tag)),
                }
            };
            self.retried(put).await?;
        }
        let message = format!("others write the tag `{}:{tag}` all the time", self.access.repository);
        Err(Error::new(ErrorKind::Conflict, self.operation, message).with_retry(Retry::After(None)))
    }
}

fn stand_in_tag(subject: Digest) -> String {
    format!("sha256-{}", subject.to_hex())
}
