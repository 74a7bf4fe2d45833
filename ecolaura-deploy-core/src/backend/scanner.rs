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

/// What a scanner tells of the version that mends a finding.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum Fix {
    /// This version does.
    In(String),
    /// No version does yet.
    Nowhere,
    /// The scanner does not tell; there may be one.
    #[default]
    Untold,
}

impl Fix {
    fn is_untold(&self) -> bool {
        *self == Self::Untold
    }
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
    /// Whether a version mends it. Stands as `fixed_in` in records: the version, `null` for none, and nothing at all
    /// where the scanner does not tell.
    #[serde(rename = "fixed_in", default, skip_serializing_if = "Fix::is_untold", with = "fixed_in")]
    pub fix: Fix,
}

mod fixed_in {
    use serde::{Deserialize, Deserializer, Serializer};

    use super::Fix;

    pub(super) fn serialize<S: Serializer>(fix: &Fix, serializer: S) -> Result<S::Ok, S::Error> {
        match fix {
            Fix::In(version) => serializer.serialize_some(version),
            Fix::Nowhere | Fix::Untold => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Fix, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(Fix::Nowhere, Fix::In))
    }
}

impl Finding {
    /// A finding by the rule `id` about `subject`, with no word on a fix.
    pub fn new(
        id: impl Into<String>,
        severity: Severity,
        subject: impl Into<String>,
        summary: impl Into<String>,
    ) -> Self {
        Self { id: id.into(), severity, subject: subject.into(), summary: summary.into(), fix: Fix::Untold }
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn records_tell_no_fix_from_none_told() {
        for (fix, recorded) in [
            (Fix::In("1.2.3".to_owned()), Some(json!("1.2.3"))),
            (Fix::Nowhere, Some(json!(null))),
            (Fix::Untold, None),
        ] {
            let mut finding = Finding::new("CVE-2026-1", Severity::High, "libfoo 1.0", "bad");
            finding.fix = fix;
            let record = serde_json::to_value(&finding).unwrap();
            assert_eq!(record.get("fixed_in"), recorded.as_ref());
            assert_eq!(serde_json::from_value::<Finding>(record).unwrap(), finding);
        }
    }
}
