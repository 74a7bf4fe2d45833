//! Scans end as what they are known to be, and in no other way.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use ecolaura_deploy_core::{
    ErrorKind, Verdict,
    analysis::scan::{AllowEntry, SeverityPolicy, Unfixed, judge as gate},
    backend::{Finding, Fix, Severity},
    vocabulary::Digest,
};
use jiff::civil::date;
use serde_json::{Value, json};

use super::*;
use crate::fake::{ACCOUNT, Answer, FakeAws, REGION, cx, unknown};

fn image() -> PinnedImage {
    format!("{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com/shop/web@{}", Digest::of("web")).parse().unwrap()
}

/// Answers to questions after the scan, in this order, the last one for ever.
fn answering(answers: Vec<Answer>) -> FakeAws {
    let asked = Arc::new(AtomicUsize::new(0));
    FakeAws::new(move |question| match question.operation.as_str() {
        "DescribeImageScanFindings" => {
            assert_eq!(question.body["repositoryName"], "shop/web");
            assert_eq!(question.body["imageId"], json!({"imageDigest": Digest::of("web").to_string()}));
            answers[asked.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1)].clone()
        }
        "StartImageScan" => Answer::json(&json!({})),
        "DescribeImages" => described("application/vnd.oci.image.manifest.v1+json"),
        _ => unknown(),
    })
}

/// As [`answering`], where no scan can be started.
fn starting_none(code: &'static str, answers: Vec<Answer>) -> FakeAws {
    let asked = Arc::new(AtomicUsize::new(0));
    FakeAws::new(move |question| match question.operation.as_str() {
        "DescribeImageScanFindings" => answers[asked.fetch_add(1, Ordering::SeqCst).min(answers.len() - 1)].clone(),
        "StartImageScan" => Answer::refusal(400, code, "no scan today"),
        "DescribeImages" => described("application/vnd.docker.distribution.manifest.v2+json"),
        _ => unknown(),
    })
}

fn described(kind: &str) -> Answer {
    Answer::json(
        &json!({"imageDetails": [{"imageDigest": Digest::of("web").to_string(), "imageManifestMediaType": kind}]}),
    )
}

#[expect(clippy::needless_pass_by_value, reason = "cases are written in place")]
fn scan(status: &str, findings: Value) -> Answer {
    Answer::json(&json!({"imageScanStatus": {"status": status, "description": "so"}, "imageScanFindings": findings}))
}

fn none() -> Answer {
    Answer::refusal(400, "ScanNotFoundException", "no scan")
}

async fn outcome(scanner: impl FnOnce(EcrScanner) -> EcrScanner, fake: &FakeAws) -> ScanReport {
    let plain = EcrScanner::new("ecr".parse().unwrap(), &fake.account(1));
    scanner(plain).scan(&cx(), &image()).await.unwrap()
}

fn enhanced(severity: &str, fix: &str) -> Value {
    json!({"enhancedFindings": [{
        "severity": severity, "title": "CVE-2026-1 - libfoo", "fixAvailable": fix,
        "packageVulnerabilityDetails": {"vulnerabilityId": "CVE-2026-1", "vulnerablePackages": [
            {"name": "libfoo", "version": "1.0", "fixedInVersion": "1.1"},
        ]},
    }]})
}

