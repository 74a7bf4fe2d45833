//! Looks that AWS does not answer while something is waited for.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ecolaura_deploy_core::{Effect, run::RunResult};

use super::world::*;
use crate::{
    fake::{Answer, FakeAws, cx},
    rds::{fake::FakeRds, *},
};

#[tokio::test(start_paused = true)]
async fn a_call_that_is_throttled_or_whose_answer_is_lost_ends_no_wait() {
    for moment in [Moment::Throttled, Moment::Lost] {
        let mut ended = Vec::new();
        for call in 0.. {
            let world = World::new(FakeRds::new().instance("shop"));
            let result = world.run(|database| way_back(database, false), Some((call, moment))).await;
            if world.calls() <= call {
                assert!(call > 30, "only {call} calls");
                break;
            }
            match result {
                Some(RunResult::Succeeded) => {
                    let expected = ["shop db-FAKE0002 available", "shop-old db-FAKE0001 available"];
                    assert_eq!(world.listing(), expected, "{moment:?} call {call}");
                }
                Some(RunResult::RolledBack { failed, .. }) => ended.push(format!("{call} in `{failed}`")),
                None => ended.push(format!("{call} before the run")),
                other => panic!("{moment:?} call {call}: {other:?}"),
            }
        }
        // What is planned again is no wait, and the first answer in a step is waited for only if there will be one.
        let told = ["0 before the run", "1 before the run", "2 in `restore`", "3 in `restore`"];
        let told = if moment == Moment::Throttled { &told[..3] } else { &told };
        assert_eq!(ended, told, "{moment:?}");
    }
}

/// Databases that nobody can look at once `silent` is set.
fn hiding(silent: &Arc<AtomicBool>) -> RdsDatabase {
    let (world, silent) = (World::new(FakeRds::new().instance("shop")), Arc::clone(silent));
    let answers = world.fake().handler();
    let fake = FakeAws::new(move |asked| {
        let taken = asked.operation == "CreateDBSnapshot";
        let hidden = silent.fetch_or(taken, Ordering::SeqCst) && asked.operation != "GetCallerIdentity";
        if hidden { Answer::xml_refusal(503, "ServiceUnavailable", "back soon") } else { answers(asked) }
    });
    RdsDatabase::instance(&fake.account(1), "shop").patience(Duration::from_mins(30))
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_looked_at_until_the_patience_ends_is_told_with_the_cause_and_what_was_seen() {
    let silent = Arc::new(AtomicBool::new(false));
    let database = hiding(&silent);
    let error = database.snapshot(&cx(), "key").await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Timeout, Effect::Partial), "{error:?}");
    for told in ["RDS instance shop was backing-up when it was last seen", "1800 s", "back soon", "RDS goes on with it"]
    {
        assert!(error.report().contains(told), "{told}: {}", error.report());
    }
    silent.store(false, Ordering::SeqCst);
    assert!(database.snapshot(&cx(), "key").await.is_ok(), "the same key adopts it");
}

#[tokio::test(start_paused = true)]
async fn before_the_first_answer_a_service_that_cannot_be_reached_is_told_at_once() {
    let silent = Arc::new(AtomicBool::new(true));
    let error = hiding(&silent).snapshot(&cx(), "key").await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unavailable, Effect::None), "{error:?}");
}
