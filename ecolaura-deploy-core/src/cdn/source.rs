//! What a site consists of: a folder, files made in memory, and the rules for their headers.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use bytes::Bytes;

use super::{
    CacheRule, HeaderRule, digesting, key, memory,
    rules::Rules,
    scratch::Scratch,
    walk::{self, Listing},
};
use crate::{
    Context, Error, Result,
    backend::{SiteManifest, SiteObject},
    vocabulary::Digest,
};

pub(super) const OPERATION: &str = "cdn.read_site";

/// A folder to publish, with the rules for its files' headers.
///
/// Refused are, all at once and each with its name: symbolic links that leave the folder or lead to a hidden file or a
/// folder, devices and sockets, hidden files (unless exposed or ignored), names that are not UTF-8 or hold control
/// characters, keys that differ only in case or in how Unicode writes the
/// same letters, files that cannot be read, and a site without files.
///
/// ```
/// use ecolaura_deploy_core::{cdn::{CacheRule, HeaderRule, SiteSource}, vocabulary::CacheControl};
/// let site = SiteSource::new("web/dist")
///     .cache(CacheRule::new("fonts/**", CacheControl::Immutable))
///     .header(HeaderRule::new("**/*.html", "x-content-type-options", "nosniff"))
///     .ignore("**/*.map")
///     .file("config.json", r#"{"api":"https://staging.example"}"#);
/// ```
#[derive(Debug, Clone)]
pub struct SiteSource {
    dir: PathBuf,
    files: BTreeMap<String, Bytes>,
    types: Vec<(String, String)>,
    cache: Vec<CacheRule>,
    headers: Vec<HeaderRule>,
    ignored: Vec<String>,
    exposed: BTreeSet<String>,
    memory: Option<PathBuf>,
    #[cfg(feature = "compress")]
    pub(super) compression: Option<super::Compression>,
    scratch: Arc<OnceLock<Arc<Scratch>>>,
}

