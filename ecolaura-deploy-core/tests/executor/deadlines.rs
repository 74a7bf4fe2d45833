//! Run deadline ⊃ step deadline ⊃ retry ⊃ permit ⊃ attempt timeout.

use std::{num::NonZeroUsize, sync::Arc, time::Duration};

use ecolaura_deploy_core::{
    Limits,
    pipeline::{Constant, Pipeline},
    run::{RetryPolicy, RunResult, Runner},
    store::ObjectRunStore,
    testing::{Fault, Faulty},
};
use tokio::time::Instant;

use crate::world::{Act, Ledger, cx, diamond, pipeline, run, run_with};

const NOTHING: Vec<Constant<String>> = Vec::new();

#[tokio::test(start_paused = true)]
async fn the_run_deadline_ends_what_runs_and_undoes_what_was_done() {
    let ledger = Ledger::default();
    let runner =
        Runner::new(Arc::new(ObjectRunStore::memory())).deadline(Duration::from_secs(20)).grace(Duration::from_secs(3));
    let plan = runner.plan(&cx(), diamond(&ledger, Some(("migrate", Fault::Hang)))).await.unwrap();
    let began = Instant::now();
    let finished = runner.run(&cx(), plan).await.unwrap();
    let RunResult::RolledBack { failed, cause } = finished.result else { panic!() };
    assert_eq!((failed.as_str(), cause.as_str()), ("its deadline", "the run's deadline passed"));
    assert_eq!(began.elapsed(), Duration::from_secs(23));
    assert!(ledger.done().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_step_deadline_bounds_all_attempts_and_pauses() {
    let ledger = Ledger::default();
    let mut p = pipeline();
    let retry = RetryPolicy::new(std::num::NonZeroU32::new(100).unwrap(), Duration::from_secs(10));
    p.step("flaky", Faulty::new(Act::new("flaky", &ledger), Some(Fault::Flaky(99))), NOTHING)
        .retry(retry)
        .deadline(Duration::from_secs(100))
        .add();
    let began = Instant::now();
    let ran = run(&ledger, p).await;
    assert!(matches!(ran.result, RunResult::RolledBack { .. }));
    assert!(began.elapsed() <= Duration::from_secs(100), "{:?}", began.elapsed());
    assert_eq!(ran.lines().matches("next in").count(), 5, "10, 20, 20, 20, 20: {}", ran.lines());
}

fn at_once(n: usize) -> Limits {
    let mut limits = Limits::default();
    limits.parallel_steps = NonZeroUsize::new(n).unwrap();
    limits
}

/// `a` and `b` take 10 seconds each; `deadline` is that of `b`.
fn two(ledger: &Ledger, deadline: Duration) -> Pipeline {
    let mut p = pipeline();
    for (name, deadline) in [("a", Duration::from_mins(1)), ("b", deadline)] {
        let act = Act::new(name, ledger).pause(Duration::from_secs(10));
        p.step(name, act, NOTHING).attempt_timeout(Duration::from_secs(15)).deadline(deadline).add();
    }
    p
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_permit_counts_for_the_step_and_not_for_the_attempt() {
    let store = || Arc::new(ObjectRunStore::memory());
    let ledger = Ledger::default();
    let cx = cx().with_limits(at_once(1));
    let ran = run_with(&cx, &ledger, two(&ledger, Duration::from_mins(1)), store()).await;
    assert_eq!(ran.result, RunResult::Succeeded, "b waited 10 s and took 10 s, within 15 s");
    let ledger = Ledger::default();
    let ran = run_with(&cx, &ledger, two(&ledger, Duration::from_secs(8)), store()).await;
    assert!(ran.lines().contains("b: failed, effect none: too much else ran"), "{}", ran.lines());
    ran.check("permits");
}

#[tokio::test(start_paused = true)]
async fn nothing_starts_in_the_place_of_a_step_that_failed() {
    let ledger = Ledger::default();
    let mut p = pipeline();
    p.add("a", Faulty::new(Act::new("a", &ledger), Some(Fault::FailBefore)), NOTHING);
    p.add("b", Act::new("b", &ledger), NOTHING);
    let ran = run_with(&cx().with_limits(at_once(1)), &ledger, p, Arc::new(ObjectRunStore::memory())).await;
    assert!(ran.lines().contains("b: skipped: `a` failed"), "{}", ran.lines());
}

#[tokio::test(start_paused = true)]
async fn a_pause_between_attempts_holds_no_permit() {
    let ledger = Ledger::default();
    let mut p = pipeline();
    let retry = RetryPolicy::new(std::num::NonZeroU32::new(2).unwrap(), Duration::from_secs(15));
    let flaky = Faulty::new(Act::new("flaky", &ledger), Some(Fault::Flaky(1)));
    p.step("flaky", flaky, NOTHING).retry(retry).add();
    p.add("other", Act::new("other", &ledger).pause(Duration::from_secs(5)), NOTHING);
    let ran = run_with(&cx().with_limits(at_once(1)), &ledger, p, Arc::new(ObjectRunStore::memory())).await;
    assert_eq!(ledger.applied(), ["other", "flaky"], "{}", ran.lines());
}

#[tokio::test(start_paused = true)]
async fn a_step_that_minds_its_deadline_has_the_grace_to_clean_up() {
    use ecolaura_deploy_core::{Error, ErrorKind, pipeline::constant, steps};
    let mut p = pipeline();
    let clean = |cx: ecolaura_deploy_core::Context, ()| async move {
        let late = cx.sleep("t", Duration::from_hours(1)).await;
        tokio::time::sleep(Duration::from_secs(5)).await;
        late.map_err(|_| Error::new(ErrorKind::Timeout, "t", "cleaned up")).map(|()| 1_u64)
    };
    p.step("clean", steps::call("clean", clean), constant(())).deadline(Duration::from_secs(10)).add();
    let ran = run(&Ledger::default(), p).await;
    assert!(ran.lines().contains("clean: failed, effect none: cleaned up"), "{}", ran.lines());
}

#[tokio::test(start_paused = true)]
async fn times_that_no_clock_can_hold_are_no_limit() {
    let ledger = Ledger::default();
    let mut p = pipeline();
    let step = Act::new("a", &ledger);
    p.step("a", step, NOTHING).deadline(Duration::MAX).attempt_timeout(Duration::MAX).add();
    let runner = Runner::new(Arc::new(ObjectRunStore::memory()))
        .deadline(Duration::MAX)
        .grace(Duration::MAX)
        .undo_deadline(Duration::MAX);
    let plan = runner.plan(&cx(), p).await.unwrap();
    assert!(runner.run(&cx(), plan).await.unwrap().succeeded());
}
