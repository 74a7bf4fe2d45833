use std::{fs, path::Path};

use tokio::io::AsyncReadExt as _;

use super::*;
use crate::{
    backend::{ImageBuilder as _, ImageEntry, ImageSpec},
    local::image::LayoutBuilder,
    vocabulary::Platform,
};

mod leftovers;
mod processes;

fn cx() -> Context {
    Context::new("dev".parse().unwrap())
}

fn registry(dir: &Path) -> LayoutRegistry {
    LayoutRegistry::new(dir.join("registry"), "registry".parse().unwrap())
}

fn repository() -> Repository {
    "ecolaura/backend".parse().unwrap()
}

/// An image with one layer that holds `content`, with a bill.
async fn build(dir: &Path, content: &str) -> BuiltImage {
    let (file, lock) = (dir.join("file"), dir.join("Cargo.lock"));
    fs::write(&file, content).unwrap();
    fs::write(&lock, "version = 4\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\n").unwrap();
    let spec = ImageSpec::new(Platform::current()).layer([ImageEntry::new(file, "/file")]).lock_file(lock);
    let builder = LayoutBuilder::new(dir.join("images"), "builder".parse().unwrap());
    builder.build(&cx(), &spec).await.unwrap()
}

#[cfg(feature = "test-util")]
#[tokio::test]
async fn conforms() {
    use std::sync::Arc;

    use crate::testing::conformance::registry::{Fixture, suite};
    for immutable in [false, true] {
        suite(async || {
            let dir = tempfile::tempdir().unwrap();
            let make = || if immutable { registry(dir.path()).immutable_tags() } else { registry(dir.path()) };
            let other = Arc::new(make());
            Fixture::new(Arc::new(make()), dir).other(other)
        })
        .await;
    }
}

/// The file of the layer of the image `digest`.
fn layer(layout: &Layout, digest: Digest) -> std::path::PathBuf {
    layout.blob(layout.manifest("test", digest).unwrap().layers[0].digest)
}

#[tokio::test]
async fn a_damaged_blob_is_named_and_comes_back_with_the_next_push() {
    let dir = tempfile::tempdir().unwrap();
    let (registry, image) = (registry(dir.path()), build(dir.path(), "content").await);
    let pinned = registry.push(&cx(), &image, &repository()).await.unwrap();
    let layout = registry.layout(&repository());
    let path = layer(&layout, image.digest);
    let digest: Digest = format!("sha256:{}", path.file_name().unwrap().to_str().unwrap()).parse().unwrap();
    let mut bytes = fs::read(&path).unwrap();
    bytes[20] ^= 1;
    fs::write(&path, &bytes).unwrap();

    let mut blob = registry.blob(&cx(), &repository(), &digest).await.unwrap();
    let error = blob.read_to_end(&mut Vec::new()).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
    for part in [path.display().to_string(), digest.to_string(), Digest::of(&bytes).to_string()] {
        assert!(error.to_string().contains(&part), "{error}");
    }

    assert!(registry.contains(&cx(), &pinned).await.unwrap(), "its size is right");
    fs::remove_file(&path).unwrap();
    assert!(!registry.contains(&cx(), &pinned).await.unwrap());
    registry.push(&cx(), &image, &repository()).await.unwrap();
    assert!(registry.contains(&cx(), &pinned).await.unwrap());
    let mut blob = registry.blob(&cx(), &repository(), &digest).await.unwrap();
    blob.read_to_end(&mut Vec::new()).await.unwrap();
}

#[tokio::test]
async fn a_push_replaces_what_is_damaged_also_where_the_size_is_right() {
    let dir = tempfile::tempdir().unwrap();
    let (registry, image) = (registry(dir.path()), build(dir.path(), "content").await);
    registry.push(&cx(), &image, &repository()).await.unwrap();
    let path = layer(&registry.layout(&repository()), image.digest);
    let good = fs::read(&path).unwrap();
    fs::write(&path, vec![0; good.len()]).unwrap();
    registry.push(&cx(), &image, &repository()).await.unwrap();
    assert_eq!(fs::read(&path).unwrap(), good);
}

#[tokio::test]
async fn the_image_is_not_there_without_what_is_attached_to_it() {
    let dir = tempfile::tempdir().unwrap();
    let (registry, image) = (registry(dir.path()), build(dir.path(), "content").await);
    let pinned = registry.push(&cx(), &image, &repository()).await.unwrap();
    let attached = registry.referrers(&cx(), &pinned).await.unwrap();
    fs::remove_file(registry.layout(&repository()).blob(attached[0].1)).unwrap();
    assert!(!registry.contains(&cx(), &pinned).await.unwrap());
    registry.push(&cx(), &image, &repository()).await.unwrap();
    assert_eq!(registry.referrers(&cx(), &pinned).await.unwrap(), attached);
}

#[tokio::test]
async fn a_damaged_index_is_named_with_the_place() {
    let dir = tempfile::tempdir().unwrap();
    let (registry, image) = (registry(dir.path()), build(dir.path(), "content").await);
    registry.push(&cx(), &image, &repository()).await.unwrap();
    fs::write(registry.layout(&repository()).dir().join("index.json"), "{\"schemaVersion\": 2,").unwrap();
    let tag = "v1".parse().unwrap();
    let error = registry.resolve(&cx(), &repository(), &tag).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.report().contains("index.json") && error.report().contains("line 1"), "{}", error.report());
}

#[tokio::test]
async fn a_folder_that_holds_something_else_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (registry, image) = (registry(dir.path()), build(dir.path(), "content").await);
    let folder = registry.layout(&repository()).dir().to_owned();
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("letter.txt"), "dear").unwrap();
    let error = registry.push(&cx(), &image, &repository()).await.unwrap_err();
    assert!(error.kind() == ErrorKind::InvalidInput && error.report().contains("letter.txt"), "{}", error.report());
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
}

#[tokio::test]
async fn the_newest_epoch_is_an_annotation_of_the_index() {
    let dir = tempfile::tempdir().unwrap();
    let (registry, image) = (registry(dir.path()), build(dir.path(), "content").await);
    registry.push(&cx().with_epoch(5), &image, &repository()).await.unwrap();
    let path = registry.layout(&repository()).dir().join("index.json");
    let read = || serde_json::from_slice::<serde_json::Value>(&fs::read(&path).unwrap()).unwrap();
    let mut index = read();
    assert!(index.get("annotations").is_none(), "a push by digest leaves no epoch: {index}");
    index["annotations"] = serde_json::json!({"org.example.owner": "somebody"});
    fs::write(&path, index.to_string()).unwrap();

    let change = TagChange::new(repository(), "v1".parse().unwrap(), Some(image.digest));
    registry.set_tag(&cx().with_epoch(5), &change).await.unwrap();
    registry.push(&cx(), &build(dir.path(), "other").await, &repository()).await.unwrap();
    let expected = serde_json::json!({"org.example.owner": "somebody", "com.ecolaura.deploy.epoch.dev": "5"});
    assert_eq!(read()["annotations"], expected);

    let mut index = read();
    index["annotations"]["com.ecolaura.deploy.epoch.dev"] = "five".into();
    fs::write(&path, index.to_string()).unwrap();
    let error = registry.set_tag(&cx().with_epoch(6), &change).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Corrupt && error.report().contains("`five`"), "{}", error.report());
}
