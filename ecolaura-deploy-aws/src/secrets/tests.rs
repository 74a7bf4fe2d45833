//! What the store makes of the answers of AWS.

use std::sync::{Arc, Mutex};

use ecolaura_deploy_core::vocabulary::Digest;
use serde_json::json;

use super::*;
use crate::fake::{Answer, Asked, FakeAws, cx, unknown};

/// One secret: its version at `AWSCURRENT` and its text; older versions are gone.
fn holding(version: &Arc<Mutex<String>>, text: &'static str) -> FakeAws {
    let version = Arc::clone(version);
    FakeAws::new(move |asked: &Asked| {
        let current = version.lock().unwrap().clone();
        match asked.operation.as_str() {
            "DescribeSecret" => Answer::json(&json!({"Name": "db", "VersionIdsToStages": {current: [CURRENT]}})),
            "GetSecretValue" if asked.body["VersionId"] == current => {
                Answer::json(&json!({"SecretString": text, "VersionId": current, "VersionStages": [CURRENT]}))
            }
            "GetSecretValue" if asked.body["VersionId"] == "kept" => {
                Answer::json(&json!({"SecretString": text, "VersionId": "kept", "VersionStages": ["AWSPREVIOUS"]}))
            }
            "GetSecretValue" => Answer::refusal(400, "ResourceNotFoundException", "can't find the value"),
            _ => unknown(),
        }
    })
}

fn store(fake: &FakeAws) -> SecretsManager {
    SecretsManager::new("aws".parse().unwrap(), &fake.account(1))
}

fn version(text: &str) -> Arc<Mutex<String>> {
    Arc::new(Mutex::new(text.to_owned()))
}

#[tokio::test]
async fn a_value_is_read_once_and_taken_out_of_everything() {
    let fake = holding(&version("v1"), "hunter2-hunter2");
    let (store, cx) = (store(&fake), cx());
    let reference = store.resolve(&cx, "db").await.unwrap();
    for _ in 0..3 {
        assert_eq!(store.get(&cx, &reference).await.unwrap().expose(), "hunter2-hunter2");
    }
    let other = crate::fake::cx();
    store.get(&other, &reference).await.unwrap();
    assert_eq!(fake.operations(), ["DescribeSecret", "GetSecretValue"]);
    for cx in [&cx, &other] {
        assert_eq!(cx.redactor().redact("hunter2-hunter2"), "[redacted]");
    }
    assert!(!format!("{store:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_rotation_after_the_plan_is_noticed() {
    let current = version("v1");
    let fake = holding(&current, "hunter2-hunter2");
    let store = store(&fake);
    let reference = store.resolve(&cx(), "db").await.unwrap();
    *current.lock().unwrap() = "v2".to_owned();
    let error = store.get(&cx(), &reference).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.report().contains("now `v2`") && error.report().contains("v1"), "{error:?}");
}

#[tokio::test]
async fn a_version_that_left_its_stage_is_given_only_where_that_is_allowed() {
    let fake = holding(&version("v1"), "hunter2-hunter2");
    let kept = SecretRef::new("aws".parse().unwrap(), "db", "kept");
    assert_eq!(store(&fake).get(&cx(), &kept).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(store(&fake).allow_rotated().get(&cx(), &kept).await.unwrap().expose(), "hunter2-hunter2");
}

#[tokio::test]
async fn fields_of_a_json_secret_have_names_and_errors_show_nothing_of_it() {
    let fake = holding(&version("v1"), r#"{"user":"app","password":"hunter2-hunter2","port":5432,"tls":{}}"#);
    let store = store(&fake);
    let get = async |name: &str| {
        let reference = store.resolve(&cx(), name).await.unwrap();
        store.get(&cx(), &reference).await
    };
    assert_eq!(get("db#password").await.unwrap().expose(), "hunter2-hunter2");
    assert_eq!(get("db#port").await.unwrap().expose(), "5432");
    for (field, kind) in [("db#tls", ErrorKind::InvalidInput), ("db#other", ErrorKind::NotFound)] {
        let error = get(field).await.unwrap_err();
        assert_eq!(error.kind(), kind);
        assert!(!error.report().contains("hunter2"), "{error:?}");
    }
}

#[tokio::test]
async fn a_put_outside_of_a_run_makes_a_version_each_time_and_its_id_says_nothing_of_the_value() {
    let fake = FakeAws::new(|asked| match asked.operation.as_str() {
        "PutSecretValue" => Answer::json(&json!({"Name": "db"})),
        _ => unknown(),
    });
    let value = Secret::new("hunter2-hunter2".to_owned());
    let first = store(&fake).put(&cx(), "db", &value).await.unwrap();
    let second = store(&fake).put(&cx(), "db", &value).await.unwrap();
    assert_ne!(first.version, second.version);
    let sent: Vec<_> = fake.asked().into_iter().map(|asked| asked.body["ClientRequestToken"].clone()).collect();
    assert_eq!(sent, [first.version.as_str(), second.version.as_str()]);
    assert!((32..=64).contains(&first.version.len()));
    assert_ne!(first.version, Digest::of("hunter2-hunter2").to_hex());
}

#[tokio::test]
async fn another_value_of_the_same_step_is_refused_by_name() {
    let fake = FakeAws::new(|asked| match asked.operation.as_str() {
        "PutSecretValue" => Answer::refusal(400, "ResourceExistsException", "already there with other content"),
        _ => unknown(),
    });
    let error = store(&fake).put(&cx(), "db", &Secret::new("hunter2-hunter2".to_owned())).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::AlreadyExists, Effect::None));
    assert!(error.message().contains("`db`"), "{error:?}");
}
