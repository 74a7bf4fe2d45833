//! Servers that speak S3, and buckets on them.

use std::time::Duration;

use ecolaura_deploy_aws::{Account, Connect};
use ecolaura_deploy_core::{
    Context, Secret,
    testing::servers::{if_named, named, unique},
};

pub(crate) const REGION: &str = "eu-central-1";
const KEY: &str = "ecolaura";
const SECRET: &str = "a-key-for-tests";

/// The servers that there are.
pub(crate) fn endpoints() -> Vec<String> {
    let moto = named("ECOLAURA_TEST_AWS");
    real_endpoints().into_iter().chain(moto).collect()
}

/// The servers that answer with S3's own documents, `MinIO` where there is time for it. moto's have other names in
/// places, which the SDK does not read.
pub(crate) fn real_endpoints() -> Vec<String> {
    named("ECOLAURA_TEST_S3").into_iter().chain(if_named("ECOLAURA_TEST_MINIO")).collect()
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
    let name = unique("bucket");
    let place = aws_sdk_s3::types::CreateBucketConfiguration::builder().location_constraint(REGION.into()).build();
    client(account).create_bucket().bucket(&name).create_bucket_configuration(place).send().await.unwrap();
    name
}
