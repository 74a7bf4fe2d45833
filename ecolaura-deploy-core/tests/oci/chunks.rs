//! Blobs in several requests.

use std::{
    num::{NonZeroU32, NonZeroU64},
    time::Duration,
};

use ecolaura_deploy_core::{
    ErrorKind, Result,
    backend::Registry as _,
    oci::OciRegistry,
    run::RetryPolicy,
    testing::servers::named,
    vocabulary::{BuiltImage, Digest, PinnedImage},
};
use hyper::Method;
use tokio::io::AsyncReadExt as _;
use tokio_util::sync::CancellationToken;

use super::{
    cx,
    images::image,
    real::{namespace, open},
    registry, repository,
    server::{Act, FakeRegistry},
};

const MIB: usize = 1024 * 1024;

fn pieces(registry: OciRegistry, bytes: usize) -> OciRegistry {
    let soon = RetryPolicy::new(NonZeroU32::new(4).unwrap(), Duration::from_millis(1));
    registry.pieces(NonZeroU64::new(bytes as u64).unwrap()).retries(soon)
}

/// Whether it becomes so: what is given up is told to the registry by the way.
async fn settled(mut holds: impl FnMut() -> bool) -> bool {
    for _ in 0..1000 {
        if holds() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

fn layer(length: usize) -> Vec<u8> {
    (0..length).map(|at| u8::try_from(at % 251).unwrap()).collect()
}

async fn push(registry: &OciRegistry, image: &BuiltImage) -> Result<PinnedImage> {
    registry.push(&cx(), image, &repository()).await
}

/// The lengths of the pieces of each session that had any.
fn lengths(server: &FakeRegistry) -> Vec<Vec<usize>> {
    let mut sessions: Vec<(String, Vec<usize>)> = Vec::new();
    for (session, _, length) in &server.state().appended {
        match sessions.iter_mut().find(|(known, _)| known == session) {
            Some((_, lengths)) => lengths.push(*length),
            None => sessions.push((session.clone(), vec![*length])),
        }
    }
    sessions.into_iter().map(|(_, lengths)| lengths).collect()
}

#[tokio::test]
async fn fake_gets_large_blobs_in_pieces_and_small_ones_whole() {
    let (server, dir) = (FakeRegistry::start().await, tempfile::tempdir().unwrap());
    let layer = layer(2 * MIB + MIB / 2);
    let image = image(dir.path(), &layer);
    push(&pieces(registry(&server), MIB), &image).await.unwrap();
    assert_eq!(lengths(&server), [[MIB, MIB, MIB / 2]]);
    assert!(server.holds_blob(&layer) && server.holds_manifest(image.digest));
    assert!(server.state().sessions.is_empty());
}

#[tokio::test]
async fn fake_that_refuses_whole_blobs_gets_pieces_and_is_asked_once() {
    for status in [405, 415, 501] {
        let (server, dir) = (FakeRegistry::start().await, tempfile::tempdir().unwrap());
        server.state().refuses_whole = Some(status);
        let registry = registry(&server);
        for name in ["first", "second"] {
            let content = [name.as_bytes(), &layer(3000)].concat();
            let image = image(&dir.path().join(name), &content);
            push(&registry, &image).await.unwrap();
            assert!(server.holds_blob(&content) && server.holds_manifest(image.digest), "{status}");
            assert!(settled(|| server.state().sessions.is_empty()).await);
            let (opened, closed) = (server.count("POST", "/uploads/"), server.count("PUT", "/uploads/"));
            assert_eq!((opened, name == "second"), (closed, server.count("DELETE", "/uploads/") == 0), "{status}");
            server.state().log.clear();
        }
    }
}

#[tokio::test]
async fn fake_behind_a_proxy_with_a_limit_gets_smaller_pieces() {
    let (server, dir) = (FakeRegistry::start().await, tempfile::tempdir().unwrap());
    server.state().largest = Some(5 * MIB);
    let layer = layer(9 * MIB);
    let image = image(dir.path(), &layer);
    push(&registry(&server), &image).await.unwrap();
    assert!(server.holds_blob(&layer) && server.holds_manifest(image.digest));
    assert!(lengths(&server).iter().flatten().all(|length| *length <= 5 * MIB));
}

#[tokio::test]
async fn fake_behind_a_proxy_that_takes_nothing_says_so() {
    let (server, dir) = (FakeRegistry::start().await, tempfile::tempdir().unwrap());
    server.state().largest = Some(MIB / 2);
    let image = image(dir.path(), &layer(2 * MIB));
    let error = push(&registry(&server), &image).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitExceeded, "{error:?}");
    assert!(error.advice_text().unwrap().contains("proxy"), "{error:?}");
}

#[tokio::test]
async fn fake_that_wants_larger_pieces_gets_them() {
    let (server, dir) = (FakeRegistry::start().await, tempfile::tempdir().unwrap());
    server.state().least = Some(2 * MIB);
    let image = image(dir.path(), &layer(5 * MIB));
    push(&pieces(registry(&server), MIB), &image).await.unwrap();
    assert_eq!(lengths(&server), [[2 * MIB, 2 * MIB, MIB]]);
}

#[tokio::test]
async fn fake_that_breaks_off_between_pieces_gets_all_of_them_in_a_new_session() {
    for act in [Act::Reset, Act::DoAndAnswer(500), Act::Answer { status: 416, retry_after: None, body: String::new() }]
    {
        let (server, dir) = (FakeRegistry::start().await, tempfile::tempdir().unwrap());
        let layer = layer(3 * MIB);
        let image = image(dir.path(), &layer);
        // The second piece: only its address says how far the first one was.
        server.fault(Method::PATCH, &format!("state=0-{}", MIB - 1), 1, act);
        push(&pieces(registry(&server), MIB), &image).await.unwrap();
        let found = lengths(&server);
        assert_eq!(found.last().unwrap(), &[MIB, MIB, MIB], "{found:?}");
        assert!(server.holds_blob(&layer));
        let state = server.state();
        let mut starts = state.appended.iter().filter(|(_, range, _)| range.starts_with("0-"));
        assert!(starts.next().unwrap().0 != starts.next().unwrap().0, "each from the start, in a session of its own");
    }
}

#[tokio::test]
async fn fake_that_has_less_than_it_was_sent_gets_all_of_it_in_a_new_session() {
    let (server, dir) = (FakeRegistry::start().await, tempfile::tempdir().unwrap());
    server.state().forgetful = true;
    let layer = layer(2 * MIB);
    let image = image(dir.path(), &layer);
    push(&pieces(registry(&server), MIB), &image).await.unwrap();
    assert_eq!(lengths(&server), [vec![MIB], vec![MIB, MIB]]);
    assert!(server.holds_blob(&layer));
}

#[tokio::test]
async fn a_blob_that_is_damaged_is_not_sent_to_its_end() {
    let (server, dir) = (FakeRegistry::start().await, tempfile::tempdir().unwrap());
    let mut layer = layer(3 * MIB);
    let image = image(dir.path(), &layer);
    let path = dir.path().join("blobs/sha256").join(Digest::of(&layer).to_hex());
    layer[7] ^= 1;
    std::fs::write(path, &layer).unwrap();
    let error = push(&pieces(registry(&server), MIB), &image).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error:?}");
    assert!(!server.holds_manifest(image.digest));
    assert!(settled(|| server.state().sessions.is_empty()).await, "the session was given up");
}

