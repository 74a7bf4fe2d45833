use ecolaura_deploy_core::Context;

use super::*;

fn layout() -> Layout {
    Layout {
        bucket: "web".into(),
        arn: "arn:aws:s3:::web".into(),
        region: "eu-central-1".into(),
        prefix: "site/".into(),
        state: ".ecolaura-deploy/web/".into(),
    }
}

fn good() -> Facts {
    let yes = || Fact::Known(true);
    Facts { place: Place::Here, blocked: yes(), aborts: yes(), versioned: yes() }
}

fn shown(facts: &Facts) -> Vec<(Weight, String)> {
    judge(&layout(), facts).into_iter().map(|finding| (finding.weight, finding.to_string())).collect()
}

#[test]
fn a_bucket_that_is_as_it_should_be_has_no_findings() {
    assert_eq!(shown(&good()), []);
    let untold = Facts { blocked: Fact::Untold, aborts: Fact::Untold, versioned: Fact::Untold, ..good() };
    assert_eq!(shown(&untold), [], "stores that know no such things are not blamed");
}

#[test]
fn a_bucket_that_cannot_be_used_is_the_only_finding() {
    let cases = [
        (Place::Nowhere, "no bucket `web`"),
        (Place::Closed, "somebody else's"),
        (Place::Elsewhere(Some("us-east-1".into())), "in us-east-1, not in eu-central-1"),
    ];
    for (place, part) in cases {
        let found = shown(&Facts { place, blocked: Fact::Known(false), ..good() });
        assert_eq!(found.len(), 1);
        assert!(found[0].0 == Weight::Refusal && found[0].1.contains(part), "{found:?}");
    }
}

#[test]
fn each_finding_names_resource_action_and_remedy() {
    let bad = Facts { blocked: Fact::Known(false), aborts: Fact::Known(false), versioned: Fact::Denied, ..good() };
    let found = shown(&bad);
    assert_eq!(found.len(), 3);
    for part in ["s3:GetBucketPublicAccessBlock", "AbortIncompleteMultipartUpload", "s3:GetBucketVersioning"] {
        let all =
            found.iter().all(|(weight, text)| *weight == Weight::Advice && text.starts_with("arn:aws:s3:::web: "));
        assert!(all && found.iter().any(|(_, text)| text.contains(part)), "{part}: {found:?}");
    }
}

#[test]
fn refusals_fail_together_and_advice_does_not() {
    let cx = Context::new("test".parse().unwrap());
    let inside = Layout { state: "site/.state/".into(), ..layout() };
    let mut findings = judge(&inside, &Facts { blocked: Fact::Known(false), ..good() });
    findings.extend(judge(&layout(), &Facts { place: Place::Nowhere, ..good() }));
    let error = Findings(findings).refuse(&cx).unwrap_err();
    assert!(
        error.report().contains("site/.state/") && error.report().contains("no bucket `web`"),
        "{}",
        error.report()
    );
    assert!(!error.report().contains("public access"));
    Findings(judge(&layout(), &Facts { blocked: Fact::Known(false), ..good() })).refuse(&cx).unwrap();
}
