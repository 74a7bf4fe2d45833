//! What goes back together.

use std::time::Duration;

use ecolaura_deploy_core::{
    pipeline::{Constant, Handle, Pipeline},
    run::RunResult,
    testing::{Fault, Faulty},
};

use crate::world::{Act, Ledger, Ran, pipeline, run};

const NOTHING: Vec<Constant<String>> = Vec::new();

fn act(
    pipeline: &mut Pipeline,
    ledger: &Ledger,
    (name, group): (&'static str, &str),
    needs: &[&Handle<String>],
    (seconds, fault): (u64, Option<Fault>),
) -> Handle<String> {
    let step = Faulty::new(Act::new(name, ledger).pause(Duration::from_secs(seconds)), fault);
    let needs: Vec<Handle<String>> = needs.iter().map(|need| (*need).clone()).collect();
    pipeline.step(name, step, needs).group(group.parse().unwrap()).add()
}

fn groups(ran: &Ran) -> Vec<&str> {
    match &ran.result {
        RunResult::SucceededExcept { groups } => {
            groups.iter().map(ecolaura_deploy_core::vocabulary::Name::as_str).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn what_rests_on_a_group_that_goes_back_goes_first() {
    let (ledger, mut p) = (Ledger::default(), pipeline());
    let schema = act(&mut p, &ledger, ("schema", "data"), &[], (1, None));
    act(&mut p, &ledger, ("reader", "app"), &[&schema], (1, None));
    act(&mut p, &ledger, ("cleanup", "data"), &[&schema], (5, Some(Fault::FailAfter)));
    act(&mut p, &ledger, ("site", "site"), &[], (1, None));
    let ran = run(&ledger, p).await;
    assert_eq!(groups(&ran), ["app", "data"]);
    assert_eq!(ledger.undone(), ["cleanup", "reader", "schema"], "exact reverse, over both groups");
    assert_eq!(ledger.done().into_iter().collect::<Vec<_>>(), ["site"]);
}

#[tokio::test(start_paused = true)]
async fn a_group_is_undone_only_when_nothing_that_rests_on_it_runs() {
    let (ledger, mut p) = (Ledger::default(), pipeline());
    let schema = act(&mut p, &ledger, ("schema", "data"), &[], (1, None));
    // It ignores the cancel and ends late.
    act(&mut p, &ledger, ("reader", "app"), &[&schema], (1, Some(Fault::Hang)));
    act(&mut p, &ledger, ("cleanup", "data"), &[&schema], (1, Some(Fault::FailAfter)));
    act(&mut p, &ledger, ("site", "site"), &[], (1, None));
    let ran = run(&ledger, p).await;
    assert_eq!(groups(&ran), ["app", "data"]);
    assert_eq!(ledger.undone(), ["reader", "cleanup", "schema"]);
}

#[tokio::test(start_paused = true)]
async fn the_release_goes_back_when_it_rests_on_a_group_that_does() {
    let (ledger, mut p) = (Ledger::default(), pipeline());
    let mail = act(&mut p, &ledger, ("mail", "mail"), &[], (1, None));
    act(&mut p, &ledger, ("roll", "release"), &[&mail], (1, None));
    act(&mut p, &ledger, ("mail-2", "mail"), &[&mail], (9, Some(Fault::FailBefore)));
    let ran = run(&ledger, p).await;
    assert!(matches!(ran.result, RunResult::RolledBack { .. }), "{:?}", ran.result);
    assert_eq!(ledger.undone(), ["roll", "mail"]);
}

#[tokio::test(start_paused = true)]
async fn a_run_of_which_every_group_failed_is_rolled_back() {
    let (ledger, mut p) = (Ledger::default(), pipeline());
    act(&mut p, &ledger, ("one", "b"), &[], (1, Some(Fault::FailAfter)));
    act(&mut p, &ledger, ("two", "a"), &[], (2, Some(Fault::FailAfter)));
    let ran = run(&ledger, p).await;
    let RunResult::RolledBack { failed, .. } = &ran.result else { panic!("{:?}", ran.result) };
    assert_eq!(failed, "one", "the first");
}

#[tokio::test(start_paused = true)]
async fn neighbours_of_a_failed_group_stay() {
    let (ledger, mut p) = (Ledger::default(), pipeline());
    let base = act(&mut p, &ledger, ("base", "release"), &[], (1, None));
    act(&mut p, &ledger, ("mail", "mail"), &[&base], (1, Some(Fault::FailAfter)));
    act(&mut p, &ledger, ("pay", "pay"), &[&base], (5, None));
    let ran = run(&ledger, p).await;
    assert_eq!(groups(&ran), ["mail"]);
    assert_eq!(ledger.done().into_iter().collect::<Vec<_>>(), ["base", "pay"]);
    let expected = "planned: base, mail, pay
run started
base: started
base: says written
base: done
mail: started
pay: started
mail: says written
mail: failed, effect complete: failed at its end, as asked (fault.inject)
mail: undo started
mail: undone
pay: says written
pay: done
run succeeded except mail
";
    assert_eq!(ran.lines(), expected);
}

#[tokio::test(start_paused = true)]
async fn steps_without_needs_start_at_once_and_a_constant_needs_nothing() {
    let (ledger, mut p) = (Ledger::default(), pipeline());
    p.add("a", Act::new("a", &ledger), NOTHING);
    p.add("b", Act::new("b", &ledger), NOTHING);
    let began = tokio::time::Instant::now();
    run(&ledger, p).await.check("two at once");
    assert_eq!(began.elapsed(), Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_steps_in_a_row_fail_and_wait_without_overflow() {
    use ecolaura_deploy_core::{ErrorKind, pipeline::constant, steps};
    for kind in [ErrorKind::Waiting, ErrorKind::Internal] {
        let mut p = pipeline();
        let fail = move |_cx, ()| async move { Err::<u64, _>(ecolaura_deploy_core::Error::new(kind, "t", "no")) };
        let mut last = p.add("0", steps::call("no", fail), constant(()));
        for n in 1..10_000 {
            last = p.add(n.to_string(), steps::call("next", |_cx, n: u64| async move { Ok(n + 1) }), last);
        }
        let ran = run(&Ledger::default(), p).await;
        assert_eq!(ran.events.len(), 2 + 1 + 10_000 + 1);
    }
}
