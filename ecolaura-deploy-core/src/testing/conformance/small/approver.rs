//! What every [`Approver`] does.

use std::{sync::Arc, time::Duration};

use crate::{
    Context, ErrorKind,
    backend::{Approval, ApprovalRequest, Approver},
    testing::conformance::small::{cancelled, expect_kind, expect_ok, test_context},
    vocabulary::Digest,
};

/// What the person behind the approver does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// Says yes to what was asked.
    Approve,
    /// Says no, because of `not today`.
    Reject,
    /// Says nothing.
    Silence,
}

/// Runs every case. `make` gives a fresh approver behind which somebody does what the wish says about the request;
/// `None` where that cannot be.
pub async fn suite<F, Fut>(make: F)
where
    F: Fn(Wish, ApprovalRequest) -> Fut,
    Fut: Future<Output = Option<Arc<dyn Approver>>>,
{
    let cx = test_context();
    let request = request(&cx, "9999-01-01T00:00:00Z");
    if let Some(approver) = make(Wish::Approve, request.clone()).await {
        approves_this_digest(&cx, approver.as_ref(), &request).await;
    }
    if let Some(approver) = make(Wish::Reject, request.clone()).await {
        a_rejection_is_an_answer(&cx, approver.as_ref(), &request).await;
    }
    if let Some(approver) = make(Wish::Approve, request.clone()).await {
        a_cancelled_question_is_not_answered(approver.as_ref(), &request).await;
    }
    if let Some(approver) = make(Wish::Approve, request.clone()).await {
        an_expired_question_is_not_answered(&cx, approver.as_ref()).await;
    }
    if let Some(approver) = make(Wish::Silence, request.clone()).await {
        silence_is_not_an_approval(&cx, approver.as_ref(), &request).await;
    }
}

#[expect(clippy::expect_used, reason = "the times are literals")]
fn request(cx: &Context, expires: &str) -> ApprovalRequest {
    let expires = expires.parse().expect("a valid time");
    let summary = vec!["2 changes".to_owned()];
    ApprovalRequest::new(cx.environment().clone(), "ship it", Digest::of("plan"), expires, summary)
}

async fn approves_this_digest(cx: &Context, approver: &dyn Approver, request: &ApprovalRequest) {
    let case = "approver: approves this digest";
    let answer = expect_ok(case, approver.request(cx, request).await);
    let right = matches!(&answer, Approval::Approved { by, digest } if !by.is_empty() && *digest == request.digest);
    assert!(right, "{case}: {answer:?}");
}

async fn a_rejection_is_an_answer(cx: &Context, approver: &dyn Approver, request: &ApprovalRequest) {
    let case = "approver: a rejection is an answer";
    let answer = expect_ok(case, approver.request(cx, request).await);
    assert!(matches!(&answer, Approval::Rejected { reason, .. } if reason == "not today"), "{case}: {answer:?}");
}

async fn a_cancelled_question_is_not_answered(approver: &dyn Approver, request: &ApprovalRequest) {
    let case = "approver: a cancelled question is not answered";
    expect_kind(case, approver.request(&cancelled(), request).await, ErrorKind::Cancelled);
}

async fn an_expired_question_is_not_answered(cx: &Context, approver: &dyn Approver) {
    let case = "approver: an expired question is not answered";
    expect_kind(case, approver.request(cx, &request(cx, "2020-01-01T00:00:00Z")).await, ErrorKind::Timeout);
}

async fn silence_is_not_an_approval(cx: &Context, approver: &dyn Approver, request: &ApprovalRequest) {
    let case = "approver: silence is not an approval";
    let cx = cx.clone().with_deadline_in(Duration::from_millis(50));
    match approver.request(&cx, request).await {
        Ok(Approval::Waiting { how }) => assert!(!how.is_empty(), "{case}: it does not say how to answer"),
        other => drop(expect_kind(case, other, ErrorKind::Timeout)),
    }
}
