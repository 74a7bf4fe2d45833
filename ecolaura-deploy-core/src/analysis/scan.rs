//! Whether what a scanner reported may be shipped. Fail-closed: only an explicit policy lets anything but a clean
//! report pass.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::{
    Verdict,
    backend::{Finding, Fix, ScanOutcome, ScanReport, Severity},
};

/// A finding that is tolerated for a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AllowEntry {
    /// The advisory or rule, as in [`Finding::id`].
    pub id: String,
    /// The last day on which it is tolerated.
    pub until: Date,
    /// Why.
    pub reason: String,
}

impl AllowEntry {
    /// Tolerates `id` through `until`, because of `reason`.
    pub fn new(id: impl Into<String>, until: Date, reason: impl Into<String>) -> Self {
        Self { id: id.into(), until, reason: reason.into() }
    }
}

/// What to do with findings of which the scanner tells that no version mends them yet. Where it tells nothing of a fix,
/// as ECR's basic scans and rules about content (`forbidden-file`) do, they always count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unfixed {
    /// They count like any other.
    #[default]
    Refuse,
    /// They are listed and let pass.
    Tolerate,
}

/// What is let pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SeverityPolicy {
    /// Findings of this severity and above are refused. Those that are not rated are always refused: nobody knows
    /// that they are harmless.
    pub fail_on: Severity,
    /// What is tolerated for a time.
    pub allow: Vec<AllowEntry>,
    /// What to do with rated findings of which it is told that no version mends them.
    pub unfixed: Unfixed,
}

impl SeverityPolicy {
    /// Refuses everything from `fail_on` on.
    pub fn new(fail_on: Severity) -> Self {
        Self { fail_on, allow: Vec::new(), unfixed: Unfixed::Refuse }
    }

    /// The same, tolerating `entry`.
    pub fn allow(mut self, entry: AllowEntry) -> Self {
        self.allow.push(entry);
        self
    }

    /// What is tolerated on the day `today`.
    pub(crate) fn allowed(&self, today: Date) -> impl Iterator<Item = &AllowEntry> {
        self.allow.iter().filter(move |entry| today <= entry.until)
    }

    /// The same with another rule for what no version mends.
    pub fn unfixed(mut self, unfixed: Unfixed) -> Self {
        self.unfixed = unfixed;
        self
    }
}

/// The verdict on `report` under `policy` on the day `today`, and why, a line for each finding.
pub fn judge(report: &ScanReport, policy: &SeverityPolicy, today: Date) -> (Verdict, Vec<String>) {
    match &report.outcome {
        ScanOutcome::Clean => (Verdict::Pass, vec![format!("{} packages, nothing found", report.packages)]),
        ScanOutcome::Findings { findings } if findings.is_empty() => {
            (Verdict::Inconclusive, vec!["the scanner reports findings and lists none".to_owned()])
        }
        ScanOutcome::Findings { findings } => judge_all(findings, policy, today),
        ScanOutcome::NotScanned { reason } => (Verdict::NoData, vec![format!("not scanned: {reason}")]),
        ScanOutcome::Unsupported { reason } => (Verdict::NoData, vec![format!("cannot be scanned: {reason}")]),
        ScanOutcome::Expired => (Verdict::NoData, vec!["the scan is too old to count".to_owned()]),
        ScanOutcome::Timeout => (Verdict::Error, vec!["the scan did not end in time".to_owned()]),
    }
}

fn judge_all(findings: &[Finding], policy: &SeverityPolicy, today: Date) -> (Verdict, Vec<String>) {
    let mut verdict = Verdict::Pass;
    let mut lines = Vec::with_capacity(findings.len());
    for finding in findings {
        let (refused, why) = judge_one(finding, policy, today);
        if refused {
            verdict = Verdict::Fail;
        }
        let word = if refused { "refused" } else { "tolerated" };
        lines.push(format!("{word}: {} in {}: {} ({why})", finding.id, finding.subject, finding.summary));
    }
    (verdict, lines)
}

