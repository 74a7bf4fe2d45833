//! What a store that cannot serve is refused with.

use super::*;

fn refusing(line: &'static str, status: u16, code: &'static str) -> S3RunStore {
    store(&S3Over::new(memory()).fates(move |asked, _| {
        (Duration::ZERO, if asked.starts_with(line) { Fate::Refused(status, code) } else { Fate::Answered })
    }))
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_honour_conditions_is_refused_by_name() {
    for (manners, wrong) in [(Manners::Careless, "writes over"), (Manners::Bearing, "for existing")] {
        let disk = memory();
        let error = store(&S3Over::new(Arc::clone(&disk)).manners(manners)).check().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
        for part in [BUCKET, "If-None-Match: *", "412", wrong, "http://s3.fake"] {
            assert!(error.report().contains(part), "{part}: {}", error.report());
        }
        assert!(disk.list("probe").await.unwrap().is_empty(), "{manners:?}: the probe is left");
    }
    let disk = memory();
    store(&S3Over::new(Arc::clone(&disk))).check().await.unwrap();
    assert!(disk.list("probe").await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_refusal_names_the_action_and_the_object() {
    let object = "arn:aws:s3:::site-bucket/team/runs/a/1";
    let cases = [
        ("PUT", "s3:PutObject", object),
        ("GET team/runs/a/1", "s3:GetObject", object),
        ("DELETE", "s3:DeleteObject", object),
        ("GET ?list", "s3:ListBucket", "arn:aws:s3:::site-bucket"),
    ];
    for (line, action, resource) in cases {
        let store = refusing(line, 403, "AccessDenied");
        let error = match action {
            "s3:PutObject" => store.create("a/1", "one".into()).await.unwrap_err(),
            "s3:GetObject" => store.get("a/1").await.unwrap_err(),
            "s3:DeleteObject" => store.remove("a/1").await.unwrap_err(),
            _ => store.list("a").await.unwrap_err(),
        };
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error:?}");
        if line != "DELETE" {
            assert_eq!(error.effect(), ecolaura_deploy_core::Effect::None, "{action}");
        }
        let advice = error.advice_text().unwrap();
        assert!(advice.contains(&format!("allow `{action}` on `{resource}`")), "{advice}");
        assert!(error.report().contains("AccessDenied: it is so"), "{}", error.report());
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_bucket_region_and_credentials_is_told() {
    let cases = [
        (404, "NoSuchBucket", ErrorKind::NotFound, BUCKET),
        (301, "PermanentRedirect", ErrorKind::InvalidInput, "another region"),
        (400, "AuthorizationHeaderMalformed", ErrorKind::InvalidInput, "another region"),
        (400, "ExpiredToken", ErrorKind::Unauthenticated, "log in again"),
        (403, "InvalidAccessKeyId", ErrorKind::Unauthenticated, "check the credentials"),
        (403, "RequestTimeTooSkewed", ErrorKind::Unauthenticated, "the clock of this machine"),
    ];
    for (status, code, kind, said) in cases {
        let store = refusing("", status, code);
        let errors = [
            store.check().await.unwrap_err(),
            store.get("a/1").await.unwrap_err(),
            store.list("a").await.unwrap_err(),
            store.names("a").await.unwrap_err(),
            store.remove("a/1").await.unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), kind, "{code}: {}", error.report());
            assert!(error.report().contains(said), "{code}: {}", error.report());
            assert!(!error.report().contains("fake-secret-key"), "{code}");
        }
    }
}

#[test]
fn a_prefix_that_is_no_key_is_refused() {
    for prefix in ["/runs", "runs/", "a//b", "../a", "a b", "ü"] {
        let place = (BUCKET.to_owned(), prefix.to_owned());
        let connector = S3Over::new(memory()).connector();
        let error = S3RunStore::over(&cx(), &account(3), place, connector, PAUSES).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{prefix}");
    }
}
