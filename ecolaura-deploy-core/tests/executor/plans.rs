//! Unknowns, refinement, staleness, and all problems at once.

use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use ecolaura_deploy_core::{
    Context, Error, ErrorKind, Result,
    pipeline::{Constant, Handle, Pipeline, constant},
    plan::{Action, Change, World},
    run::{RunResult, Runner},
    step::{Applied, EffectClass, NoUndo, Planned, Step, StepPlan},
    steps,
    store::ObjectRunStore,
    vocabulary::Fingerprint,
};

use crate::world::{Act, Ledger, cx, pipeline, run};

type Script = Box<dyn Fn(usize) -> StepPlan<u64> + Send + Sync>;

/// Plans by script: 0 when planned, 1 when the run begins, 2 before the effect.
struct Scripted {
    script: Script,
    plans: AtomicUsize,
    effects: Arc<AtomicUsize>,
}

impl Scripted {
    fn new(script: impl Fn(usize) -> StepPlan<u64> + Send + Sync + 'static) -> (Self, Arc<AtomicUsize>) {
        let effects = Arc::new(AtomicUsize::new(0));
        let step = Self { script: Box::new(script), plans: AtomicUsize::new(0), effects: Arc::clone(&effects) };
        (step, effects)
    }
}

impl fmt::Debug for Scripted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scripted").finish_non_exhaustive()
    }
}

#[async_trait]
impl Step for Scripted {
    type Input = ();
    type Output = u64;
    type Undo = NoUndo;
    fn kind(&self) -> &'static str {
        "scripted"
    }
    fn effect_class(&self) -> EffectClass {
        EffectClass::Pure
    }
    async fn plan(&self, _cx: &Context, _input: Planned<()>) -> Result<StepPlan<u64>> {
        Ok((self.script)(self.plans.fetch_add(1, Ordering::SeqCst)))
    }
    async fn apply(&self, _cx: &Context, _input: ()) -> Result<Applied<u64, NoUndo>> {
        self.effects.fetch_add(1, Ordering::SeqCst);
        Ok(Applied::new(1))
    }
}

fn change(object: &str, action: Action) -> Change {
    Change::new(World::Cluster, object, action, "because")
}

fn changes(list: &[(&str, Action)]) -> StepPlan<u64> {
    StepPlan::changing(list.iter().map(|(object, action)| change(object, *action)).collect())
}

/// Runs one step that announces `announced` and then finds `found`; how it failed, and how often it acted.
async fn refine(announced: &[(&'static str, Action)], found: &[(&'static str, Action)]) -> (Option<String>, usize) {
    let (announced, found) = (announced.to_vec(), found.to_vec());
    let (step, effects) = Scripted::new(move |n| changes(if n < 2 { &announced } else { &found }));
    let mut p = pipeline();
    p.add("s", step, constant(()));
    let cause = match run(&Ledger::default(), p).await.result {
        RunResult::Succeeded => None,
        RunResult::RolledBack { cause, .. } => Some(cause),
        other => panic!("{other:?}"),
    };
    (cause, effects.load(Ordering::SeqCst))
}

