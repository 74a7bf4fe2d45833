//! Any registry that speaks the OCI distribution API, over HTTPS.
//!
//! Images go from a layout on disk straight into the registry, several blobs at a time and each in pieces, so that
//! memory does not grow with them; every byte is verified on the way out, and the registry's word for what it stored is
//! compared too. What is attached to an image (a bill of materials) goes before its manifest: an image that is there is
//! there as a whole. Requests that can be repeated are, with growing pauses, within the context's deadline; a login that
//! ends in the middle is renewed. A push that is cancelled leaves at most blobs without a manifest: uploads that were
//! open are given up, unless the program ends at once; then the registry forgets them by itself.
//!
//! # What it cannot do
//!
//! A registry compares nothing before it moves a tag. So older epochs are not refused
//! ([`RegistryCapabilities::fences`]), and of two who move a tag at once the later one wins; the answer of
//! [`set_tag`](crate::backend::Registry::set_tag) is what the tag was shortly before. Nothing is deployed by a tag.

use std::{
    fmt,
    num::{NonZeroU32, NonZeroU64},
    sync::OnceLock,
    time::Duration,
};

use async_trait::async_trait;
use rustls::pki_types::CertificateDer;
use tokio::sync::Mutex;

pub use self::{attach::Attachment, login::Login};
use self::{
    auth::Auth,
    call::{Call, PULL, elsewhere},
    place::Place,
    upload::Sizes,
};
pub use crate::login::{Credential, CredentialSource, DockerConfig};
use crate::{
    Context, ErrorKind, Result,
    backend::{BlobReader, Registry, RegistryCapabilities, TagChange},
    run::RetryPolicy,
    vocabulary::{BuiltImage, Digest, Name, PinnedImage, Repository, Tag},
};

mod attach;
mod auth;
mod bring;
mod call;
mod client;
mod copy;
mod delete;
mod documents;
mod inflow;
mod listing;
mod login;
mod origin;
mod outflow;
mod pages;
mod place;
mod push;
mod reader;
mod referrers;
mod refusal;
mod retry;
mod tags;
mod trust;
mod upload;

/// A registry on a network.
///
/// A repository without a host is in this registry, below its [namespace](OciRegistry::namespace); one with this
/// registry's host is too, by its full path; one with another host is not, and cannot be pushed to. Deploy images by a
/// name with the host, so that whoever runs them finds them.
///
/// Not logged in unless [`credentials`](OciRegistry::credentials) are given. This machine is spoken to by plain HTTP,
/// everybody else by HTTPS with the certificates that the machine trusts, through the proxy that `HTTPS_PROXY` names.
///
/// ```
/// # fn example() -> ecolaura_deploy_core::Result<()> {
/// use ecolaura_deploy_core::oci::{DockerConfig, OciRegistry};
/// let registry = OciRegistry::new("registry".parse()?, "ghcr.io")?
///     .namespace("ecolaura".parse()?)
///     .credentials(DockerConfig::standard());
/// # Ok(()) }
/// ```
pub struct OciRegistry {
    name: Name,
    place: Place,
    auth: Auth,
    authorities: Vec<CertificateDer<'static>>,
    retries: RetryPolicy,
    sizes: Sizes,
    immutable: bool,
    removable: bool,
    /// Set up by the first call: reading what the machine trusts takes a moment.
    client: OnceLock<reqwest::Client>,
    /// Held while a list of what is attached is written.
    attaching: Mutex<()>,
}

impl OciRegistry {
    /// The registry at `host`, a name and perhaps a port; `name` is for plans and records. Fails with
    /// [`ErrorKind::InvalidInput`] if it is no host.
    pub fn new(name: Name, host: &str) -> Result<Self> {
        let attempts = NonZeroU32::MIN.saturating_add(4);
        Ok(Self {
            name,
            place: Place::new("registry.open", host)?,
            auth: Auth::new(Credential::Anonymous.into()),
            authorities: Vec::new(),
            retries: RetryPolicy::new(attempts, Duration::from_millis(500)),
            sizes: Sizes::default(),
            immutable: false,
            removable: false,
            client: OnceLock::new(),
            attaching: Mutex::new(()),
        })
    }

    /// Puts `namespace` before each repository that is named without a host: an owner, a project.
    pub fn namespace(mut self, namespace: Repository) -> Self {
        self.place.namespace = Some(namespace);
        self
    }

    /// Logs in with `login`, a [`Credential`] or what a [`CredentialSource`] knows, when the registry asks for it. It is
    /// told to the registry and to the token server that the registry names, which are trusted with it, and taken off
    /// where the registry leads a request to another host.
    pub fn credentials(mut self, login: impl Into<Login>) -> Self {
        self.auth = Auth::new(login.into());
        self
    }

    /// Speaks plain HTTP, also to another machine: whoever is on the way reads credentials and changes images. Only for
    /// networks where nobody is.
    pub fn plain_http(mut self) -> Self {
        self.place.scheme("http");
        self
    }

    /// Speaks HTTPS also to this machine.
    pub fn https(mut self) -> Self {
        self.place.scheme("https");
        self
    }

