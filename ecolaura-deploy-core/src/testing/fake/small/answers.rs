//! Fakes that answer by a function: an approver, a metric source, a scanner.

use std::{collections::BTreeMap, fmt, sync::Arc};

use async_trait::async_trait;

use super::fake_name;
use crate::{
    Context, Error, ErrorKind, Result,
    backend::{
        Approval, ApprovalRequest, Approver, ImageScanner, MetricQuery, MetricSource, Sample, ScanOutcome, ScanReport,
    },
    vocabulary::{Name, PinnedImage},
};

type Answer = dyn Fn(&ApprovalRequest) -> Option<Approval> + Send + Sync;
type Measure = dyn Fn(&MetricQuery) -> Result<Sample> + Send + Sync;

/// Answers each question by a function; `None` never answers.
#[derive(Clone)]
pub struct FakeApprover {
    name: Name,
    answer: Arc<Answer>,
}

impl FakeApprover {
    /// Answers by `answer`.
    pub fn new(answer: impl Fn(&ApprovalRequest) -> Option<Approval> + Send + Sync + 'static) -> Self {
        Self { name: fake_name(), answer: Arc::new(answer) }
    }
}

impl fmt::Debug for FakeApprover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeApprover").finish_non_exhaustive()
    }
}

#[async_trait]
impl Approver for FakeApprover {
    fn name(&self) -> &Name {
        &self.name
    }

    async fn request(&self, cx: &Context, request: &ApprovalRequest) -> Result<Approval> {
        cx.check("approval.request")?;
        if request.expires <= cx.clock().now() {
            return Err(Error::new(ErrorKind::Timeout, "approval.request", "the question has expired"));
        }
        match (self.answer)(request) {
            Some(answer) => Ok(answer),
            None => cx.bounded("approval.request", std::future::pending()).await,
        }
    }
}

/// Answers each query by a function, at once.
#[derive(Clone)]
pub struct FakeMetrics {
    name: Name,
    answer: Arc<Measure>,
}

impl FakeMetrics {
    /// Answers by `answer`.
    pub fn new(answer: impl Fn(&MetricQuery) -> Result<Sample> + Send + Sync + 'static) -> Self {
        Self { name: fake_name(), answer: Arc::new(answer) }
    }
}

impl fmt::Debug for FakeMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FakeMetrics").finish_non_exhaustive()
    }
}

#[async_trait]
impl MetricSource for FakeMetrics {
    fn name(&self) -> &Name {
        &self.name
    }

    async fn query(&self, cx: &Context, query: &MetricQuery) -> Result<Sample> {
        cx.check("metrics.query")?;
        (self.answer)(query)
    }
}

/// Knows the outcome for each image it was told of.
#[derive(Debug, Clone)]
pub struct FakeScanner {
    name: Name,
    outcomes: BTreeMap<PinnedImage, (ScanOutcome, usize)>,
}

impl FakeScanner {
    /// Knows no image.
    pub fn new() -> Self {
        Self { name: fake_name(), outcomes: BTreeMap::new() }
    }

    /// The same with `image`, which has `packages` packages.
    pub fn with(mut self, image: PinnedImage, outcome: ScanOutcome, packages: usize) -> Self {
        self.outcomes.insert(image, (outcome, packages));
        self
    }
}

impl Default for FakeScanner {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl ImageScanner for FakeScanner {
    fn name(&self) -> &Name {
        &self.name
    }

    async fn database(&self, cx: &Context) -> Result<String> {
        cx.check("scan.database")?;
        Ok("fake-1".to_owned())
    }

    async fn scan(&self, cx: &Context, image: &PinnedImage) -> Result<ScanReport> {
        cx.check("scan.scan")?;
        let Some((outcome, packages)) = self.outcomes.get(image) else {
            return Err(Error::new(ErrorKind::NotFound, "scan.scan", format!("no image `{image}`")));
        };
        Ok(ScanReport::new(image.clone(), outcome.clone(), *packages, "fake-1"))
    }
}