impl SiteSource {
    /// The folder `dir`, with the default rules: [`super::content_type`] and [`super::default_cache_control`].
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            files: BTreeMap::new(),
            types: Vec::new(),
            cache: Vec::new(),
            headers: Vec::new(),
            ignored: Vec::new(),
            exposed: BTreeSet::new(),
            memory: None,
            #[cfg(feature = "compress")]
            compression: None,
            scratch: Arc::default(),
        }
    }

    /// The same rules and files for another folder.
    pub fn at(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = dir.into();
        self
    }

    /// Publishes `content` as `key`, in place of the folder's file if there is one. For what differs by environment.
    pub fn file(mut self, key: impl Into<String>, content: impl Into<Bytes>) -> Self {
        self.files.insert(key.into(), content.into());
        // Clones made before must not see this one's files.
        self.scratch = Arc::default();
        self
    }

    /// Adds a cache rule; the first that matches counts, before the defaults.
    pub fn cache(mut self, rule: CacheRule) -> Self {
        self.cache.push(rule);
        self
    }

    /// Adds a header rule; all that match count.
    pub fn header(mut self, rule: HeaderRule) -> Self {
        self.headers.push(rule);
        self
    }

    /// Serves keys that match `glob` as `content_type`; the first that matches counts, before the defaults.
    pub fn content_type(mut self, glob: impl Into<String>, content_type: impl Into<String>) -> Self {
        self.types.push((glob.into(), content_type.into()));
        self
    }

    /// Leaves out files and whole folders that match `glob`.
    pub fn ignore(mut self, glob: impl Into<String>) -> Self {
        self.ignored.push(glob.into());
        self
    }

    /// Publishes the hidden file or folder at `key`, such as `.well-known`, with everything in it.
    pub fn expose(mut self, key: impl Into<String>) -> Self {
        self.exposed.insert(key.into());
        self
    }

    /// Remembers digests in `file`, so that the next reading of the site reads only what changed: as fast as by sizes and
    /// times, and safer. A file is taken for unchanged if size, inode, device and both of its times are what they were, and
    /// if it had been at rest for two seconds when it was read: no write can hide behind a coarse clock.
    ///
    /// Keep `file` outside of the site, one for each folder; its own folder is made. It holds paths and digests only. If it
    /// is missing, damaged or cannot be written, every file is read, as on other systems than Unix. What is sent is
    /// digested on its way whatever is remembered.
    ///
    /// ```
    /// use ecolaura_deploy_core::cdn::SiteSource;
    /// let site = SiteSource::new("web/dist").remember("target/deploy/web.digests.json");
    /// ```
    pub fn remember(mut self, file: impl Into<PathBuf>) -> Self {
        self.memory = Some(file.into());
        self
    }

    /// The folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Reads the site: its manifest, and the file behind each key. Files given in memory are written below the
    /// machine's temporary folder and stay as long as this source or a [`PreparedSite`] of it. Reads only otherwise;
    /// may be repeated. Fails with `InvalidInput` naming every problem, `NotFound`, `PermissionDenied`, `Cancelled`.
    pub async fn manifest(&self, cx: &Context) -> Result<(SiteManifest, BTreeMap<String, PathBuf>)> {
        cx.check(OPERATION)?;
        let mut problems = Vec::new();
        let rules = Arc::new(self.rules(&mut problems));
        let listing = self.list(cx, &rules).await?;
        problems.extend(listing.problems);
        #[cfg_attr(not(feature = "compress"), expect(unused_mut, reason = "variants are taken out"))]
        let mut files = listing.files;
        problems.extend(clashes(files.keys()));
        #[cfg(feature = "compress")]
        let found = self.take_found(&mut files);
        if files.is_empty() && problems.is_empty() {
            problems.push("there is no file in it".to_owned());
        }
        let paths = files.values().cloned().collect();
        let measured = match &self.memory {
            Some(memory) => memory::measure(cx, paths, memory).await?,
            None => digesting::measure(cx, OPERATION, paths).await?,
        };
        let mut manifest = SiteManifest::default();
        for (key, measured) in files.keys().zip(measured) {
            match measured {
                Ok((digest, size)) => _ = manifest.0.insert(key.clone(), object(&rules, key, digest, size)),
                Err(why) => problems.push(why),
            }
        }
        #[cfg(feature = "compress")]
        self.add_variants(cx, (&mut manifest, &mut files), found, &mut problems).await?;
        if problems.is_empty() { Ok((manifest, files)) } else { Err(self.refuse(problems)) }
    }

    /// Reads the site as [`SiteSource::manifest`] does, for [`super::publish`].
    pub async fn prepare(&self, cx: &Context) -> Result<PreparedSite> {
        let (manifest, files) = self.manifest(cx).await?;
        Ok(PreparedSite { scratch: self.scratch.get().cloned(), ..PreparedSite::new(manifest, files) })
    }

    fn rules(&self, problems: &mut Vec<String>) -> Rules {
        let mut rules = Rules::default();
        let mut note = |result: Result<(), String>| problems.extend(result.err());
        for (glob, value) in &self.types {
            note(rules.content_type(glob, value));
        }
        for rule in &self.cache {
            note(rules.cache(rule));
        }
        for rule in &self.headers {
            note(rules.header(rule));
        }
        for glob in &self.ignored {
            note(rules.ignore(glob));
        }
        rules
    }

    /// The folder's files and those given in memory.
    async fn list(&self, cx: &Context, rules: &Arc<Rules>) -> Result<Listing> {
        let (source, rules, context) = (self.clone(), Arc::clone(rules), cx.clone());
        let unit = move || {
            let mut listing = walk::list(&context, &source.dir, &rules, &source.exposed)?;
            source.add_files(&mut listing)?;
            Ok(listing)
        };
        tokio::task::spawn_blocking(unit)
            .await
            .map_err(|error| Error::internal(OPERATION, "reading the folder panicked").with_source(error))?
    }

    fn add_files(&self, listing: &mut Listing) -> Result<()> {
        if self.files.is_empty() {
            return Ok(());
        }
        let scratch = self.scratch()?;
        for (key, content) in &self.files {
            if let Some(why) = key::refusal(key) {
                listing.problems.push(format!("`{}`: {why}", key.escape_debug()));
                continue;
            }
            let path = scratch.path().join(Digest::of(content).to_hex());
            std::fs::write(&path, content).map_err(|error| Error::io(OPERATION, &path, error))?;
            listing.files.insert(key.clone(), path);
        }
        Ok(())
    }

    /// The folder for files that are made.
    pub(super) fn scratch(&self) -> Result<Arc<Scratch>> {
        if let Some(scratch) = self.scratch.get() {
            return Ok(Arc::clone(scratch));
        }
        let new = Scratch::new().map_err(|error| Error::io(OPERATION, std::env::temp_dir(), error))?;
        // Of two that come here at once, the loser's folder goes away again.
        Ok(Arc::clone(self.scratch.get_or_init(|| Arc::new(new))))
    }

    fn refuse(&self, mut problems: Vec<String>) -> Error {
        problems.sort();
        problems.dedup();
        let count = problems.len();
        let message =
            format!("{count} problem{} in the site: {}", if count == 1 { "" } else { "s" }, problems.join("; "));
        Error::invalid(OPERATION, message)
            .with("folder", self.dir.display())
            .advice("mend what is named and run again; nothing was published")
    }
}

fn object(rules: &Rules, key: &str, digest: Digest, size: u64) -> SiteObject {
    let mut object = SiteObject::new(digest, size, rules.content_type_of(key), rules.cache_control_of(key));
    object.headers.extend(rules.headers_of(key));
    object
}

/// Keys that some stores and file systems would take for one another.
fn clashes<'a>(keys: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut seen: BTreeMap<String, &String> = BTreeMap::new();
    let mut clashes = Vec::new();
    for key in keys {
        if let Some(other) = seen.insert(key::folded(key), key) {
            clashes.push(format!("{}; rename one", key::clash(other, key)));
        }
    }
    clashes
}

/// A site that was read: its manifest, and where the content of each key is.
#[derive(Debug, Clone)]
pub struct PreparedSite {
    manifest: SiteManifest,
    files: BTreeMap<String, PathBuf>,
    #[expect(dead_code, reason = "keeps the files that were given in memory")]
    scratch: Option<Arc<Scratch>>,
}

impl PreparedSite {
    /// `manifest` with the contents in `files`. A key without a file can only be published if it is stored already.
    pub fn new(manifest: SiteManifest, files: BTreeMap<String, PathBuf>) -> Self {
        Self { manifest, files, scratch: None }
    }

    /// What it consists of.
    pub fn manifest(&self) -> &SiteManifest {
        &self.manifest
    }

    /// The file with each key's content.
    pub fn files(&self) -> &BTreeMap<String, PathBuf> {
        &self.files
    }

    /// The release's id: the digest over the manifest.
    pub fn release(&self) -> Digest {
        self.manifest.id()
    }
}

#[cfg(test)]
mod tests;