    /// Trusts the authorities whose certificates are in `pem` too. Fails with [`ErrorKind::InvalidInput`] if there is
    /// none.
    pub fn authorities(mut self, pem: &[u8]) -> Result<Self> {
        self.authorities.extend(client::certificates("registry.open", pem)?);
        Ok(self)
    }

    /// How often requests that can be repeated are, and after which pauses (default 5 times in all, from 500 ms).
    /// Somebody above who tries again does not multiply that: what was tried as often as allowed says so.
    pub fn retries(mut self, policy: RetryPolicy) -> Self {
        self.retries = policy;
        self
    }

    /// Sends blobs that are larger than `bytes` in requests of so much each, for a proxy that takes no larger ones or ends
    /// long ones. Without it a blob goes in one request; a registry that turns out to refuse that gets pieces, and is
    /// not asked again.
    pub fn pieces(mut self, bytes: NonZeroU64) -> Self {
        self.sizes.set(bytes);
        self
    }

    /// Says that this registry does not move tags once they are set; asking it to is then refused here already. One that
    /// is not said to be so and refuses all the same is understood too.
    pub fn immutable_tags(mut self) -> Self {
        self.immutable = true;
        self
    }

    /// Says that this registry removes tags when asked to, as the specification lets it. Many do not; a new tag of a
    /// release that is undone then stays, with a warning.
    pub fn removable_tags(mut self) -> Self {
        self.removable = true;
        self
    }

    fn client(&self, operation: &'static str) -> Result<&reqwest::Client> {
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let client = client::new(operation, &self.place, &self.authorities)?;
        Ok(self.client.get_or_init(|| client))
    }
}

impl fmt::Debug for OciRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OciRegistry")
            .field("name", &self.name)
            .field("host", &self.place.host)
            .field("namespace", &self.place.namespace)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Registry for OciRegistry {
    fn name(&self) -> &Name {
        &self.name
    }

    fn capabilities(&self) -> RegistryCapabilities {
        RegistryCapabilities { immutable_tags: self.immutable, remove_tags: self.removable, fences: false }
    }

    async fn resolve(&self, cx: &Context, repository: &Repository, tag: &Tag) -> Result<Option<PinnedImage>> {
        const OPERATION: &str = "registry.resolve";
        let work = async {
            let Some(call) = Call::within(self, (cx, OPERATION), repository, PULL).await? else { return Ok(None) };
            call.digest(tag.as_str()).await
        };
        let digest = cx.bounded(OPERATION, work).await??;
        Ok(digest.map(|digest| PinnedImage::new(repository.clone(), digest)))
    }

    async fn contains(&self, cx: &Context, image: &PinnedImage) -> Result<bool> {
        const OPERATION: &str = "registry.contains";
        let work = async {
            match Call::within(self, (cx, OPERATION), &image.repository, PULL).await? {
                Some(call) => call.has(image.digest).await,
                None => Ok(false),
            }
        };
        cx.bounded(OPERATION, work).await?
    }

    async fn push(&self, cx: &Context, image: &BuiltImage, to: &Repository) -> Result<PinnedImage> {
        push::push(self, cx, image, to).await?;
        Ok(PinnedImage::new(to.clone(), image.digest))
    }

    async fn set_tag(&self, cx: &Context, change: &TagChange) -> Result<Option<Digest>> {
        tags::set_tag(self, cx, change).await
    }

    async fn manifest(&self, cx: &Context, image: &PinnedImage) -> Result<Vec<u8>> {
        const OPERATION: &str = "registry.manifest";
        let work = async {
            let call = self.reading(cx, OPERATION, &image.repository).await?;
            Ok(call.verified(&image.repository, image.digest).await?.bytes)
        };
        cx.bounded(OPERATION, work).await?
    }

    async fn blob(&self, cx: &Context, repository: &Repository, digest: &Digest) -> Result<BlobReader> {
        const OPERATION: &str = "registry.blob";
        let work = async {
            let call = self.reading(cx, OPERATION, repository).await?;
            reader::open(&call, repository, *digest).await
        };
        cx.bounded(OPERATION, work).await?
    }

    async fn referrers(&self, cx: &Context, image: &PinnedImage) -> Result<Vec<(String, Digest)>> {
        const OPERATION: &str = "registry.referrers";
        let work = async {
            match Call::within(self, (cx, OPERATION), &image.repository, PULL).await? {
                Some(call) => call.attached(image.digest).await,
                None => Ok(Vec::new()),
            }
        };
        let entries = cx.bounded(OPERATION, work).await??;
        Ok(entries.into_iter().map(|entry| (entry.artifact_type.unwrap_or_default(), entry.digest)).collect())
    }
}

impl OciRegistry {
    /// To read what must be there.
    async fn reading<'a>(
        &'a self,
        cx: &'a Context,
        operation: &'static str,
        repository: &Repository,
    ) -> Result<Call<'a>> {
        let call = Call::within(self, (cx, operation), repository, PULL).await?;
        call.ok_or_else(|| elsewhere(self, ErrorKind::NotFound, operation, repository))
    }
}
