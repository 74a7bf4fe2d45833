//! A fake [`CdnPublisher`].

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    Context, Error, ErrorKind, Result,
    backend::{
        Activation, CdnCapabilities, CdnPublisher, Invalidation, SiteHistory, SiteManifest, SiteObject, UploadRequest,
    },
    fence::Epochs,
    vocabulary::{Digest, Name},
};

/// A call that a [`FakeCdn`] got and carried out, as far as it writes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CdnCall {
    /// Content was sent as this key.
    Sent(String),
    /// Content was there already and not sent.
    Kept(String),
    /// A release was made live.
    Activated(Digest),
    /// Paths were forgotten, for the first time under their reference.
    Invalidated(Vec<String>),
    /// Keys were deleted.
    Pruned(Vec<String>),
}

/// A site in memory that remembers what was asked of it and refuses older epochs.
#[derive(Debug)]
pub struct FakeCdn {
    name: Name,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    contents: BTreeMap<Digest, Bytes>,
    history: SiteHistory,
    epochs: Epochs,
    references: BTreeSet<String>,
    calls: Vec<CdnCall>,
    losing: BTreeSet<String>,
}

impl FakeCdn {
    /// An empty site.
    pub fn new(name: Name) -> Self {
        Self { name, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The calls that wrote, in their order.
    pub fn calls(&self) -> Vec<CdnCall> {
        self.state().calls.clone()
    }

    /// Forgets the calls.
    pub fn clear_calls(&self) {
        self.state().calls.clear();
    }

    /// From now on content sent as `key` is answered with success and not stored.
    pub fn lose(&self, key: impl Into<String>) {
        self.state().losing.insert(key.into());
    }

    /// Loses the stored content of the live release's `key`.
    pub fn forget_content(&self, key: &str) {
        let mut state = self.state();
        let digest = state.history.live_manifest().and_then(|manifest| manifest.0.get(key)).map(|object| object.digest);
        if let Some(digest) = digest {
            state.contents.remove(&digest);
        }
    }

    /// What a browser gets for `key`: of the live release, or an asset of one that is kept.
    pub fn get(&self, key: &str) -> Option<(SiteObject, Bytes)> {
        let state = self.state();
        let live = state.history.live_manifest().and_then(|manifest| manifest.0.get(key));
        let kept = || {
            let objects = state.history.releases.iter().rev().filter_map(|(_, manifest)| manifest.0.get(key));
            objects.into_iter().find(|object| !object.content_type.starts_with("text/html"))
        };
        let object = live.or_else(kept)?;
        Some((object.clone(), state.contents.get(&object.digest)?.clone()))
    }
}

impl State {
    fn missing(&self, manifest: &SiteManifest) -> Vec<String> {
        let lost = manifest.0.iter().filter(|(_, object)| !self.contents.contains_key(&object.digest));
        lost.map(|(key, _)| key.clone()).collect()
    }

    fn activate(&mut self, cx: &Context, activation: &Activation) -> Result<()> {
        const OPERATION: &str = "cdn.activate";
        self.epochs.admit(OPERATION, cx)?;
        let (wanted, live) = (activation.manifest.id(), self.history.live);
        if live == Some(wanted) {
            return Ok(());
        }
        if live != activation.expected {
            let message = format!("release {live:?} is served, expected was {:?}", activation.expected);
            return Err(Error::new(ErrorKind::Conflict, OPERATION, message));
        }
        if let Some(key) = self.missing(&activation.manifest).first() {
            return Err(Error::new(ErrorKind::NotFound, OPERATION, format!("the content of `{key}` is not stored")));
        }
        self.history.releases.retain(|(id, _)| *id != wanted);
        self.history.releases.push((wanted, activation.manifest.clone()));
        self.history.live = Some(wanted);
        self.calls.push(CdnCall::Activated(wanted));
        Ok(())
    }

    fn prune(&mut self, keep: usize) -> Vec<String> {
        let first = self.history.releases.len().saturating_sub(keep);
        let (live, mut index) = (self.history.live, 0);
        let forgotten = self.history.releases.extract_if(.., |(id, _)| {
            index += 1;
            index <= first && Some(*id) != live
        });
        let forgotten: Vec<SiteManifest> = forgotten.map(|(_, manifest)| manifest).collect();
        let kept = || self.history.releases.iter().flat_map(|(_, manifest)| &manifest.0);
        let contents: BTreeSet<Digest> = kept().map(|(_, object)| object.digest).collect();
        let keys: BTreeSet<&String> = kept().map(|(key, _)| key).collect();
        let mut deleted = BTreeSet::new();
        for (key, object) in forgotten.iter().flat_map(|manifest| &manifest.0) {
            if !contents.contains(&object.digest) {
                self.contents.remove(&object.digest);
            }
            if !keys.contains(key) {
                deleted.insert(key.clone());
            }
        }
        deleted.into_iter().collect()
    }
}

#[async_trait]
impl CdnPublisher for FakeCdn {
    fn name(&self) -> &Name {
        &self.name
    }

    fn capabilities(&self) -> CdnCapabilities {
        CdnCapabilities::new(true, 100).fences()
    }

    async fn history(&self, cx: &Context) -> Result<SiteHistory> {
        cx.check("cdn.history")?;
        Ok(self.state().history.clone())
    }

    async fn upload(&self, cx: &Context, request: &UploadRequest) -> Result<bool> {
        const OPERATION: &str = "cdn.upload";
        cx.check(OPERATION)?;
        let UploadRequest { key, source, object } = request;
        if self.state().contents.contains_key(&object.digest) {
            self.state().calls.push(CdnCall::Kept(key.clone()));
            return Ok(false);
        }
        let content = tokio::fs::read(source).await.map_err(|error| Error::io(OPERATION, source, error))?;
        if Digest::of(&content) != object.digest {
            let message = format!("`{}` changed after the site was read", source.display());
            return Err(Error::new(ErrorKind::Corrupt, OPERATION, message));
        }
        let mut state = self.state();
        if !state.losing.contains(key) {
            state.contents.insert(object.digest, content.into());
        }
        state.calls.push(CdnCall::Sent(key.clone()));
        Ok(true)
    }

    async fn missing(&self, cx: &Context, manifest: &SiteManifest) -> Result<Vec<String>> {
        cx.check("cdn.missing")?;
        Ok(self.state().missing(manifest))
    }

    async fn activate(&self, cx: &Context, activation: &Activation) -> Result<()> {
        cx.check("cdn.activate")?;
        self.state().activate(cx, activation)
    }

    async fn invalidate(&self, cx: &Context, invalidation: &Invalidation) -> Result<()> {
        cx.check("cdn.invalidate")?;
        let mut state = self.state();
        if state.references.insert(invalidation.reference.clone()) {
            state.calls.push(CdnCall::Invalidated(invalidation.paths.clone()));
        }
        Ok(())
    }

    async fn prune(&self, cx: &Context, keep: usize) -> Result<Vec<String>> {
        cx.check("cdn.prune")?;
        let mut state = self.state();
        state.epochs.admit("cdn.prune", cx)?;
        let deleted = state.prune(keep);
        state.calls.push(CdnCall::Pruned(deleted.clone()));
        Ok(deleted)
    }
}
