//! What is asked of `CloudWatch`, and what its answers amount to. moto does not speak the protocol that the SDK's client
//! of it speaks: a small `CloudWatch` stands here in its place.

mod fake;

use std::{sync::Arc, time::Duration};

use ecolaura_deploy_core::{
    ErrorKind, Verdict,
    backend::{Measure, MetricQuery, MetricSource, Track},
    clock::FixedClock,
    step::{Planned, Step as _},
    testing::conformance::small::metrics,
    vocabulary::ServiceName,
};

use self::fake::{FakeCloudWatch, Page};
use super::{reading::Span, *};
use crate::{
    fake::{FakeAws, cx, unknown},
    granted,
};

fn source(fake: &FakeAws) -> CloudWatchMetrics {
    CloudWatchMetrics::new("cloudwatch".parse().unwrap(), &fake.account(1), Layout::services("Shop"))
}

fn query(measure: Measure) -> MetricQuery {
    let service = ServiceName::new("backend").unwrap();
    MetricQuery::new("dev", service, Track::Candidate, measure, Duration::from_mins(5))
}

/// As the suite wants it: 40 requests of the candidate, 10 of them errors, in 0.25 s each, and 4 orders by card.
fn backend() -> FakeCloudWatch {
    FakeCloudWatch::new()
        .series("Requests/candidate/Sum", &[30.0, 10.0])
        .series("Errors/candidate/Sum", &[10.0])
        .series("Latency/candidate/Sum", &[7.5, 2.5])
        .series("Latency/candidate/SampleCount", &[30.0, 10.0])
        .series("orders_total/candidate/card/Sum", &[4.0])
}

#[tokio::test]
async fn metrics_are_read_as_every_source_has_to() {
    metrics::suite(|| async {
        (Arc::new(source(&backend().serve())) as Arc<dyn MetricSource>, Duration::from_mins(5))
    })
    .await;
}

#[tokio::test]
async fn an_answer_on_several_pages_is_counted_whole_and_a_part_of_one_is_an_error() {
    let requests = "Requests/candidate/Sum";
    let split =
        FakeCloudWatch::new().pages(requests, [Page::new(&[30.0], "PartialData"), Page::new(&[10.0], "Complete")]);
    let sample = source(&split.serve()).query(&cx(), &query(Measure::Requests)).await.unwrap();
    assert_eq!((sample.value, sample.count), (Some(40.0), 40));

    for (status, kind) in [("PartialData", ErrorKind::Unavailable), ("Forbidden", ErrorKind::PermissionDenied)] {
        let part = FakeCloudWatch::new().pages(requests, [Page::new(&[30.0], status)]);
        let error = source(&part.serve()).query(&cx(), &query(Measure::Requests)).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error:?}");
        assert!(error.report().contains(status), "{error:?}");
    }
}

#[tokio::test]
async fn who_is_throttled_is_told_so() {
    let fake = FakeAws::new(|asked| match asked.operation.as_str() {
        operation if operation.ends_with("GetMetricData") => fake::refusal(400, "ThrottlingException"),
        _ => unknown(),
    });
    let error = source(&fake).query(&cx(), &query(Measure::Requests)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RateLimited, "{error:?}");
}

#[test]
fn whole_periods_are_asked_for_and_the_newest_ones_left_out() {
    let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap();
    let minutes = |now: &str, window, lag| {
        let Span { start, end, .. } = Span::of(at(now), Duration::from_secs(window), 60, Duration::from_secs(lag));
        let time = |second| jiff::Timestamp::from_second(second).unwrap().to_string();
        (time(start), time(end))
    };
    let expected = |start: &str, end: &str| (format!("2026-11-26T{start}:00Z"), format!("2026-11-26T{end}:00Z"));
    assert_eq!(minutes("2026-11-26T10:07:43Z", 300, 60), expected("10:01", "10:06"));
    assert_eq!(minutes("2026-11-26T10:07:43Z", 10, 60), expected("10:05", "10:06"));
    assert_eq!(minutes("2026-11-26T10:07:00Z", 61, 0), expected("10:05", "10:07"));
}

