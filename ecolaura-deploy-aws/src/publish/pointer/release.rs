//! Filling folders, pointing to one, and taking old ones away.

use std::collections::BTreeSet;

use ecolaura_deploy_core::{
    Error, ErrorKind, Result,
    backend::{Activation, SiteHistory, SiteManifest},
    vocabulary::Digest,
};
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, future::BoxFuture, stream};

use super::{
    PointerCdn,
    decide::{Folder, Lacks, of_its_own, of_others},
    store::Told,
};
use crate::publish::{
    bucket::Within,
    headers::Headers,
    prune::{Parted, waste},
    state::{Found, Pointer, of},
    switch::ROUNDS,
};

impl PointerCdn {
    /// Where the keys of `release` begin.
    fn folder(&self, release: Digest) -> String {
        self.site.served_key(&format!("{}/", release.to_hex()))
    }

    async fn listed(&self, within: Within<'_>, release: Digest) -> Result<Folder> {
        self.site.bucket.list(within, &self.folder(release)).await
    }

    pub(super) async fn read_history(&self, within: Within<'_>) -> Result<SiteHistory> {
        let history = self.site.read_history(within).await?;
        let live = self.entry.read(within).await?.release;
        match live {
            Some(id) if of(&history.releases, live).is_none() => Err(self.unknown(within, id, &history)),
            live => Ok(SiteHistory::new(live, history.releases)),
        }
    }

    fn unknown(&self, (_, operation): Within<'_>, live: Digest, history: &SiteHistory) -> Error {
        let kept: Vec<String> = history.releases.iter().map(|(id, _)| id.to_hex()).collect();
        let message = format!("entry `{}` names release {live}, which is not kept", self.entry.key());
        Error::new(ErrorKind::Corrupt, operation, message)
            .with("kept, oldest first", kept.join(", "))
            .advice("put the id of a kept release there, and see who changed it")
    }

    /// What is not stored, and what a release lacks that is served.
    pub(super) async fn lacking(&self, within: Within<'_>, manifest: &SiteManifest) -> Result<Vec<String>> {
        let mut missing = self.unstored(within, manifest).await?;
        if self.entry.read(within).await?.release == Some(manifest.id()) {
            let folder = self.listed(within, manifest.id()).await?;
            missing.extend(of_its_own(&folder, manifest).into_iter().map(|(key, _)| key.to_owned()));
        }
        Ok(missing.into_iter().collect())
    }

    async fn unstored(&self, within: Within<'_>, manifest: &SiteManifest) -> Result<BTreeSet<String>> {
        let stored = self.site.bucket.list(within, &self.site.contents_prefix()).await?;
        self.site.contents.retain(|hex| stored.contains_key(hex));
        let lost = manifest
            .0
            .iter()
            .filter(|(_, object)| stored.get(&object.digest.to_hex()).is_none_or(|found| found.size != object.size));
        Ok(lost.map(|(key, _)| key.clone()).collect())
    }

    pub(super) async fn switch(&self, within: Within<'_>, activation: &Activation) -> Result<()> {
        for _ in 0..ROUNDS {
            if self.try_switch(within, activation).await? {
                return Ok(());
            }
        }
        Err(self.site.restless(within))
    }

    /// `false` if somebody else changed the state before this call noted what it does.
    async fn try_switch(&self, within: Within<'_>, Activation { manifest, expected, .. }: &Activation) -> Result<bool> {
        let wanted = manifest.id();
        // Read before the state: a write that depends on it fails if a newer deployer wrote in between.
        let told = self.entry.read(within).await?;
        let (found, pointer) = self.site.admitted(within).await?;
        let live = told.release;
        if live != Some(wanted) && live != *expected {
            return Err(self.site.conflict(within.1, *expected, live));
        }
        let missing = self.unstored(within, manifest).await?;
        if let Some(first) = missing.first() {
            let message = format!("the content of {} keys is not stored, the first is `{first}`", missing.len());
            return Err(Error::new(ErrorKind::NotFound, within.1, message).advice("upload them first"));
        }
        let folder = self.listed(within, wanted).await?;
        let own = of_its_own(&folder, manifest);
        let settled = pointer.live == Some(wanted) && !pointer.unfinished && own.is_empty();
        if live == Some(wanted) && settled {
            return match pointer == found.pointer {
                true => Ok(true),
                false => Ok(self.site.replace(within, &found, pointer).await?.is_some()),
            };
        }
        let kept = self.site.manifests(within, &pointer.releases).await?;
        self.site.write_manifest(within, manifest).await?;
        self.copy(within, wanted, &own).await?;
        let others = kept.iter().rev().filter(|(id, _)| *id != wanted).map(|(_, manifest)| manifest);
        self.copy(within, wanted, &of_others(&folder, manifest, others)).await?;
        if let (Some(id), Some(served)) = (live.filter(|id| *id != wanted), of(&kept, live)) {
            let folder = self.listed(within, id).await?;
            self.copy(within, id, &of_others(&folder, served, [manifest].into_iter())).await?;
        }
        let Some(begun) = self.site.replace(within, &found, pointer.switching(wanted, false)).await? else {
            return Ok(false);
        };
        self.point(within, &begun, told, wanted).await?;
        match self.site.replace(within, &begun, begun.pointer.switched()).await? {
            Some(_) => Ok(true),
            None => self.pruned_meanwhile(within, wanted).await.map(|()| false),
        }
    }

