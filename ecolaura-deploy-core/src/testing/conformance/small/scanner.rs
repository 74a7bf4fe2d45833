//! What every [`ImageScanner`] does.

use std::sync::Arc;

use crate::{
    Context,
    backend::{Fix, ImageScanner, ScanOutcome, Severity},
    testing::conformance::small::{cancelled, expect_kind, expect_ok, test_context},
    vocabulary::PinnedImage,
};

/// What is in the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Packages that no advisory names, and nothing forbidden.
    Clean,
    /// The package `time` 0.1.44, which the advisory `RUSTSEC-2020-0071` names, rated medium, fixed in 0.2.23.
    Vulnerable,
    /// It has no bill of materials.
    Unlisted,
    /// There is no such image.
    Missing,
}

/// Runs every case. `make` gives a fresh scanner and an image with that content.
pub async fn suite<F, Fut>(make: F)
where
    F: Fn(Content) -> Fut,
    Fut: Future<Output = (Arc<dyn ImageScanner>, PinnedImage)>,
{
    let cx = &test_context();
    a_clean_image_is_clean(cx, make(Content::Clean).await).await;
    a_planted_vulnerable_version_is_caught(cx, make(Content::Vulnerable).await).await;
    an_image_that_cannot_be_judged_is_not_clean(cx, make(Content::Unlisted).await).await;
    a_missing_image_is_an_error(cx, make(Content::Missing).await).await;
    the_database_has_a_version(cx, make(Content::Clean).await).await;
    a_cancelled_scan_says_nothing(make(Content::Clean).await).await;
}

type Case = (Arc<dyn ImageScanner>, PinnedImage);

async fn a_clean_image_is_clean(cx: &Context, (scanner, image): Case) {
    let case = "scanner: a clean image is clean";
    let report = expect_ok(case, scanner.scan(cx, &image).await);
    assert_eq!((&report.outcome, &report.image), (&ScanOutcome::Clean, &image), "{case}");
    assert!(report.packages > 0, "{case}: no package was looked at");
}

async fn a_planted_vulnerable_version_is_caught(cx: &Context, (scanner, image): Case) {
    let case = "scanner: a planted vulnerable version is caught";
    let report = expect_ok(case, scanner.scan(cx, &image).await);
    let findings = match report.outcome {
        ScanOutcome::Findings { findings } => findings,
        _ => Vec::new(),
    };
    let finding = findings.iter().find(|finding| finding.id == "RUSTSEC-2020-0071");
    let right = finding.is_some_and(|finding| {
        finding.severity == Severity::Medium
            && finding.subject.contains("time")
            && finding.subject.contains("0.1.44")
            && finding.fix == Fix::In("0.2.23".to_owned())
    });
    assert!(right, "{case}: {findings:?}");
}

async fn an_image_that_cannot_be_judged_is_not_clean(cx: &Context, (scanner, image): Case) {
    let case = "scanner: an image that cannot be judged is not clean";
    let report = expect_ok(case, scanner.scan(cx, &image).await);
    assert!(matches!(report.outcome, ScanOutcome::NotScanned { .. }), "{case}: {:?}", report.outcome);
}

async fn a_missing_image_is_an_error(cx: &Context, (scanner, image): Case) {
    let case = "scanner: a missing image is an error";
    expect_kind(case, scanner.scan(cx, &image).await, crate::ErrorKind::NotFound);
}

async fn the_database_has_a_version(cx: &Context, (scanner, image): Case) {
    let case = "scanner: the database has a version, which reports repeat";
    let version = expect_ok(case, scanner.database(cx).await);
    assert!(!version.is_empty(), "{case}");
    assert_eq!(expect_ok(case, scanner.scan(cx, &image).await).database, version, "{case}");
}

async fn a_cancelled_scan_says_nothing((scanner, image): Case) {
    let case = "scanner: a cancelled scan says nothing";
    expect_kind(case, scanner.scan(&cancelled(), &image).await, crate::ErrorKind::Cancelled);
}
