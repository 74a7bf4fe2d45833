use std::{sync::Arc, time::Duration};

use super::*;
use crate::{
    backend::{
        Approval, Approver, FeatureFlags, Finding, Fix, FlagState, ImageScanner, Measure, MetricSource, Sample,
        ScanOutcome, SecretStore, Severity, Track,
    },
    testing::conformance::small::{approver, flags, metrics, scanner, secrets},
    vocabulary::{Digest, PinnedImage},
};

#[tokio::test]
async fn flags_and_secrets_conform() {
    flags::suite(|| async {
        let flags = FakeFlags::new().with("new-checkout", &["on", "off"], FlagState::new(true, "off"));
        Arc::new(flags) as Arc<dyn FeatureFlags>
    })
    .await;
    secrets::suite(|| async {
        let store = FakeSecrets::new();
        store.put("database-password", "hunter2-hunter2");
        Arc::new(store) as Arc<dyn SecretStore>
    })
    .await;
}

#[tokio::test]
async fn the_approver_conforms() {
    use approver::Wish;
    approver::suite(|wish, _request| async move {
        let by = || "ana".to_owned();
        let fake = FakeApprover::new(move |request| match wish {
            Wish::Approve => Some(Approval::Approved { by: by(), digest: request.digest }),
            Wish::Reject => Some(Approval::Rejected { by: by(), reason: "not today".to_owned() }),
            Wish::Silence => None,
        });
        Some(Arc::new(fake) as Arc<dyn Approver>)
    })
    .await;
}

#[tokio::test]
async fn the_metric_source_conforms() {
    metrics::suite(|| async {
        let fake = FakeMetrics::new(|query| {
            let value = match (&query.track, &query.measure) {
                (Track::Stable, _) => return Ok(Sample::new(None, 0)),
                (_, Measure::Requests) => Some(40.0),
                (_, Measure::ErrorRate | Measure::MeanLatency) => Some(0.25),
                (_, Measure::Counter { labels, .. }) => (labels["kind"] == "card").then_some(4.0),
                _ => None,
            };
            Ok(Sample::new(value, 40))
        });
        (Arc::new(fake) as Arc<dyn MetricSource>, Duration::from_secs(1))
    })
    .await;
}

#[tokio::test]
async fn the_scanner_conforms() {
    use scanner::Content;
    scanner::suite(|content| async move {
        let image = PinnedImage::new("a/b".parse().unwrap(), Digest::of("x"));
        let outcome = match content {
            Content::Clean => ScanOutcome::Clean,
            Content::Unlisted => ScanOutcome::NotScanned { reason: "no bill of materials".to_owned() },
            Content::Missing => return (Arc::new(FakeScanner::new()) as Arc<dyn ImageScanner>, image),
            Content::Vulnerable => {
                let mut finding = Finding::new("RUSTSEC-2020-0071", Severity::Medium, "time 0.1.44", "segfault");
                finding.fix = Fix::In("0.2.23".to_owned());
                ScanOutcome::Findings { findings: vec![finding] }
            }
        };
        (Arc::new(FakeScanner::new().with(image.clone(), outcome, 1)) as Arc<dyn ImageScanner>, image)
    })
    .await;
}