#[tokio::test(start_paused = true)]
async fn each_state_has_its_outcome_and_only_a_finished_scan_passes() {
    let done = json!({"imageScanCompletedAt": 1_800_000_000});
    for (status, findings, verdict) in [
        ("COMPLETE", done.clone(), Verdict::Pass),
        ("ACTIVE", done.clone(), Verdict::Pass),
        ("COMPLETE", enhanced("HIGH", "YES"), Verdict::Fail),
        ("ACTIVE", enhanced("UNTRIAGED", "NO"), Verdict::Fail),
        ("FAILED", json!({}), Verdict::NoData),
        ("UNSUPPORTED_IMAGE", json!({}), Verdict::NoData),
        ("SCAN_ELIGIBILITY_EXPIRED", done.clone(), Verdict::NoData),
        ("FINDINGS_UNAVAILABLE", done.clone(), Verdict::NoData),
        ("LIMIT_EXCEEDED", done.clone(), Verdict::NoData),
        ("IMAGE_ARCHIVED", done.clone(), Verdict::NoData),
        ("SOMETHING_NEW", done.clone(), Verdict::NoData),
        ("IN_PROGRESS", json!({}), Verdict::Error),
        ("PENDING", done.clone(), Verdict::Error),
    ] {
        let report = outcome(|scanner| scanner, &answering(vec![scan(status, findings)])).await;
        let (found, lines) = gate(&report, &SeverityPolicy::new(Severity::High), date(2026, 1, 1));
        assert_eq!(found, verdict, "{status}: {lines:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_scan_that_goes_on_is_waited_for() {
    let done = scan("COMPLETE", json!({"imageScanCompletedAt": 1_800_000_000}));
    let fake = answering(vec![scan("PENDING", json!({})), scan("IN_PROGRESS", json!({})), done]);
    assert_eq!(outcome(|scanner| scanner, &fake).await.outcome, ScanOutcome::Clean);
    assert_eq!(fake.operations().len(), 3);
    let fake = answering(vec![scan("PENDING", json!({}))]);
    let late = outcome(|scanner| scanner.patience(Duration::from_secs(12)), &fake).await;
    assert_eq!((late.outcome, fake.operations().len()), (ScanOutcome::Timeout, 3));
}

#[tokio::test(start_paused = true)]
async fn a_look_that_is_throttled_is_made_again_and_is_told_when_the_patience_ends() {
    let busy = || Answer::refusal(400, "ThrottlingException", "slow down");
    let lost = || Answer::Lost;
    let done = scan("COMPLETE", json!({"imageScanCompletedAt": 1_800_000_000}));
    let fake = answering(vec![busy(), scan("PENDING", json!({})), busy(), lost(), done]);
    assert_eq!(outcome(|scanner| scanner, &fake).await.outcome, ScanOutcome::Clean);
    let scanner = EcrScanner::new("ecr".parse().unwrap(), &answering(vec![busy()]).account(1));
    let error = scanner.scan(&cx(), &image()).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Timeout, Effect::None), "{error:?}");
    assert!(error.report().contains("slow down"), "{}", error.report());
}

#[tokio::test(start_paused = true)]
async fn an_empty_list_right_after_a_scan_is_no_proof() {
    let empty = || scan("COMPLETE", json!({}));
    let fake = answering(vec![empty(), scan("COMPLETE", enhanced("CRITICAL", "NO"))]);
    let report = outcome(|scanner| scanner, &fake).await;
    assert!(matches!(report.outcome, ScanOutcome::Findings { .. }), "{report:?}");
    let fake = answering(vec![empty()]);
    assert_eq!(outcome(|scanner| scanner, &fake).await.outcome, ScanOutcome::Clean);
    assert_eq!(fake.operations().len(), 2);
    // The counts know of more than is listed.
    let fake =
        answering(vec![scan("COMPLETE", json!({"findingSeverityCounts": {"HIGH": 2}, "imageScanCompletedAt": 1}))]);
    assert_eq!(outcome(|scanner| scanner, &fake).await.outcome, ScanOutcome::Timeout);
}

#[tokio::test(start_paused = true)]
async fn an_image_without_a_scan_is_scanned_only_where_that_was_asked_for() {
    let fake = answering(vec![none()]);
    let report = outcome(|scanner| scanner, &fake).await;
    assert!(matches!(report.outcome, ScanOutcome::NotScanned { .. }), "{report:?}");
    assert!(!fake.operations().contains(&"StartImageScan".to_owned()), "{:?}", fake.operations());
    let fake = answering(vec![none(), scan("COMPLETE", json!({"imageScanCompletedAt": 1_800_000_000}))]);
    assert_eq!(outcome(EcrScanner::starting, &fake).await.outcome, ScanOutcome::Clean);
    let asked = fake.operations();
    assert_eq!(asked.iter().filter(|asked| *asked == "StartImageScan").count(), 1, "{asked:?}");
}

