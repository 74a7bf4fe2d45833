//! Images from a build file, by a Docker Engine with BuildKit on this machine.
//!
//! [`DockerBuilder`] sends what docker's own client sends: the context without what `.dockerignore` leaves out, over a
//! session in which the engine asks for files and secrets. The image is then taken out of the engine into an OCI image
//! layout, where it has a digest; from there it is pushed by a [`Registry`](crate::backend::Registry) like any other, so
//! that the engine needs no login to it. For bases in a registry that wants one it asks here.
//!
//! The engine is spoken to directly, by its HTTP API and BuildKit's session: six requests and four calls.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroUsize,
    path::PathBuf,
};

use async_trait::async_trait;

use self::{engine::Engine, inputs::Inputs, session::Logins};
pub use crate::login::{Credential, CredentialSource, DockerConfig};
use crate::{
    Context, Result, Secret,
    backend::{ImageBuilder, ImageSpec},
    image::Layout,
    local::image::exists,
    vocabulary::{BuiltImage, Fingerprint, Name, Platform},
};

mod build;
mod build_file;
mod check;
mod context;
mod engine;
mod export;
mod failure;
mod fingerprint;
mod ignore;
mod inputs;
mod messages;
mod pattern;
mod progress;
mod session;

/// Builds the folder [`ImageSpec::context_dir`] by its build file, in a Docker Engine, into an OCI image layout.
///
/// Of a specification it takes the folder, the platform and the labels; everything else is the build file's to say, and
/// refused. What is left out of the context follows `.dockerignore`, or `FILE.dockerignore` beside the build file
/// `FILE`, by docker's rules. `.dockerignore` itself is sent with other files, and not to a build that copies it alone
/// (`COPY .dockerignore /`), which ends as if it were not there: an engine asks for it in the same words to know what
/// is left out, and that is done here. Files are sent with their permissions, owned by 0:0 and dated 1970, so that the
/// same files give the same layers on any machine.
///
/// The same inputs are not built twice: a plan knows them by their digests, and asks the engine only what it is. Base
/// images are inputs by their names: name them by digest, or a newer one under the same tag is not noticed. An image
/// that is built again from the same inputs has the same digest as long as the engine still has the steps in its cache,
/// and with a BuildKit from 0.11 if the steps themselves are reproducible.
///
/// A secret is handed to the steps that mount it (`RUN --mount=type=secret,id=ID`) and is in no layer, history, log,
/// error or record; a step that copies it elsewhere is not stopped from doing so. It is no input of a plan. Arguments
/// stand in the image's history for everybody to read.
///
/// A bill of materials (`CycloneDX`) is attached to the image, which a scanner needs: of the packages that dpkg and apk
/// have installed in it, and of the lock files (`Cargo.lock`, `package-lock.json`, `npm-shrinkwrap.json`) in the image
/// and in the context that was sent, also if only an earlier stage reads them. What tells of packages and cannot be read
/// (a lock file of an old format or of another package manager, such as `yarn.lock`, `poetry.lock` and `go.sum`, a database
/// of rpm, a layer by zstd) stands in it without a package URL, so that no scan passes it by; leave a lock file that does
/// not count out of the context. An index of several platforms has one bill.
///
/// A build that is cancelled is stopped in the engine too, and its image taken away by the way. What a process leaves
/// that is killed, or ends right after, are an image that is tagged `ecolaura-deploy-build` in the engine, and blobs
/// that no image needs in the layout, which the next build removes.
///
/// ```
/// # async fn example(cx: &ecolaura_deploy_core::Context) -> ecolaura_deploy_core::Result<()> {
/// use ecolaura_deploy_core::{
///     Secret,
///     backend::{ImageBuilder, ImageSpec},
///     docker::DockerBuilder,
///     vocabulary::Platform,
/// };
/// let builder = DockerBuilder::new("target/images", "docker".parse()?)
///     .target("release")
///     .arg("PROFILE", "release")
///     .secret("npm", Secret::new(std::env::var("NPM_TOKEN").unwrap_or_default()));
/// let image = builder.build(cx, &ImageSpec::new(Platform::current()).context_dir("services/backend")).await?;
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct DockerBuilder {
    layout: Layout,
    name: Name,
    socket: Option<PathBuf>,
    file: String,
    target: Option<String>,
    args: BTreeMap<String, String>,
    secrets: BTreeMap<String, Secret<String>>,
    cache_from: BTreeSet<String>,
    cache_inline: bool,
    platforms: BTreeSet<Platform>,
    network: Option<String>,
    logins: Logins,
    keep: NonZeroUsize,
}

impl DockerBuilder {
    /// Builds into the folder `layout`, which is made by the first build; `name` is for plans and records. The engine is
    /// the one that `DOCKER_HOST` names, else that of `/var/run/docker.sock`.
    pub fn new(layout: impl Into<PathBuf>, name: Name) -> Self {
        const KEPT: NonZeroUsize = NonZeroUsize::new(64).expect("64 is not 0");
        Self {
            layout: Layout::new(layout),
            name,
            socket: None,
            file: "Dockerfile".to_owned(),
            target: None,
            args: BTreeMap::new(),
            secrets: BTreeMap::new(),
            cache_from: BTreeSet::new(),
            cache_inline: false,
            platforms: BTreeSet::new(),
            network: None,
            logins: Logins::default(),
            keep: KEPT,
        }
    }

