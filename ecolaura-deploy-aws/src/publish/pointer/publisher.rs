//! [`CdnPublisher`] and [`Inspect`] of a site that is switched by one write.

use async_trait::async_trait;
use ecolaura_deploy_core::{
    Context, Result,
    backend::{
        Activation, CdnCapabilities, CdnPublisher, Inspect, Invalidation, Leftover, SiteHistory, SiteManifest,
        UploadRequest,
    },
    vocabulary::{CacheControl, Name},
};

use super::PointerCdn;
use crate::publish::cost::{self, Known};

#[async_trait]
impl CdnPublisher for PointerCdn {
    fn name(&self) -> &Name {
        &self.site.name
    }

    fn capabilities(&self) -> CdnCapabilities {
        CdnCapabilities::new(true, usize::MAX).fences().uploads(self.site.uploads)
    }

    fn cost(&self, history: &SiteHistory, site: &SiteManifest, missing: &[String]) -> Vec<String> {
        let known = Known { history, site, missing, part: self.site.part };
        cost::by_pointer(&known).lines(self.site.prices.as_ref())
    }

    async fn history(&self, cx: &Context) -> Result<SiteHistory> {
        const OPERATION: &str = "cdn.history";
        cx.check(OPERATION)?;
        self.read_history((cx, OPERATION)).await
    }

    async fn upload(&self, cx: &Context, request: &UploadRequest) -> Result<bool> {
        const OPERATION: &str = "cdn.upload";
        cx.check(OPERATION)?;
        // Every content is copied to its place, whatever its name promises.
        let mut request = request.clone();
        request.object.cache_control = CacheControl::Revalidate;
        self.site.store((cx, OPERATION), &request).await
    }

    async fn missing(&self, cx: &Context, manifest: &SiteManifest) -> Result<Vec<String>> {
        const OPERATION: &str = "cdn.missing";
        cx.check(OPERATION)?;
        self.site.fits(OPERATION, manifest, |_, _| true)?;
        self.lacking((cx, OPERATION), manifest).await
    }

    async fn activate(&self, cx: &Context, activation: &Activation) -> Result<()> {
        const OPERATION: &str = "cdn.activate";
        cx.check(OPERATION)?;
        self.site.fits(OPERATION, &activation.manifest, |_, _| true)?;
        self.switch((cx, OPERATION), activation).await
    }

    /// Nothing: what caches hold of a release never changes.
    async fn invalidate(&self, cx: &Context, _invalidation: &Invalidation) -> Result<()> {
        cx.check("cdn.invalidate")
    }

    async fn prune(&self, cx: &Context, keep: usize) -> Result<Vec<String>> {
        const OPERATION: &str = "cdn.prune";
        cx.check(OPERATION)?;
        self.forget((cx, OPERATION), keep).await
    }
}

#[async_trait]
impl Inspect for PointerCdn {
    fn name(&self) -> &Name {
        &self.site.name
    }

    async fn leftovers(&self, cx: &Context) -> Result<Vec<Leftover>> {
        self.site.leftovers(cx).await
    }

    async fn clean(&self, cx: &Context, leftover: &Leftover) -> Result<()> {
        self.site.clean(cx, leftover).await
    }
}
