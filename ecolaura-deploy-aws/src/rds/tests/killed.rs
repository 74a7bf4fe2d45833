//! Processes that die at a call, and others that go on; and those that are refused one.

use ecolaura_deploy_core::run::RunResult;

use super::world::*;
use crate::rds::fake::FakeRds;

/// Kills the first process at each of its calls, one after the other; what another one makes of it is looked at by
/// `check`. How many calls there were.
async fn at_each_call(fails: bool, check: impl Fn(&World, Option<RunResult>, &str)) -> usize {
    for call in 0.. {
        for moment in [Moment::Before, Moment::After] {
            let world = World::new(FakeRds::new().instance("shop"));
            let done = world.run(|database| way_back(database, fails), Some((call, moment))).await;
            if done.is_some() {
                return call;
            }
            let result = world.resume(|database| way_back(database, fails)).await;
            check(&world, result, &format!("killed {moment:?} call {call}").to_lowercase());
        }
    }
    unreachable!()
}

#[tokio::test(start_paused = true)]
async fn a_switch_that_was_killed_at_any_call_goes_on_to_its_end() {
    let calls = at_each_call(false, |world, result, case| match result {
        Some(result) => {
            assert!(matches!(result, RunResult::Succeeded), "{case}: {result:?}");
            let expected = ["shop db-FAKE0002 available", "shop-old db-FAKE0001 available"];
            assert_eq!(world.listing(), expected, "{case}");
        }
        // It had not begun.
        None => assert_eq!(world.listing(), ["shop db-FAKE0001 available"], "{case}"),
    })
    .await;
    assert!(calls > 30, "only {calls} calls");
}

#[tokio::test(start_paused = true)]
async fn a_way_back_that_fails_and_is_killed_at_any_call_gives_the_name_back() {
    let calls = at_each_call(true, |world, result, case| {
        let listing = world.listing();
        assert!(listing.contains(&"shop db-FAKE0001 available".to_owned()), "{case}: {listing:?}");
        if let Some(result) = result {
            assert!(matches!(result, RunResult::RolledBack { .. }), "{case}: {result:?}");
            assert_eq!(listing.len(), 2, "{case}: {listing:?}");
        }
    })
    .await;
    assert!(calls > 50, "only {calls} calls");
}

#[tokio::test(start_paused = true)]
async fn a_way_back_that_is_refused_any_call_is_taken_back_whole() {
    for call in 0.. {
        let world = World::new(FakeRds::new().instance("shop"));
        let result = world.run(|database| way_back(database, false), Some((call, Moment::Refused))).await;
        let (listing, case) = (world.listing(), format!("refused call {call}"));
        if world.calls() <= call {
            assert!(call > 30, "only {call} calls");
            return;
        }
        assert!(listing.contains(&"shop db-FAKE0001 available".to_owned()), "{case}: {listing:?}");
        let Some(RunResult::RolledBack { failed, .. }) = result else {
            assert!(result.is_none() && listing.len() == 1, "{case}: {result:?}, {listing:?}");
            continue;
        };
        // What nobody has used goes; what may have been used stays.
        let used = failed == "switch";
        let left = listing.iter().filter(|line| line.starts_with("shop-new ") && line.ends_with(" available")).count();
        assert!(used || left == 0, "{case}, in `{failed}`: {listing:?}");
    }
}
