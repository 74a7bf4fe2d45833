//! Every fault at every step.

use std::time::Duration;

use ecolaura_deploy_core::{
    ErrorKind,
    run::{RunResult, Runner},
    store::ObjectRunStore,
    testing::Fault,
};

use crate::world::{DIAMOND, Ledger, Ran, cx, diamond, group, run};

const HARMLESS: [Fault; 2] = [Fault::Flaky(2), Fault::Slow(Duration::from_secs(40))];

const FATAL: [Fault; 9] = [
    Fault::FailPrepare,
    Fault::PanicPrepare,
    Fault::FailBefore,
    Fault::FailAfter,
    Fault::LoseAnswer,
    Fault::Flaky(9),
    Fault::Hang,
    Fault::Panic,
    Fault::PanicAfter,
];

#[tokio::test(start_paused = true)]
async fn nothing_fails() {
    let ledger = Ledger::default();
    let ran = run(&ledger, diamond(&ledger, None)).await;
    assert_eq!(ran.result, RunResult::Succeeded);
    assert_eq!(ledger.done().len(), DIAMOND.len());
    ran.check("no fault");
}

#[tokio::test(start_paused = true)]
async fn harmless_faults_change_nothing() {
    for (step, ..) in DIAMOND {
        for fault in HARMLESS {
            let ledger = Ledger::default();
            let ran = run(&ledger, diamond(&ledger, Some((step, fault)))).await;
            assert_eq!(ran.result, RunResult::Succeeded, "{step} {fault:?}");
            ran.check(&format!("{step} {fault:?}"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_step_takes_its_group_with_it_and_the_release_takes_all() {
    for (step, ..) in DIAMOND {
        for fault in FATAL {
            let ledger = Ledger::default();
            let ran = run(&ledger, diamond(&ledger, Some((step, fault)))).await;
            let case = format!("{step} {fault:?}");
            judge(&ran, step, &case);
            ran.check(&case);
        }
    }
}

fn judge(ran: &Ran, step: &str, case: &str) {
    match &ran.result {
        RunResult::RolledBack { failed, .. } => {
            assert_eq!((failed.as_str(), group(step)), (step, "release"), "{case}");
            assert!(ran.ledger.done().is_empty(), "{case}: {:?}", ran.ledger.done());
        }
        RunResult::SucceededExcept { groups } => {
            assert_eq!(
                groups.iter().map(ecolaura_deploy_core::vocabulary::Name::as_str).collect::<Vec<_>>(),
                [group(step)],
                "{case}"
            );
            let stay = DIAMOND.iter().filter(|(_, of, _)| *of != group(step)).map(|(name, ..)| (*name).to_owned());
            assert_eq!(ran.ledger.done(), stay.collect(), "{case}");
        }
        other => panic!("{case}: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_step_that_cannot_be_planned_is_a_problem_of_the_plan_beside_others() {
    for (step, ..) in DIAMOND {
        for fault in [Fault::FailPlan, Fault::PanicPlan] {
            let ledger = Ledger::default();
            let runner = Runner::new(std::sync::Arc::new(ObjectRunStore::memory()));
            let error = runner.plan(&cx(), diamond(&ledger, Some((step, fault)))).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Internal);
            assert!(error.report().contains(&format!("`{step}`")), "{}", error.report());
            assert!(ledger.log().is_empty());
        }
    }
}
