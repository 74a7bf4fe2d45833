//! Whole event sequences, one line an event.

use std::time::Duration;

use ecolaura_deploy_core::{
    pipeline::{Pipeline, constant},
    testing::{Fault, Faulty},
};

use crate::world::{Act, Ledger, UndoFault, pipeline, run};

/// `a`, then `b`, then `c`, with `fault` in `b`.
fn three(ledger: &Ledger, fault: Option<Fault>) -> Pipeline {
    let mut pipeline = pipeline();
    let a = pipeline.add("a", Act::new("a", ledger), Vec::<ecolaura_deploy_core::pipeline::Constant<String>>::new());
    let b = Faulty::new(Act::new("b", ledger), fault);
    let b = pipeline.step("b", b, vec![a]).deadline(Duration::from_mins(1)).add();
    pipeline.add("c", Act::new("c", ledger), vec![b]);
    pipeline
}

async fn lines(ledger: &Ledger, fault: Option<Fault>) -> String {
    let ran = run(ledger, three(ledger, fault)).await;
    ran.check("golden");
    ran.lines()
}

const HEAD: &str = "planned: a, b, c\nrun started\na: started\na: says written\na: done\nb: started\n";

#[tokio::test(start_paused = true)]
async fn everything_is_done() {
    let expected = format!("{HEAD}b: says written\nb: done\nc: started\nc: says written\nc: done\nrun succeeded\n");
    assert_eq!(lines(&Ledger::default(), None).await, expected);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_to_do_the_second_time() {
    let ledger = Ledger::default();
    lines(&ledger, None).await;
    let second = run(&ledger, three(&ledger, None)).await;
    let expected = "planned: a, b, c\nrun started\na: unchanged\nb: unchanged\nc: unchanged\nrun succeeded\n";
    assert_eq!(second.lines(), expected);
    assert_eq!(ledger.log().len(), 3, "nothing was applied twice");
}

#[tokio::test(start_paused = true)]
async fn a_failure_before_the_effect() {
    let expected = "b: failed, effect none: failed before it began, as asked (fault.inject)
c: skipped: `b` failed
a: undo started
a: undone
run rolled back: b failed
";
    assert_eq!(lines(&Ledger::default(), Some(Fault::FailBefore)).await, format!("{HEAD}{expected}"));
}

#[tokio::test(start_paused = true)]
async fn a_failure_after_the_effect() {
    let expected = "b: says written
b: failed, effect complete: failed at its end, as asked (fault.inject)
c: skipped: `b` failed
b: undo started
b: undone
a: undo started
a: undone
run rolled back: b failed
";
    assert_eq!(lines(&Ledger::default(), Some(Fault::FailAfter)).await, format!("{HEAD}{expected}"));
}

#[tokio::test(start_paused = true)]
async fn a_panic() {
    let expected = "b: failed, effect unknown: the step panicked: the step panicked, as asked (run.step)
c: skipped: `b` failed
b: undo started
b: undone
a: undo started
a: undone
run rolled back: b failed
";
    assert_eq!(lines(&Ledger::default(), Some(Fault::Panic)).await, format!("{HEAD}{expected}"));
}

#[tokio::test(start_paused = true)]
async fn a_timeout() {
    let expected = "b: failed, effect unknown: no end within 60s and 30s of grace (run.step)
c: skipped: `b` failed
b: undo started
b: undone
a: undo started
a: undone
run rolled back: b failed
";
    assert_eq!(lines(&Ledger::default(), Some(Fault::Hang)).await, format!("{HEAD}{expected}"));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_is_repeated() {
    let expected = "b: attempt 1 failed, next in 500ms: not there, as asked (fault.inject)
b: says written
b: done
c: started
c: says written
c: done
run succeeded
";
    assert_eq!(lines(&Ledger::default(), Some(Fault::Flaky(1))).await, format!("{HEAD}{expected}"));
}

#[tokio::test(start_paused = true)]
async fn an_undoing_that_fails() {
    let ledger = Ledger::default();
    ledger.undo_faults.lock().unwrap().insert("b".to_owned(), UndoFault::Fails);
    let expected = "b: says written
b: failed, effect complete: failed at its end, as asked (fault.inject)
c: skipped: `b` failed
b: undo started
b: not undone: the ledger is locked (act.undo)
run needs an operator: b failed, b, a remains
";
    assert_eq!(lines(&ledger, Some(Fault::FailAfter)).await, format!("{HEAD}{expected}"));
}

#[tokio::test(start_paused = true)]
async fn an_empty_pipeline() {
    assert_eq!(run(&Ledger::default(), pipeline()).await.lines(), "planned: \nrun started\nrun succeeded\n");
    let mut one = pipeline();
    one.add("x", ecolaura_deploy_core::steps::call("x", |_cx, ()| async { Ok(1_u64) }), constant(()));
    assert_eq!(
        run(&Ledger::default(), one).await.lines(),
        "planned: x\nrun started\nx: started\nx: done\nrun succeeded\n"
    );
}
