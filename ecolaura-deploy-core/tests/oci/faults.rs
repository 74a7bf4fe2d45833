use std::time::Duration;

use ecolaura_deploy_core::{
    Effect, ErrorKind, Retry,
    backend::Registry as _,
    oci::OciRegistry,
    vocabulary::{Digest, PinnedImage},
};
use hyper::Method;
use serde_json::json;
use tokio::{io::AsyncReadExt as _, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    clock, cx,
    images::{INDEX, Layout, MANIFEST, digest, image},
    registry, repository,
    server::{Act, FakeRegistry},
};

/// More than what lies in buffers between two sockets.
const LARGE: usize = 20 * 1024 * 1024;

fn busy(retry_after: &'static str) -> Act {
    let body = json!({"errors": [{"code": "TOOMANYREQUESTS", "message": "slow down"}]}).to_string();
    Act::Answer { status: 429, retry_after: Some(retry_after), body }
}

fn failing() -> Act {
    Act::Answer { status: 503, retry_after: None, body: "<html>try later".to_owned() }
}

#[tokio::test]
async fn fake_that_is_busy_is_given_the_time_it_asks_for() {
    clock::stand_still_while_waiting();
    let (server, dir) = (FakeRegistry::start().await, tempfile::tempdir().unwrap());
    let image = image(dir.path(), b"layer");
    server.fault(Method::HEAD, &Digest::of("layer").to_hex(), 1, busy("40"));
    let began = Instant::now();
    registry(&server).push(&cx(), &image, &repository()).await.unwrap();
    let waited = began.elapsed();
    assert!((40..45).contains(&waited.as_secs()), "{waited:?}");
    assert!(server.holds_manifest(image.digest));
}

#[tokio::test]
async fn fake_that_is_busy_beyond_the_deadline_is_not_waited_for() {
    clock::stand_still_while_waiting();
    let (server, dir) = (FakeRegistry::start().await, tempfile::tempdir().unwrap());
    let image = image(dir.path(), b"layer");
    server.fault(Method::HEAD, "/blobs/", 9, busy("40"));
    let began = Instant::now();
    let hurry = cx().with_deadline_in(Duration::from_secs(30));
    let error = registry(&server).push(&hurry, &image, &repository()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RateLimited, "{error:?}");
    assert_eq!(error.retry(), Retry::After(Some(Duration::from_secs(40))), "whoever has more time may come back");
    assert!(began.elapsed() < Duration::from_secs(30));
}

#[tokio::test]
async fn fake_that_stays_down_is_tried_five_times_and_nobody_above_multiplies_that() {
    clock::stand_still_while_waiting();
    let server = FakeRegistry::start().await;
    server.fault(Method::HEAD, "/manifests/", 99, failing());
    let pinned = PinnedImage::new(repository(), Digest::of("x"));
    let error = registry(&server).contains(&cx(), &pinned).await.unwrap_err();
    assert_eq!((error.kind(), error.retry(), error.effect()), (ErrorKind::Unavailable, Retry::Exhausted, Effect::None));
    assert_eq!(server.count("HEAD", "/manifests/"), 5);
    let report = error.report();
    assert!(report.contains(&server.address.to_string()) && report.contains("503"), "{report}");
}

#[tokio::test]
async fn fake_that_falls_silent_is_asked_again() {
    clock::stand_still_while_waiting();
    let (server, dir) = (FakeRegistry::start().await, tempfile::tempdir().unwrap());
    let image = image(dir.path(), b"layer");
    server.fault(Method::HEAD, &image.digest.to_hex(), 1, Act::Hang);
    let began = Instant::now();
    registry(&server).push(&cx(), &image, &repository()).await.unwrap();
    assert!((60..70).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
}

#[tokio::test]
async fn fake_that_takes_no_more_of_a_blob_gets_it_in_a_new_session() {
    let (server, dir) = (FakeRegistry::start().await, tempfile::tempdir().unwrap());
    let layer = vec![7; LARGE];
    let image = image(dir.path(), &layer);
    let hex = Digest::of(&layer).to_hex();
    server.fault(Method::PUT, &hex, 1, Act::Hang);
    let (context, to, registry) = (cx(), repository(), registry(&server));
    let push = registry.push(&context, &image, &to);
    let wait = async {
        while server.count("PUT", &hex) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // Until the buffers between the two are full.
        tokio::time::sleep(Duration::from_millis(300)).await;
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(61)).await;
        tokio::time::advance(Duration::from_secs(61)).await;
        tokio::time::resume();
    };
    tokio::join!(push, wait).0.unwrap();
    assert_eq!(server.count("PUT", &hex), 2);
    assert!(server.holds_manifest(image.digest));
}

