//! Properties of random pipelines, plans, pauses and records.

use std::{
    collections::{BTreeSet, HashMap},
    num::{NonZeroU32, NonZeroUsize},
    sync::Arc,
    time::Duration,
};

use ecolaura_deploy_core::{
    Context, Error, ErrorKind, Limits, Result, Retry,
    event::{Event, EventKind},
    pipeline::{Handle, Pipeline, constant},
    plan::{Action, Change, PlanSummary, World},
    run::{RetryPolicy, RunResult, Runner},
    step::{Applied, EffectClass, NoUndo, Planned, Step, StepPlan},
    store::{ObjectRunStore, Record, RunStore},
    testing::{Fault, Faulty, recording},
    vocabulary::Fingerprint,
};
use proptest::prelude::*;

use crate::world::{Act, Ledger, Ran, check_intents, cx, diamond, pipeline, run_with};

const NAMES: [&str; 12] = ["s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11"];
const GROUPS: [&str; 4] = ["release", "x", "y", "z"];

#[derive(Debug, Clone)]
struct Node {
    needs: BTreeSet<usize>,
    group: usize,
    seconds: u64,
    fault: Option<Fault>,
}

fn fault() -> impl Strategy<Value = Option<Fault>> {
    prop_oneof![
        12 => Just(None),
        1 => Just(Some(Fault::FailBefore)),
        1 => Just(Some(Fault::FailAfter)),
        1 => Just(Some(Fault::LoseAnswer)),
        1 => Just(Some(Fault::Flaky(1))),
        1 => Just(Some(Fault::Panic)),
        1 => Just(Some(Fault::Hang)),
    ]
}

fn node(index: usize) -> impl Strategy<Value = Node> {
    let needs = prop::collection::btree_set(0..index.max(1), 0..=index.min(3));
    (needs, 0..GROUPS.len(), 0..9_u64, fault()).prop_map(move |(mut needs, group, seconds, fault)| {
        needs.retain(|need| *need < index);
        Node { needs, group, seconds, fault }
    })
}

fn graph() -> impl Strategy<Value = Vec<Node>> {
    (1..=NAMES.len()).prop_flat_map(|n| (0..n).map(node).collect::<Vec<_>>())
}

fn build(graph: &[Node], ledger: &Ledger) -> Pipeline {
    let mut p = pipeline();
    let mut handles: Vec<Handle<String>> = Vec::new();
    for (index, node) in graph.iter().enumerate() {
        let act = Act::new(NAMES[index], ledger).pause(Duration::from_secs(node.seconds));
        let needs: Vec<_> = node.needs.iter().map(|need| handles[*need].clone()).collect();
        let step = p.step(NAMES[index], Faulty::new(act, node.fault), needs).deadline(Duration::from_mins(1));
        handles.push(step.group(GROUPS[node.group].parse().unwrap()).add());
    }
    p
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap().block_on(future)
}

fn index(step: &str) -> usize {
    NAMES.iter().position(|name| *name == step).unwrap()
}

/// Starts come after the ends of all needs.
fn check_order(graph: &[Node], events: &[Event]) {
    let mut ended = BTreeSet::new();
    for event in events {
        let Some(step) = event.step.as_deref().map(index) else { continue };
        match event.kind {
            EventKind::StepStarted => assert!(graph[step].needs.is_subset(&ended), "{step} began too early"),
            EventKind::StepFinished { .. } => {
                ended.insert(step);
            }
            _ => {}
        }
    }
}

