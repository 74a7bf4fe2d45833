//! What killed pushes leave.

use super::*;
use crate::{
    backend::Inspect as _,
    leftovers::tests::{Worker, clean_all, dir_of_worker, endless_file, found, holds, kinds, later},
};

/// Does nothing unless it was started by the test below.
#[tokio::test]
async fn worker() {
    let Some(dir) = dir_of_worker() else { return };
    let image = fs::read_to_string(dir.join("image")).unwrap();
    let image: BuiltImage = serde_json::from_str(&image).unwrap();
    registry(&dir).push(&cx(), &image, &repository()).await.unwrap();
}

/// The files of the blobs of the registry.
fn blobs(dir: &Path) -> Vec<String> {
    let folder = registry(dir).layout(&repository()).dir().join("blobs/sha256");
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn what_a_killed_push_wrote_is_left_over_and_what_a_living_one_writes_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let registry = registry(dir.path());
    let first = build(dir.path(), "first").await;
    registry.push(&cx(), &first, &repository()).await.unwrap();
    let needed = blobs(dir.path());
    let second = build(dir.path(), "second").await;
    fs::write(dir.path().join("image"), serde_json::to_string(&second).unwrap()).unwrap();
    let layout = Layout::new(&second.layout);
    let layer = layout.blob(layout.manifest("test", second.digest).unwrap().layers[0].digest);
    fs::remove_file(&layer).unwrap();
    let pipe = endless_file(&layer);

    let mut worker = Worker::start("local::registry::tests::leftovers::worker", dir.path());
    let incoming = registry.layout(&repository()).dir().join("incoming");
    worker.until(|| holds(&incoming, |_| true) && blobs(dir.path()).len() > needed.len());
    assert_eq!(kinds(&registry, &later(2)).await, [""; 0], "a push is under way");
    worker.kill();
    drop(pipe);

    assert_eq!(kinds(&registry, &cx()).await, ["staged blob"], "a blob that nothing names has an hour");
    let left = kinds(&registry, &later(2)).await;
    assert_eq!((&*left[0], left.last().unwrap().as_str()), ("staged blob", "unnamed blob"));
    clean_all(&registry, &later(2)).await;
    assert_eq!(blobs(dir.path()), needed);
    let pinned = PinnedImage::new(repository(), first.digest);
    assert!(registry.contains(&cx(), &pinned).await.unwrap());
}

#[tokio::test]
async fn a_push_that_began_meanwhile_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let registry = registry(dir.path());
    let image = build(dir.path(), "content").await;
    registry.push(&cx(), &image, &repository()).await.unwrap();
    let layout = registry.layout(&repository());
    fs::remove_file(layout.dir().join("index.json")).unwrap();
    let left = registry.leftovers(&later(2)).await.unwrap();
    assert!(left.len() >= 4, "{left:?}");
    let writing = layout.writing(&cx(), "test", crate::local::oci::Sweep::Partial).await.unwrap();
    let error = registry.clean(&later(2), &left[0]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.report().contains(&left[0].object), "{}", error.report());
    drop(writing);
    // What is named again by then stays.
    registry.push(&cx(), &image, &repository()).await.unwrap();
    for one in &left {
        registry.clean(&later(2), one).await.unwrap();
    }
    assert!(registry.contains(&cx(), &PinnedImage::new(repository(), image.digest)).await.unwrap());
}

#[tokio::test]
async fn what_an_unreadable_manifest_names_is_not_known() {
    let dir = tempfile::tempdir().unwrap();
    let registry = registry(dir.path());
    let image = build(dir.path(), "content").await;
    registry.push(&cx(), &image, &repository()).await.unwrap();
    fs::write(registry.layout(&repository()).blob(image.digest), "{").unwrap();
    assert_eq!(found(&registry, &later(2)).await, []);
}
