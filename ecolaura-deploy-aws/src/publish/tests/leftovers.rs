//! What killed publishes leave.

use std::time::Duration;

use ecolaura_deploy_core::backend::Inspect as _;

use super::*;

/// Objects are written long ago, or now.
fn long_ago(s3: &FakeS3, yes: bool) {
    s3.at(if yes { 0 } else { cx().clock().now().as_second() });
}

async fn kinds(s3: &FakeS3) -> Vec<String> {
    let left = cdn(s3).leftovers(&cx()).await.unwrap();
    left.into_iter().map(|leftover| leftover.kind).collect()
}

#[tokio::test]
async fn what_a_killed_publish_sent_is_left_over_and_what_is_served_is_not() {
    let (s3, dir) = (FakeS3::new(), tempfile::tempdir().unwrap());
    assert_eq!(kinds(&s3).await, [] as [&str; 0]);
    long_ago(&s3, true);
    release(&s3, dir.path(), 1).await;
    release(&s3, dir.path(), 2).await;
    s3.plant("site/notes-of-somebody.txt", "theirs");
    s3.plant("elsewhere.txt", "theirs");
    let kept = s3.keys();
    assert_eq!(kinds(&s3).await, [] as [&str; 0]);

    for old in [false, true] {
        long_ago(&s3, old);
        let next = site(dir.path(), 3).await;
        for (key, object) in &next.manifest().0 {
            cdn(&s3).upload(&cx(), &UploadRequest::new(key, &next.files()[key], object.clone())).await.unwrap();
        }
        s3.begin_upload("site/large.wasm");
        cdn(&s3).write_manifest((&cx(), "test"), next.manifest()).await.unwrap();
        let found = kinds(&s3).await;
        match old {
            false => assert_eq!(found, [] as [&str; 0], "what was sent lately may be switched to"),
            true => assert_eq!(found, ["half upload", "half upload", "half release"], "the rest is not so old"),
        }
    }
    let all = cdn(&s3).grace(Duration::ZERO);
    for leftover in all.leftovers(&cx()).await.unwrap() {
        all.clean(&cx(), &leftover).await.unwrap();
        all.clean(&cx(), &leftover).await.unwrap();
    }
    assert_eq!((s3.keys(), s3.uploads()), (kept, 0));
}