#[tokio::test]
async fn the_question_goes_to_the_target_group_at_whole_minutes() {
    let fake = backend().serve();
    let layout = Layout::load_balancer("app/shop/1").target_group(
        ServiceName::new("backend").unwrap(),
        Track::Candidate,
        "targetgroup/web/2",
    );
    let source = CloudWatchMetrics::new("cloudwatch".parse().unwrap(), &fake.account(1), layout);
    let clock = FixedClock::new("2026-11-26T10:07:43Z".parse().unwrap());
    source.query(&cx().with_clock(Arc::new(clock)), &query(Measure::ErrorRate)).await.unwrap();
    let asked = fake::asked(&fake);
    assert_eq!(asked.len(), 3, "{asked:?}");
    assert!(asked[1].starts_with("AWS/ApplicationELB HTTPCode_Target_5XX_Count Sum 60"), "{asked:?}");
    assert!(asked[1].contains("TargetGroup=targetgroup/web/2"), "{asked:?}");
    let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_second();
    assert_eq!(fake::times(&fake), [at("2026-11-26T10:01:00Z"), at("2026-11-26T10:06:00Z")]);
    let mut stable = query(Measure::Requests);
    stable.track = Track::Stable;
    let error = source.query(&cx(), &stable).await.unwrap_err();
    assert!(error.report().contains("no target group is named for the stable backend"), "{error:?}");
    let counter = Measure::Counter { name: "orders_total".to_owned(), labels: [].into() };
    assert_eq!(source.query(&cx(), &query(counter)).await.unwrap_err().kind(), ErrorKind::Unsupported);
}

fn rate() -> Measure {
    Measure::Expression { text: "SELECT AVG(Rate) FROM Shop".to_owned() }
}

#[tokio::test]
async fn an_expression_is_asked_for_one_point_over_the_whole_window() {
    let clock = FixedClock::new("2026-11-26T10:07:43Z".parse().unwrap());
    let cx = cx().with_clock(Arc::new(clock));
    for (resolution, window, expected) in [(60, 300, 300), (60, 301, 360), (10, 25, 60), (10, 90, 120), (300, 60, 300)]
    {
        let fake = backend().series("SELECT AVG(Rate) FROM Shop", &[0.3]).serve();
        let source = source(&fake).period(resolution.try_into().unwrap());
        let mut query = query(rate());
        query.window = Duration::from_secs(window);
        let sample = source.query(&cx, &query).await.unwrap();
        assert_eq!(sample.value, Some(0.3), "never a sum");
        let [start, end] = fake::times(&fake);
        assert_eq!((fake::periods(&fake), end - start), (vec![expected; 2], expected), "{window} s by {resolution} s");
    }
    let nothing = source(&backend().serve()).query(&cx, &query(rate())).await.unwrap();
    assert_eq!(nothing.value, None);
}

#[tokio::test]
async fn an_expression_that_does_not_come_to_one_number_is_an_error_that_says_so() {
    let point = || Page::new(&[0.3], "Complete");
    for (page, said) in [
        (Page::new(&[0.3; 5], "Complete"), "5 points"),
        (point().beside("another", &[0.1]), "2 series"),
        (point().beside("another", &[]), "2 series"),
        (point().late(240), "a point 240 s off the window"),
    ] {
        let fake = backend().pages("SELECT AVG(Rate) FROM Shop", [page]).serve();
        let error = source(&fake).query(&cx(), &query(rate())).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.report().contains(&format!("answers with {said}, expected one number")), "{error:?}");
    }
}

