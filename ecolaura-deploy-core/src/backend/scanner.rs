//! Looking into images for what must not be shipped.

use std::fmt;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    Context, Result,
    vocabulary::{Name, PinnedImage},
};

/// How bad a finding is, in the usual words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Not rated.
    Unknown,
    /// Low.
    Low,
    /// Medium.
    Medium,
    /// High.
    High,
    /// Critical.
    Critical,
}

/// One thing that a scanner found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Finding {
    /// The advisory or rule, such as `RUSTSEC-2026-0001` or `forbidden-file`.
    pub id: String,
    /// How bad it is.
    pub severity: Severity,
    /// What it is about: a package and version, a path.
    pub subject: String,
    /// One line for people.
    pub summary: String,
    /// The version that mends it.
    pub fixed_in: Option<String>,
}

impl Finding {
    /// A finding by the rule `id` about `subject`.
    pub fn new(
        id: impl Into<String>,
        severity: Severity,
        subject: impl Into<String>,
        summary: impl Into<String>,
    ) -> Self {
        Self { id: id.into(), severity, subject: subject.into(), summary: summary.into(), fixed_in: None }
    }
}

/// What became of a scan. Only [`ScanOutcome::Clean`] and tolerated findings pass a gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
#[non_exhaustive]
pub enum ScanOutcome {
    /// It was scanned and nothing was found.
    Clean,
    /// It was scanned and this was found, worst first.
    Findings {
        /// What was found.
        findings: Vec<Finding>,
    },
    /// It could not be judged: no bill of materials, no scan yet.
    NotScanned {
        /// Why.
        reason: String,
    },
    /// The scanner does not know this kind of image.
    Unsupported {
        /// Why.
        reason: String,
    },
    /// The scan is too old to count.
    Expired,
    /// The scan did not end in time.
    Timeout,
}

/// The result of scanning one image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ScanReport {
    /// The image.
    pub image: PinnedImage,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: ScanOutcome,
    /// How many packages were looked at.
    pub packages: usize,
    /// The version of the advisory database: evidence is reused only while it is the same.
    pub database: String,
}

impl ScanReport {
    /// A report on `image`.
    pub fn new(image: PinnedImage, outcome: ScanOutcome, packages: usize, database: impl Into<String>) -> Self {
        Self { image, outcome, packages, database: database.into() }
    }
}

/// Scans images.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait ImageScanner: fmt::Debug + Send + Sync + 'static {
    /// The backend's name, for plans and records.
    fn name(&self) -> &Name;

    /// The version of the advisory database and policy, for reusing evidence. Reads only.
    async fn database(&self, cx: &Context) -> Result<String>;

    /// Scans `image`. Idempotent; a cancel leaves nothing. What was found is a report, not an error; an error means
    /// that the scanner failed (`NotFound`, `Corrupt`, `Unavailable`, `Timeout`), and the gate then fails closed.
    async fn scan(&self, cx: &Context, image: &PinnedImage) -> Result<ScanReport>;
}

const _: fn(&dyn ImageScanner) = |_| {};