    /// Fails unless the state still says that `wanted` is served: a prune changes no more than what else is kept.
    async fn pruned_meanwhile(&self, within: Within<'_>, wanted: Digest) -> Result<()> {
        let live = self.site.admitted(within).await?.1.live;
        if live == Some(wanted) { Ok(()) } else { Err(self.site.conflict(within.1, Some(wanted), live)) }
    }

    /// The switch. The store's tag also moves when others change their entries.
    async fn point(&self, within: Within<'_>, begun: &Found, mut told: Told, wanted: Digest) -> Result<()> {
        let before = told.release;
        for _ in 0..ROUNDS {
            if told.release == Some(wanted) {
                return Ok(());
            }
            if told.release != before {
                return Err(self.site.conflict(within.1, before, told.release));
            }
            match self.entry.write(within, &told, wanted).await {
                Ok(true) => return Ok(()),
                Ok(false) => self.site.still(within, begun).await?,
                // No answer came: what is there says what happened.
                Err(error) => match self.entry.read(within).await {
                    Ok(now) if now.release == Some(wanted) => return Ok(()),
                    _ => return Err(error),
                },
            }
            told = self.entry.read(within).await?;
        }
        Err(self.site.restless(within))
    }

    async fn copy(&self, within: Within<'_>, release: Digest, keys: &Lacks<'_>) -> Result<()> {
        let folder = self.folder(release);
        let mut copies: Vec<BoxFuture<'_, Result<()>>> = Vec::with_capacity(keys.len());
        for (key, object) in keys {
            let target = format!("{folder}{key}");
            copies.push(
                async move {
                    within.0.check(within.1)?;
                    let headers = Headers::served(within.1, &self.site.name, object)?;
                    let source = self.site.content_key(object.digest);
                    self.site.bucket.copy(within, (&source, object.size), &target, &headers).await
                }
                .boxed(),
            );
        }
        let mut copies = stream::iter(copies).buffer_unordered(within.0.limits().parallel_transfers.get());
        while copies.try_next().await?.is_some() {}
        Ok(())
    }

    /// Manifests go last, so that a call that was cut short can be repeated.
    pub(super) async fn forget(&self, within: Within<'_>, keep: usize) -> Result<Vec<String>> {
        let served = self.entry.read(within).await?.release;
        let (found, pointer) = self.site.admitted(within).await?;
        if served.is_none() && pointer.live.is_none() {
            return Ok(Vec::new());
        }
        let pruned = pruned(&pointer, served, keep);
        let releases = pruned.releases.clone();
        let Parted { kept, gone } = self.site.part_with(within, &found, pruned).await?;
        let keys = waste(&kept, &gone).keys;
        let mut objects = Vec::new();
        for (id, _) in &gone {
            let folder = self.folder(*id);
            objects.extend(self.listed(within, *id).await?.into_keys().map(|key| format!("{folder}{key}")));
        }
        for id in &releases {
            let (folder, listed) = (self.folder(*id), self.listed(within, *id).await?);
            objects.extend(listed.into_keys().filter(|key| keys.contains(key)).map(|key| format!("{folder}{key}")));
        }
        self.site.bucket.delete(within, &self.site.prefix, &objects).await?;
        let digests = |releases: &[(Digest, SiteManifest)]| -> BTreeSet<Digest> {
            releases.iter().flat_map(|(_, manifest)| manifest.0.values()).map(|object| object.digest).collect()
        };
        let contents = &digests(&gone) - &digests(&kept);
        self.site.contents.retain(|hex| !contents.iter().any(|digest| digest.to_hex() == hex));
        let contents: Vec<String> = contents.into_iter().map(|digest| self.site.content_key(digest)).collect();
        self.site.bucket.delete(within, &self.site.state, &contents).await?;
        let manifests: Vec<String> = gone.iter().map(|(id, _)| self.site.manifest_key(*id)).collect();
        self.site.bucket.delete(within, &self.site.state, &manifests).await?;
        Ok(keys.into_iter().collect())
    }
}

/// What is served stays, and what somebody was about to serve.
fn pruned(pointer: &Pointer, served: Option<Digest>, keep: usize) -> Pointer {
    let newest = pointer.pruned(keep).releases;
    let stays = |id: &Digest| newest.contains(id) || Some(*id) == served;
    Pointer { releases: pointer.releases.iter().copied().filter(stays).collect(), ..pointer.clone() }
}