#[tokio::test]
async fn fake_of_a_cancelled_push_has_no_session_left() {
    for (method, size) in [(Method::PATCH, MIB), (Method::PUT, usize::MAX)] {
        let (server, dir) = (FakeRegistry::start().await, tempfile::tempdir().unwrap());
        let image = image(dir.path(), &layer(3 * MIB));
        server.fault(method.clone(), "/blobs/uploads/", 9, Act::Hang);
        let token = CancellationToken::new();
        let (context, to) = (cx().with_cancellation(token.clone()), repository());
        let registry = pieces(registry(&server), size);
        let cancel = async {
            assert!(settled(|| server.count(method.as_str(), "/blobs/uploads/") > 0).await);
            assert!(!server.state().sessions.is_empty());
            token.cancel();
        };
        let (pushed, ()) = tokio::join!(registry.push(&context, &image, &to), cancel);
        assert_eq!(pushed.unwrap_err().kind(), ErrorKind::Cancelled);
        assert!(settled(|| server.state().sessions.is_empty()).await, "{:?}", server.state().log);
        assert!(server.count("DELETE", "/blobs/uploads/") > 0);
    }
}

#[tokio::test]
async fn sends_pieces_to_a_real_registry() {
    let Some(address) = named("ECOLAURA_TEST_REGISTRY") else { return };
    let (registry, dir) = (pieces(open(&address).namespace(namespace()), MIB), tempfile::tempdir().unwrap());
    let layer = layer(5 * MIB + 3);
    let pinned = push(&registry, &image(dir.path(), &layer)).await.unwrap();
    let mut held = Vec::new();
    let mut blob = registry.blob(&cx(), &pinned.repository, &Digest::of(&layer)).await.unwrap();
    blob.read_to_end(&mut held).await.unwrap();
    assert!(held == layer, "the blob differs");
}