#[tokio::test]
async fn fake_that_fails_after_storing_a_blob_does_not_get_it_twice() {
    clock::stand_still_while_waiting();
    let (server, dir) = (FakeRegistry::start().await, tempfile::tempdir().unwrap());
    let image = image(dir.path(), b"layer");
    server.fault(Method::PUT, &Digest::of("layer").to_hex(), 1, Act::DoAndAnswer(500));
    registry(&server).push(&cx(), &image, &repository()).await.unwrap();
    assert_eq!(server.count("PUT", &Digest::of("layer").to_hex()), 1);
    assert!(server.holds_manifest(image.digest));
}

#[tokio::test]
async fn fake_that_never_answers_for_the_manifest_leaves_an_unknown_effect() {
    clock::stand_still_while_waiting();
    let (server, dir) = (FakeRegistry::start().await, tempfile::tempdir().unwrap());
    let image = image(dir.path(), b"layer");
    server.fault(Method::PUT, "/manifests/", 1, Act::Hang);
    let hurry = cx().with_deadline_in(Duration::from_secs(30));
    let error = registry(&server).push(&hurry, &image, &repository()).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Timeout, Effect::Unknown), "{error:?}");
}

#[tokio::test]
async fn fake_that_resets_in_the_middle_of_an_upload_gets_the_blob_in_a_new_session() {
    clock::stand_still_while_waiting();
    let (server, dir) = (FakeRegistry::start().await, tempfile::tempdir().unwrap());
    let layer = vec![7; LARGE];
    let image = image(dir.path(), &layer);
    let hex = Digest::of(&layer).to_hex();
    server.fault(Method::PUT, &hex, 2, Act::Reset);
    let registry = registry(&server);
    let pinned = registry.push(&cx(), &image, &repository()).await.unwrap();
    let sessions: Vec<_> = server.state().log.iter().filter(|line| line.contains(&hex)).cloned().collect();
    let mut puts: Vec<_> = sessions.iter().filter(|line| line.starts_with("PUT")).collect();
    puts.dedup();
    assert_eq!(puts.len(), 3, "each in a session of its own: {sessions:?}");
    let mut held = Vec::new();
    let mut blob = registry.blob(&cx(), &pinned.repository, &Digest::of(&layer)).await.unwrap();
    blob.read_to_end(&mut held).await.unwrap();
    assert!(held == layer, "the blob differs");
}

#[tokio::test]
async fn fake_that_stores_something_else_is_named_with_both_digests() {
    clock::stand_still_while_waiting();
    let (server, dir) = (FakeRegistry::start().await, tempfile::tempdir().unwrap());
    let image = image(dir.path(), b"layer");
    server.fault(Method::PUT, "/blobs/uploads/", 99, Act::Misname);
    // What it stored in truth is there at the next look, so that look fails too.
    server.fault(Method::HEAD, "/blobs/", 99, Act::Answer { status: 404, retry_after: None, body: String::new() });
    let error = registry(&server).push(&cx(), &image, &repository()).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Corrupt, Effect::Partial), "{error:?}");
    assert!(error.report().contains(&Digest::of("something else").to_string()), "{}", error.report());
    assert!(!server.holds_manifest(image.digest));
}

