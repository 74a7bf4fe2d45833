//! Each example as its user has it.

use aws_sdk_s3::types::{BucketLocationConstraint, CreateBucketConfiguration};
use ecolaura_deploy_core::{
    Context,
    testing::servers::{installed, named},
};
use serde_json::Value;

use super::example::{Example, Run};

const REGION: &str = "eu-central-1";

/// An example in the account that is played.
fn example(name: &'static str, endpoint: &str) -> Example {
    Example::new(name)
        .with("AWS_ENDPOINT_URL", endpoint)
        .with("AWS_REGION", REGION)
        .with("AWS_ACCESS_KEY_ID", "ecolaura")
        .with("AWS_SECRET_ACCESS_KEY", "a-key-for-tests")
}

#[test]
fn an_image_goes_to_ecr_and_its_scan_is_looked_at() {
    let Some(endpoint) = named("ECOLAURA_TEST_AWS") else { return };
    let push = example("push_image", &endpoint);
    let run = push.run(&["--ecr"]);
    run.ends_with(0);
    assert!(run.output.contains("deploy ecolaura/backend@sha256:"), "{run}");
    let run = push.run(&["--ecr"]);
    run.ends_with(0);
    assert!(run.output.contains("nothing to do"), "{run}");
}

#[tokio::test]
async fn a_react_site_is_built_and_goes_to_a_bucket() {
    let Some(endpoint) = named("ECOLAURA_TEST_AWS") else { return };
    if !installed("npm") {
        return;
    }
    let bucket = format!("ecolaura-react-{}", std::process::id());
    let s3 = s3(&endpoint).await;
    let place = CreateBucketConfiguration::builder().location_constraint(BucketLocationConstraint::EuCentral1).build();
    s3.create_bucket().bucket(&bucket).create_bucket_configuration(place).send().await.unwrap();

    let publish = example("publish_frontend", &endpoint);
    let run = publish.run(&["--react", "--s3", &bucket]);
    run.ends_with(0);
    let objects = s3.list_objects_v2().bucket(&bucket).prefix("site/").send().await.unwrap();
    let keys: Vec<&str> = objects.contents().iter().filter_map(|object| object.key()).collect();
    let script = keys.iter().find(|key| key.starts_with("site/assets/index-") && key.contains(".js"));
    let head = s3.head_object().bucket(&bucket).key(*script.unwrap()).send().await.unwrap();
    assert_eq!(head.content_type(), Some("text/javascript; charset=utf-8"), "{keys:?}");
    assert!(head.cache_control().is_some_and(|value| value.contains("immutable")), "{head:?}");
    let page = s3.head_object().bucket(&bucket).key("site/index.html").send().await.unwrap();
    assert!(page.cache_control().is_some_and(|value| !value.contains("immutable")), "{page:?}");
    let run = publish.run(&["--react", "--s3", &bucket]);
    run.ends_with(0);
    assert!(run.output.contains("nothing to do"), "{run}");

    let run = publish.run(&["--react", "--s3", &bucket, "--cloudfront", "ENOSUCH"]);
    run.ends_with(2);
    assert!(run.output.contains("distribution/ENOSUCH"), "{run}");
}

async fn s3(endpoint: &str) -> aws_sdk_s3::Client {
    let account = ecolaura_deploy_aws::Connect::new()
        .region(REGION)
        .endpoint(endpoint)
        .path_style()
        .keys("ecolaura", ecolaura_deploy_core::Secret::new("a-key-for-tests".to_owned()))
        .connect(&Context::new("dev".parse().unwrap()))
        .await
        .unwrap();
    let config = aws_sdk_s3::config::Builder::from(account.sdk_config()).force_path_style(true).build();
    aws_sdk_s3::Client::from_conf(config)
}

#[test]
fn a_secret_is_used_and_never_shown() {
    let Some(endpoint) = named("ECOLAURA_TEST_AWS") else { return };
    let secrets = example("secrets", &endpoint);
    let name = format!("ecolaura/example-{}", std::process::id());
    let version = |run: &Run| run.output.split("has version ").nth(1).unwrap().lines().next().unwrap().to_owned();
    let seen: Vec<String> = ["hunter2-hunter2", "hunter3-hunter3"]
        .into_iter()
        .map(|value| {
            let run = secrets.hears(&["--aws", &name, "--put"], value);
            run.ends_with(0);
            assert!(!run.output.contains("hunter") && run.output.contains("[redacted]"), "{run}");
            version(&run)
        })
        .collect();
    assert_ne!(seen[0], seen[1], "a new value is a new version");
    let run = secrets.run(&["--aws", "ecolaura/none"]);
    run.ends_with(2);
    assert!(run.output.contains("ecolaura/none"), "{run}");
}

#[test]
fn a_policy_is_written_without_asking_anybody() {
    let run = example("iam_policy", "http://127.0.0.1:9").run(&["--account", "444455556666"]);
    run.ends_with(0);
    let documents: Value = serde_json::from_str(&run.output).unwrap();
    assert!(
        documents["policy"].to_string().contains("arn:aws:ecr:eu-central-1:444455556666:repository/ecolaura/backend")
    );
    assert!(documents["trust"]["github"].to_string().contains("repo:ecolaura/platform:environment:production"));
}
