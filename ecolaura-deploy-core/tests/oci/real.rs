use std::sync::Arc;

use ecolaura_deploy_core::{
    backend::{Registry as _, TagChange},
    oci::{Attachment, OciRegistry},
    testing::{
        conformance::registry::{Fixture, suite},
        servers::{named, unique},
    },
    vocabulary::{Digest, PinnedImage, Repository},
};
use tokio::io::AsyncReadExt as _;

use super::{
    cx,
    images::{image, many},
    repository,
    server::FakeRegistry,
    tag,
};

/// A namespace that nothing else uses.
pub(crate) fn namespace() -> Repository {
    unique("test").parse().unwrap()
}

fn fixture(make: impl Fn() -> OciRegistry, guard: impl Send + Sync + 'static) -> Fixture {
    let namespace = namespace();
    let registry = || Arc::new(make().namespace(namespace.clone()));
    Fixture::new(registry(), guard).other(registry())
}

pub(crate) fn open(address: &str) -> OciRegistry {
    OciRegistry::new("registry".parse().unwrap(), address).unwrap().plain_http()
}

#[tokio::test]
async fn conforms_on_a_real_registry() {
    let Some(address) = named("ECOLAURA_TEST_REGISTRY") else { return };
    suite(async || fixture(|| open(&address), ())).await;
}

#[tokio::test]
async fn conforms_on_a_fake_registry_that_removes_tags_and_lists_what_is_attached() {
    suite(async || {
        let server = FakeRegistry::start().await;
        let address = server.address.to_string();
        fixture(|| open(&address).removable_tags(), server)
    })
    .await;
}

#[tokio::test]
async fn conforms_on_a_fake_registry_with_immutable_tags() {
    suite(async || {
        let server = FakeRegistry::start().await;
        server.state().immutable = Some(super::support::as_harbor());
        let address = server.address.to_string();
        fixture(|| open(&address).immutable_tags(), server)
    })
    .await;
}

#[tokio::test]
async fn lists_the_tags_of_a_real_registry() {
    let Some(address) = named("ECOLAURA_TEST_REGISTRY") else { return };
    let (registry, dir) = (open(&address).namespace(namespace()), tempfile::tempdir().unwrap());
    assert_eq!(registry.tags(&cx(), &repository()).await.unwrap(), []);
    let pinned = registry.push(&cx(), &image(dir.path(), b"layer"), &repository()).await.unwrap();
    assert_eq!(registry.tags(&cx(), &repository()).await.unwrap(), [], "a repository without tags");
    for name in ["v2", "v1"] {
        registry.set_tag(&cx(), &TagChange::new(repository(), tag(name), Some(pinned.digest))).await.unwrap();
    }
    assert_eq!(registry.tags(&cx(), &repository()).await.unwrap(), [tag("v1"), tag("v2")]);
}

#[tokio::test]
async fn copies_within_a_real_registry_and_deletes_the_copy() {
    let Some(address) = named("ECOLAURA_TEST_REGISTRY") else { return };
    let (registry, dir) = (open(&address), tempfile::tempdir().unwrap());
    let (staging, production) = (namespace(), namespace());
    let (image, bill) = many(dir.path());
    let tested = registry.push(&cx(), &image, &staging).await.unwrap();
    for _ in 0..2 {
        let copy = registry.copy_from(&cx(), &registry, &tested, &production).await.unwrap();
        assert_eq!(copy, PinnedImage::new(production.clone(), tested.digest));
        assert!(registry.contains(&cx(), &copy).await.unwrap());
        assert_eq!(registry.referrers(&cx(), &copy).await.unwrap(), [("application/spdx+json".to_owned(), bill)]);
        let mut held = Vec::new();
        let mut blob = registry.blob(&cx(), &production, &Digest::of("arm64")).await.unwrap();
        blob.read_to_end(&mut held).await.unwrap();
        assert_eq!(held, b"arm64");
        for _ in 0..2 {
            registry.delete(&cx(), &copy).await.unwrap();
            assert!(!registry.contains(&cx(), &copy).await.unwrap());
        }
        assert!(registry.contains(&cx(), &tested).await.unwrap(), "of the other repository");
    }
}

#[cfg(feature = "local")]
#[tokio::test]
async fn copies_from_a_folder_to_a_real_registry() {
    let Some(address) = named("ECOLAURA_TEST_REGISTRY") else { return };
    let (to, dir) = (open(&address).namespace(namespace()), tempfile::tempdir().unwrap());
    let folder = dir.path().join("registry");
    let from = ecolaura_deploy_core::local::registry::LayoutRegistry::new(folder, "folder".parse().unwrap());
    let layer = vec![3; 9 * 1024 * 1024 + 1];
    let tested = from.push(&cx(), &image(&dir.path().join("image"), &layer), &repository()).await.unwrap();
    let copy = to.copy_from(&cx(), &from, &tested, &"live/backend".parse().unwrap()).await.unwrap();
    let mut held = Vec::new();
    let mut blob = to.blob(&cx(), &copy.repository, &Digest::of(&layer)).await.unwrap();
    blob.read_to_end(&mut held).await.unwrap();
    assert!(held == layer, "the blob differs");
    assert!(to.tags(&cx(), &copy.repository).await.unwrap().is_empty());
}

#[tokio::test]
async fn attaches_to_an_image_of_a_real_registry_and_takes_it_off() {
    let Some(address) = named("ECOLAURA_TEST_REGISTRY") else { return };
    let (registry, dir) = (open(&address).namespace(namespace()), tempfile::tempdir().unwrap());
    let pinned = registry.push(&cx(), &image(dir.path(), b"layer"), &repository()).await.unwrap();
    let findings = Attachment::new("application/vnd.example.scan", "{}").annotation("scanner", "none");
    for _ in 0..2 {
        let artifact = registry.attach(&cx(), &pinned, &findings).await.unwrap();
        let listed = registry.referrers(&cx(), &pinned).await.unwrap();
        assert_eq!(listed, [("application/vnd.example.scan".to_owned(), artifact.digest)]);
    }
    let artifact = registry.attach(&cx(), &pinned, &findings).await.unwrap();
    registry.delete(&cx(), &artifact).await.unwrap();
    assert_eq!(registry.referrers(&cx(), &pinned).await.unwrap(), []);
}
