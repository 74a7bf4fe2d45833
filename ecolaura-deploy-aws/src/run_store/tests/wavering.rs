//! Slow, throttled, ambiguous: nothing is lost, nothing is there twice, and the winner knows that he won.

use super::*;

/// The first requests that begin with `line` meet `fate`.
fn first(times: u32, line: &'static str, fate: Fate) -> impl Fn(&str, u32) -> (Duration, Fate) {
    move |asked, nth| (Duration::ZERO, if asked.starts_with(line) && nth <= times { fate } else { Fate::Answered })
}

const AMBIGUOUS: [Fate; 6] = [
    Fate::Broken,
    Fate::Lost,
    Fate::Silence,
    Fate::Refused(500, "InternalError"),
    Fate::Refused(503, "SlowDown"),
    Fate::Refused(409, "ConditionalRequestConflict"),
];

#[tokio::test(start_paused = true)]
async fn whoever_created_knows_it_whatever_s3_answered() {
    for fate in AMBIGUOUS {
        for times in 1..=4 {
            let disk = memory();
            let store = store(&S3Over::new(Arc::clone(&disk)).fates(first(times, "PUT", fate)));
            assert_eq!(store.create("a/1", "mine".into()).await.unwrap(), Created::Yes, "{times} × {fate:?}");
            assert_eq!(disk.get("a/1").await.unwrap().unwrap(), "mine", "{times} × {fate:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_believes_to_have_what_another_has() {
    for fate in AMBIGUOUS {
        let disk = memory();
        let theirs = store(&S3Over::new(Arc::clone(&disk)).fates(first(2, "PUT", fate)));
        let mine = store(&S3Over::new(Arc::clone(&disk)).fates(first(1, "PUT", fate)));
        let created = tokio::join!(theirs.create("a/1", "theirs".into()), mine.create("a/1", "mine".into()));
        let won = match (created.0.unwrap(), created.1.unwrap()) {
            (Created::Yes, Created::Exists) => "theirs",
            (Created::Exists, Created::Yes) => "mine",
            both => panic!("{fate:?}: {both:?}"),
        };
        assert_eq!(disk.get("a/1").await.unwrap().unwrap(), won, "{fate:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn reads_and_removals_outlast_a_wavering_store() {
    for fate in AMBIGUOUS.into_iter().filter(|fate| !matches!(fate, Fate::Refused(409, _))) {
        let disk = memory();
        disk.create("a/1", "one".into()).await.unwrap();
        let store = store(&S3Over::new(Arc::clone(&disk)).fates(first(3, "", fate)));
        assert_eq!(store.get("a/1").await.unwrap().unwrap(), "one", "{fate:?}");
        assert_eq!(store.list("a").await.unwrap(), ["a/1"], "{fate:?}");
        assert_eq!(store.names("a").await.unwrap(), ["1"], "{fate:?}");
        store.remove("a/1").await.unwrap();
        assert_eq!(disk.get("a/1").await.unwrap(), None, "{fate:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_store_is_waited_for() {
    let slow = S3Over::new(memory()).fates(|_, _| (Duration::from_secs(7), Fate::Answered));
    let store = store(&slow);
    assert_eq!(store.create("a/1", "one".into()).await.unwrap(), Created::Yes);
    assert_eq!(store.get("a/1").await.unwrap().unwrap(), "one");
    assert_eq!(slow.log().len(), 2, "nothing was asked twice");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_throttles_for_ever_is_given_up_and_says_so() {
    for (code, kind) in [("SlowDown", ErrorKind::RateLimited), ("ServiceUnavailable", ErrorKind::Unavailable)] {
        let s3 = S3Over::new(memory()).fates(move |_, _| (Duration::ZERO, Fate::Refused(503, code)));
        let error = store(&s3).get("a/1").await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (kind, ecolaura_deploy_core::Retry::Exhausted), "{error:?}");
        assert!(error.report().contains(code), "{}", error.report());
        assert_eq!(s3.log().len(), 1 + super::super::RETRIES, "one owner of retries");
    }
    let s3 = S3Over::new(memory()).fates(|_, _| (Duration::ZERO, Fate::Refused(503, "SlowDown")));
    let place = (BUCKET.to_owned(), PREFIX.to_owned());
    let once = S3RunStore::over(&cx(), &account(1), place, s3.connector(), PAUSES).unwrap();
    once.get("a/1").await.unwrap_err();
    assert_eq!(s3.log().len(), 1, "whose calls are made once");
}
