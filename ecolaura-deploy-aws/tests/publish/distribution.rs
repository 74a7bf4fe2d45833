//! `CloudFront` as moto plays it. That the same reference is one invalidation, and that others may be in progress, moto
//! does not do: the crate's own tests have a fake for it.

use aws_sdk_cloudfront::{
    Client,
    types::{DefaultCacheBehavior, DistributionConfig, Origin, Origins, S3OriginConfig, ViewerProtocolPolicy},
};
use ecolaura_deploy_aws::Account;
use ecolaura_deploy_core::{
    ErrorKind,
    backend::{CdnPublisher as _, Invalidation},
    testing::servers::named,
};

use super::support::{account, cdn, cx};

/// A new distribution before `bucket`.
async fn distribution(account: &Account, bucket: &str) -> (Client, String) {
    let client = Client::new(account.sdk_config());
    let domain = format!("{bucket}.s3.amazonaws.com");
    let access = S3OriginConfig::builder().origin_access_identity("").build();
    let origin = Origin::builder().id("site").domain_name(domain).origin_path("/site").s3_origin_config(access);
    let origins = Origins::builder().quantity(1).items(origin.build().unwrap()).build().unwrap();
    let behavior = DefaultCacheBehavior::builder()
        .target_origin_id("site")
        .viewer_protocol_policy(ViewerProtocolPolicy::RedirectToHttps)
        .build()
        .unwrap();
    let config = DistributionConfig::builder()
        .caller_reference(bucket)
        .comment("site")
        .enabled(true)
        .origins(origins)
        .default_cache_behavior(behavior)
        .build()
        .unwrap();
    let made = client.create_distribution().distribution_config(config).send().await.unwrap();
    (client, made.distribution.unwrap().id)
}

#[tokio::test]
async fn a_distribution_is_told_which_paths_to_forget() {
    let Some(endpoint) = named("ECOLAURA_TEST_AWS") else { return };
    let account = account(&endpoint).await;
    let cdn = cdn(&endpoint).await;
    let (client, id) = distribution(&account, cdn.bucket()).await;
    let wish = Invalidation::new("reference", vec!["/".into(), "/index.html".into(), "/%C3%BC%20x".into()]);
    cdn.clone().distribution(&id).invalidate(&cx(), &wish).await.unwrap();
    let listed = client.list_invalidations().distribution_id(&id).send().await.unwrap().invalidation_list.unwrap();
    let made = listed.items()[0].id();
    let found = client.get_invalidation().distribution_id(&id).id(made).send().await.unwrap().invalidation.unwrap();
    let batch = found.invalidation_batch.unwrap();
    assert_eq!(batch.caller_reference(), "reference");
    assert_eq!(batch.paths().unwrap().items(), ["/", "/index.html", "/%C3%BC%20x"]);

    let error = cdn.distribution("ENOSUCH").invalidate(&cx(), &wish).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{}", error.report());
    assert!(error.report().contains("distribution/ENOSUCH"), "{}", error.report());
}
