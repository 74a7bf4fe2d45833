//! What every [`MetricSource`] does.

use std::{sync::Arc, time::Duration};

use crate::{
    Context, ErrorKind,
    backend::{Measure, MetricQuery, MetricSource, Sample, Track},
    testing::conformance::small::{cancelled, expect_kind, expect_ok, test_context},
    vocabulary::ServiceName,
};

/// Runs every case. `make` gives a fresh source and the window to ask for. Within any such window the candidate of
/// `backend` in the namespace `dev` answered 40 requests, 10 of them with a status from 500 on, in 0.25 s each, and
/// its counter `orders_total{kind="card"}` grew by 4; its stable version was not asked anything.
pub async fn suite<F, Fut>(make: F)
where
    F: Fn() -> Fut,
    Fut: Future<Output = (Arc<dyn MetricSource>, Duration)>,
{
    let cx = &test_context();
    for (case, measure, value, count) in [
        ("metrics: counts requests", Measure::Requests, 40.0, 40),
        ("metrics: knows the share of errors", Measure::ErrorRate, 0.25, 40),
        ("metrics: knows the mean latency", Measure::MeanLatency, 0.25, 40),
        ("metrics: knows how a counter grew", orders("card"), 4.0, 40),
    ] {
        let (source, window) = make().await;
        answers(cx, source.as_ref(), window, (case, measure, value, count)).await;
    }
    let (source, window) = make().await;
    nothing_to_compute_from_is_no_value(cx, source.as_ref(), window).await;
    let (source, window) = make().await;
    a_cancelled_question_is_not_answered(source.as_ref(), window).await;
}

fn orders(kind: &str) -> Measure {
    let labels = [("kind".to_owned(), kind.to_owned())].into();
    Measure::Counter { name: "orders_total".to_owned(), labels }
}

#[expect(clippy::expect_used, reason = "the name is a literal that follows the grammar")]
fn query(track: Track, measure: Measure, window: Duration) -> MetricQuery {
    MetricQuery::new("dev", ServiceName::new("backend").expect("a valid name"), track, measure, window)
}

async fn answers(
    cx: &Context,
    source: &dyn MetricSource,
    window: Duration,
    (case, measure, value, count): (&str, Measure, f64, u64),
) {
    let sample = expect_ok(case, source.query(cx, &query(Track::Candidate, measure, window)).await);
    let near = sample.value.is_some_and(|found| (found - value).abs() < 1e-9);
    assert!(near && sample.count == count, "{case}: expected {value} from {count}, found {sample:?}");
}

async fn nothing_to_compute_from_is_no_value(cx: &Context, source: &dyn MetricSource, window: Duration) {
    let case = "metrics: nothing to compute from is no value";
    for (track, measure) in [
        (Track::Stable, Measure::ErrorRate),
        (Track::Stable, Measure::MeanLatency),
        (Track::Candidate, orders("no-such-kind")),
    ] {
        let sample: Sample = expect_ok(case, source.query(cx, &query(track, measure.clone(), window)).await);
        assert_eq!(sample.value, None, "{case}: {track} {measure:?}");
    }
}

async fn a_cancelled_question_is_not_answered(source: &dyn MetricSource, window: Duration) {
    let case = "metrics: a cancelled question is not answered";
    let query = query(Track::Candidate, Measure::Requests, window);
    expect_kind(case, source.query(&cancelled(), &query).await, ErrorKind::Cancelled);
}