#[tokio::test(start_paused = true)]
async fn a_scan_that_begins_some_time_after_the_push_is_waited_for() {
    let answers = || {
        let done = scan("COMPLETE", json!({"imageScanCompletedAt": 1_800_000_000}));
        vec![none(), none(), scan("PENDING", json!({})), done]
    };
    assert_eq!(outcome(|scanner| scanner, &answering(answers())).await.outcome, ScanOutcome::Clean);
    // ECR starts none where scans are enhanced, and none twice on a day.
    for code in ["ValidationException", "LimitExceededException"] {
        let fake = starting_none(code, answers());
        assert_eq!(outcome(EcrScanner::starting, &fake).await.outcome, ScanOutcome::Clean, "{code}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_scan_that_never_begins_is_told_after_a_time_with_what_was_tried() {
    let began = tokio::time::Instant::now();
    let report = outcome(|scanner| scanner, &answering(vec![none()])).await;
    let ScanOutcome::NotScanned { reason } = &report.outcome else { panic!("{report:?}") };
    assert!(reason.contains("120 s") && reason.contains("scan on push"), "{reason}");
    assert_eq!(began.elapsed(), GRACE);
    for code in ["ValidationException", "LimitExceededException"] {
        let report = outcome(EcrScanner::starting, &starting_none(code, vec![none()])).await;
        let ScanOutcome::NotScanned { reason } = &report.outcome else { panic!("{report:?}") };
        assert!(reason.contains("no scan today"), "{reason}");
    }
    // One that was started comes, or is late.
    let late = outcome(EcrScanner::starting, &answering(vec![none()])).await;
    assert_eq!(late.outcome, ScanOutcome::Timeout);
}

#[tokio::test(start_paused = true)]
async fn what_ecr_does_not_scan_is_told_at_once() {
    let fake = starting_none("UnsupportedImageTypeException", vec![none()]);
    let report = outcome(EcrScanner::starting, &fake).await;
    assert!(matches!(report.outcome, ScanOutcome::Unsupported { .. }), "{report:?}");
    for kind in INDEXES {
        let fake = FakeAws::new(move |asked| match asked.operation.as_str() {
            "DescribeImageScanFindings" => none(),
            "DescribeImages" => {
                assert_eq!(asked.body["imageIds"], json!([{"imageDigest": Digest::of("web").to_string()}]));
                described(kind)
            }
            _ => unknown(),
        });
        let report = outcome(EcrScanner::starting, &fake).await;
        assert!(matches!(report.outcome, ScanOutcome::Unsupported { .. }), "{report:?}");
        assert_eq!(fake.operations(), ["DescribeImageScanFindings", "DescribeImages"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_role_that_may_not_ask_what_an_image_is_can_still_have_it_scanned() {
    let done = scan("COMPLETE", json!({"imageScanCompletedAt": 1_800_000_000}));
    let answers = [none(), done];
    let asked = AtomicUsize::new(0);
    let fake = FakeAws::new(move |question| match question.operation.as_str() {
        "DescribeImageScanFindings" => answers[asked.fetch_add(1, Ordering::SeqCst).min(1)].clone(),
        "DescribeImages" => Answer::refusal(400, "AccessDeniedException", "not allowed"),
        _ => unknown(),
    });
    assert_eq!(outcome(|scanner| scanner, &fake).await.outcome, ScanOutcome::Clean);
}

#[tokio::test]
async fn findings_of_all_pages_count_worst_first_with_what_mends_them() {
    let basic = json!({"name": "CVE-2026-2", "severity": "MEDIUM", "description": "bad", "attributes": [
        {"key": "package_name", "value": "zlib"}, {"key": "package_version", "value": "1.2"},
    ]});
    let first = Answer::json(&json!({
        "imageScanStatus": {"status": "COMPLETE"}, "nextToken": "more",
        "imageScanFindings": {"findings": [basic], "findingSeverityCounts": {"MEDIUM": 1, "HIGH": 1}},
    }));
    let fake = answering(vec![first, scan("COMPLETE", enhanced("HIGH", "YES"))]);
    let report = outcome(|scanner| scanner, &fake).await;
    let ScanOutcome::Findings { findings } = &report.outcome else { panic!("{report:?}") };
    let told = |found: &Finding| (found.id.clone(), found.subject.clone(), found.fix.clone());
    let told: Vec<_> = findings.iter().map(told).collect();
    assert_eq!(
        told,
        [
            ("CVE-2026-1".to_owned(), "libfoo 1.0".to_owned(), Fix::In("1.1".to_owned())),
            ("CVE-2026-2".to_owned(), "zlib 1.2".to_owned(), Fix::Untold),
        ]
    );
    assert_eq!(report.packages, 2);
}

#[tokio::test]
async fn severity_fix_and_an_allowance_that_ends_decide_together() {
    let on = async |fix: &'static str, policy: &SeverityPolicy, day| {
        let report = outcome(|scanner| scanner, &answering(vec![scan("ACTIVE", enhanced("HIGH", fix))])).await;
        gate(&report, policy, day).0
    };
    let today = date(2026, 11, 26);
    let tolerant = SeverityPolicy::new(Severity::Medium).unfixed(Unfixed::Tolerate);
    assert_eq!(on("YES", &tolerant, today).await, Verdict::Fail);
    assert_eq!(on("PARTIAL", &tolerant, today).await, Verdict::Fail);
    assert_eq!(on("NO", &tolerant, today).await, Verdict::Pass);
    let allowed = SeverityPolicy::new(Severity::Medium).allow(AllowEntry::new("CVE-2026-1", today, "not reachable"));
    assert_eq!(on("YES", &allowed, today).await, Verdict::Pass);
    assert_eq!(on("YES", &allowed, date(2026, 11, 27)).await, Verdict::Fail);
    assert_eq!(on("YES", &SeverityPolicy::new(Severity::Critical), today).await, Verdict::Pass);
}

#[tokio::test]
async fn what_tells_nothing_of_a_fix_is_not_tolerated_as_unfixed() {
    let tolerant = SeverityPolicy::new(Severity::Medium).unfixed(Unfixed::Tolerate);
    let mut untold = enhanced("CRITICAL", "NO");
    untold["enhancedFindings"][0].as_object_mut().unwrap().remove("fixAvailable");
    let basic = json!({"findings": [{"name": "CVE-2026-2", "severity": "CRITICAL", "description": "bad"}]});
    for findings in [basic, untold] {
        let report = outcome(|scanner| scanner, &answering(vec![scan("COMPLETE", findings)])).await;
        let (verdict, lines) = gate(&report, &tolerant, date(2026, 11, 26));
        assert_eq!(verdict, Verdict::Fail, "{lines:?}");
        assert!(lines[0].contains("is not told"), "{lines:?}");
    }
}

#[tokio::test]
async fn an_image_of_another_registry_is_refused() {
    let fake = answering(vec![none()]);
    let scanner = EcrScanner::new("ecr".parse().unwrap(), &fake.account(1));
    let other: PinnedImage = format!("ghcr.io/shop/web@{}", Digest::of("web")).parse().unwrap();
    let error = scanner.scan(&cx(), &other).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(fake.operations().is_empty());
    let missing = FakeAws::new(|asked| match asked.operation.as_str() {
        "DescribeImageScanFindings" => Answer::refusal(400, "ImageNotFoundException", "no such image"),
        _ => unknown(),
    });
    let scanner = EcrScanner::new("ecr".parse().unwrap(), &missing.account(1));
    assert_eq!(scanner.scan(&cx(), &image()).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test]
async fn evidence_lasts_for_a_day_unless_it_is_told_to_stay() {
    let scanner = || EcrScanner::new("ecr".parse().unwrap(), &answering(vec![none()]).account(1));
    let at = |second| {
        let now = jiff::Timestamp::from_second(second).unwrap();
        cx().with_clock(Arc::new(ecolaura_deploy_core::clock::FixedClock::new(now)))
    };
    assert_ne!(scanner().database(&at(0)).await.unwrap(), scanner().database(&at(86_400)).await.unwrap());
    let lasting = scanner().lasting_evidence();
    assert_eq!(lasting.database(&at(0)).await.unwrap(), lasting.database(&at(86_400)).await.unwrap());
}
