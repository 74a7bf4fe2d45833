//! Forgetting releases.

use std::collections::BTreeSet;

use ecolaura_deploy_core::{Error, ErrorKind, Result, backend::SiteManifest, vocabulary::Digest};

use super::{bucket::Within, publisher::S3Cdn};

/// What goes with the releases that are forgotten.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Waste {
    /// Served keys that no kept release names.
    pub(super) keys: BTreeSet<String>,
    /// Contents that no kept release names, by their digests' hexadecimal digits.
    pub(super) contents: BTreeSet<String>,
}

/// What only `forgotten` name.
pub(super) fn waste(kept: &[&SiteManifest], forgotten: &[&SiteManifest]) -> Waste {
    let contents = |manifests: &[&SiteManifest]| -> BTreeSet<String> {
        let objects = manifests.iter().flat_map(|manifest| manifest.0.values());
        objects.filter(|object| !object.is_immutable()).map(|object| object.digest.to_hex()).collect()
    };
    let keys = |manifests: &[&SiteManifest]| -> BTreeSet<String> {
        manifests.iter().flat_map(|manifest| manifest.0.keys().cloned()).collect()
    };
    Waste { keys: &keys(forgotten) - &keys(kept), contents: &contents(forgotten) - &contents(kept) }
}

impl S3Cdn {
    /// Everything is read before anything is changed, and manifests go after their objects, so that a call that was cut
    /// short can be repeated.
    pub(super) async fn forget(&self, within: Within<'_>, keep: usize) -> Result<Vec<String>> {
        let (found, pointer) = self.admitted(within).await?;
        if pointer.live.is_none() {
            return Ok(Vec::new());
        }
        if pointer.unfinished {
            return Err(self.unfinished(within));
        }
        let pruned = pointer.pruned(keep);
        let forgotten: Vec<Digest> = self.forgotten(within, &pruned).await?.into_iter().map(|(id, _)| id).collect();
        let kept = self.manifests(within, &pruned.releases).await?;
        let forgotten = self.manifests(within, &forgotten).await?;
        if pruned != found.pointer && self.replace(within, &found, pruned).await?.is_none() {
            return Err(self.moved(within));
        }
        let only = |manifests: &'_ [(_, SiteManifest)]| -> Vec<SiteManifest> {
            manifests.iter().map(|(_, manifest)| manifest.clone()).collect()
        };
        let (kept, gone) = (only(&kept), only(&forgotten));
        let waste = waste(&kept.iter().collect::<Vec<_>>(), &gone.iter().collect::<Vec<_>>());
        let served: Vec<String> = waste.keys.iter().map(|key| self.served_key(key)).collect();
        let contents = waste.contents.iter().map(|hex| format!("{}objects/{hex}", self.state));
        let contents: Vec<String> = contents.collect();
        self.known.retain(|key| !waste.keys.contains(key));
        self.contents.retain(|hex| !waste.contents.contains(hex));
        self.bucket.delete(within, &self.prefix, &served).await?;
        self.bucket.delete(within, &self.state, &contents).await?;
        let manifests: Vec<String> = forgotten.iter().map(|(id, _)| self.manifest_key(*id)).collect();
        self.bucket.delete(within, &self.state, &manifests).await?;
        Ok(waste.keys.into_iter().collect())
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
            SiteManifest(files.iter().map(|(key, text, cache)| ((*key).to_owned(), object(text, *cache))).collect())
        };
        let old =
            site(&[("a", "1", Revalidate), ("b", "same", Revalidate), ("c", "1", Immutable), ("d", "1", Immutable)]);
        let new = site(&[("a", "2", Revalidate), ("e", "same", Revalidate), ("d", "1", Immutable)]);
        let waste = waste(&[&new], &[&old]);
        assert_eq!(waste.keys, ["b".to_owned(), "c".to_owned()].into());
        assert_eq!(waste.contents, [Digest::of("1").to_hex()].into());
    }
}