#[tokio::test(start_paused = true)]
async fn what_is_more_than_was_planned_stops_before_the_effect_and_names_both() {
    use Action::{Create, Delete, NoOp, Replace, Update};
    let more = [
        (vec![("a", Update)], vec![("a", Delete)]),
        (vec![("a", Update)], vec![("a", Replace)]),
        (vec![("a", NoOp)], vec![("a", Update)]),
        (vec![("a", Update)], vec![("b", Update)]),
        (vec![("a", Delete)], vec![("a", Create)]),
        (vec![("x/*", Create)], vec![("y/1", Create)]),
        (vec![], vec![("a", Create)]),
    ];
    for (announced, found) in more {
        let (cause, effects) = refine(&announced, &found).await;
        let cause = cause.unwrap_or_else(|| panic!("{announced:?} → {found:?} was let through"));
        assert_eq!(effects, 0, "{cause}");
        let shown = announced.first().map_or("planned was: nothing", |(object, _)| object);
        assert!(cause.contains(found[0].0) && cause.contains(shown), "{cause}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_more_than_was_planned_is_done() {
    use Action::{Create, Delete, NoOp, Replace, Update};
    let fine = [
        (vec![("a", Update), ("b", Delete)], vec![("a", Update)]),
        (vec![("a", Create)], vec![("a", Update)]),
        (vec![("a", Replace)], vec![("a", Replace)]),
        (vec![("a", Update)], vec![("a", NoOp), ("c", NoOp)]),
        (vec![("x/*", Create)], vec![("x/1", Create), ("x/2", Update)]),
    ];
    for (announced, found) in fine {
        assert_eq!(refine(&announced, &found).await, (None, 1), "{announced:?} → {found:?}");
    }
}

/// The error of a run whose step plans `before` and then `after`.
async fn stale(before: StepPlan<u64>, after: StepPlan<u64>) -> Error {
    let (step, effects) = Scripted::new(move |n| if n == 0 { before.clone() } else { after.clone() });
    let mut p = pipeline();
    p.add("s", step, constant(()));
    let runner = Runner::new(Arc::new(ObjectRunStore::memory()));
    let plan = runner.plan(&cx(), p).await.unwrap();
    let error = runner.run(&cx(), plan).await.unwrap_err();
    assert_eq!((error.kind(), effects.load(Ordering::SeqCst)), (ErrorKind::StalePlan, 0));
    error
}

#[tokio::test(start_paused = true)]
async fn a_stale_plan_is_refused_and_says_what_moved() {
    let plan = || changes(&[("a", Action::Update)]);
    let print = |content: &str| plan().fingerprint(Fingerprint::new().part("src/main.rs", content).part("b", "b"));
    let cases = [
        (plan().precondition("tag dev", "v1"), plan().precondition("tag dev", "v2"), "`s`: tag dev was v1, is v2"),
        (plan(), plan().precondition("lock", "taken"), "`s`: lock was nothing, is taken"),
        (print("1"), print("2"), "`s`: its input src/main.rs changed"),
        (
            plan(),
            changes(&[("a", Action::Delete)]),
            "`s`: no longer ~ cluster a: because; `s`: now - cluster a: because",
        ),
        (StepPlan::unchanged(vec![], 1), changes(&[]), "`s`: there is something to do"),
        (changes(&[]), StepPlan::unchanged(vec![], 1), "`s`: there is no longer anything to do"),
    ];
    for (before, after, expected) in cases {
        let report = stale(before, after).await.report();
        assert!(report.contains(&format!("since the plan was made: {expected} (")), "{report}");
    }
}

#[tokio::test(start_paused = true)]
async fn all_problems_come_at_once_with_their_steps() {
    let (ledger, mut p, mut other) = (Ledger::default(), pipeline(), pipeline());
    let foreign = other.add("x", steps::call("x", |_cx, ()| async { Ok(1_u64) }), constant(()));
    p.add("reads", steps::call("reads", |_cx, n: u64| async move { Ok(n) }), foreign);
    p.add("twin", Act::new("twin", &ledger), Vec::<Constant<String>>::new());
    p.add("twin", Act::new("twin", &ledger), Vec::<Constant<String>>::new());
    let bad = |message: &'static str| {
        ecolaura_deploy_core::testing::Faulty::new(
            steps::call(message, |_cx, ()| async { Ok(1_u64) }),
            Some(ecolaura_deploy_core::testing::Fault::FailPlan),
        )
    };
    p.add("bad", bad("bad"), constant(()));
    p.add("worse", bad("worse"), constant(()));
    let error = Runner::new(Arc::new(ObjectRunStore::memory())).plan(&cx(), p).await.unwrap_err();
    let report = error.report();
    for expected in ["`reads` reads a handle of another pipeline", "two steps are named `twin`", "`bad`: ", "`worse`: "]
    {
        assert!(report.contains(expected), "{expected}: {report}");
    }
    assert!(report.starts_with("4 problems"), "{report}");
}

#[tokio::test]
async fn a_plan_can_be_cancelled_though_a_step_hangs() {
    let token = tokio_util::sync::CancellationToken::new();
    token.cancel();
    let mut p = pipeline();
    p.add("a", Act::new("a", &Ledger::default()), Vec::<Constant<String>>::new());
    let runner = Runner::new(Arc::new(ObjectRunStore::memory()));
    let error = runner.plan(&cx().with_cancellation(token), p).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
}

/// Remembers what was known of its inputs.
#[derive(Debug, Clone, Default)]
struct Look(Arc<Mutex<Vec<String>>>);

#[async_trait]
impl Step for Look {
    type Input = (String, Vec<u64>, Option<u64>);
    type Output = u64;
    type Undo = NoUndo;
    fn kind(&self) -> &'static str {
        "look"
    }
    fn effect_class(&self) -> EffectClass {
        EffectClass::Pure
    }
    async fn plan(
        &self,
        _cx: &Context,
        (name, numbers, more): (Planned<String>, Vec<Planned<u64>>, Option<Planned<u64>>),
    ) -> Result<StepPlan<u64>> {
        self.0.lock().unwrap().push(format!("{name:?} {numbers:?} {more:?}"));
        Ok(StepPlan::changing(Vec::new()))
    }
    async fn apply(&self, _cx: &Context, input: Self::Input) -> Result<Applied<u64, NoUndo>> {
        Ok(Applied::new(input.1.iter().sum::<u64>() + input.2.unwrap_or_default()))
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_known_of_each_leaf_stays_visible_and_becomes_real() {
    let (look, mut p) = (Look::default(), pipeline());
    let later = p.add("later", steps::call("later", |_cx, ()| async { Ok(20_u64) }), constant(()));
    let (known, _) = Scripted::new(|_| StepPlan::unchanged(Vec::new(), 1));
    let known: Handle<u64> = p.add("known", known, constant(()));
    let doubled = later.map(|n| n * 2);
    let sum = p.add("sum", look.clone(), (constant("x".to_owned()), vec![known, later], Some(doubled)));
    let runner = Runner::new(Arc::new(ObjectRunStore::memory()));
    let plan = runner.plan(&cx(), p).await.unwrap();
    let finished = runner.run(&cx(), plan).await.unwrap();
    assert_eq!(finished.output(&sum), Some(61));
    let seen = look.0.lock().unwrap().clone();
    assert_eq!(seen[0], r#"Known("x") [Known(1), After("later")] Some(After("later"))"#);
    assert_eq!(seen[2], r#"Known("x") [Known(1), Known(20)] Some(Known(40))"#);
}

fn with_gate(work: StepPlan<u64>) -> (Pipeline, Arc<AtomicUsize>) {
    let mut p = pipeline();
    let (step, _) = Scripted::new(move |_| work.clone());
    p.add("work", step, constant(()));
    let (gate, judged) = Scripted::new(|_| StepPlan::gate(Some(7)));
    let gate = p.add("gate", gate, constant(()));
    let (quiet, _) = Scripted::new(|_| StepPlan::unchanged(Vec::new(), 1));
    p.step("behind", quiet, constant(())).after(&gate).add();
    (p, judged)
}

#[tokio::test(start_paused = true)]
async fn a_gate_has_nothing_to_judge_while_nothing_changes() {
    let (p, judged) = with_gate(StepPlan::unchanged(Vec::new(), 1));
    let ran = run(&Ledger::default(), p).await;
    assert_eq!((ran.result, judged.load(Ordering::SeqCst)), (RunResult::Succeeded, 0));
    let (p, judged) = with_gate(changes(&[("a", Action::Update)]));
    let ran = run(&Ledger::default(), p).await;
    assert_eq!((ran.result, judged.load(Ordering::SeqCst)), (RunResult::Succeeded, 1));
}