/// Whether it is refused, and why.
fn judge_one(finding: &Finding, policy: &SeverityPolicy, today: Date) -> (bool, String) {
    let entry = policy.allow.iter().filter(|entry| entry.id == finding.id).max_by_key(|entry| entry.until);
    let severity = format!("{:?}", finding.severity).to_lowercase();
    let rated = finding.severity != Severity::Unknown;
    match entry {
        Some(entry) if today <= entry.until => (false, format!("allowed until {}: {}", entry.until, entry.reason)),
        Some(entry) if !rated || finding.severity >= policy.fail_on => {
            (true, format!("{severity}; it was allowed until {}", entry.until))
        }
        _ if !rated => (true, "not rated".to_owned()),
        _ if finding.severity < policy.fail_on => (false, format!("{severity} is below the limit")),
        _ => match (&finding.fix, policy.unfixed) {
            (Fix::Nowhere, Unfixed::Tolerate) => (false, format!("{severity}, and no version mends it")),
            (Fix::Nowhere, Unfixed::Refuse) => (true, format!("{severity}; no version mends it yet")),
            (Fix::In(version), _) => (true, format!("{severity}; update to {version}")),
            (Fix::Untold, Unfixed::Tolerate) => (true, format!("{severity}; whether a version mends it is not told")),
            (Fix::Untold, Unfixed::Refuse) => (true, severity),
        },
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;
    use crate::vocabulary::Digest;

    fn report(outcome: ScanOutcome) -> ScanReport {
        let image = format!("a/b@{}", Digest::of("x")).parse().unwrap();
        ScanReport::new(image, outcome, 3, "db")
    }

    fn finding(severity: Severity, fixed: bool) -> ScanOutcome {
        told(severity, if fixed { Fix::In("0.2.23".to_owned()) } else { Fix::Nowhere })
    }

    fn told(severity: Severity, fix: Fix) -> ScanOutcome {
        let mut finding = Finding::new("RUSTSEC-1", severity, "time 0.1.0", "segfault");
        finding.fix = fix;
        ScanOutcome::Findings { findings: vec![finding] }
    }

    #[test]
    fn only_policy_lets_anything_but_clean_pass() {
        let reason = || "x".to_owned();
        for (outcome, verdict) in [
            (ScanOutcome::Clean, Verdict::Pass),
            (ScanOutcome::NotScanned { reason: reason() }, Verdict::NoData),
            (ScanOutcome::Unsupported { reason: reason() }, Verdict::NoData),
            (ScanOutcome::Expired, Verdict::NoData),
            (ScanOutcome::Timeout, Verdict::Error),
            (ScanOutcome::Findings { findings: Vec::new() }, Verdict::Inconclusive),
            (finding(Severity::Unknown, true), Verdict::Fail),
            (finding(Severity::Low, true), Verdict::Pass),
            (finding(Severity::High, true), Verdict::Fail),
            (finding(Severity::Critical, false), Verdict::Fail),
        ] {
            let policy = SeverityPolicy::new(Severity::High);
            let (found, reasons) = judge(&report(outcome.clone()), &policy, date(2026, 1, 1));
            assert_eq!(found, verdict, "{outcome:?}");
            assert!(!reasons.is_empty(), "{outcome:?}");
        }
    }

    #[test]
    fn allowing_ends_and_names_what_it_allowed() {
        let entry = AllowEntry::new("RUSTSEC-1", date(2026, 3, 31), "not reachable");
        let policy = SeverityPolicy::new(Severity::Low).allow(entry);
        let report = report(finding(Severity::Critical, true));
        let (verdict, reasons) = judge(&report, &policy, date(2026, 3, 31));
        assert_eq!(verdict, Verdict::Pass);
        assert!(reasons[0].contains("not reachable"), "{reasons:?}");
        let (verdict, reasons) = judge(&report, &policy, date(2026, 4, 1));
        assert_eq!(verdict, Verdict::Fail);
        assert!(reasons[0].contains("2026-03-31"), "{reasons:?}");
    }

    #[test]
    fn unfixed_findings_pass_only_when_told_and_rated() {
        let policy = SeverityPolicy::new(Severity::Low).unfixed(Unfixed::Tolerate);
        let on = |outcome| judge(&report(outcome), &policy, date(2026, 1, 1)).0;
        assert_eq!(on(finding(Severity::High, false)), Verdict::Pass);
        assert_eq!(on(finding(Severity::High, true)), Verdict::Fail);
        assert_eq!(on(finding(Severity::Unknown, false)), Verdict::Fail);
        assert_eq!(on(told(Severity::Critical, Fix::Untold)), Verdict::Fail);
        let (_, reasons) = judge(&report(told(Severity::Critical, Fix::Untold)), &policy, date(2026, 1, 1));
        assert!(reasons[0].ends_with("(critical; whether a version mends it is not told)"), "{reasons:?}");
        let key = Finding::new("forbidden-file", Severity::Critical, "/id_rsa", "a private key");
        assert_eq!(on(ScanOutcome::Findings { findings: vec![key] }), Verdict::Fail);
    }
}
