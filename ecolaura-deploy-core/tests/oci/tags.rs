use ecolaura_deploy_core::{Effect, ErrorKind, backend::Registry as _};
use hyper::Method;
use serde_json::json;

use super::{
    clock, cx,
    images::image,
    registry, repository,
    server::{Act, FakeRegistry},
    support::{as_ecr, as_harbor, change, two},
    tag,
};

#[tokio::test]
async fn fake_that_refuses_to_move_a_tag_is_understood_without_being_told() {
    for refusal in [as_harbor(), as_ecr()] {
        let server = FakeRegistry::start().await;
        let registry = registry(&server);
        let (first, second) = two(&registry).await;
        server.state().immutable = Some(refusal);
        let error = registry.set_tag(&cx(), &change(Some(second))).await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::AlreadyExists, Effect::None), "{error:?}");
        for part in [first.to_string(), second.to_string(), "immutable".to_owned()] {
            assert!(error.report().contains(&part), "{}", error.report());
        }
        assert_eq!(registry.set_tag(&cx(), &change(Some(first))).await.unwrap(), Some(first), "the same again");
    }
}

#[tokio::test]
async fn fake_that_refuses_a_tag_which_somebody_else_set_to_the_same_digest_has_what_was_wanted() {
    let server = FakeRegistry::start().await;
    let registry = registry(&server);
    let (first, second) = two(&registry).await;
    // It looked as if there was another one, when somebody else set it.
    let (status, body) = as_ecr();
    server.fault(Method::PUT, "/manifests/v1", 1, Act::Answer { status, retry_after: None, body: body.to_string() });
    server.state().tags.insert(("shop/backend".to_owned(), "v1".to_owned()), first.to_string());
    let error = registry.set_tag(&cx(), &change(Some(second))).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists);

    let (status, body) = as_ecr();
    server.fault(Method::PUT, "/manifests/v1", 1, Act::RefuseAfterDoing { status, body: body.to_string() });
    assert_eq!(registry.set_tag(&cx(), &change(Some(second))).await.unwrap(), Some(first));
}

#[tokio::test]
async fn fake_that_fails_after_moving_a_tag_is_asked_and_not_told_again() {
    clock::stand_still_while_waiting();
    let server = FakeRegistry::start().await;
    let registry = registry(&server);
    let (first, second) = two(&registry).await;
    server.fault(Method::PUT, "/manifests/v1", 1, Act::DoAndAnswer(500));
    let puts = server.count("PUT", "/manifests/v1");
    assert_eq!(registry.set_tag(&cx(), &change(Some(second))).await.unwrap(), Some(first));
    assert_eq!(server.count("PUT", "/manifests/v1"), puts + 1);
}

#[tokio::test]
async fn fake_where_somebody_else_moved_the_tag_meanwhile_keeps_theirs() {
    clock::stand_still_while_waiting();
    let server = FakeRegistry::start().await;
    let registry = registry(&server);
    let (_, second) = two(&registry).await;
    let dir = tempfile::tempdir().unwrap();
    let theirs = registry.push(&cx(), &image(dir.path(), b"third"), &repository()).await.unwrap().digest;
    server.fault(Method::PUT, "/manifests/v1", 1, Act::MoveTag(theirs.to_string()));
    let error = registry.set_tag(&cx(), &change(Some(second))).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::Unknown), "{error:?}");
    assert!(error.report().contains(&theirs.to_string()), "{}", error.report());
    let now = registry.resolve(&cx(), &repository(), &tag("v1")).await.unwrap().unwrap();
    assert_eq!(now.digest, theirs);
}

#[tokio::test]
async fn fake_that_removes_no_tags_is_believed_where_it_was_said_to() {
    let server = FakeRegistry::start().await;
    let registry = registry(&server).removable_tags();
    let (first, _) = two(&registry).await;
    let body = json!({"errors": [{"code": "DIGEST_INVALID", "message": "provided digest did not match"}]}).to_string();
    server.fault(Method::DELETE, "/manifests/v1", 9, Act::Answer { status: 400, retry_after: None, body });
    let error = registry.set_tag(&cx(), &change(None)).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unsupported, Effect::None), "{error:?}");
    assert!(error.report().contains("does not remove tags"), "{}", error.report());
    assert_eq!(registry.resolve(&cx(), &repository(), &tag("v1")).await.unwrap().unwrap().digest, first);
}

#[tokio::test]
async fn fake_that_removes_the_image_with_its_last_tag_gets_it_back() {
    let server = FakeRegistry::start().await;
    let registry = registry(&server).removable_tags();
    let (first, _) = two(&registry).await;
    server.fault(Method::DELETE, "/manifests/v1", 1, Act::RemoveManifest(first.to_string()));
    assert_eq!(registry.set_tag(&cx(), &change(None)).await.unwrap(), Some(first));
    assert!(server.holds_manifest(first));
    assert_eq!(registry.resolve(&cx(), &repository(), &tag("v1")).await.unwrap(), None);
}