    /// The engine that listens at `path`.
    pub fn socket(mut self, path: impl Into<PathBuf>) -> Self {
        self.socket = Some(path.into());
        self
    }

    /// The build file, by its path in the context (default `Dockerfile`). It may be one that `.dockerignore` leaves out.
    pub fn file(mut self, path: impl Into<String>) -> Self {
        self.file = path.into();
        self
    }

    /// Builds up to this stage instead of the last one.
    pub fn target(mut self, stage: impl Into<String>) -> Self {
        self.target = Some(stage.into());
        self
    }

    /// Sets what the build file declares as `ARG name`. Everybody who has the image can read it: secrets are
    /// [secrets](DockerBuilder::secret).
    pub fn arg(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.args.insert(name.into(), value.into());
        self
    }

    /// Gives `value` to the steps that mount the secret `id`.
    pub fn secret(mut self, id: impl Into<String>, value: Secret<String>) -> Self {
        self.secrets.insert(id.into(), value);
        self
    }

    /// Takes steps over from this image, if it was built with [`cache_inline`](DockerBuilder::cache_inline) and the
    /// engine can pull it. One that is not there costs a moment and nothing else. Steps of the image itself are in it, and
    /// no steps of the stages before.
    pub fn cache_from(mut self, image: impl Into<String>) -> Self {
        self.cache_from.insert(image.into());
        self
    }

    /// Writes into the image how its steps came about, so that others can take them over once it is pushed. The API by
    /// which an engine builds has no other place for a cache, in any version.
    pub fn cache_inline(mut self) -> Self {
        self.cache_inline = true;
        self
    }

    /// Builds for each of these, and makes one index of them, instead of an image for the specification's platform. Steps
    /// that run something of another platform need an engine that can.
    pub fn platforms(mut self, platforms: impl IntoIterator<Item = Platform>) -> Self {
        self.platforms.extend(platforms);
        self
    }

    /// The network that steps have: `none`, `host`, or `default`, which is the default.
    pub fn network(mut self, mode: impl Into<String>) -> Self {
        self.network = Some(mode.into());
        self
    }

    /// Logs in with what `source` knows to the registries from which the engine pulls: what the build file names, a
    /// frontend (`# syntax=`) too, and what steps are taken over from. The engine is told the login when it asks for it,
    /// and keeps it no longer than it needs it. It is no input of a plan. A token that a registry takes as it is
    /// ([`Credential::Bearer`]) cannot be told to an engine.
    ///
    /// The source is asked for each of these hosts, and must know which login is whose; one that is known by itself is
    /// given [for its host](DockerBuilder::credentials_for).
    pub fn credentials(mut self, source: impl CredentialSource) -> Self {
        self.logins.ask(source);
        self
    }

    /// Logs in with `credential` to the registry at `host` (`ghcr.io`, `127.0.0.1:5000`, `docker.io`), and tells it to no
    /// other. It goes before what a [source](DockerBuilder::credentials) knows of that host.
    ///
    /// ```
    /// # fn example() -> ecolaura_deploy_core::Result<()> {
    /// use ecolaura_deploy_core::{
    ///     Secret,
    ///     docker::{Credential, DockerBuilder},
    /// };
    /// let password = Secret::new(std::env::var("REGISTRY_PASSWORD").unwrap_or_default());
    /// let builder = DockerBuilder::new("target/images", "docker".parse()?)
    ///     .credentials_for("ghcr.io", Credential::basic("deploy", password));
    /// # Ok(()) }
    /// ```
    pub fn credentials_for(mut self, host: &str, credential: Credential) -> Self {
        self.logins.give(host, credential);
        self
    }

    /// Keeps the newest `count` images of the layout, 64 unless this says otherwise. An image that is no longer there
    /// is built again when it is needed.
    pub fn keep(mut self, count: NonZeroUsize) -> Self {
        self.keep = count;
        self
    }

    fn engine(&self, operation: &'static str) -> Result<Engine> {
        match &self.socket {
            Some(path) => Ok(Engine::at(path)),
            None => Engine::standard(operation, std::env::var("DOCKER_HOST").ok().as_deref()),
        }
    }

    /// The platforms that are built for.
    fn wanted(&self, spec: &ImageSpec) -> Vec<Platform> {
        match self.platforms.is_empty() {
            true => vec![spec.platform.clone()],
            false => self.platforms.iter().cloned().collect(),
        }
    }
}

#[async_trait]
impl ImageBuilder for DockerBuilder {
    fn name(&self) -> &Name {
        &self.name
    }

    /// Fails with `NotFound` or `PermissionDenied` if there is no engine, and with `Unsupported` if it is one without
    /// BuildKit.
    async fn fingerprint(&self, cx: &Context, spec: &ImageSpec) -> Result<Fingerprint> {
        const OPERATION: &str = "image.fingerprint";
        let inputs = Inputs::of(cx, OPERATION, self, spec).await?;
        self.engine(OPERATION)?.check(cx, OPERATION).await?;
        Ok(inputs.fingerprint(self, spec))
    }

    /// Fails with `InvalidInput` naming the line of a build file that is none, and with `CommandFailed` naming the step,
    /// its line and its last words.
    async fn build(&self, cx: &Context, spec: &ImageSpec) -> Result<BuiltImage> {
        build::build(cx, self, spec).await
    }

    async fn exists(&self, cx: &Context, image: &BuiltImage) -> Result<bool> {
        exists(cx, image).await
    }
}
