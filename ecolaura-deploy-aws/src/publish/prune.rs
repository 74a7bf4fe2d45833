//! Forgetting releases.

use std::collections::BTreeSet;

use ecolaura_deploy_core::{Error, ErrorKind, Result, backend::SiteManifest, vocabulary::Digest};

use super::{
    bucket::Within,
    listing::Listed,
    publisher::S3Cdn,
    state::{Found, Pointer},
};

/// What goes with the releases that are forgotten.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Waste {
    /// Served keys that no kept release names.
    pub(super) keys: BTreeSet<String>,
    /// Contents that no kept release names, by their digests' hexadecimal digits.
    pub(super) contents: BTreeSet<String>,
}

/// The releases that have a manifest, after it is written down which are kept.
#[derive(Debug)]
pub(super) struct Parted {
    /// Those that are kept, and those that somebody may be about to serve.
    pub(super) kept: Releases,
    pub(super) gone: Releases,
}

type Releases = Vec<(Digest, SiteManifest)>;

/// What only `forgotten` name.
pub(super) fn waste(kept: &[(Digest, SiteManifest)], forgotten: &[(Digest, SiteManifest)]) -> Waste {
    let contents = |releases: &[(Digest, SiteManifest)]| -> BTreeSet<String> {
        let objects = releases.iter().flat_map(|(_, manifest)| manifest.0.values());
        objects.filter(|object| !object.is_immutable()).map(|object| object.digest.to_hex()).collect()
    };
    let keys = |releases: &[(Digest, SiteManifest)]| -> BTreeSet<String> {
        releases.iter().flat_map(|(_, manifest)| manifest.0.keys().cloned()).collect()
    };
    Waste { keys: &keys(forgotten) - &keys(kept), contents: &contents(forgotten) - &contents(kept) }
}

impl S3Cdn {
    /// Manifests go after their objects, so that a call that was cut short can be repeated.
    pub(super) async fn forget(&self, within: Within<'_>, keep: usize) -> Result<Vec<String>> {
        let (found, pointer) = self.admitted(within).await?;
        if pointer.live.is_none() {
            return Ok(Vec::new());
        }
        if pointer.unfinished {
            return Err(self.unfinished(within));
        }
        let Parted { kept, gone } = self.part_with(within, &found, pointer.pruned(keep)).await?;
        let waste = waste(&kept, &gone);
        let served: Vec<String> = waste.keys.iter().map(|key| self.served_key(key)).collect();
        let contents = waste.contents.iter().map(|hex| format!("{}{hex}", self.contents_prefix()));
        let contents: Vec<String> = contents.collect();
        self.known.retain(|key| !waste.keys.contains(key));
        self.contents.retain(|hex| !waste.contents.contains(hex));
        self.bucket.delete(within, &self.prefix, &served).await?;
        self.bucket.delete(within, &self.state, &contents).await?;
        let manifests: Vec<String> = gone.iter().map(|(id, _)| self.manifest_key(*id)).collect();
        self.bucket.delete(within, &self.state, &manifests).await?;
        Ok(waste.keys.into_iter().collect())
    }

    /// Writes down that `pruned` is what is kept, and answers with what goes. Everything that is known to go is read
    /// before that, so that nothing changes if something is corrupt.
    ///
    /// A publisher that does not hold the lock writes a manifest first and the state later. If its manifest is young, or
    /// came while this call read, it is spared with all that it names. If not, the publisher fails to write the state,
    /// which is another one now even if it says the same, and looks again for what it names.
    pub(super) async fn part_with(&self, within: Within<'_>, found: &Found, pruned: Pointer) -> Result<Parted> {
        let mut doomed = self.forgotten(within, &pruned).await?;
        doomed.retain(|(id, listed)| found.pointer.releases.contains(id) || self.is_old(within.0, listed.modified));
        let mut kept = self.manifests(within, &pruned.releases).await?;
        let mut gone = self.manifests(within, &ids(&doomed)).await?;
        if (pruned != found.pointer || !gone.is_empty()) && self.replace(within, found, pruned.clone()).await?.is_none()
        {
            return Err(self.moved(within));
        }
        if !gone.is_empty() {
            let mut spared = self.forgotten(within, &pruned).await?;
            spared.retain(|release| !doomed.contains(release));
            gone.retain(|(id, _)| spared.iter().all(|(spared, _)| spared != id));
            kept.extend(self.manifests(within, &ids(&spared)).await?);
        }
        Ok(Parted { kept, gone })
    }

    /// The error where somebody else changed the state first.
    pub(super) fn moved(&self, (_, operation): Within<'_>) -> Error {
        let message = format!("the state of `{}` changed meanwhile", self.bucket.url(&self.prefix));
        Error::new(ErrorKind::Conflict, operation, message).advice("nothing was deleted; run again")
    }

    fn unfinished(&self, within: Within<'_>) -> Error {
        let message =
            format!("the last switch of `{}` did not end; nothing was deleted", self.bucket.url(&self.prefix));
        Error::new(ErrorKind::Conflict, within.1, message).advice("publish, or switch back, then prune")
    }
}

fn ids(listed: &[(Digest, Listed)]) -> Vec<Digest> {
    listed.iter().map(|(id, _)| *id).collect()
}

#[cfg(test)]
mod tests {
    use ecolaura_deploy_core::{
        backend::SiteObject,
        vocabulary::CacheControl::{self, Immutable, Revalidate},
    };

    use super::*;

    #[test]
    fn what_any_kept_release_names_stays() {
        let site = |files: &[(&str, &str, CacheControl)]| {
            let object = |text: &str, cache| SiteObject::new(Digest::of(text), 1, "text/plain", cache);
            let objects = files.iter().map(|(key, text, cache)| ((*key).to_owned(), object(text, *cache)));
            let manifest = SiteManifest(objects.collect());
            [(manifest.id(), manifest)]
        };
        let old =
            site(&[("a", "1", Revalidate), ("b", "same", Revalidate), ("c", "1", Immutable), ("d", "1", Immutable)]);
        let new = site(&[("a", "2", Revalidate), ("e", "same", Revalidate), ("d", "1", Immutable)]);
        let waste = waste(&new, &old);
        assert_eq!(waste.keys, ["b".to_owned(), "c".to_owned()].into());
        assert_eq!(waste.contents, [Digest::of("1").to_hex()].into());
    }
}
