//! What every [`FeatureFlags`] does.

use std::sync::Arc;

use crate::{
    Context, ErrorKind,
    backend::{FeatureFlags, FlagChange, FlagState},
    testing::conformance::{
        fencing::{Deployers, left_out, refused},
        small::{expect_kind, expect_ok, test_context},
    },
};

const FLAG: &str = "new-checkout";

/// Runs every case. `make` gives a fresh backend that holds the enabled flag `new-checkout` with the variants `on` and
/// `off`, serving `off`. Says so where the case about older epochs is left out.
pub async fn suite<F, Fut>(make: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = Arc<dyn FeatureFlags>>,
{
    let cx = &test_context();
    answers_with_the_state(cx, make().await).await;
    switches_and_switches_back(cx, make().await).await;
    already_there_is_success(cx, make().await).await;
    refuses_when_somebody_else_switched(cx, make().await).await;
    refuses_unknown_variants(cx, make().await).await;
    lists_the_flags_there_are(cx, make().await).await;
    refuses_older_epochs(cx, make().await).await;
}

fn state(enabled: bool, variant: &str) -> FlagState {
    FlagState::new(enabled, variant)
}

async fn answers_with_the_state(cx: &Context, flags: Arc<dyn FeatureFlags>) {
    let case = "flags: answers with the state";
    assert_eq!(expect_ok(case, flags.get(cx, FLAG).await), state(true, "off"), "{case}");
}

async fn switches_and_switches_back(cx: &Context, flags: Arc<dyn FeatureFlags>) {
    let case = "flags: switches and switches back";
    for (from, to) in [((true, "off"), (false, "on")), ((false, "on"), (true, "off"))] {
        let (from, to) = (state(from.0, from.1), state(to.0, to.1));
        expect_ok(case, flags.set(cx, &FlagChange::new(FLAG, from, to.clone())).await);
        assert_eq!(expect_ok(case, flags.get(cx, FLAG).await), to, "{case}");
    }
}

async fn already_there_is_success(cx: &Context, flags: Arc<dyn FeatureFlags>) {
    let case = "flags: already there is success";
    let change = FlagChange::new(FLAG, state(true, "off"), state(true, "on"));
    for _ in 0..2 {
        expect_ok(case, flags.set(cx, &change).await);
    }
}

async fn refuses_when_somebody_else_switched(cx: &Context, flags: Arc<dyn FeatureFlags>) {
    let case = "flags: refuses when somebody else switched";
    let change = FlagChange::new(FLAG, state(false, "off"), state(true, "on"));
    expect_kind(case, flags.set(cx, &change).await, ErrorKind::Conflict);
    assert_eq!(expect_ok(case, flags.get(cx, FLAG).await), state(true, "off"), "{case}");
}

async fn refuses_unknown_variants(cx: &Context, flags: Arc<dyn FeatureFlags>) {
    let case = "flags: refuses unknown variants";
    let change = FlagChange::new(FLAG, state(true, "off"), state(true, "purple"));
    let error = expect_kind(case, flags.set(cx, &change).await, ErrorKind::InvalidInput);
    assert!(error.report().contains("purple"), "{case}: {error:?}");
}

async fn lists_the_flags_there_are(cx: &Context, flags: Arc<dyn FeatureFlags>) {
    let case = "flags: lists the flags there are";
    let error = expect_kind(case, flags.get(cx, "new-chekout").await, ErrorKind::NotFound);
    assert!(error.report().contains(FLAG), "{case}: {error:?}");
    let change = FlagChange::new("new-chekout", state(true, "off"), state(true, "on"));
    expect_kind(case, flags.set(cx, &change).await, ErrorKind::NotFound);
}

async fn refuses_older_epochs(cx: &Context, flags: Arc<dyn FeatureFlags>) {
    let case = "flags: refuses older epochs";
    if !flags.fences() {
        return left_out("flags");
    }
    let Deployers { older, epoch, newer, outside, elsewhere } = Deployers::new(cx);
    let (off, on) = (state(true, "off"), state(true, "on"));
    let (up, down) = (FlagChange::new(FLAG, off.clone(), on.clone()), FlagChange::new(FLAG, on.clone(), off.clone()));
    expect_ok(case, flags.set(&epoch, &up).await);
    for change in [&up, &down] {
        refused(flags.set(&older, change).await, &older, &epoch);
    }
    assert_eq!(expect_ok(case, flags.get(cx, FLAG).await), on, "{case}");

    expect_ok(case, flags.set(&outside, &down).await);
    refused(flags.set(&older, &up).await, &older, &epoch);
    expect_ok(case, flags.set(&newer, &down).await);
    refused(flags.set(&epoch, &up).await, &epoch, &newer);
    assert_eq!(expect_ok(case, flags.get(cx, FLAG).await), off, "{case}");
    expect_ok(case, flags.set(&elsewhere, &up).await);
}
