//! What a call's errors say, over the SDK.

use std::time::Duration;

use super::*;
use crate::{
    Account,
    fake::{Answer, FakeAws, cx},
};

const RESOURCE: &str = "arn:aws:sts::1:x";

/// A call that writes, as far as its error goes.
async fn write(account: &Account, cx: &Context) -> Error {
    let request = aws_sdk_sts::Client::new(account.sdk_config()).get_caller_identity().send();
    account.writes((cx, "test.write"), "sts:Write", RESOURCE).send(request).await.unwrap_err()
}

fn refusing(status: u16, code: &'static str) -> FakeAws {
    FakeAws::new(move |_| Answer::xml_refusal(status, code, "it is so"))
}

#[tokio::test]
async fn a_denied_call_names_the_action_and_resource_to_allow() {
    let fake = refusing(403, "AccessDenied");
    let error = write(&fake.account(3), &cx()).await;
    assert_eq!(
        (error.kind(), error.effect(), error.retry()),
        (ErrorKind::PermissionDenied, Effect::None, Retry::Never)
    );
    assert_eq!(error.message(), format!("sts:Write on {RESOURCE}: AccessDenied: it is so"));
    assert!(error.advice_text().unwrap().contains(&format!("allow `sts:Write` on `{RESOURCE}`")), "{error:?}");
    assert_eq!(fake.all_operations().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_throttled_call_is_tried_again_by_one_owner_only() {
    let fake = refusing(400, "Throttling");
    let error = write(&fake.account(3), &cx()).await;
    assert_eq!((error.kind(), error.effect()), (ErrorKind::RateLimited, Effect::None));
    assert_eq!((error.retry(), fake.all_operations().len()), (Retry::Exhausted, 3));
    let fake = refusing(400, "Throttling");
    let error = write(&fake.account(3).without_retries(), &cx()).await;
    assert_eq!((error.retry(), fake.all_operations().len()), (Retry::After(None), 1));
}

#[tokio::test(start_paused = true)]
async fn a_write_without_an_answer_may_have_been_done() {
    for answer in [Answer::Lost, Answer::xml_refusal(500, "InternalFailure", "oops"), Answer::Text(200, "<x".into())] {
        let answering = answer.clone();
        let account = FakeAws::new(move |_| answering.clone()).account(2);
        let error = write(&account, &cx()).await;
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Unavailable, Effect::Unknown), "{answer:?}: {error:?}");
        let read = account.identity(&cx()).await.unwrap_err();
        assert_eq!(read.effect(), Effect::None, "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_that_is_cancelled_or_too_slow_may_have_been_done() {
    let account = FakeAws::new(|_| Answer::Silence).account(1);
    let late = write(&account, &cx().with_deadline_in(Duration::from_secs(1))).await;
    assert_eq!((late.kind(), late.effect()), (ErrorKind::Timeout, Effect::Unknown));
    let cx = cx();
    let (cancelled, ()) = tokio::join!(write(&account, &cx), async { cx.cancellation().cancel() });
    assert_eq!((cancelled.kind(), cancelled.effect()), (ErrorKind::Cancelled, Effect::Unknown));
    assert!(cancelled.report().contains("sts:Write"), "{cancelled:?}");
}

#[tokio::test]
async fn a_refused_signature_does_not_repeat_what_was_signed() {
    let said = "the canonical string is x-amz-security-token:hunter2-hunter2";
    let fake = FakeAws::new(move |_| Answer::xml_refusal(403, "SignatureDoesNotMatch", said));
    let error = write(&fake.account(1), &cx()).await;
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    assert!(!error.report().contains("hunter2"), "{error:?}");
    assert!(error.advice_text().unwrap().contains("clock"), "{error:?}");
    let ended = write(&refusing(403, "ExpiredToken").account(1), &cx()).await;
    assert!(ended.advice_text().unwrap().contains("log in again"), "{ended:?}");
}

#[test]
fn codes_have_the_kinds_that_they_mean() {
    for (code, status, kind) in [
        ("RepositoryNotFoundException", 400, ErrorKind::NotFound),
        ("NoSuchBucket", 404, ErrorKind::NotFound),
        ("NoSuchDistribution", 404, ErrorKind::NotFound),
        ("ResourceNotFoundException", 400, ErrorKind::NotFound),
        ("RepositoryAlreadyExistsException", 400, ErrorKind::AlreadyExists),
        ("ResourceExistsException", 400, ErrorKind::AlreadyExists),
        ("DBSnapshotAlreadyExists", 400, ErrorKind::AlreadyExists),
        ("PreconditionFailed", 412, ErrorKind::Conflict),
        ("ConditionalRequestConflict", 409, ErrorKind::Conflict),
        ("SlowDown", 503, ErrorKind::RateLimited),
        ("ThrottlingException", 400, ErrorKind::RateLimited),
        ("TooManyInvalidationsInProgress", 400, ErrorKind::LimitExceeded),
        ("LimitExceededException", 400, ErrorKind::LimitExceeded),
        ("InvalidParameterException", 400, ErrorKind::InvalidInput),
        ("ValidationException", 400, ErrorKind::InvalidInput),
        ("PermanentRedirect", 301, ErrorKind::InvalidInput),
        ("UnsupportedImageTypeException", 400, ErrorKind::Unsupported),
        ("UnauthorizedOperation", 403, ErrorKind::PermissionDenied),
        ("UnrecognizedClientException", 400, ErrorKind::Unauthenticated),
        ("SomethingNew", 400, ErrorKind::InvalidInput),
        ("SomethingNew", 503, ErrorKind::Unavailable),
    ] {
        assert_eq!(codes::kind(Some(code), Some(status)), kind, "{code}");
    }
    assert_eq!(codes::kind(None, Some(404)), ErrorKind::NotFound);
    assert_eq!(codes::kind(None, None), ErrorKind::Unavailable);
}
