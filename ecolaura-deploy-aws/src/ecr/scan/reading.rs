//! What ECR tells of a scan, basic or enhanced, in one form.

use std::collections::BTreeSet;

use aws_sdk_ecr::{
    operation::describe_image_scan_findings::DescribeImageScanFindingsOutput,
    types::{
        EnhancedImageScanFinding, FindingSeverity, ImageScanFinding, PackageVulnerabilityDetails, ScanStatus,
        VulnerablePackage,
    },
};
use ecolaura_deploy_core::backend::{Finding, Fix, Severity};

/// A scan as it was read.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Reading {
    pub(super) status: Option<ScanStatus>,
    /// What ECR says of the status.
    pub(super) said: String,
    /// Whether ECR tells when the scan was finished.
    pub(super) finished: bool,
    pub(super) findings: Vec<Finding>,
    /// What the counts add up to, which come with each page.
    pub(super) counted: usize,
}

impl Reading {
    pub(super) fn of(page: &DescribeImageScanFindingsOutput) -> Self {
        let status = page.image_scan_status();
        let found = page.image_scan_findings();
        let counts = found.and_then(|found| found.finding_severity_counts());
        let counted =
            counts.into_iter().flat_map(|counts| counts.values()).filter_map(|count| usize::try_from(*count).ok());
        let mut reading = Self {
            status: status.and_then(|status| status.status()).cloned(),
            said: status.and_then(|status| status.description()).unwrap_or_default().to_owned(),
            finished: found.is_some_and(|found| found.image_scan_completed_at().is_some()),
            findings: Vec::new(),
            counted: counted.sum(),
        };
        reading.add(page);
        reading
    }

    /// Adds the findings of another page. Which kind of scan it was shows in the answer, not in the status.
    pub(super) fn add(&mut self, page: &DescribeImageScanFindingsOutput) {
        let Some(found) = page.image_scan_findings() else { return };
        self.findings.extend(found.findings().iter().map(basic));
        self.findings.extend(found.enhanced_findings().iter().map(enhanced));
        self.findings.sort_by(|a, b| (b.severity, &a.id, &a.subject).cmp(&(a.severity, &b.id, &b.subject)));
    }

    /// How many packages findings are about; ECR does not tell of the others.
    pub(super) fn packages(&self) -> usize {
        self.findings.iter().map(|finding| &finding.subject).collect::<BTreeSet<_>>().len()
    }
}

/// A basic scan tells nothing of fixes.
fn basic(found: &ImageScanFinding) -> Finding {
    let attribute = |name: &str| {
        found.attributes().iter().find(|attribute| attribute.key() == name).and_then(|attribute| attribute.value())
    };
    let subject = match (attribute("package_name"), attribute("package_version")) {
        (Some(name), Some(version)) => format!("{name} {version}"),
        (Some(name), None) => name.to_owned(),
        _ => "a package that is not named".to_owned(),
    };
    let severity = severity(found.severity().map(FindingSeverity::as_str));
    Finding::new(found.name().unwrap_or("unnamed"), severity, subject, summary(found.description(), found.uri()))
}

fn enhanced(found: &EnhancedImageScanFinding) -> Finding {
    let details = found.package_vulnerability_details();
    let packages = details.map(PackageVulnerabilityDetails::vulnerable_packages).unwrap_or_default();
    let subject: Vec<_> = packages
        .iter()
        .map(|package| format!("{} {}", package.name().unwrap_or("?"), package.version().unwrap_or("?")))
        .collect();
    let subject = if subject.is_empty() { "a package that is not named".to_owned() } else { subject.join(", ") };
    let id = details.and_then(|details| details.vulnerability_id()).or(found.title()).unwrap_or("unnamed");
    let mut finding =
        Finding::new(id, severity(found.severity()), subject, summary(found.title(), found.description()));
    finding.fix = fix(found.fix_available(), packages);
    finding
}

/// `PARTIAL` mends some of the packages: those can be updated, and what is left is then a finding of its own.
fn fix(available: Option<&str>, packages: &[VulnerablePackage]) -> Fix {
    match available {
        Some("YES" | "PARTIAL") => {
            let named = packages.iter().filter_map(VulnerablePackage::fixed_in_version);
            let fixed = named.into_iter().find(|version| !version.is_empty() && *version != "NotAvailable");
            Fix::In(fixed.unwrap_or("a newer version").to_owned())
        }
        Some("NO") => Fix::Nowhere,
        _ => Fix::Untold,
    }
}

/// What nobody has rated yet stays unrated, so that the gate refuses it.
fn severity(text: Option<&str>) -> Severity {
    match text.unwrap_or_default() {
        "CRITICAL" => Severity::Critical,
        "HIGH" => Severity::High,
        "MEDIUM" => Severity::Medium,
        "LOW" | "INFORMATIONAL" => Severity::Low,
        _ => Severity::Unknown,
    }
}

fn summary(first: Option<&str>, second: Option<&str>) -> String {
    let text = [first, second].into_iter().flatten().find(|text| !text.trim().is_empty()).unwrap_or("no description");
    let line = text.trim().lines().next().unwrap_or_default();
    let end = line.char_indices().nth(160).map_or(line.len(), |(end, _)| end);
    line[..end].to_owned()
}
