//! A scanner over the image's contents.
//!
//! Fail-closed: an image without a bill of materials is not scanned, a package that cannot be judged is a finding,
//! and an advisory that cannot be read is an error.

use std::{path::PathBuf, sync::Arc};

use async_trait::async_trait;

use crate::{
    Context, Error, ErrorKind, Result,
    backend::{Finding, ImageScanner, Registry, ScanOutcome, ScanReport, Severity},
    local::oci::{self, Manifest},
    vocabulary::{Digester, Name, PinnedImage},
};

mod advisories;
mod content;
mod cvss;
mod matching;
mod materials;

use self::{advisories::Database, content::Rules, materials::Materials};

/// Where the advisories are, and how bad forbidden content is. `None` turns a rule off.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScanPolicy {
    /// The folder of advisories in OSV's JSON format; sub-folders count.
    pub advisories: PathBuf,
    /// Private keys, by name or by their first line: rule `forbidden-file`.
    pub private_keys: Option<Severity>,
    /// `.env` files and `.git` folders, also where a layer lists only what is in one: rule `forbidden-file`.
    pub leftovers: Option<Severity>,
    /// The image's user is root or not set: rule `root-user`.
    pub root_user: Option<Severity>,
    /// Files that run with their owner's or group's rights: rule `setuid-file`.
    pub setuid: Option<Severity>,
}

impl ScanPolicy {
    /// Every rule, with the advisories in the folder `advisories`.
    pub fn new(advisories: impl Into<PathBuf>) -> Self {
        Self {
            advisories: advisories.into(),
            private_keys: Some(Severity::Critical),
            leftovers: Some(Severity::High),
            root_user: Some(Severity::High),
            setuid: Some(Severity::Medium),
        }
    }

    fn rules(&self) -> Rules {
        Rules { private_keys: self.private_keys, leftovers: self.leftovers, setuid: self.setuid }
    }
}

/// Scans images in a registry: the packages of the attached `CycloneDX` bill of materials against a folder of
/// advisories (`cargo` and `npm`), and the files of every layer against rules. A file that a later layer removes is
/// still in the image, and is found. Layers are read as a stream; what is kept does not grow with them.
#[derive(Debug, Clone)]
pub struct ContentScanner {
    name: Name,
    registry: Arc<dyn Registry>,
    policy: ScanPolicy,
}

impl ContentScanner {
    /// Scans images of `registry` by `policy`, under the registry's name.
    pub fn new(registry: Arc<dyn Registry>, policy: ScanPolicy) -> Self {
        Self { name: registry.name().clone(), registry, policy }
    }

    async fn load(&self, cx: &Context) -> Result<Database> {
        let (cx, folder) = (cx.clone(), self.policy.advisories.clone());
        tokio::task::spawn_blocking(move || Database::load(&cx, &folder))
            .await
            .map_err(|error| Error::internal("scan.database", "reading ended early").with_source(error))?
    }

    /// The advisories' digest and the policy's, for a change of either asks for another scan.
    fn version(&self, database: &Database) -> String {
        let mut digester = Digester::new();
        digester.field(database.digest.as_bytes());
        let policy = &self.policy;
        for rule in [policy.private_keys, policy.leftovers, policy.root_user, policy.setuid] {
            digester.field(format!("{rule:?}"));
        }
        digester.finish().to_string()
    }

    async fn findings(
        &self,
        cx: &Context,
        image: &PinnedImage,
        manifest: &Manifest,
        materials: &Materials,
        database: &Database,
    ) -> Result<Vec<Finding>> {
        let mut findings = matching::match_all(&materials.packages, database);
        findings.extend(materials.unidentified.iter().map(|component| {
            let summary = "the bill of materials gives no package URL or version";
            Finding::new("unidentified-package", Severity::Unknown, component, summary)
        }));
        if let Some(severity) = self.policy.root_user {
            let config = oci::read_config(cx, "scan.scan", self.registry.as_ref(), image, manifest).await?;
            let user = config.config.and_then(|config| config.user).unwrap_or_default();
            findings.extend(content::root_user(&user).then(|| {
                let shown = if user.is_empty() { "not set".to_owned() } else { format!("`{user}`") };
                let summary = format!("the user is {shown}, so processes run as root");
                Finding::new("root-user", severity, "config.User", summary)
            }));
        }
        let rules = self.policy.rules();
        for (number, layer) in manifest.layers.iter().enumerate() {
            cx.check("scan.scan")?;
            cx.progress("layers", number as u64, Some(manifest.layers.len() as u64));
            let blob = self.registry.blob(cx, &image.repository, &layer.digest).await?;
            findings.extend(content::scan_layer(cx, blob, layer, number + 1, rules).await?);
        }
        Ok(findings)
    }

    async fn outcome(&self, cx: &Context, image: &PinnedImage, database: &Database) -> Result<(ScanOutcome, usize)> {
        let registry = self.registry.as_ref();
        let manifest = oci::read_manifest(cx, "scan.scan", registry, image).await?;
        if let Some(reason) = manifest.unsupported() {
            return Ok((ScanOutcome::Unsupported { reason }, 0));
        }
        let materials = match Materials::read(cx, registry, image).await? {
            Ok(materials) => materials,
            Err(reason) => return Ok((ScanOutcome::NotScanned { reason }, 0)),
        };
        let mut findings = self.findings(cx, image, &manifest, &materials, database).await?;
        findings
            .sort_by(|a, b| b.severity.cmp(&a.severity).then_with(|| (&a.id, &a.subject).cmp(&(&b.id, &b.subject))));
        let outcome = if findings.is_empty() { ScanOutcome::Clean } else { ScanOutcome::Findings { findings } };
        Ok((outcome, materials.packages.len() + materials.unidentified.len()))
    }
}

#[async_trait]
impl ImageScanner for ContentScanner {
    fn name(&self) -> &Name {
        &self.name
    }

    async fn database(&self, cx: &Context) -> Result<String> {
        cx.check("scan.database")?;
        Ok(self.version(&self.load(cx).await?))
    }

    async fn scan(&self, cx: &Context, image: &PinnedImage) -> Result<ScanReport> {
        cx.check("scan.scan")?;
        let database = self.load(cx).await?;
        if !self.registry.contains(cx, image).await? {
            return Err(Error::new(ErrorKind::NotFound, "scan.scan", format!("the registry has no image `{image}`"))
                .advice("push it first"));
        }
        let (outcome, packages) = cx.bounded("scan.scan", self.outcome(cx, image, &database)).await??;
        Ok(ScanReport::new(image.clone(), outcome, packages, self.version(&database)))
    }
}

#[cfg(test)]
mod tests;
