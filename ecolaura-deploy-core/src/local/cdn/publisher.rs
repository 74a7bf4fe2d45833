//! [`CdnPublisher`] on a directory.

use std::{
    fs::OpenOptions,
    io::{Read, Seek, SeekFrom, Write},
    path::PathBuf,
    time::Duration,
};

use async_trait::async_trait;

use super::store::{Store, blocking};
use crate::{
    Context, Error, ErrorKind, Result,
    backend::{Activation, CdnCapabilities, CdnPublisher, Invalidation, SiteHistory, SiteManifest, UploadRequest},
    leftovers::GRACE,
    vocabulary::{Digest, Name},
};

/// How many paths one invalidation may name.
const INVALIDATION_PATHS: usize = 1000;

/// A site in a directory: contents by digest, headers in the releases' manifests, one pointer to the live release.
///
/// Safe under concurrent processes on one machine. Everything is on disk before a call answers.
///
/// ```
/// # async fn example(cx: &ecolaura_deploy_core::Context) -> ecolaura_deploy_core::Result<()> {
/// use ecolaura_deploy_core::{cdn::{PublishOptions, SiteSource, publish}, local::cdn::{DirectoryCdn, serve}};
/// let cdn = DirectoryCdn::new("target/site", "web".parse()?);
/// let site = SiteSource::new("web/dist").prepare(cx).await?;
/// publish(cx, &cdn, &site, &PublishOptions::default()).await?;
/// let server = serve("target/site", ([127, 0, 0, 1], 0).into()).await?;
/// println!("http://{}/", server.address());
/// server.stop().await;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct DirectoryCdn {
    pub(super) name: Name,
    pub(super) store: Store,
    pub(super) grace: Duration,
}

impl DirectoryCdn {
    /// The site `name` in `dir`, which is created by the first call that writes.
    pub fn new(dir: impl Into<PathBuf>, name: Name) -> Self {
        Self { name, store: Store::new(dir.into()), grace: GRACE }
    }

    /// How long an object that no release names is kept for the publish that sent it (default 1 hour), before it counts
    /// as left over.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }
}

#[async_trait]
impl CdnPublisher for DirectoryCdn {
    fn name(&self) -> &Name {
        &self.name
    }

    fn capabilities(&self) -> CdnCapabilities {
        CdnCapabilities::new(true, INVALIDATION_PATHS).fences()
    }

    async fn history(&self, cx: &Context) -> Result<SiteHistory> {
        const OPERATION: &str = "cdn.history";
        cx.check(OPERATION)?;
        let store = self.store.clone();
        blocking(move || settled(|| store.history(OPERATION), || store.pointer_bytes(OPERATION))).await
    }

    async fn upload(&self, cx: &Context, request: &UploadRequest) -> Result<bool> {
        cx.check("cdn.upload")?;
        let (store, request, cx) = (self.store.clone(), request.clone(), cx.clone());
        let unit = move || {
            let object = &request.object;
            if store.renew(object.digest, object.size)? {
                return Ok(false);
            }
            store.put(&cx, &request.source, object.digest, object.size)?;
            Ok(true)
        };
        blocking(unit).await
    }

    async fn missing(&self, cx: &Context, manifest: &SiteManifest) -> Result<Vec<String>> {
        cx.check("cdn.missing")?;
        let (store, manifest) = (self.store.clone(), manifest.clone());
        blocking(move || Ok(store.missing(&manifest))).await
    }

    async fn activate(&self, cx: &Context, activation: &Activation) -> Result<()> {
        let lock = self.store.lock(cx).await?;
        let (cx, store, activation) = (cx.clone(), self.store.clone(), activation.clone());
        let unit = move || {
            let _lock = lock;
            activate(&cx, &store, &activation)
        };
        blocking(unit).await
    }

    async fn invalidate(&self, cx: &Context, invalidation: &Invalidation) -> Result<()> {
        if invalidation.paths.len() > INVALIDATION_PATHS {
            let message =
                format!("{} paths in one invalidation, at most {INVALIDATION_PATHS}", invalidation.paths.len());
            return Err(Error::new(ErrorKind::LimitExceeded, "cdn.invalidate", message).advice("name `/*` instead"));
        }
        let lock = self.store.lock(cx).await?;
        let (store, invalidation) = (self.store.clone(), invalidation.clone());
        let unit = move || {
            let _lock = lock;
            log_invalidation(&store, &invalidation)
        };
        blocking(unit).await
    }

    async fn prune(&self, cx: &Context, keep: usize) -> Result<Vec<String>> {
        let lock = self.store.lock(cx).await?;
        let (cx, store) = (cx.clone(), self.store.clone());
        let unit = move || {
            let _lock = lock;
            store.prune(&cx, "cdn.prune", keep)
        };
        blocking(unit).await
    }
}

/// Reads without the lock: if the pointer moved meanwhile, what failed is read again.
fn settled<T>(read: impl Fn() -> Result<T>, pointer: impl Fn() -> Result<Option<Vec<u8>>>) -> Result<T> {
    loop {
        let before = pointer()?;
        match read() {
            Err(_) if pointer()? != before => {}
            result => return result,
        }
    }
}

fn activate(cx: &Context, store: &Store, activation: &Activation) -> Result<()> {
    const OPERATION: &str = "cdn.activate";
    let (before, pointer) = store.admitted(OPERATION, cx)?;
    let wanted = activation.manifest.id();
    if pointer.live == Some(wanted) {
        return if pointer == before { Ok(()) } else { store.set_pointer(OPERATION, &pointer) };
    }
    if pointer.live != activation.expected {
        return Err(conflict(OPERATION, activation.expected, pointer.live));
    }
    let missing = store.missing(&activation.manifest);
    if let Some(first) = missing.first() {
        let message = format!("the content of {} keys is not stored, the first is `{first}`", missing.len());
        return Err(Error::new(ErrorKind::NotFound, OPERATION, message).advice("upload them first"));
    }
    store.write_manifest(OPERATION, &activation.manifest)?;
    store.set_pointer(OPERATION, &pointer.activated(wanted))
}

fn conflict(operation: &'static str, expected: Option<Digest>, found: Option<Digest>) -> Error {
    let name = |id: Option<Digest>| id.map_or_else(|| "none".to_owned(), |id| id.to_string());
    let message = format!("release {} is served, expected was {}", name(found), name(expected));
    Error::new(ErrorKind::Conflict, operation, message)
        .advice("somebody else published meanwhile; plan again and see whether yours is still wanted")
}

/// Appends a line, unless one with the reference is there. A last line that a power failure cut short is dropped.
fn log_invalidation(store: &Store, invalidation: &Invalidation) -> Result<()> {
    const OPERATION: &str = "cdn.invalidate";
    let path = store.path("invalidations.jsonl");
    let failed = |error| Error::io(OPERATION, &path, error);
    let mut file =
        OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path).map_err(failed)?;
    let mut text = Vec::new();
    file.read_to_end(&mut text).map_err(failed)?;
    let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let lines = text[..whole].split(|byte| *byte == b'\n');
    let mut logged = lines.filter_map(|line| serde_json::from_slice::<Invalidation>(line).ok());
    if logged.any(|other| other.reference == invalidation.reference) {
        return Ok(());
    }
    let mut line = serde_json::to_vec(invalidation)
        .map_err(|error| Error::internal(OPERATION, "could not be written as JSON").with_source(error))?;
    line.push(b'\n');
    file.set_len(whole as u64).map_err(failed)?;
    file.seek(SeekFrom::End(0)).map_err(failed)?;
    file.write_all(&line).and_then(|()| file.sync_all()).map_err(failed)
}
