//! From another registry, or another repository, into this one: what a promotion moves.

mod freight;

use self::freight::Freight;
use super::{
    OciRegistry,
    bring::{self, Reached},
    call::{Call, PUSH},
    origin::{Origin, Source},
};
use crate::{
    Context, Result,
    backend::Registry,
    vocabulary::{PinnedImage, Repository},
};

const OPERATION: &str = "registry.copy";

impl OciRegistry {
    /// Copies `image` of the registry `from` to the repository `to` of this one, under the same digest: its manifest,
    /// or an index with all that it names, and whatever is attached to any of them (bills of materials, signatures).
    /// Sets no tag.
    ///
    /// Blobs go through this process in pieces, several at a time
    /// ([`parallel_transfers`](crate::Limits::parallel_transfers)), never as a whole in memory or on disk, and every
    /// digest is verified between the two. Those that are there are not sent again. Within one registry nothing is sent
    /// at all where it lets another repository have a blob: if `from` is this registry, or `image` is named with its
    /// host.
    ///
    /// Idempotent. What is attached goes first and the manifest of `image` last, so an image that is there is there as
    /// a whole; a cancel leaves at most blobs, and manifests that the image names. No epoch is asked for: what is stored
    /// under its digest takes nothing from anybody. Fails with `NotFound` (no such image or blob), `Corrupt` (something
    /// does not match its digest), `InvalidInput` (`to` is in another registry), `PermissionDenied`,
    /// `Unauthenticated`, `LimitExceeded`, `Unavailable`; what went wrong on the side of `from` says so.
    ///
    /// ```
    /// # async fn example(cx: &ecolaura_deploy_core::Context) -> ecolaura_deploy_core::Result<()> {
    /// use ecolaura_deploy_core::{
    ///     backend::Registry,
    ///     oci::{DockerConfig, OciRegistry},
    /// };
    /// let staging = OciRegistry::new("staging".parse()?, "ghcr.io")?.credentials(DockerConfig::standard());
    /// let production = OciRegistry::new("production".parse()?, "registry.example.org")?;
    /// let tested = staging.resolve(cx, &"ecolaura/backend".parse()?, &"v2".parse()?).await?;
    /// if let Some(image) = tested {
    ///     production.copy_from(cx, &staging, &image, &"shop/backend".parse()?).await?;
    /// }
    /// # Ok(()) }
    /// ```
    pub async fn copy_from(
        &self,
        cx: &Context,
        from: &dyn Registry,
        image: &PinnedImage,
        to: &Repository,
    ) -> Result<PinnedImage> {
        let reached = Reached::default();
        let work = copy(self, cx, (from, image, to), &reached);
        cx.bounded(OPERATION, work).await.flatten().map_err(|error| reached.judge(error))?;
        Ok(PinnedImage::new(to.clone(), image.digest))
    }

    /// Whether `image` and all that `from` has attached to it are in the repository `to`. Reads only.
    pub(crate) async fn has_copy(
        &self,
        cx: &Context,
        from: &dyn Registry,
        image: &PinnedImage,
        to: &Repository,
    ) -> Result<bool> {
        let copy = PinnedImage::new(to.clone(), image.digest);
        if !self.contains(cx, &copy).await? {
            return Ok(false);
        }
        let wanted = from.referrers(cx, image).await?;
        if wanted.is_empty() {
            return Ok(true);
        }
        let there = self.referrers(cx, &copy).await?;
        Ok(wanted.iter().all(|(_, wanted)| there.iter().any(|(_, found)| found == wanted)))
    }

    /// What `image` is called here, if `from` is certainly the same registry.
    fn same(&self, from: &dyn Registry, image: &PinnedImage) -> Option<String> {
        let own = std::ptr::addr_eq(from, self) || self.place.is_named_by(&image.repository);
        self.place.path(&image.repository).filter(|_| own)
    }
}

async fn copy(
    registry: &OciRegistry,
    cx: &Context,
    (from, image, to): (&dyn Registry, &PinnedImage, &Repository),
    reached: &Reached,
) -> Result<()> {
    let call = Call::own(registry, (cx, OPERATION), to, PUSH).await?;
    let mount = registry.same(from, image);
    let source = Source { registry: from, repository: &image.repository, mount: mount.as_deref() };
    let freight = Freight::of((cx, OPERATION), source, image.digest).await?;
    bring::blobs(&call, Origin::Elsewhere(source), &freight.blobs, reached).await?;
    for one in freight.manifests {
        if one.digest == image.digest {
            reached.note(Reached::MANIFEST);
        }
        bring::manifest(&call, &one.media_type, one.bytes).await?;
    }
    Ok(())
}