#[tokio::test]
async fn what_is_missing_is_looked_for_where_it_is_missing() {
    clock::stand_still_while_waiting();
    let (server, dir) = (FakeRegistry::start().await, tempfile::tempdir().unwrap());
    let image = image(dir.path(), b"layer");
    let gone = Act::Answer { status: 404, retry_after: None, body: String::new() };
    server.fault(Method::POST, "/blobs/uploads/", 99, gone);
    let error = registry(&server).push(&cx(), &image, &repository()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
    assert!(error.advice_text().unwrap().contains("the repository's name"), "{}", error.report());

    server.heal();
    std::fs::remove_file(dir.path().join("blobs/sha256").join(Digest::of("layer").to_hex())).unwrap();
    let error = registry(&server).push(&cx(), &image, &repository()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
    assert!(error.advice_text().unwrap().contains("build the image again"), "{}", error.report());
}

#[tokio::test]
async fn fake_that_sends_something_else_is_named_with_both_digests() {
    clock::stand_still_while_waiting();
    let (server, dir) = (FakeRegistry::start().await, tempfile::tempdir().unwrap());
    let (image, registry) = (image(dir.path(), b"layer"), registry(&server));
    let pinned = registry.push(&cx(), &image, &repository()).await.unwrap();
    server.fault(Method::GET, "/", 99, Act::Damage);
    let error = registry.manifest(&cx(), &pinned).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    for digest in [image.digest, Digest::of("something else")] {
        assert!(error.report().contains(&digest.to_string()), "{}", error.report());
    }
    let mut blob = registry.blob(&cx(), &repository(), &Digest::of("layer")).await.unwrap();
    let error = blob.read_to_end(&mut Vec::new()).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
    assert!(error.to_string().contains(&Digest::of("layer").to_string()), "{error}");
}

#[tokio::test]
async fn fake_without_referrers_api_keeps_what_two_pushes_attach_under_a_tag() {
    let (server, dir) = (FakeRegistry::start().await, tempfile::tempdir().unwrap());
    server.state().referrers = false;
    let registry = registry(&server);
    let mut images = Vec::new();
    for bill in ["first", "second"] {
        let dir = dir.path().join(bill);
        let layout = Layout(&dir);
        let subject = layout.image(&[b"layer"]);
        let bill = layout.attach(&subject, "application/vnd.cyclonedx+json", bill);
        images.push((layout.finish(&[subject, bill.clone()]), digest(&bill)));
    }
    let (context, to) = (cx(), repository());
    let pushes = images.iter().map(|(image, _)| registry.push(&context, image, &to));
    let pinned = futures_util::future::try_join_all(pushes).await.unwrap().remove(0);
    let mut found = registry.referrers(&cx(), &pinned).await.unwrap();
    let mut expected: Vec<_> =
        images.iter().map(|(_, bill)| ("application/vnd.cyclonedx+json".to_owned(), *bill)).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    let tag = format!("sha256-{}", pinned.digest.to_hex());
    assert!(registry.resolve(&cx(), &repository(), &tag.parse().unwrap()).await.unwrap().is_some());

    let puts = server.count("PUT", "/");
    registry.push(&cx(), &images[0].0, &repository()).await.unwrap();
    assert_eq!(server.count("PUT", "/"), puts, "what is there is not sent again");
}

#[tokio::test]
async fn fake_gets_children_before_indexes_and_the_image_last() {
    let (server, dir) = (FakeRegistry::start().await, tempfile::tempdir().unwrap());
    let layout = Layout(dir.path());
    let children = [layout.image(&[b"amd64"]), layout.image(&[b"arm64"])];
    let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": children});
    let index = layout.document(INDEX, &index);
    let bill = layout.attach(&index, "application/spdx+json", "bill");
    let image = layout.finish(&[index.clone(), bill.clone()]);
    let registry = registry(&server);
    let pinned = registry.push(&cx(), &image, &repository()).await.unwrap();
    let expected = [&bill, &children[0], &children[1], &index].map(|entry| digest(entry).to_string());
    assert_eq!(server.manifests_put(), expected);
    assert_eq!(Digest::of(registry.manifest(&cx(), &pinned).await.unwrap()), image.digest);
    let types: Vec<_> = expected.iter().map(|digest| server.state().media_type(digest)).collect();
    assert_eq!(types, [MANIFEST, MANIFEST, MANIFEST, INDEX]);
}

#[tokio::test]
async fn fake_takes_a_blob_from_the_repository_that_the_layout_names_if_it_is_there() {
    for (named, sent) in [("base/image", 0), ("not/there", 1)] {
        let (server, dir) = (FakeRegistry::start().await, tempfile::tempdir().unwrap());
        let registry = registry(&server);
        let base = image(&dir.path().join("base"), b"layer");
        registry.push(&cx(), &base, &"base/image".parse().unwrap()).await.unwrap();
        let dir = dir.path().join("image");
        let layout = Layout(&dir);
        let mut layer = layout.blob("application/vnd.oci.image.layer.v1.tar", b"layer");
        layer["annotations"] = json!({format!("containerd.io/distribution.source.{}", server.address): named});
        let config = layout.blob("application/vnd.oci.image.config.v1+json", b"{\"other\": 1}");
        let manifest = json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]});
        let image = layout.finish(&[layout.document(MANIFEST, &manifest)]);
        server.state().log.clear();
        registry.push(&cx(), &image, &repository()).await.unwrap();
        let uploads =
            server.state().log.iter().filter(|line| line.starts_with("PUT") && line.contains("/uploads/")).count();
        assert_eq!(uploads, 1 + sent, "the configuration, and what is not in `{named}`");
        assert!(server.holds_manifest(image.digest));
    }
}

