//! What a scan as it was read means. Only what is known to be finished passes.

use aws_sdk_ecr::types::ScanStatus;
use ecolaura_deploy_core::backend::ScanOutcome;

use super::reading::Reading;

/// What a reading means.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Judged {
    Outcome(ScanOutcome),
    /// Read again later.
    GoesOn,
    /// There is no scan.
    Missing,
}

/// What `now` means, read after `before`.
pub(super) fn judge(now: Option<&Reading>, before: Option<&Reading>) -> Judged {
    let Some(now) = now else { return Judged::Missing };
    let not_scanned = |why: &str| {
        let reason = if now.said.is_empty() { why.to_owned() } else { format!("{why}: {}", now.said) };
        Judged::Outcome(ScanOutcome::NotScanned { reason })
    };
    match &now.status {
        Some(ScanStatus::Complete | ScanStatus::Active) => finished(now, before),
        Some(ScanStatus::InProgress | ScanStatus::Pending) => Judged::GoesOn,
        Some(ScanStatus::UnsupportedImage) => {
            let said = if now.said.is_empty() { "ECR does not scan images of this kind" } else { &now.said };
            Judged::Outcome(ScanOutcome::Unsupported { reason: said.to_owned() })
        }
        Some(ScanStatus::ScanEligibilityExpired) => Judged::Outcome(ScanOutcome::Expired),
        Some(ScanStatus::Failed) => not_scanned("the scan failed"),
        Some(ScanStatus::FindingsUnavailable) => not_scanned("the findings are not available"),
        Some(ScanStatus::LimitExceeded) => not_scanned("the limit of scans was reached"),
        Some(ScanStatus::ImageArchived) => not_scanned("the image is archived"),
        Some(other) => not_scanned(&format!("ECR says `{}`", other.as_str())),
        None => not_scanned("ECR tells no status"),
    }
}

fn finished(now: &Reading, before: Option<&Reading>) -> Judged {
    let complete = now.findings.len() >= now.counted;
    let settled = before == Some(now);
    if !now.findings.is_empty() && (complete || settled) {
        return Judged::Outcome(ScanOutcome::Findings { findings: now.findings.clone() });
    }
    if complete && (now.finished || settled) {
        return Judged::Outcome(ScanOutcome::Clean);
    }
    Judged::GoesOn
}
