use ecolaura_deploy_core::{
    Effect, ErrorKind, Retry,
    backend::{Registry as _, TagChange},
    oci::Attachment,
    vocabulary::{Digest, PinnedImage},
};
use hyper::Method;
use serde_json::json;

use super::{
    clock, cx,
    images::image,
    registry, repository,
    server::{Act, FakeRegistry},
    tag,
};

async fn tagged(server: &FakeRegistry) -> PinnedImage {
    let dir = tempfile::tempdir().unwrap();
    let registry = registry(server);
    let pinned = registry.push(&cx(), &image(dir.path(), b"layer"), &repository()).await.unwrap();
    let change = TagChange::new(repository(), tag("v1"), Some(pinned.digest));
    registry.set_tag(&cx(), &change).await.unwrap();
    pinned
}

#[tokio::test]
async fn fake_that_fails_after_removing_an_image_has_removed_it() {
    clock::stand_still_while_waiting();
    let server = FakeRegistry::start().await;
    let (pinned, registry) = (tagged(&server).await, registry(&server));
    server.fault(Method::DELETE, &pinned.digest.to_hex(), 1, Act::DoAndAnswer(500));
    registry.delete(&cx(), &pinned).await.unwrap();
    assert!(!registry.contains(&cx(), &pinned).await.unwrap());
    assert_eq!(registry.resolve(&cx(), &repository(), &tag("v1")).await.unwrap(), None);
    registry.delete(&cx(), &pinned).await.unwrap();
    registry.delete(&cx(), &PinnedImage::new("not/there".parse().unwrap(), pinned.digest)).await.unwrap();
}

#[tokio::test]
async fn fake_that_deletes_nothing_says_what_to_do() {
    for status in [405, 400] {
        let server = FakeRegistry::start().await;
        let pinned = tagged(&server).await;
        let body = json!({"errors": [{"code": "UNSUPPORTED", "message": "The operation is unsupported."}]}).to_string();
        server.fault(Method::DELETE, "/manifests/", 9, Act::Answer { status, retry_after: None, body });
        let error = registry(&server).delete(&cx(), &pinned).await.unwrap_err();
        let found = (error.kind(), error.effect(), error.retry());
        assert_eq!(found, (ErrorKind::Unsupported, Effect::None, Retry::Never), "{error:?}");
        for part in [pinned.to_string(), server.address.to_string(), "storage.delete.enabled".to_owned()] {
            assert!(error.report().contains(&part), "{part}: {}", error.report());
        }
        assert!(server.holds_manifest(pinned.digest));
        assert_eq!(server.count("DELETE", "/"), 1, "a refusal is not tried again");
        let gone = PinnedImage::new(repository(), Digest::of("gone"));
        registry(&server).delete(&cx(), &gone).await.unwrap();
    }
}

#[tokio::test]
async fn fake_without_referrers_api_lists_no_attachment_that_was_deleted() {
    let server = FakeRegistry::start().await;
    server.state().referrers = false;
    let (pinned, registry) = (tagged(&server).await, registry(&server));
    let mut attached = Vec::new();
    for text in ["first", "second"] {
        let one = Attachment::new("application/spdx+json", text);
        attached.push(registry.attach(&cx(), &pinned, &one).await.unwrap());
    }
    registry.delete(&cx(), &attached[0]).await.unwrap();
    let listed = registry.referrers(&cx(), &pinned).await.unwrap();
    assert_eq!(listed, [("application/spdx+json".to_owned(), attached[1].digest)]);
}
