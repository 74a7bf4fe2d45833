//! Undoing that fails, panics, hangs, or is slow to succeed.

use std::{sync::Arc, time::Duration};

use ecolaura_deploy_core::{
    Context,
    run::{RunResult, Runner},
    store::{ObjectRunStore, RecordBody},
    testing::Fault,
};

use crate::world::{DIAMOND, Ledger, UndoFault, cx, diamond, run, run_with};

fn with_undo_fault(step: &str, fault: UndoFault) -> Ledger {
    let ledger = Ledger::default();
    ledger.undo_faults.lock().unwrap().insert(step.to_owned(), fault);
    ledger
}

#[tokio::test(start_paused = true)]
async fn an_undoing_that_cannot_be_done_names_what_remains_in_order() {
    for fault in [UndoFault::Fails, UndoFault::Panics, UndoFault::Hangs] {
        for (step, ..) in DIAMOND {
            let ledger = with_undo_fault(step, fault);
            let ran = run(&ledger, diamond(&ledger, Some(("roll", Fault::FailAfter)))).await;
            let case = format!("{step} {fault:?}");
            ran.check(&case);
            let RunResult::NeedsOperator { failed, remaining, commands, .. } = &ran.result else {
                panic!("{case}: {:?}", ran.result)
            };
            assert_eq!((failed.as_str(), remaining.first().map(String::as_str)), ("roll", Some(step)), "{case}");
            assert_eq!(ledger.done(), remaining.iter().cloned().collect(), "{case}: just what remains is there");
            assert_eq!(commands.len(), remaining.len(), "{case}");
            assert!(commands[0].starts_with(&format!("`{step}`: strike {step} out (failed: ")), "{}", commands[0]);
            let planned = ran.records.iter().find_map(|record| match &record.body {
                RecordBody::UndoPlanned { steps, .. } => Some(steps.clone()),
                _ => None,
            });
            assert!(planned.unwrap().ends_with(remaining), "{case}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_undoing_that_is_not_possible_at_first_is_tried_again() {
    let ledger = with_undo_fault("push-a", UndoFault::Flaky(2));
    let ran = run(&ledger, diamond(&ledger, Some(("roll", Fault::FailAfter)))).await;
    ran.check("flaky undo");
    assert!(matches!(ran.result, RunResult::RolledBack { .. }));
}

#[tokio::test(start_paused = true)]
async fn an_undoing_has_its_own_time_whatever_the_run_has_left() {
    let ledger = Ledger::default();
    let cx: Context = cx().with_deadline_in(Duration::from_millis(3_500));
    let ran = run_with(&cx, &ledger, diamond(&ledger, None), Arc::new(ObjectRunStore::memory())).await;
    ran.check("deadline of the caller");
    let RunResult::RolledBack { cause, .. } = &ran.result else { panic!("{:?}", ran.result) };
    assert!(ledger.undone().len() > 3 && ledger.done().is_empty(), "{cause}");
}

#[tokio::test(start_paused = true)]
async fn all_attempts_of_an_undoing_share_its_time() {
    let ledger = with_undo_fault("roll", UndoFault::Hangs);
    let runner = Runner::new(Arc::new(ObjectRunStore::memory()))
        .undo_deadline(Duration::from_mins(1))
        .grace(Duration::from_secs(5));
    let plan = runner.plan(&cx(), diamond(&ledger, Some(("roll", Fault::FailAfter)))).await.unwrap();
    let began = tokio::time::Instant::now();
    let finished = runner.run(&cx(), plan).await.unwrap();
    assert!(matches!(finished.result, RunResult::NeedsOperator { .. }));
    assert_eq!(began.elapsed().as_secs(), 4 + 65);
}

#[tokio::test(start_paused = true)]
async fn a_group_that_cannot_be_undone_needs_an_operator_and_the_release_goes_on() {
    let ledger = with_undo_fault("mail-1", UndoFault::Fails);
    let ran = run(&ledger, diamond(&ledger, Some(("mail-2", Fault::FailAfter)))).await;
    ran.check("mail");
    let RunResult::NeedsOperator { failed, remaining, .. } = &ran.result else { panic!("{:?}", ran.result) };
    assert_eq!((failed.as_str(), remaining.as_slice()), ("mail-2", ["mail-1".to_owned()].as_slice()));
    assert!(ledger.done().contains("roll"));
}
