//! Building container images.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    Context, Result,
    vocabulary::{BuiltImage, Fingerprint, Name, Platform},
};

/// One file or folder that goes into an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ImageEntry {
    /// Where it is on this machine. A folder is taken with everything below it, symbolic links kept as links.
    pub source: PathBuf,
    /// Its absolute path in the image.
    pub destination: String,
    /// The permission bits of a file, `0o755` for a program; `None` keeps only whether it is executable.
    pub mode: Option<u32>,
}

impl ImageEntry {
    /// `source` at `destination`.
    pub fn new(source: impl Into<PathBuf>, destination: impl Into<String>) -> Self {
        Self { source: source.into(), destination: destination.into(), mode: None }
    }

    /// With these permission bits.
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = Some(mode);
        self
    }
}

/// What an image is made of and how it starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ImageSpec {
    /// The platform it is for.
    pub platform: Platform,
    /// The folder of an OCI layout and the reference in it to begin from.
    pub base: Option<(PathBuf, String)>,
    /// The layers above the base, bottom first; each becomes one layer of the image.
    pub layers: Vec<Vec<ImageEntry>>,
    /// The program and its fixed arguments.
    pub entrypoint: Vec<String>,
    /// Arguments that a deployment may replace.
    pub command: Vec<String>,
    /// Environment variables.
    pub env: BTreeMap<String, String>,
    /// Labels, such as `org.opencontainers.image.source`.
    pub labels: BTreeMap<String, String>,
    /// The user, `65532:65532` or a name of the image's.
    pub user: Option<String>,
    /// The ports it listens on, `8080/tcp`.
    pub ports: Vec<String>,
    /// The folder the program starts in.
    pub working_dir: Option<String>,
    /// The folder that paths in a build file are relative to, for builders that take one.
    pub context_dir: Option<PathBuf>,
    /// Lock files (`Cargo.lock`, `package-lock.json`) from which a bill of materials is made and attached.
    pub lock_files: Vec<PathBuf>,
}

impl ImageSpec {
    /// An empty image for `platform`.
    pub fn new(platform: Platform) -> Self {
        Self {
            platform,
            base: None,
            layers: Vec::new(),
            entrypoint: Vec::new(),
            command: Vec::new(),
            env: BTreeMap::new(),
            labels: BTreeMap::new(),
            user: None,
            ports: Vec::new(),
            working_dir: None,
            context_dir: None,
            lock_files: Vec::new(),
        }
    }

    /// With one more layer on top.
    pub fn layer(mut self, entries: impl IntoIterator<Item = ImageEntry>) -> Self {
        self.layers.push(entries.into_iter().collect());
        self
    }

    /// Starting this program.
    pub fn entrypoint(mut self, arguments: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.entrypoint = arguments.into_iter().map(Into::into).collect();
        self
    }

    /// With the environment variable `key`.
    pub fn env(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.insert(key.into(), value.into());
        self
    }

    /// With the label `key`.
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// Running as this user.
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }

    /// Listening on this port, `8080/tcp`.
    pub fn port(mut self, port: impl Into<String>) -> Self {
        self.ports.push(port.into());
        self
    }

    /// Built from this folder, by builders that take one.
    pub fn context_dir(mut self, path: impl Into<PathBuf>) -> Self {
        self.context_dir = Some(path.into());
        self
    }

    /// Made of the packages in this lock file.
    pub fn lock_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.lock_files.push(path.into());
        self
    }
}

/// Builds images.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait ImageBuilder: fmt::Debug + Send + Sync + 'static {
    /// The backend's name, for plans and records.
    fn name(&self) -> &Name;

    /// What identifies the inputs of a build: equal fingerprints give an equal image, as far as the builder is
    /// reproducible. Reads only. Fails with `NotFound` naming the missing file, `InvalidInput` naming the field.
    async fn fingerprint(&self, cx: &Context, spec: &ImageSpec) -> Result<Fingerprint>;

    /// Builds the image. Idempotent: the same inputs give the same digest. A cancel leaves at most unreferenced
    /// blobs, which the next build of the layout sweeps. Fails with `NotFound`, `InvalidInput`, `LimitExceeded` (disk
    /// full), `PermissionDenied`, `Cancelled`, `Timeout`.
    async fn build(&self, cx: &Context, spec: &ImageSpec) -> Result<BuiltImage>;

    /// Whether `image` is still there and whole enough to be pushed. Reads only.
    async fn exists(&self, cx: &Context, image: &BuiltImage) -> Result<bool>;
}

const _: fn(&dyn ImageBuilder) = |_| {};