#[tokio::test]
async fn fake_that_has_everything_is_only_asked() {
    let (server, dir) = (FakeRegistry::start().await, tempfile::tempdir().unwrap());
    let (image, registry) = (image(dir.path(), b"layer"), registry(&server));
    registry.push(&cx(), &image, &repository()).await.unwrap();
    server.state().log.clear();
    registry.push(&cx(), &image, &repository()).await.unwrap();
    let log = server.state().log.clone();
    assert_eq!(log.len(), 3, "two blobs and the manifest: {log:?}");
    assert!(log.iter().all(|line| line.starts_with("HEAD")), "{log:?}");
}

#[tokio::test]
async fn fake_of_a_cancelled_push_has_no_manifest() {
    let (server, dir) = (FakeRegistry::start().await, tempfile::tempdir().unwrap());
    let (image, registry) = (image(dir.path(), b"layer"), registry(&server));
    server.fault(Method::PUT, &Digest::of("layer").to_hex(), 1, Act::Hang);
    let token = CancellationToken::new();
    let context = cx().with_cancellation(token.clone());
    let to = repository();
    let push = registry.push(&context, &image, &to);
    let cancel = async {
        while server.count("PUT", &Digest::of("layer").to_hex()) == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        token.cancel();
    };
    let error = tokio::join!(push, cancel).0.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Cancelled, Effect::Partial), "{error:?}");
    assert!(!server.holds_manifest(image.digest));
    registry.push(&cx(), &image, &repository()).await.unwrap();
    assert!(server.holds_manifest(image.digest));
}

#[tokio::test]
async fn fake_that_denies_is_quoted_with_who_needs_what() {
    let (server, dir) = (FakeRegistry::start().await, tempfile::tempdir().unwrap());
    let image = image(dir.path(), b"layer");
    let body = json!({"errors": [{"code": "DENIED", "message": "requested access to the resource is denied"}]});
    server.fault(
        Method::POST,
        "/blobs/uploads/",
        9,
        Act::Answer { status: 403, retry_after: None, body: body.to_string() },
    );
    let error = registry(&server).push(&cx(), &image, &repository()).await.unwrap_err();
    assert_eq!((error.kind(), error.retry()), (ErrorKind::PermissionDenied, Retry::Never));
    assert_eq!(error.effect(), Effect::None, "nothing was sent");
    for part in [&server.address.to_string(), "DENIED: requested access", "push", "`shop/backend`"] {
        assert!(error.report().contains(part), "{part}: {}", error.report());
    }
}

#[tokio::test]
async fn fake_that_is_not_there_is_named() {
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    tokio::time::pause();
    let registry = OciRegistry::new("registry".parse().unwrap(), &address).unwrap();
    let pinned = PinnedImage::new(repository(), Digest::of("x"));
    let error = registry.contains(&cx(), &pinned).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.report().contains(&format!("`{address}` cannot be reached")), "{}", error.report());
}

#[tokio::test]
async fn an_image_of_another_registry_is_not_pushed_here() {
    let (server, dir) = (FakeRegistry::start().await, tempfile::tempdir().unwrap());
    let image = image(dir.path(), b"layer");
    let error = registry(&server).push(&cx(), &image, &"ghcr.io/shop/backend".parse().unwrap()).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::InvalidInput, Effect::None));
    assert!(error.report().contains("ghcr.io/shop/backend") && error.report().contains("127.0.0.1"), "{error:?}");
    assert!(server.state().log.is_empty());
}
