//! The same over HTTP: the SDK's own client, as in production, against what AWS documents of `CloudFront`.

use ecolaura_deploy_core::{Secret, backend::Invalidation};

use super::*;
use crate::Connect;

async fn before(address: std::net::SocketAddr) -> S3Cdn {
    let connect = Connect::new().region("eu-central-1").endpoint(format!("http://{address}")).path_style();
    let account = connect.keys("AKIAFAKE", Secret::new("fake-secret-key".to_owned())).connect(&cx()).await.unwrap();
    S3Cdn::new(Name::new("web").unwrap(), account, BUCKET).prefix("site").distribution("E1")
}

fn paths(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("/{number:05}")).collect()
}

#[tokio::test]
async fn a_publish_a_second_one_and_the_way_back_go_over_http() {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    let server = s3.serve().await;
    let cdn = before(server.address).await;
    s3.cloudfront().lasts = 1;
    let options = PublishOptions::default();
    let first = publish(&cx(), &cdn, &site(dir.path(), 1).await, &options).await.unwrap();
    let second = publish(&cx(), &cdn, &site(dir.path(), 2).await, &options).await.unwrap();
    assert_eq!((second.invalidated.len(), s3.cloudfront().invalidations.len()), (2, 2));
    assert_eq!(s3.cloudfront().invalidations["I2"].left, 0, "it was in progress, and waited for");
    switch_back(&cx(), &cdn, Some(first.release)).await.unwrap();
    assert!(text(&s3, "site/index.html").starts_with(&script(1)));
    assert_eq!(s3.cloudfront().invalidations.len(), 3);
}

#[tokio::test]
async fn a_reference_is_one_invalidation_and_other_paths_under_it_are_a_conflict() {
    let s3 = FakeS3::new();
    let server = s3.serve().await;
    let cdn = before(server.address).await;
    for _ in 0..3 {
        cdn.invalidate(&cx(), &Invalidation::new("a", paths(2))).await.unwrap();
    }
    assert_eq!(s3.cloudfront().invalidations.len(), 1);
    let error = cdn.invalidate(&cx(), &Invalidation::new("a", paths(3))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{}", error.report());
}

#[tokio::test]
async fn more_than_3000_files_or_15_wildcards_in_progress_wait_for_their_turn() {
    let wildcards = |count: usize| -> Vec<String> { (0..count).map(|number| format!("/{number}/*")).collect() };
    for (under_way, next) in [(paths(3000), paths(1)), (wildcards(15), wildcards(1))] {
        let s3 = FakeS3::new();
        let server = s3.serve().await;
        let cdn = before(server.address).await;
        s3.cloudfront().lasts = 2;
        let patience = cdn.clone().invalidated_within(std::time::Duration::ZERO);
        let error = patience.invalidate(&cx(), &Invalidation::new("a", under_way)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{}", error.report());
        let refused = patience.invalidate(&cx(), &Invalidation::new("b", next.clone())).await.unwrap_err();
        assert!(refused.report().contains("others are in progress"), "{}", refused.report());
        assert_eq!(s3.cloudfront().invalidations.len(), 1);
        s3.cloudfront().lasts = 0;
        cdn.invalidate(&cx(), &Invalidation::new("b", next)).await.unwrap();
        assert_eq!(s3.cloudfront().invalidations.len(), 2);
    }
}
