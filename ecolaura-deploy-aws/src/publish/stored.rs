//! What of a release is stored already.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, PoisonError},
};

use ecolaura_deploy_core::{
    Result,
    backend::{SiteManifest, SiteObject},
    vocabulary::Digest,
};
use futures_util::{
    FutureExt as _, StreamExt as _, TryStreamExt as _,
    future::{BoxFuture, try_join},
    stream,
};

use super::{
    bucket::{Seen, Within},
    headers::mark,
    listing::Objects,
    publisher::{ASKED_AT_ONCE, S3Cdn},
    switch::is_page,
};

/// The objects of a site, as two listings tell.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// Served ones, by key.
    pub(super) served: Objects,
    /// Contents of mutable keys, by their digests' hexadecimal digits.
    pub(super) contents: Objects,
}

/// What this process has seen of served objects itself, by key: so that nobody is asked twice.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<BTreeMap<String, (Digest, Option<String>)>>);

impl Known {
    /// Whether it has seen `key` with this content.
    pub(super) fn holds(&self, key: &str, digest: Digest) -> bool {
        self.lock().get(key).is_some_and(|(known, _)| *known == digest)
    }

    /// Whether it has seen `key` with this content and these headers.
    pub(super) fn is(&self, key: &str, object: &SiteObject) -> bool {
        self.lock().get(key).is_some_and(|(_, known)| *known == Some(mark(object).to_hex()))
    }

    pub(super) fn note(&self, key: &str, digest: Digest, mark: Option<String>) {
        self.lock().insert(key.to_owned(), (digest, mark));
    }

    /// The keys that it has seen.
    fn keys(&self) -> Vec<String> {
        self.lock().keys().cloned().collect()
    }

    /// Forgets what somebody took away.
    pub(super) fn retain(&self, there: impl Fn(&str) -> bool) {
        self.lock().retain(|key, _| there(key));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, (Digest, Option<String>)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What listings tell of a manifest.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Told<'a> {
    /// The keys whose content is not there.
    pub(super) missing: Vec<&'a str>,
    /// The keys that are there with the right size, and nobody knows with which content.
    pub(super) unsure: Vec<&'a str>,
}

/// Compares `manifest` with what is there. A content's key is its digest; a served key's content is the right one where
/// `known` says so.
pub(super) fn compare<'a>(
    manifest: &'a SiteManifest,
    survey: &Survey,
    known: impl Fn(&str, &SiteObject) -> bool,
) -> Told<'a> {
    let mut told = Told::default();
    for (key, object) in &manifest.0 {
        let found = match object.is_immutable() {
            true => survey.served.get(key),
            false => survey.contents.get(&object.digest.to_hex()),
        };
        if found.is_none_or(|found| found.size != object.size) {
            told.missing.push(key);
        } else if object.is_immutable() && !known(key, object) {
            told.unsure.push(key);
        }
    }
    told
}

impl S3Cdn {
    /// Lists what there is of the site: one call for each thousand objects. What `manifests`, of which `live` is served,
    /// and this process know to be there says where the listings can be split.
    pub(super) async fn survey(
        &self,
        within: Within<'_>,
        manifests: &[(Digest, SiteManifest)],
        live: Option<Digest>,
    ) -> Result<Survey> {
        let (served, mut contents) = (self.known.keys(), self.contents.keys());
        let mut served: BTreeSet<&str> = served.iter().map(String::as_str).collect();
        for (id, manifest) in manifests {
            let stays = |object: &SiteObject| Some(*id) == live || !is_page(object);
            served.extend(manifest.0.iter().filter(|(_, object)| stays(object)).map(|(key, _)| key.as_str()));
            let mutable = manifest.0.values().filter(|object| !object.is_immutable());
            contents.extend(mutable.map(|object| object.digest.to_hex()));
        }
        let contents = contents.iter().map(String::as_str).collect();
        let folder = self.contents_prefix();
        let (served, contents) = try_join(
            self.bucket.list_expecting(within, &self.prefix, &served),
            self.bucket.list_expecting(within, &folder, &contents),
        )
        .await?;
        self.known.retain(|key| served.contains_key(key));
        self.contents.retain(|hex| contents.contains_key(hex));
        Ok(Survey { served, contents })
    }

    /// The keys of `manifest` whose content is not stored, or differs. Where listings cannot tell, the objects are
    /// asked.
    pub(super) async fn unstored(
        &self,
        within: Within<'_>,
        manifest: &SiteManifest,
        survey: &Survey,
        live: Option<&SiteManifest>,
    ) -> Result<Vec<String>> {
        let told = compare(manifest, survey, |key, object| {
            let served = live.and_then(|live| live.0.get(key));
            served.is_some_and(|served| served.digest == object.digest) || self.known.holds(key, object.digest)
        });
        let asked = self.ask(within, told.unsure).await?;
        let differs = |(key, seen): (&str, Option<Seen>)| {
            let digest = manifest.0.get(key).map(|object| object.digest);
            (seen.and_then(|seen| seen.digest) != digest).then(|| key.to_owned())
        };
        let differing = asked.into_iter().filter_map(differs);
        let mut missing: Vec<String> = told.missing.into_iter().map(str::to_owned).chain(differing).collect();
        missing.sort();
        Ok(missing)
    }

    /// Asks served objects what they are, and remembers it.
    pub(super) async fn ask<'a>(&self, within: Within<'_>, keys: Vec<&'a str>) -> Result<Vec<(&'a str, Option<Seen>)>> {
        let mut heads: Vec<BoxFuture<'_, Result<_>>> = Vec::with_capacity(keys.len());
        for key in keys {
            heads.push(async move { Ok((key, self.ask_one(within, key).await?)) }.boxed());
        }
        stream::iter(heads).buffer_unordered(ASKED_AT_ONCE).try_collect().await
    }

    async fn ask_one(&self, within: Within<'_>, key: &str) -> Result<Option<Seen>> {
        let seen = self.bucket.head(within, &self.served_key(key)).await?;
        if let Some(Seen { digest: Some(digest), mark, .. }) = &seen {
            self.known.note(key, *digest, mark.clone());
        }
        Ok(seen)
    }
}
