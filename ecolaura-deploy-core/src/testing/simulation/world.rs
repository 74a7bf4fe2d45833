//! The backends that a simulated process works with.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use async_trait::async_trait;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

use crate::{
    Context, Result,
    backend::{
        Approval, Approver, CdnPublisher, ClusterTarget, FeatureFlags, ImageBuilder, ImageScanner, Measure,
        MetricSource, Migrator, Registry, Sample, ScanOutcome, ScanReport, SecretStore,
    },
    clock::Clock,
    store::RunStore,
    testing::{
        fake::{
            cdn_publisher::FakeCdn,
            cluster_target::FakeCluster,
            image_builder::FakeImageBuilder,
            migrator::FakeMigrator,
            registry::FakeRegistry,
            small::{FakeApprover, FakeFlags, FakeMetrics, FakeSecrets},
        },
        inject::{Injected, Injector},
    },
    vocabulary::{Name, PinnedImage},
};

/// The fakes that all processes of one simulation share. They begin empty; whoever needs flags, migrations or metrics of
/// its own puts them in ([`Simulation::fakes`](super::Simulation::fakes)).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Fakes {
    /// Builds images in memory.
    pub builder: Arc<FakeImageBuilder>,
    /// Takes them from the builder.
    pub registry: Arc<FakeRegistry>,
    /// Runs every image, and each becomes ready.
    pub cluster: Arc<FakeCluster>,
    /// An empty site.
    pub cdn: Arc<FakeCdn>,
    /// An empty database without migrations.
    pub migrator: Arc<FakeMigrator>,
    /// Everything is well.
    pub metrics: Arc<FakeMetrics>,
    /// Holds [`CANARY`] as `canary`.
    pub secrets: Arc<FakeSecrets>,
    /// Every image is clean.
    pub scanner: Arc<dyn ImageScanner>,
    /// Says yes.
    pub approver: Arc<FakeApprover>,
    /// No flags.
    pub flags: Arc<FakeFlags>,
}

/// A secret that must come to light nowhere.
pub const CANARY: &str = "canary-7c1e5f0d9b3a";

impl Fakes {
    /// All of them, fresh.
    pub fn new() -> Self {
        let name = fake_name();
        let builder = Arc::new(FakeImageBuilder::new(name.clone()));
        let secrets = FakeSecrets::new();
        secrets.put("canary", CANARY);
        Self {
            registry: Arc::new(FakeRegistry::new(name.clone()).taking_from(Arc::clone(&builder))),
            builder,
            cluster: Arc::new(FakeCluster::new(name.clone())),
            cdn: Arc::new(FakeCdn::new(name.clone())),
            migrator: Arc::new(FakeMigrator::new(name.clone())),
            metrics: Arc::new(FakeMetrics::new(|query| Ok(healthy(&query.measure)))),
            secrets: Arc::new(secrets),
            scanner: Arc::new(AllClean(name)),
            approver: Arc::new(FakeApprover::new(|request| {
                Some(Approval::Approved { by: "ana".to_owned(), digest: request.digest })
            })),
            flags: Arc::new(FakeFlags::new()),
        }
    }
}

impl Default for Fakes {
    fn default() -> Self {
        Self::new()
    }
}

#[expect(clippy::expect_used, reason = "the name is a literal that follows the grammar")]
fn fake_name() -> Name {
    Name::new("fake").expect("a valid name")
}

fn healthy(measure: &Measure) -> Sample {
    let value = match measure {
        Measure::Requests => 1000.0,
        Measure::MeanLatency => 0.01,
        _ => 0.0,
    };
    Sample::new(Some(value), 1000)
}

/// Finds nothing in any image.
#[derive(Debug)]
struct AllClean(Name);

#[async_trait]
impl ImageScanner for AllClean {
    fn name(&self) -> &Name {
        &self.0
    }

    async fn database(&self, cx: &Context) -> Result<String> {
        cx.check("scan.database")?;
        Ok("fake-1".to_owned())
    }