#[tokio::test]
async fn an_alarm_that_rings_has_no_data_or_is_not_there_stops_the_run() {
    let fake = FakeCloudWatch::new().alarm("calm", "OK").alarm("loud", "ALARM").alarm("new", "INSUFFICIENT_DATA");
    let fake = fake.composite("site", "OK").composite("shop", "ALARM").serve();
    let alarms = |names: &[&str]| Alarms::new(&fake.account(1), names.iter().copied());
    let gate = AlarmGate::new(Arc::new(alarms(&["calm", "site"])));
    assert!(gate.plan(&cx(), Planned::Known(true)).await.unwrap().warnings.is_empty());
    gate.apply(&cx(), true).await.unwrap();
    assert!(gate.asks_again(), "an alarm may ring since");
    for (names, verdict, said) in [
        (&["calm", "loud", "new"][..], Verdict::Fail, "loud: ALARM"),
        (&["calm", "new"], Verdict::NoData, "new: INSUFFICIENT_DATA"),
        (&["calm", "shop"], Verdict::Fail, "shop: ALARM"),
        (&["calm", "gone"], Verdict::NoData, "there is no such alarm"),
        (&[], Verdict::NoData, "no alarm is named"),
    ] {
        assert_eq!(alarms(names).verdict(&cx()).await.unwrap().0, verdict, "{names:?}");
        let plan = AlarmGate::<bool>::new(Arc::new(alarms(names))).plan(&cx(), Planned::Known(true)).await.unwrap();
        assert!(plan.warnings.iter().any(|line| line.contains(said)), "{:?}", plan.warnings);
        assert!(!plan.warnings.iter().any(|line| line.contains("calm")), "{:?}", plan.warnings);
        let error = AlarmGate::new(Arc::new(alarms(names))).apply(&cx(), true).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::GateRefused);
        assert!(error.report().contains(said) && !error.report().contains("calm"), "{error:?}");
    }
    assert_eq!(alarms(&["new"]).tolerating_silence().verdict(&cx()).await.unwrap().0, Verdict::Pass);
}

#[tokio::test]
async fn a_target_that_takes_no_connection_has_failed_its_requests() {
    let fake = FakeCloudWatch::new().series("RequestCount/Sum", &[10.0]);
    let fake = fake.series("HTTPCode_Target_5XX_Count/Sum", &[1.0]).series("TargetConnectionErrorCount/Sum", &[4.0]);
    let service = || ServiceName::new("backend").unwrap();
    let layout = || Layout::load_balancer("app/shop/1").target_group(service(), Track::Candidate, "targetgroup/web/2");
    let rate = |fake: FakeCloudWatch| async move {
        let source = CloudWatchMetrics::new("cloudwatch".parse().unwrap(), &fake.serve().account(1), layout());
        source.query(&cx(), &query(Measure::ErrorRate)).await.unwrap().value
    };
    assert_eq!(rate(fake.clone()).await, Some(0.5));
    // Each request tried more than one target.
    assert_eq!(rate(fake.series("TargetConnectionErrorCount/Sum", &[30.0])).await, Some(1.0));
}

#[tokio::test]
async fn every_call_is_granted_and_no_grant_is_unused() {
    let calls = granted::record();
    let fake = backend().alarm("calm", "OK").serve();
    source(&fake).query(&cx(), &query(Measure::Requests)).await.unwrap();
    Alarms::new(&fake.account(1), ["calm"]).verdict(&cx()).await.unwrap();
    // Composite alarms are shown only to who may look at all.
    granted::exactly(&calls, [CloudWatchMetrics::reading(), Alarms::looking()]);
}

#[tokio::test]
async fn where_no_request_came_there_is_no_rate_and_no_latency() {
    let fake = FakeCloudWatch::new().series("Requests/candidate/Sum", &[0.0, 0.0]);
    let fake = fake.series("Latency/candidate/Sum", &[0.0]).series("Latency/candidate/SampleCount", &[0.0]).serve();
    for measure in [Measure::ErrorRate, Measure::MeanLatency] {
        let sample = source(&fake).query(&cx(), &query(measure.clone())).await.unwrap();
        assert_eq!((sample.value, sample.count), (None, 0), "{measure:?}");
    }
}
