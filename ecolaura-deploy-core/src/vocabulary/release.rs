//! What is shipped. A release is immutable; promotion moves the same one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Digest, MigrationVersion, PinnedImage, ServiceName};

/// The place of a release in the order of all releases of a project. Only ever grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReleaseSequence(pub u64);

impl std::fmt::Display for ReleaseSequence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "r{}", self.0)
    }
}

/// The schema versions, both included, that the code of a release works with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SchemaRange {
    /// The oldest.
    pub min: MigrationVersion,
    /// The newest that is known to work; a later additive one may too.
    pub max: MigrationVersion,
}

impl SchemaRange {
    /// Whether `version` is in the range.
    pub fn contains(&self, version: MigrationVersion) -> bool {
        (self.min..=self.max).contains(&version)
    }
}

/// Everything that identifies what is shipped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Release {
    /// Its place in the order of releases.
    pub sequence: ReleaseSequence,
    /// The commit it was made of, or whatever names the source.
    pub source: String,
    /// The image of each service.
    pub images: BTreeMap<ServiceName, PinnedImage>,
    /// The digest of the manifests.
    pub manifests: Option<Digest>,
    /// The id of the site's release.
    pub site: Option<String>,
    /// The digest of the migrations.
    #[serde(default)]
    pub migrations: Option<Digest>,
    /// The schemas that the services work with.
    pub schema: Option<SchemaRange>,
}

impl Release {
    /// A release without contents yet.
    pub fn new(sequence: ReleaseSequence, source: impl Into<String>) -> Self {
        Self {
            sequence,
            source: source.into(),
            images: BTreeMap::new(),
            manifests: None,
            site: None,
            migrations: None,
            schema: None,
        }
    }

    /// Whether `other` ships the same things, whatever their place in the order.
    pub fn same_content(&self, other: &Self) -> bool {
        Self { sequence: other.sequence, ..self.clone() } == *other
    }
}
