//! What killed publishes leave.

use std::time::Duration;

use ecolaura_deploy_core::backend::Inspect as _;

use super::*;

/// Objects are written long ago, or now.
fn long_ago(s3: &FakeS3, yes: bool) {
    s3.at(if yes { 0 } else { cx().clock().now().as_second() });
}

async fn kinds(cdn: &S3Cdn) -> Vec<String> {
    let left = cdn.leftovers(&cx()).await.unwrap();
    left.into_iter().map(|leftover| leftover.kind).collect()
}

#[tokio::test]
async fn what_a_killed_publish_sent_is_left_over_and_what_is_served_is_not() {
    for prefix in ["site", ""] {
        left_over_below(prefix).await;
    }
}

async fn left_over_below(prefix: &str) {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    let cdn = || cdn(&s3).prefix(prefix);
    let below = |key: &str| format!("{prefix}/{key}").trim_start_matches('/').to_owned();
    assert_eq!(kinds(&cdn()).await, [] as [&str; 0]);
    long_ago(&s3, true);
    for number in 1..=2 {
        publish(&cx(), &cdn(), &site(dir.path(), number).await, &PublishOptions::default()).await.unwrap();
    }
    s3.plant(&below("notes-of-somebody.txt"), "theirs");
    s3.plant("elsewhere.txt", "theirs");
    let kept = s3.keys();
    assert_eq!(kinds(&cdn()).await, [] as [&str; 0], "below `{prefix}`");

    for old in [false, true] {
        long_ago(&s3, old);
        let next = site(dir.path(), 3).await;
        send(&cdn(), &next).await;
        s3.begin_upload(&format!(".ecolaura-deploy/web/objects/{}", Digest::of("large").to_hex()));
        cdn().write_manifest((&cx(), "test"), next.manifest()).await.unwrap();
        let found = kinds(&cdn()).await;
        match old {
            false => assert_eq!(found, [] as [&str; 0], "what was sent lately may be switched to"),
            true => assert_eq!(found, ["half upload", "half upload", "half release"], "the rest is not so old"),
        }
    }
    let all = cdn().grace(Duration::ZERO);
    let mut assets = all.leftovers(&cx()).await.unwrap();
    for leftover in &assets {
        all.clean(&cx(), leftover).await.unwrap();
        all.clean(&cx(), leftover).await.unwrap();
    }
    assets.retain(|leftover| leftover.kind == "unnamed asset");
    let urls: Vec<_> = assets.into_iter().map(|leftover| leftover.object).collect();
    assert_eq!(urls, [format!("s3://{BUCKET}/{}", below(&script(3)))]);
    assert_eq!((s3.keys(), s3.uploads()), (kept, 0));
}

#[tokio::test]
async fn at_the_root_of_a_bucket_an_upload_of_others_is_theirs() {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    release(&s3, dir.path(), 1).await;
    s3.begin_upload("site/large.wasm");
    s3.begin_upload("backups/large.tar");
    assert_eq!(kinds(&cdn(&s3)).await, ["half upload"]);
    let s3 = FakeS3::new();
    let root = cdn(&s3).prefix("");
    publish(&cx(), &root, &site(dir.path(), 1).await, &PublishOptions::default()).await.unwrap();
    s3.begin_upload("backups/large.tar");
    assert_eq!(kinds(&root).await, [] as [&str; 0]);
}

#[tokio::test]
async fn no_state_is_left_over_for_another_site_of_its_name() {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    release(&s3, dir.path(), 1).await;
    let root = cdn(&s3).prefix("").state("elsewhere");
    publish(&cx(), &root, &site(dir.path(), 1).await, &PublishOptions::default()).await.unwrap();
    let left = root.leftovers(&cx()).await.unwrap();
    assert!(left.iter().all(|leftover| !leftover.object.contains("/.ecolaura-deploy/")), "{left:?}");
}

#[tokio::test]
async fn a_site_that_lost_its_state_loses_nothing_more() {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    release(&s3, dir.path(), 1).await;
    s3.take(".ecolaura-deploy/web/live.json");
    assert_eq!(kinds(&cdn(&s3)).await, [] as [&str; 0]);
}
