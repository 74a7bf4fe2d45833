use ecolaura_deploy_core::{Effect, ErrorKind, backend::Registry as _, vocabulary::Digest};
use hyper::Method;

use super::{
    clock, cx,
    images::{Layout, digest},
    registry, repository,
    server::{Act, FakeRegistry},
    tag,
};

/// With the tags `v0` to `v6` and a page of 3.
async fn tagged() -> FakeRegistry {
    let server = FakeRegistry::start().await;
    let mut state = server.state();
    for number in 0..7 {
        let name = format!("v{number}");
        state.tags.insert(("shop/backend".to_owned(), name), Digest::of("x").to_string());
    }
    state.tags.insert(("shop/other".to_owned(), "other".to_owned()), Digest::of("x").to_string());
    state.page = Some(3);
    drop(state);
    server
}

#[tokio::test]
async fn fake_that_sends_three_tags_at_a_time_is_read_to_the_end() {
    clock::stand_still_while_waiting();
    let server = tagged().await;
    server.fault(Method::GET, "last=3", 1, Act::Answer { status: 503, retry_after: None, body: String::new() });
    let tags = registry(&server).tags(&cx(), &repository()).await.unwrap();
    let expected: Vec<_> = (0..7).map(|number| tag(&format!("v{number}"))).collect();
    assert_eq!(tags, expected);
    assert_eq!(server.count("GET", "/tags/list"), 4, "three pages, one of them twice");
}

#[tokio::test]
async fn fake_without_the_repository_has_no_tags() {
    let server = tagged().await;
    let registry = registry(&server);
    assert_eq!(registry.tags(&cx(), &"shop/nothing".parse().unwrap()).await.unwrap(), []);
    assert_eq!(registry.tags(&cx(), &"ghcr.io/shop/backend".parse().unwrap()).await.unwrap(), []);
}

#[tokio::test]
async fn fake_whose_pages_lead_in_a_circle_or_elsewhere_is_not_read_for_ever() {
    let server = tagged().await;
    let itself = "/v2/shop/backend/tags/list?n=1000";
    for next in [itself, "/v2/shop/other/tags/list?last=0", "http://192.0.2.1/v2/shop/backend/tags/list?last=3"] {
        server.state().next_page = Some(next.to_owned());
        server.state().log.clear();
        let error = registry(&server).tags(&cx(), &repository()).await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Unsupported, Effect::None), "{error:?}");
        assert!(error.report().contains("`Link`") && error.report().contains("shop/backend"), "{}", error.report());
        assert_eq!(server.count("GET", "/tags/list"), 1, "{next}");
    }
}

#[tokio::test]
async fn fake_that_sends_what_is_attached_in_pages_loses_none_of_it() {
    let (server, dir) = (FakeRegistry::start().await, tempfile::tempdir().unwrap());
    let layout = Layout(dir.path());
    let subject = layout.image(&[b"layer"]);
    let bills: Vec<_> = (0..5).map(|n| layout.attach(&subject, "application/spdx+json", &format!("{n}"))).collect();
    let entries: Vec<_> = std::iter::once(subject).chain(bills.clone()).collect();
    let (image, registry) = (layout.finish(&entries), registry(&server));
    let pinned = registry.push(&cx(), &image, &repository()).await.unwrap();
    server.state().page = Some(2);
    let mut found: Vec<_> = registry.referrers(&cx(), &pinned).await.unwrap().into_iter().map(|(_, one)| one).collect();
    let mut expected: Vec<_> = bills.iter().map(digest).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);

    server.state().next_page = Some("http://192.0.2.1/".to_owned());
    let error = registry.referrers(&cx(), &pinned).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "half of a list is not answered: {error:?}");
}