    async fn scan(&self, cx: &Context, image: &PinnedImage) -> Result<ScanReport> {
        cx.check("scan.scan")?;
        Ok(ScanReport::new(image.clone(), ScanOutcome::Clean, 12, "fake-1"))
    }
}

/// What one simulated process is given to make its pipeline of: every backend, with the faults that are to come.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct World {
    /// Builds images.
    pub builder: Arc<dyn ImageBuilder>,
    /// Stores them.
    pub registry: Arc<dyn Registry>,
    /// Runs services.
    pub cluster: Arc<dyn ClusterTarget>,
    /// Serves the site.
    pub cdn: Arc<dyn CdnPublisher>,
    /// Changes the schema.
    pub migrator: Arc<dyn Migrator>,
    /// Answers about the services.
    pub metrics: Arc<dyn MetricSource>,
    /// Holds secrets.
    pub secrets: Arc<dyn SecretStore>,
    /// Scans images.
    pub scanner: Arc<dyn ImageScanner>,
    /// Asks people.
    pub approver: Arc<dyn Approver>,
    /// Switches features.
    pub flags: Arc<dyn FeatureFlags>,
    /// The run store.
    pub store: Arc<dyn RunStore>,
    /// What is behind all of it, without faults. A pipeline that writes here does what no simulation sees.
    pub fakes: Fakes,
}

impl World {
    pub(super) fn new(fakes: &Fakes, store: Arc<dyn RunStore>, injector: &Injector) -> Self {
        let scanner: Injected<dyn ImageScanner> = Injected::new(Arc::clone(&fakes.scanner), injector);
        Self {
            builder: Arc::new(Injected::new(Arc::clone(&fakes.builder), injector)),
            registry: Arc::new(Injected::new(Arc::clone(&fakes.registry), injector)),
            cluster: Arc::new(Injected::new(Arc::clone(&fakes.cluster), injector)),
            cdn: Arc::new(Injected::new(Arc::clone(&fakes.cdn), injector)),
            migrator: Arc::new(Injected::new(Arc::clone(&fakes.migrator), injector)),
            metrics: Arc::new(Injected::new(Arc::clone(&fakes.metrics), injector)),
            secrets: Arc::new(Injected::new(Arc::clone(&fakes.secrets), injector)),
            scanner: Arc::new(scanner),
            approver: Arc::new(Injected::new(Arc::clone(&fakes.approver), injector)),
            flags: Arc::new(Injected::new(Arc::clone(&fakes.flags), injector)),
            store: Arc::new(Injected::new(store, injector)),
            fakes: fakes.clone(),
        }
    }
}

/// A wall clock that goes with tokio's.
#[derive(Debug)]
pub(super) struct SimClock {
    began: Instant,
    at: Timestamp,
    jumped: AtomicI64,
}

impl SimClock {
    /// Stands in 2026, some days from its beginning as `seed` says.
    pub(super) fn new(seed: u64) -> Self {
        const BEGINNING: i64 = 1_767_225_600;
        let days = i64::try_from(seed % 360).unwrap_or_default();
        Self {
            began: Instant::now(),
            at: Timestamp::from_second(BEGINNING + days * 86_400).unwrap_or_default(),
            jumped: AtomicI64::new(0),
        }
    }

    /// Is set forward or back.
    pub(super) fn jump(&self, seconds: i64) {
        self.jumped.fetch_add(seconds, Ordering::Relaxed);
    }
}

impl Clock for SimClock {
    fn now(&self) -> Timestamp {
        let jumped = SignedDuration::from_secs(self.jumped.load(Ordering::Relaxed));
        let now = self.at.checked_add(self.began.elapsed()).and_then(|now| now.checked_add(jumped));
        now.unwrap_or(Timestamp::MAX)
    }
}

/// What can be looked at of the world, by name: what two runs to the same end have in common.
pub type State = BTreeMap<String, String>;