/// What needs another is undone before it; what is left is just what the result says.
fn check_end(graph: &[Node], ran: &Ran) {
    let undone: Vec<usize> = ran.ledger.undone().iter().map(|step| index(step)).collect();
    for (place, step) in undone.iter().enumerate() {
        for below in &undone[..place] {
            assert!(!graph[*step].needs.contains(below), "{below} was undone before {step}, which needs it");
        }
    }
    let all = || (0..graph.len()).map(|n| NAMES[n].to_owned());
    match &ran.result {
        RunResult::Succeeded => assert_eq!(ran.ledger.done(), all().collect()),
        RunResult::RolledBack { .. } => assert!(ran.ledger.done().is_empty()),
        RunResult::SucceededExcept { groups } => {
            let stays = |step: &String| !groups.iter().any(|g| g.as_str() == GROUPS[graph[index(step)].group]);
            assert_eq!(ran.ledger.done(), all().filter(stays).collect());
        }
        other => panic!("{other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_pipeline_keeps_order_limit_promises_and_goes_back_whole(graph in graph(), limit in 1..5_usize) {
        block_on(async {
            let ledger = Ledger::default();
            let mut limits = Limits::default();
            limits.parallel_steps = NonZeroUsize::new(limit).unwrap();
            let store = Arc::new(ObjectRunStore::memory());
            let ran = run_with(&cx().with_limits(limits), &ledger, build(&graph, &ledger), store).await;
            let lines = ran.lines();
            assert_eq!(recording::broken_promises(&ran.events), [""; 0], "{lines}");
            check_intents(&ran.records, &ledger, &lines);
            check_order(&graph, &ran.events);
            assert!(ledger.most_at_work() <= limit, "{} at once", ledger.most_at_work());
            check_end(&graph, &ran);
        });
    }

    #[test]
    fn pauses_grow_up_to_a_bound_and_end(attempts in 1..40_u32, base in 0..100_000_u64, asked in proptest::option::of(0..100_000_u64)) {
        let policy = RetryPolicy::new(NonZeroU32::new(attempts).unwrap(), Duration::from_millis(base));
        let asked = asked.map(Duration::from_millis);
        let error = Error::new(ErrorKind::Unavailable, "t", "t").with_retry(Retry::After(asked));
        let pauses: Vec<_> = (1..=attempts).map(|n| policy.pause(n, &error, EffectClass::Pure)).collect();
        let (last, others) = pauses.split_last().unwrap();
        prop_assert_eq!(*last, None);
        let others: Vec<Duration> = others.iter().map(|pause| pause.unwrap()).collect();
        prop_assert!(others.is_sorted());
        let longest = policy.max.max(asked.unwrap_or_default());
        prop_assert!(others.iter().all(|pause| *pause <= longest && *pause >= asked.unwrap_or_default()));
    }

    #[test]
    fn a_plans_digest_is_over_its_content_and_over_no_order_of_insertion(
        facts in prop::collection::hash_map("[a-c]{1,2}", "[a-c]{0,2}", 0..5),
        other in prop::collection::hash_map("[a-c]{1,2}", "[a-c]{0,2}", 0..5),
    ) {
        let forward: Vec<_> = facts.clone().into_iter().collect();
        let backward: Vec<_> = forward.iter().rev().cloned().collect();
        for shape in [Shape::Preconditions, Shape::Fingerprint, Shape::Details] {
            let digest = |facts: Vec<(String, String)>| block_on(plan_of(shape, facts)).digest;
            let mut sorted = (forward.clone(), backward.clone());
            if shape == Shape::Details {
                sorted.0.sort();
                sorted.1.sort();
            }
            prop_assert_eq!(digest(sorted.0.clone()), digest(sorted.1));
            let mut different: Vec<_> = other.clone().into_iter().collect();
            different.sort();
            prop_assert_eq!(digest(sorted.0) == digest(different), facts == other, "{:?}", shape);
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Shape {
    Preconditions,
    Fingerprint,
    Details,
}

#[derive(Debug)]
struct Facts(Shape, Vec<(String, String)>);

#[async_trait::async_trait]
impl Step for Facts {
    type Input = ();
    type Output = u64;
    type Undo = NoUndo;
    fn kind(&self) -> &'static str {
        "facts"
    }
    fn effect_class(&self) -> EffectClass {
        EffectClass::Pure
    }
    async fn plan(&self, _cx: &Context, _input: Planned<()>) -> Result<StepPlan<u64>> {
        let facts = self.1.iter().cloned();
        let change = || Change::new(World::File, "x", Action::Update, "y");
        Ok(match self.0 {
            Shape::Preconditions => facts.fold(StepPlan::changing(vec![]), |plan, (k, v)| plan.precondition(k, v)),
            Shape::Fingerprint => {
                let print = facts.fold(Fingerprint::new(), |print, (k, v)| print.part(k, v));
                StepPlan::changing(vec![]).fingerprint(print)
            }
            Shape::Details => {
                StepPlan::changing(vec![facts.fold(change(), |change, (k, v)| change.detail(k).detail(v))])
            }
        })
    }
    async fn apply(&self, _cx: &Context, _input: ()) -> Result<Applied<u64, NoUndo>> {
        Ok(Applied::new(1))
    }
}

async fn plan_of(shape: Shape, facts: Vec<(String, String)>) -> PlanSummary {
    let mut p = pipeline();
    p.add("facts", Facts(shape, facts), constant(()));
    Runner::new(Arc::new(ObjectRunStore::memory())).plan(&cx(), p).await.unwrap().summary().clone()
}

#[tokio::test(start_paused = true)]
async fn planning_again_gives_the_same_digest_and_any_other_change_another() {
    let ledger = Ledger::default();
    let runner = Runner::new(Arc::new(ObjectRunStore::memory()));
    let first = runner.plan(&cx(), diamond(&ledger, None)).await.unwrap();
    let again = runner.plan(&cx(), diamond(&ledger, None)).await.unwrap();
    assert_eq!(first.digest(), again.digest());
    let mut seen = HashMap::from([(first.digest(), "diamond".to_owned())]);
    for (object, action, reason, detail) in [
        ("a", Action::Create, "r", "d"),
        ("b", Action::Create, "r", "d"),
        ("a", Action::Update, "r", "d"),
        ("a", Action::Create, "s", "d"),
        ("a", Action::Create, "r", "e"),
        ("a: r", Action::Create, "", "d"),
        ("a", Action::Create, "r", ""),
    ] {
        let mut p = pipeline();
        let change = Change::new(World::File, object, action, reason).detail(detail);
        p.add("one", One(change), constant(()));
        let digest = runner.plan(&cx(), p).await.unwrap().digest();
        let what = format!("{object} {action:?} {reason} {detail}");
        if let Some(same) = seen.insert(digest, what.clone()) {
            panic!("{what} reads as {same}");
        }
    }
}

#[derive(Debug)]
struct One(Change);

#[async_trait::async_trait]
impl Step for One {
    type Input = ();
    type Output = u64;
    type Undo = NoUndo;
    fn kind(&self) -> &'static str {
        "one"
    }
    fn effect_class(&self) -> EffectClass {
        EffectClass::Pure
    }
    async fn plan(&self, _cx: &Context, _input: Planned<()>) -> Result<StepPlan<u64>> {
        Ok(StepPlan::changing(vec![self.0.clone()]))
    }
    async fn apply(&self, _cx: &Context, _input: ()) -> Result<Applied<u64, NoUndo>> {
        Ok(Applied::new(1))
    }
}

/// The stored lines of a run that failed and was undone: records of nearly every kind.
async fn lines() -> Vec<(String, Vec<u8>)> {
    let (ledger, store) = (Ledger::default(), ObjectRunStore::memory());
    let failing = diamond(&ledger, Some(("roll", Fault::FailAfter)));
    run_with(&cx(), &ledger, failing, Arc::new(store.clone())).await;
    let mut lines = Vec::new();
    for key in store.list("environments/dev/runs").await.unwrap() {
        lines.push((key.clone(), store.get(&key).await.unwrap().unwrap().to_vec()));
    }
    lines
}

#[tokio::test(start_paused = true)]
async fn a_record_is_read_as_it_was_written_and_any_damaged_byte_is_found() {
    let lines = lines().await;
    assert!(lines.len() > 30);
    for (key, line) in &lines {
        let (record, _) = Record::open(key, line).unwrap();
        assert_eq!(key.rsplit('/').next().unwrap().parse::<u64>().unwrap(), record.seq);
        for place in 0..line.len() {
            let mut damaged = line.clone();
            // One bit of each byte in turn, and a cut there.
            damaged[place] ^= 1 << (place % 8);
            let error = Record::open(key, &damaged).expect_err(&format!("byte {place} of {key}"));
            assert!(error.report().contains(key.as_str()), "{}", error.report());
            assert!(Record::open(key, &line[..place]).is_err(), "cut at {place} of {key}");
        }
    }
}
