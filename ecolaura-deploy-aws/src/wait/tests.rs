//! What is forgiven, for how long, and what is told then.

use std::{
    collections::VecDeque,
    sync::{
        Mutex,
        atomic::{AtomicU32, Ordering},
    },
};

use ecolaura_deploy_core::Retry;

use super::*;
use crate::fake::cx;

const PACE: Pace =
    Pace { patience: Duration::from_mins(2), pause: Duration::from_secs(2), longest: Duration::from_secs(20) };

fn wait(cx: &Context) -> Wait<'_> {
    Wait::new((cx, "test.wait"), PACE, (Effect::Partial, "run again"))
}

fn failure(kind: ErrorKind) -> Error {
    Error::new(kind, "test.look", "no answer from AWS").with_retry(Retry::Exhausted)
}

/// Answers with each of `answers` in turn, and says how many looks there were.
async fn look(wait: &mut Wait<'_>, answers: impl IntoIterator<Item = Result<u32>>) -> (Result<u32>, u32) {
    let (answers, looks) = (Mutex::new(answers.into_iter().collect::<VecDeque<_>>()), AtomicU32::new(0));
    let answer = wait
        .look(|| {
            looks.fetch_add(1, Ordering::SeqCst);
            std::future::ready(answers.lock().unwrap().pop_front().unwrap())
        })
        .await;
    (answer, looks.load(Ordering::SeqCst))
}

fn failing(kind: ErrorKind) -> impl Iterator<Item = Result<u32>> {
    std::iter::repeat_with(move || Err(failure(kind))).take(1000)
}

#[tokio::test(start_paused = true)]
async fn a_throttled_look_is_forgiven_and_one_that_is_lost_too_once_there_was_an_answer() {
    use ErrorKind::{RateLimited, Unavailable};
    let cx = cx();
    let answers = || [Err(failure(RateLimited)), Err(failure(RateLimited)), Ok(7)];
    assert!(matches!(look(&mut wait(&cx), answers()).await, (Ok(7), 3)));
    let answers = || [Err(failure(Unavailable)), Err(failure(RateLimited)), Ok(7)];
    assert!(matches!(look(&mut wait(&cx).reached(true), answers()).await, (Ok(7), 3)));
    let (error, looks) = look(&mut wait(&cx), answers()).await;
    assert_eq!((error.unwrap_err().kind(), looks), (Unavailable, 1));

    let mut answered = wait(&cx);
    look(&mut answered, [Ok(1)]).await.0.unwrap();
    assert!(matches!(look(&mut answered, answers()).await, (Ok(7), 3)));
}

#[tokio::test(start_paused = true)]
async fn what_waiting_cannot_help_is_told_at_once_as_it_is() {
    let cx = cx();
    for kind in [ErrorKind::PermissionDenied, ErrorKind::Unauthenticated, ErrorKind::NotFound, ErrorKind::Cancelled] {
        let (error, looks) = look(&mut wait(&cx).reached(true), failing(kind)).await;
        let error = error.unwrap_err();
        assert_eq!((error.kind(), error.operation(), looks), (kind, "test.look", 1));
    }
}

#[tokio::test(start_paused = true)]
async fn when_the_patience_ends_the_failure_is_the_cause_beside_what_was_seen_last() {
    let cx = cx();
    let mut seen = wait(&cx).reached(true);
    seen.pause("the thing", "creating").await.unwrap();
    let began = Instant::now();
    let error = look(&mut seen, failing(ErrorKind::Unavailable)).await.0.unwrap_err();
    assert!(began.elapsed() > PACE.patience * 3 / 4, "after {:?}", began.elapsed());
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Timeout, Effect::Partial));
    for told in ["the thing was creating when it was last seen", "120 s", "no answer from AWS", "run again"] {
        assert!(error.report().contains(told), "{told}: {}", error.report());
    }
    // Nothing was ever seen.
    let error = look(&mut wait(&cx), failing(ErrorKind::RateLimited)).await.0.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    for told in ["there was no answer in 120 s", "no answer from AWS"] {
        assert!(error.report().contains(told), "{told}: {}", error.report());
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_takes_back_what_was_forgiven_before() {
    let cx = cx();
    let mut seen = wait(&cx);
    look(&mut seen, [Err(failure(ErrorKind::RateLimited)), Ok(7)]).await.0.unwrap();
    let error = loop {
        if let Err(error) = seen.pause("the thing", "creating").await {
            break error;
        }
    };
    assert!(error.report().contains("the thing is still creating after 120 s"), "{}", error.report());
    assert!(!error.report().contains("no answer"), "{}", error.report());
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_to_what_was_asked_for_leaves_its_effect_unknown() {
    let cx = cx();
    let mut asked = wait(&cx).reached(true);
    let error = loop {
        let lost = failure(ErrorKind::Unavailable).with_effect(Effect::Unknown);
        match asked.heard::<()>(Err(lost)).await {
            Ok(answer) => assert_eq!(answer, None),
            Err(error) => break error,
        }
    };
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Timeout, Effect::Unknown));
}

#[tokio::test(start_paused = true)]
async fn pauses_grow_and_end_growing() {
    let cx = cx();
    let (mut wait, mut pauses) = (wait(&cx), Vec::new());
    for _ in 0..8 {
        let began = Instant::now();
        wait.pause("the thing", "creating").await.unwrap();
        pauses.push(began.elapsed().as_secs());
    }
    assert_eq!(pauses, [2, 3, 4, 6, 10, 15, 20, 20]);
}

#[tokio::test(start_paused = true)]
async fn a_cancel_ends_a_wait_and_says_what_is_known_of_the_effect() {
    let cx = cx();
    let mut wait = wait(&cx).reached(true);
    let cancelled = async {
        tokio::time::sleep(Duration::from_secs(30)).await;
        cx.cancellation().cancel();
    };
    let (error, ()) = tokio::join!(look(&mut wait, failing(ErrorKind::RateLimited)), cancelled);
    let error = error.0.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Cancelled, Effect::Partial));
}
