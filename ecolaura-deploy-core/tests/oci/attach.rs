use ecolaura_deploy_core::{
    Effect, ErrorKind,
    backend::Registry as _,
    oci::Attachment,
    vocabulary::{Digest, PinnedImage},
};
use hyper::Method;
use serde_json::{Value, json};

use super::{
    clock, cx,
    images::{MANIFEST, image},
    registry, repository,
    server::{Act, FakeRegistry},
};

async fn pushed(server: &FakeRegistry) -> PinnedImage {
    let dir = tempfile::tempdir().unwrap();
    registry(server).push(&cx(), &image(dir.path(), b"layer"), &repository()).await.unwrap()
}

#[tokio::test]
async fn fake_gets_a_file_as_the_artifact_that_the_specification_describes() {
    for api in [true, false] {
        let (server, dir) = (FakeRegistry::start().await, tempfile::tempdir().unwrap());
        server.state().referrers = api;
        let (pinned, registry) = (pushed(&server).await, registry(&server));
        let path = dir.path().join("bill.json");
        std::fs::write(&path, "bill").unwrap();
        let bill = Attachment::file("application/vnd.cyclonedx+json", &path)
            .media_type("application/json")
            .annotation("org.example.by", "tests");
        let artifact = registry.attach(&cx(), &pinned, &bill).await.unwrap();
        let listed = registry.referrers(&cx(), &pinned).await.unwrap();
        assert_eq!(listed, [("application/vnd.cyclonedx+json".to_owned(), artifact.digest)], "API: {api}");
        let manifest: Value = serde_json::from_slice(&registry.manifest(&cx(), &artifact).await.unwrap()).unwrap();
        let expected = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/vnd.cyclonedx+json",
            "config": {"mediaType": "application/vnd.oci.empty.v1+json", "digest": Digest::of("{}"), "size": 2},
            "layers": [{"mediaType": "application/json", "digest": Digest::of("bill"), "size": 4}],
            "subject": {"mediaType": MANIFEST, "digest": pinned.digest,
                "size": registry.manifest(&cx(), &pinned).await.unwrap().len()},
            "annotations": {"org.example.by": "tests"},
        });
        assert_eq!(manifest, expected);
        assert!(server.holds_blob(b"bill") && server.holds_blob(b"{}"));

        let puts = server.count("PUT", "/");
        assert_eq!(registry.attach(&cx(), &pinned, &bill).await.unwrap(), artifact);
        assert_eq!(server.count("PUT", "/"), puts, "the same again is not sent");
    }
}

#[tokio::test]
async fn fake_that_lost_the_list_gets_it_again() {
    clock::stand_still_while_waiting();
    let server = FakeRegistry::start().await;
    server.state().referrers = false;
    let (pinned, registry) = (pushed(&server).await, registry(&server));
    let refusing = Act::Answer { status: 403, retry_after: None, body: String::new() };
    server.fault(Method::PUT, "/manifests/sha256-", 1, refusing);
    let bill = Attachment::new("application/spdx+json", "bill");
    let error = registry.attach(&cx(), &pinned, &bill).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::PermissionDenied, Effect::Partial), "{error:?}");
    assert_eq!(registry.referrers(&cx(), &pinned).await.unwrap(), []);
    let artifact = registry.attach(&cx(), &pinned, &bill).await.unwrap();
    assert_eq!(registry.referrers(&cx(), &pinned).await.unwrap()[0].1, artifact.digest);
}

#[tokio::test]
async fn what_cannot_be_attached_is_named_before_anything_is_sent() {
    let server = FakeRegistry::start().await;
    let (pinned, registry) = (pushed(&server).await, registry(&server));
    let missing = PinnedImage::new(repository(), Digest::of("another"));
    let bill = || Attachment::new("application/spdx+json", "bill");
    let puts = server.count("PUT", "/");
    for (subject, attachment, kind, said) in [
        (&missing, bill(), ErrorKind::NotFound, missing.digest.to_string()),
        (&pinned, Attachment::new("bill", "bill"), ErrorKind::InvalidInput, "`bill`".to_owned()),
        (&pinned, Attachment::new("a/b/c", "bill"), ErrorKind::InvalidInput, "`a/b/c`".to_owned()),
        (&pinned, bill().media_type("text/plain; x"), ErrorKind::InvalidInput, "`text/plain; x`".to_owned()),
        (&pinned, Attachment::file("a/b", "/not/there"), ErrorKind::NotFound, "`/not/there`".to_owned()),
    ] {
        let error = registry.attach(&cx(), subject, &attachment).await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (kind, Effect::None), "{error:?}");
        assert!(error.report().contains(&said), "{said}: {}", error.report());
    }
    assert_eq!(server.count("PUT", "/"), puts);
}
