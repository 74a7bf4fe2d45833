//! A prune beside a publisher that does not hold the lock.

use super::*;

const LIVE: &str = "PUT .ecolaura-deploy/web/live.json";

fn manifest_of(site: &PreparedSite) -> String {
    format!("PUT .ecolaura-deploy/web/releases/{}.json", site.release().to_hex())
}

fn lately(s3: &FakeS3) {
    s3.at(cx().clock().now().as_second());
}

#[tokio::test]
async fn a_release_that_somebody_is_about_to_switch_to_is_spared_with_all_that_it_names() {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    let shared = source(dir.path(), 0).file("shared.0123abcd.css", "a {}").prepare(&cx()).await.unwrap();
    publish(&cx(), &cdn(&s3), &shared, &PublishOptions::default()).await.unwrap();
    let first = release(&s3, dir.path(), 1).await.release;
    lately(&s3);
    let next = source(dir.path(), 2).file("shared.0123abcd.css", "a {}").prepare(&cx()).await.unwrap();
    send(&cdn(&s3), &next).await;
    cdn(&s3).write_manifest((&cx(), "test"), next.manifest()).await.unwrap();
    assert_eq!(cdn(&s3).prune(&cx(), 1).await.unwrap(), [script(0)]);
    cdn(&s3).activate(&cx(), &Activation::new(next.manifest().clone(), Some(first))).await.unwrap();
    let history = cdn(&s3).history(&cx()).await.unwrap();
    assert_eq!(history.live_manifest(), Some(next.manifest()));
    assert!(cdn(&s3).missing(&cx(), next.manifest()).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_publisher_that_was_slower_than_the_grace_never_serves_what_was_pruned() {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    let first = release(&s3, dir.path(), 1).await.release;
    let next = site(dir.path(), 2).await;
    send(&cdn(&s3), &next).await;
    let (slow, cx, activation) = (cdn(&s3), cx(), Activation::new(next.manifest().clone(), Some(first)));
    let mut activating = slow.activate(&cx, &activation);
    let line = manifest_of(&next);
    tokio::select! { biased; _ = &mut activating => panic!("it wrote no manifest"), () = asked(&s3, &line) => {} }
    assert_eq!(cdn(&s3).prune(&cx, 1).await.unwrap(), [script(2)]);
    let error = activating.await.unwrap_err();
    assert!(error.kind() == ErrorKind::NotFound && error.report().contains("upload them first"), "{}", error.report());
    let history = cdn(&s3).history(&cx).await.unwrap();
    assert_eq!((history.live, history.releases.len(), history.unfinished), (Some(first), 1, false));
    assert_eq!(publish(&cx, &slow, &next, &PublishOptions::default()).await.unwrap().release, next.release());
}

#[tokio::test]
async fn a_release_that_is_written_down_again_while_a_prune_decides_is_spared() {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    release(&s3, dir.path(), 1).await;
    let second = release(&s3, dir.path(), 2).await.release;
    let (other, cx, first) = (cdn(&s3), cx(), site(dir.path(), 1).await);
    let mut pruning = other.prune(&cx, 1);
    s3.clear_log();
    tokio::select! { biased; _ = &mut pruning => panic!("it noted nothing"), () = asked(&s3, LIVE) => {} }
    lately(&s3);
    cdn(&s3).write_manifest((&cx, "test"), first.manifest()).await.unwrap();
    assert_eq!(pruning.await.unwrap(), [] as [&str; 0]);
    cdn(&s3).activate(&cx, &Activation::new(first.manifest().clone(), Some(second))).await.unwrap();
    assert_eq!(cdn(&s3).history(&cx).await.unwrap().live_manifest(), Some(first.manifest()));
}

#[tokio::test]
async fn what_nobody_switched_to_goes_when_it_is_old_and_then_nothing_is_written() {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    release(&s3, dir.path(), 1).await;
    let kept = s3.keys();
    let next = site(dir.path(), 2).await;
    send(&cdn(&s3), &next).await;
    cdn(&s3).write_manifest((&cx(), "test"), next.manifest()).await.unwrap();
    assert_eq!(cdn(&s3).prune(&cx(), 1).await.unwrap(), [script(2)]);
    assert_eq!(s3.keys(), kept);
    s3.clear_log();
    assert_eq!(cdn(&s3).prune(&cx(), 1).await.unwrap(), [] as [&str; 0]);
    assert!(s3.log().iter().all(|line| line.starts_with("GET")), "{:?}", s3.log());
}
