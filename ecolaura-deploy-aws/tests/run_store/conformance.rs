//! The suite of `RunStore`.

use std::sync::Arc;

use ecolaura_deploy_aws::S3RunStore;
use ecolaura_deploy_core::{
    ErrorKind,
    store::{Created, RunStore as _},
    testing::conformance::run_store::suite,
};

use super::{
    servers::{account, bucket, client, cx, endpoints},
    store,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_conforms_on_each_server() {
    for endpoint in endpoints() {
        let account = account(&endpoint).await;
        suite(async || Arc::new(store(&account).await)).await;
    }
}

#[tokio::test]
async fn a_bucket_with_versions_is_as_good_as_any() {
    use aws_sdk_s3::types::{BucketVersioningStatus, VersioningConfiguration};
    for endpoint in endpoints() {
        let account = account(&endpoint).await;
        let bucket = bucket(&account).await;
        let versions = VersioningConfiguration::builder().status(BucketVersioningStatus::Enabled).build();
        let request = client(&account).put_bucket_versioning().bucket(&bucket).versioning_configuration(versions);
        // A server that keeps no versions has nothing to be tested.
        if request.send().await.is_err() {
            continue;
        }
        let store = S3RunStore::open(&cx(), &account, &bucket, "").await.unwrap();
        assert_eq!(store.create("a/1", "one".into()).await.unwrap(), Created::Yes);
        store.remove("a/1").await.unwrap();
        assert!(store.list("a").await.unwrap().is_empty() && store.get("a/1").await.unwrap().is_none());
        assert_eq!(store.create("a/1", "two".into()).await.unwrap(), Created::Yes);
        assert_eq!(store.create("a/1", "one".into()).await.unwrap(), Created::Exists, "an older version is no object");
    }
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_named() {
    for endpoint in endpoints() {
        let account = account(&endpoint).await;
        let error = S3RunStore::open(&cx(), &account, "no-such-bucket-of-ours", "runs").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{}", error.report());
        assert!(error.report().contains("no-such-bucket-of-ours"), "{}", error.report());
    }
}
