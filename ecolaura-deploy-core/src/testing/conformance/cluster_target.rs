//! The suite of [`ClusterTarget`].
#![expect(clippy::panic, reason = "a suite fails by panicking, as tests do")]

mod applying;
mod bench;
mod candidates;
mod failing;
mod fencing;
mod restoring;

use std::{any::Any, fmt, future::Future, pin::Pin, sync::Arc};

use self::bench::Bench;
use super::{fencing::left_out, runner};
use crate::{
    Result,
    backend::ClusterTarget,
    vocabulary::{Name, PinnedImage},
};

/// Images in the registry that the cluster under test takes its images from.
///
/// The first two serve HTTP on `$POD_IP:$PORT` and answer 200 to `/healthz`; each prints a line when it starts.
#[derive(Debug, Clone)]
pub struct Images {
    /// Says `v1` when it is asked.
    pub first: PinnedImage,
    /// Says `v2` when it is asked.
    pub second: PinnedImage,
    /// Ends with status 1 at once.
    pub crashing: PinnedImage,
    /// Runs and never answers.
    pub never_ready: PinnedImage,
}

type Answer = Pin<Box<dyn Future<Output = Result<String>> + Send>>;
type Ask = Arc<dyn Fn(String) -> Answer + Send + Sync>;

/// A cluster that runs nothing in the namespace of the case, `conformance` unless set, and whatever must live as long as it.
pub struct Fixture {
    cluster: Arc<dyn ClusterTarget>,
    images: Images,
    namespace: Option<Name>,
    ports: [u16; 2],
    ask: Option<Ask>,
    guard: Box<dyn Any + Send + Sync>,
}

impl Fixture {
    /// `cluster`, which can run `images`. Its Services get the ports 8080 and 8081.
    pub fn new(cluster: Arc<dyn ClusterTarget>, images: Images) -> Self {
        Self { cluster, images, namespace: None, ports: [8080, 8081], ask: None, guard: Box::new(()) }
    }

    /// The same, in this namespace.
    pub fn namespace(mut self, namespace: Name) -> Self {
        self.namespace = Some(namespace);
        self
    }

    /// The same, with Services on these ports, which must be free.
    pub fn ports(mut self, ports: [u16; 2]) -> Self {
        self.ports = ports;
        self
    }

    /// The same, with a way to send one request to an address of
    /// [`AppliedWorkload::addresses`](crate::backend::AppliedWorkload::addresses) and get the version that answers.
    /// Without it the cases that need requests are left out.
    pub fn ask<F, Fut>(mut self, ask: F) -> Self
    where
        F: Fn(String) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<String>> + Send + 'static,
    {
        self.ask = Some(Arc::new(move |address| Box::pin(ask(address))));
        self
    }

    /// The same, with `guard` dropped after the case: a temporary directory, a server.
    pub fn guard(mut self, guard: impl Any + Send + Sync) -> Self {
        self.guard = Box::new(guard);
        self
    }
}

impl fmt::Debug for Fixture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fixture").field("cluster", &self.cluster).field("images", &self.images).finish_non_exhaustive()
    }
}

/// Runs every case that the cluster is capable of, each on a fresh one of `make`, and panics with the names of those
/// that failed and why. Says so where the cases about older epochs are left out.
///
/// ```
/// use std::sync::Arc;
/// use ecolaura_deploy_core::{backend::ClusterTarget, testing::conformance::cluster_target::{Fixture, Images, suite}};
/// async fn conforms(cluster: Arc<dyn ClusterTarget>, images: Images) {
///     suite(async || Fixture::new(Arc::clone(&cluster), images.clone())).await;
/// }
/// ```
///
/// # Panics
/// If a case fails.
pub async fn suite<F, Fut>(make: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Fixture>,
{
    let capabilities = make().await.cluster.capabilities();
    let mut cases = [applying::CASES, failing::CASES, restoring::CASES].concat();
    if capabilities.candidates {
        cases.extend(candidates::CASES);
    }
    if capabilities.weighted_traffic {
        cases.extend(candidates::WEIGHTED);
    }
    match (capabilities.fences, capabilities.candidates) {
        (true, true) => cases.extend([fencing::CASES, fencing::CANDIDATES].concat()),
        (true, false) => cases.extend(fencing::CASES),
        (false, _) => left_out("cluster target"),
    }
    runner::run("cluster target", &cases, async || Bench::new(make().await)).await;
}

#[cfg(test)]
mod tests;
