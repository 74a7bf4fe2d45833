//! What killed publishes leave.

use super::*;
use crate::{
    backend::{Inspect as _, SiteManifest, SiteObject, UploadRequest},
    leftovers::tests::{Worker, clean_all, dir_of_worker, endless_file, found, holds, kinds, later},
    vocabulary::{CacheControl, Digest},
};

fn object(content: &str) -> SiteObject {
    SiteObject::new(Digest::of(content), content.len() as u64, "text/plain", CacheControl::Immutable)
}

async fn upload(dir: &Path, name: &str, content: &str) -> bool {
    cdn(dir).upload(&cx(), &UploadRequest::new(name, dir.join(name), object(content))).await.unwrap()
}

/// Does nothing unless it was started by the test below.
#[tokio::test]
async fn worker() {
    let Some(dir) = dir_of_worker() else { return };
    upload(&dir, "one", "one").await;
    upload(&dir, "endless", "endless").await;
}

#[tokio::test]
async fn what_a_killed_publish_sent_is_left_over_and_what_is_served_is_not() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(found(&cdn(dir.path()), &later(2)).await, []);
    assert!(!dir.path().join("site").exists(), "looking makes nothing");
    release(dir.path(), 1).await;
    release(dir.path(), 2).await;
    let kept = tree(&dir.path().join("site"));
    assert_eq!(found(&cdn(dir.path()), &later(2)).await, []);

    fs::write(dir.path().join("one"), "one").unwrap();
    let pipe = endless_file(&dir.path().join("endless"));
    let mut worker = Worker::start("local::cdn::tests::leftovers::worker", dir.path());
    let sent = dir.path().join("site/incoming");
    let one = cdn(dir.path()).store.object(Digest::of("one"));
    worker.until(|| one.exists() && holds(&sent, |_| true));
    assert_eq!(found(&cdn(dir.path()), &later(2)).await, [], "an upload is under way");
    worker.kill();
    drop(pipe);

    assert_eq!(kinds(&cdn(dir.path()), &cx()).await, ["staged file"], "what was sent lately may be switched to");
    assert_eq!(kinds(&cdn(dir.path()), &later(2)).await, ["staged file", "unnamed object"]);
    clean_all(&cdn(dir.path()), &later(2)).await;
    assert_eq!(tree(&dir.path().join("site")), kept);
}

#[tokio::test]
async fn a_release_that_was_written_and_not_switched_to_is_half() {
    let dir = tempfile::tempdir().unwrap();
    release(dir.path(), 1).await;
    let kept = tree(&dir.path().join("site"));
    let half = SiteManifest([("x".to_owned(), object("x"))].into());
    cdn(dir.path()).store.write_manifest("test", &half).unwrap();
    let lock = cdn(dir.path()).store.lock(&cx()).await.unwrap();
    assert_eq!(found(&cdn(dir.path()), &later(2)).await, [], "somebody is about to switch");
    drop(lock);
    let name = format!("{}.json", half.id().to_hex());
    assert_eq!(found(&cdn(dir.path()), &cx()).await, [("half release".to_owned(), name)]);
    clean_all(&cdn(dir.path()), &cx()).await;
    assert_eq!(tree(&dir.path().join("site")), kept);
}

#[tokio::test]
async fn an_object_that_a_publish_counts_on_is_new_again() {
    let dir = tempfile::tempdir().unwrap();
    release(dir.path(), 1).await;
    fs::write(dir.path().join("one"), "one").unwrap();
    assert!(upload(dir.path(), "one", "one").await);
    let file = fs::File::open(cdn(dir.path()).store.object(Digest::of("one"))).unwrap();
    let old = file.metadata().unwrap().modified().unwrap() - std::time::Duration::from_hours(3);
    file.set_modified(old).unwrap();
    let left = cdn(dir.path()).leftovers(&cx()).await.unwrap();
    assert_eq!(left.len(), 1);
    assert!(!upload(dir.path(), "one", "one").await, "it is stored already");
    cdn(dir.path()).clean(&cx(), &left[0]).await.unwrap();
    assert!(cdn(dir.path()).store.holds(Digest::of("one"), 3));
    assert_eq!(found(&cdn(dir.path()), &cx()).await, []);
}
