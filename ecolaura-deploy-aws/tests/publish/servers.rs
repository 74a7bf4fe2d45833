//! Servers that speak S3, and buckets on them.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use ecolaura_deploy_aws::{Account, Connect};
use ecolaura_deploy_core::{Context, Secret};

pub(crate) const REGION: &str = "eu-central-1";
const KEY: &str = "ecolaura";
const SECRET: &str = "a-key-for-tests";

/// The server that `variable` names. One that is missing is said, or is a failure where nothing may be left out.
#[expect(clippy::print_stderr, reason = "what is left out is said")]
pub(crate) fn named(variable: &str) -> Option<String> {
    let address = std::env::var(variable).ok().filter(|address| !address.is_empty());
    if address.is_none() {
        let strict = std::env::var("ECOLAURA_TEST_STRICT").is_ok_and(|value| value == "1");
        assert!(!strict, "{variable} is not set: run the tests by .ci/with-servers");
        eprintln!("left out: {variable} is not set; .ci/with-servers starts the server");
    }
    address
}

/// The servers that there are.
pub(crate) fn endpoints() -> Vec<String> {
    let moto = named("ECOLAURA_TEST_AWS");
    real_endpoints().into_iter().chain(moto).collect()
}

/// The servers that answer with S3's own documents, `MinIO` where there is time for it. moto's have other names in
/// places, which the SDK does not read.
pub(crate) fn real_endpoints() -> Vec<String> {
    let minio = std::env::var("ECOLAURA_TEST_MINIO").ok().filter(|address| !address.is_empty());
    named("ECOLAURA_TEST_S3").into_iter().chain(minio).collect()
}

pub(crate) fn cx() -> Context {
    Context::new("test".parse().unwrap()).with_deadline_in(Duration::from_mins(5))
}

pub(crate) async fn account(endpoint: &str) -> Account {
    let connect = Connect::new().region(REGION).endpoint(endpoint).path_style();
    connect.keys(KEY, Secret::new(SECRET.to_owned())).connect(&cx()).await.unwrap()
}

pub(crate) fn client(account: &Account) -> aws_sdk_s3::Client {
    let config = aws_sdk_s3::config::Builder::from(account.sdk_config()).force_path_style(true).build();
    aws_sdk_s3::Client::from_conf(config)
}

/// A new bucket.
pub(crate) async fn bucket(account: &Account) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos();
    let name = format!("bucket-{}-{now}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let place = aws_sdk_s3::types::CreateBucketConfiguration::builder().location_constraint(REGION.into()).build();
    client(account).create_bucket().bucket(&name).create_bucket_configuration(place).send().await.unwrap();
    name
}
