//! Runs that another process left, at any moment: gone on with, taken back, refused.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use ecolaura_deploy_core::{
    Context, Error, ErrorKind, Result,
    clock::FixedClock,
    event::{Event, EventKind, EventSink, RecordingSink, StepOutcome},
    lock::{Holder, LockPolicy, Wait},
    pipeline::{Handle, Pipeline, constant},
    plan::{Action, Change, World},
    run::{Finished, OnCancel, RunResult, Runner},
    step::{Applied, EffectClass, NoUndo, Planned, Probed, Step, StepPlan},
    steps::WindowGate,
    store::{Created, ObjectRunStore, RecordBody, RunStore, read_run},
    testing::{Fault, recording},
    vocabulary::{Fingerprint, ReleaseSequence},
    window::MaintenanceWindow,
};
use jiff::civil::{Weekday, time};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::{
    cancel::ticking,
    world::{Act, Ledger, cx, diamond, pipeline},
};

/// The runner of process `n` on a machine of its own: whether the others live cannot be told from there.
fn process(store: &Arc<dyn RunStore>, n: u32) -> (Runner, Arc<RecordingSink>) {
    let sink = Arc::new(RecordingSink::new());
    let runner = Runner::new(Arc::clone(store))
        .events(Arc::clone(&sink) as Arc<dyn EventSink>)
        .holder(Holder::new(format!("machine-{n}"), n, ""))
        .lock(LockPolicy::default().wait(Wait::Queue(Duration::from_mins(10))));
    (runner, sink)
}

/// Runs `work` until the ledger reaches the await point `at`, counted from now; whether it was cut there.
async fn cut<T>(ledger: &Ledger, at: usize, work: impl Future<Output = T>) -> Option<T> {
    let reached = Arc::new(Notify::new());
    let (notify, first) = (Arc::clone(&reached), ledger.ticks());
    ledger.on_tick(move |tick| {
        if tick == first + at {
            notify.notify_one();
        }
    });
    tokio::select! {
        biased;
        () = reached.notified() => None,
        done = work => Some(done),
    }
}

/// A first process plans and runs the diamond, and is cut off at the await point `at`.
async fn first(
    store: &Arc<dyn RunStore>,
    ledger: &Ledger,
    fault: Option<(&str, Fault)>,
    at: usize,
) -> Option<Finished> {
    let (runner, _) = process(store, 1);
    let plan = runner.plan(&cx(), diamond(ledger, fault)).await.unwrap();
    cut(ledger, at, async { runner.run(&cx(), plan).await.unwrap() }).await
}

fn check_events(sink: &RecordingSink, case: &str) {
    let events = sink.events();
    if !events.is_empty() {
        assert_eq!(recording::broken_promises(&events), [""; 0], "{case}\n{}", recording::lines(&events));
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_was_cut_anywhere_goes_on_to_its_end() {
    for at in 0.. {
        let (ledger, case) = (Ledger::default(), format!("cut at {at}"));
        let store = ticking(&ledger);
        if first(&store, &ledger, None, at).await.is_some() {
            assert!(at > 50, "there are many places to cut");
            break;
        }
        let (runner, sink) = process(&store, 2);
        let finished = runner.resume(&cx(), diamond(&ledger, None)).await.unwrap();
        check_events(&sink, &case);
        match finished {
            Some(finished) => {
                assert!(finished.succeeded(), "{case}: {:?}", finished.result);
                assert_eq!(ledger.done().len(), 9, "{case}");
                assert!(ledger.undone().is_empty(), "{case}");
            }
            // It had not begun, or it had ended.
            None => assert!(ledger.done().is_empty() || ledger.done().len() == 9, "{case}: {:?}", ledger.done()),
        }
        assert!(runner.environment(&cx()).await.unwrap().open.is_none(), "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_fails_and_is_cut_anywhere_goes_back_to_its_beginning() {
    for fault in [Fault::FailAfter, Fault::LoseAnswer] {
        for at in 0.. {
            let (ledger, case) = (Ledger::default(), format!("{fault:?}, cut at {at}"));
            let store = ticking(&ledger);
            let fault = Some(("migrate", fault));
            if first(&store, &ledger, fault, at).await.is_some() {
                break;
            }
            let (runner, sink) = process(&store, 2);
            let finished = runner.resume(&cx(), diamond(&ledger, fault)).await.unwrap();
            check_events(&sink, &case);
            if let Some(finished) = finished {
                assert!(
                    matches!(finished.result, RunResult::RolledBack { .. } | RunResult::Succeeded),
                    "{case}: {finished:?}"
                );
                let left = if finished.succeeded() { 9 } else { 0 };
                assert_eq!(
                    ledger.done().len(),
                    left,
                    "{case}: {:?}\n{}",
                    ledger.done(),
                    recording::lines(&sink.events())
                );
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_goes_on_may_be_cut_too() {
    for (fault, left) in [(None, 9), (Some(("migrate", Fault::FailAfter)), 0)] {
        for at in (3..90).step_by(17) {
            for again in (0..).step_by(5) {
                let (ledger, case) = (Ledger::default(), format!("{fault:?}, cut at {at} and {again}"));
                let store = ticking(&ledger);
                if first(&store, &ledger, fault, at).await.is_some() {
                    break;
                }
                let (runner, _) = process(&store, 2);
                let second = cut(&ledger, again, runner.resume(&cx(), diamond(&ledger, fault))).await;
                if second.is_some() {
                    break;
                }
                let (runner, sink) = process(&store, 3);
                runner.resume(&cx(), diamond(&ledger, fault)).await.unwrap();
                check_events(&sink, &case);
                assert_eq!(ledger.done().len(), left, "{case}: {:?}", ledger.done());
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_can_be_taken_back_by_another_pipeline_with_the_same_backends() {
    for at in (0..120).step_by(3) {
        let ledger = Ledger::default();
        let store = ticking(&ledger);
        if first(&store, &ledger, None, at).await.is_some() {
            break;
        }
        let mut newer = pipeline();
        newer.undoer(Arc::new(ledger.clone()));
        let (runner, sink) = process(&store, 2);
        let finished = runner.roll_back(&cx(), newer).await.unwrap();
        check_events(&sink, &format!("cut at {at}"));
        assert!(finished.is_none_or(|finished| matches!(finished.result, RunResult::RolledBack { .. })), "{at}");
        assert!(ledger.done().is_empty() || ledger.done().len() == 9, "{at}: {:?}", ledger.done());
    }
}

/// The diamond and one more step.
fn edited(ledger: &Ledger) -> Pipeline {
    let mut edited = diamond(ledger, None);
    edited.add("extra", Act::new("extra", ledger), Vec::<Handle<String>>::new());
    edited
}

#[tokio::test(start_paused = true)]
async fn the_next_run_of_the_same_pipeline_goes_on_with_what_was_left() {
    for at in (0..).step_by(5) {
        let ledger = Ledger::default();
        let store = ticking(&ledger);
        if first(&store, &ledger, None, at).await.is_some() {
            break;
        }
        let (runner, sink) = process(&store, 2);
        let plan = runner.plan(&cx(), diamond(&ledger, None)).await.unwrap();
        assert!(runner.run(&cx(), plan).await.unwrap().succeeded(), "cut at {at}");
        check_events(&sink, &format!("cut at {at}"));
        assert_eq!(ledger.done().len(), 9, "cut at {at}");
        let (runner, _) = process(&store, 3);
        assert!(runner.resume(&cx(), diamond(&ledger, None)).await.unwrap().is_none(), "cut at {at}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_next_run_of_another_pipeline_undoes_what_was_left_and_then_runs() {
    let ledger = Ledger::default();
    let store = ticking(&ledger);
    assert!(first(&store, &ledger, None, 60).await.is_none());
    let before = ledger.done();
    assert!(!before.is_empty() && before.len() < 9);

    let (runner, sink) = process(&store, 2);
    let plan = runner.plan(&cx(), edited(&ledger)).await.unwrap();
    let error = runner.run(&cx(), plan).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::StalePlan);
    assert!(error.report().contains("which was left open, was undone"), "{}", error.report());
    check_events(&sink, "undone");
    assert!(ledger.done().is_empty(), "the old state is whole again");
    let plan = runner.plan(&cx(), edited(&ledger)).await.unwrap();
    assert!(runner.run(&cx(), plan).await.unwrap().succeeded());
    assert_eq!(ledger.done().len(), 10);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_in_place_any_more_is_done_again_with_all_that_rests_on_it() {
    let ledger = Ledger::default();
    let store = ticking(&ledger);
    assert!(first(&store, &ledger, None, 60).await.is_none());
    assert!(ledger.done().contains("push-a"));
    ledger.forget("build");
    let (runner, sink) = process(&store, 2);
    assert!(runner.resume(&cx(), diamond(&ledger, None)).await.unwrap().unwrap().succeeded());
    assert_eq!(ledger.done().len(), 9);
    let kept = sink.events().iter().filter(|event| is_kept(&event.kind)).count();
    assert_eq!(kept, 0, "everything rests on the build");
}

#[tokio::test(start_paused = true)]
async fn what_rests_on_a_step_that_was_passed_over_is_kept() {
    let ledger = Ledger::default();
    let store = ticking(&ledger);
    let (runner, _) = process(&store, 1);
    let mut build = pipeline();
    build.add("build", Act::new("build", &ledger), Vec::<Handle<String>>::new());
    let plan = runner.plan(&cx(), build).await.unwrap();
    assert!(runner.run(&cx(), plan).await.unwrap().succeeded());

    assert!(first(&store, &ledger, None, 50).await.is_none());
    assert!(ledger.done().contains("push-a"));
    let (runner, sink) = process(&store, 2);
    assert!(runner.resume(&cx(), diamond(&ledger, None)).await.unwrap().unwrap().succeeded());
    let events = sink.events();
    let kept = events.iter().filter(|event| is_kept(&event.kind)).filter_map(|event| event.step.as_deref());
    assert!(kept.collect::<Vec<_>>().contains(&"push-a"), "{}", recording::lines(&events));
}

fn is_kept(kind: &EventKind) -> bool {
    matches!(kind, EventKind::StepFinished { outcome: StepOutcome::Kept, .. })
}

#[tokio::test(start_paused = true)]
async fn another_pipeline_is_refused_by_name_and_changes_nothing() {
    let ledger = Ledger::default();
    let store = ticking(&ledger);
    assert!(first(&store, &ledger, None, 60).await.is_none());
    let (runner, _) = process(&store, 2);
    let log = ledger.log();

    let mut released = diamond(&ledger, None);
    released.brings(ReleaseSequence(7));
    let named = Pipeline::new("q".parse().unwrap(), "dev".parse().unwrap());
    for (other, difference) in [
        (edited(&ledger), "step `extra` is new"),
        (released, "it names no release, this brings release r7"),
        (named, "it is of pipeline `p`, this is `q`"),
        (pipeline(), "step `build` is gone"),
    ] {
        let error = runner.resume(&cx(), other).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.report().contains(difference), "{}", error.report());
    }
    assert_eq!(ledger.log(), log);
    let elsewhere = Context::new("moon".parse().unwrap());
    assert_eq!(runner.resume(&elsewhere, diamond(&ledger, None)).await.unwrap_err().kind(), ErrorKind::InvalidInput);

    let finished = runner.recover(&cx(), edited(&ledger)).await.unwrap().unwrap();
    assert!(matches!(finished.result, RunResult::RolledBack { .. }), "an edited pipeline still takes it back");
    assert!(ledger.done().is_empty());
}

/// There is nothing to do in it, which it knows once its input is known; it reads a file.
#[derive(Debug)]
struct Reads(Arc<Mutex<&'static str>>);

#[async_trait]
impl Step for Reads {
    type Input = String;
    type Output = String;
    type Undo = NoUndo;
    fn kind(&self) -> &'static str {
        "reads"
    }
    fn effect_class(&self) -> EffectClass {
        EffectClass::Converging
    }
    async fn plan(&self, _cx: &Context, input: Planned<String>) -> Result<StepPlan<String>> {
        let change = Change::new(World::File, "file", Action::Create, "if it is not there");
        let content = *self.0.lock().unwrap();
        let plan = match input.known() {
            Some(input) => StepPlan::unchanged(vec![Change::unchanged(World::File, "file")], input.clone()),
            None => StepPlan::changing(vec![change]),
        };
        Ok(plan.fingerprint(Fingerprint::new().part("content", content)))
    }
    async fn apply(&self, _cx: &Context, input: String) -> Result<Applied<String, NoUndo>> {
        Ok(Applied::new(input))
    }
}

#[tokio::test(start_paused = true)]
async fn what_had_nothing_to_do_is_held_to_what_it_read() {
    let (ledger, content) = (Ledger::default(), Arc::new(Mutex::new("one")));
    let store = ticking(&ledger);
    let reading = || {
        let mut pipeline = pipeline();
        let build = pipeline.add("build", Act::new("build", &ledger), Vec::<Handle<String>>::new());
        let read = pipeline.add("read", Reads(Arc::clone(&content)), build);
        pipeline.add("push", Act::new("push", &ledger), vec![read]);
        pipeline
    };
    let (runner, sink) = process(&store, 1);
    let plan = runner.plan(&cx(), reading()).await.unwrap();
    assert!(cut(&ledger, 20, runner.run(&cx(), plan)).await.is_none());
    let unchanged =
        |event: &Event| matches!(event.kind, EventKind::StepFinished { outcome: StepOutcome::Unchanged, .. });
    assert!(sink.events().iter().any(unchanged), "{}", recording::lines(&sink.events()));

    *content.lock().unwrap() = "two";
    let (runner, _) = process(&store, 2);
    let error = runner.resume(&cx(), reading()).await.unwrap_err();
    assert!(error.kind() == ErrorKind::Conflict && error.report().contains("step `read`"), "{}", error.report());
    *content.lock().unwrap() = "one";
    assert!(runner.resume(&cx(), reading()).await.unwrap().unwrap().succeeded());
}

/// An effect of which the outcome is never told, and what a probe then says.
#[derive(Debug, Clone)]
struct Told {
    class: EffectClass,
    answer: Probed<String>,
    ledger: Ledger,
    reached: Arc<Notify>,
}

#[async_trait]
impl Step for Told {
    type Input = ();
    type Output = String;
    type Undo = NoUndo;
    fn kind(&self) -> &'static str {
        "told"
    }
    fn effect_class(&self) -> EffectClass {
        self.class
    }
    async fn plan(&self, _cx: &Context, _input: Planned<()>) -> Result<StepPlan<String>> {
        Ok(StepPlan::changing(vec![Change::new(World::File, "told", Action::Create, "always")]))
    }
    async fn apply(&self, cx: &Context, _input: ()) -> Result<Applied<String, NoUndo>> {
        self.ledger.say(format!("key {}", cx.effect_key()));
        if self.ledger.log().len() == 1 {
            self.reached.notify_one();
            std::future::pending::<()>().await;
        }
        Ok(Applied::new("applied".to_owned()))
    }
    async fn probe(&self, _cx: &Context, _input: ()) -> Result<Probed<String>> {
        self.ledger.say("probe".to_owned());
        Ok(self.answer.clone())
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_effect_is_treated_by_its_class() {
    use EffectClass::{Converging, Keyed, Opaque, Probed as Asked, Pure, Transactional};
    let done = || Probed::Done("probed".to_owned());
    for (class, answer, calls, output) in [
        (Pure, done(), vec!["apply", "apply"], Some("applied")),
        (Converging, done(), vec!["apply", "apply"], Some("applied")),
        (Keyed, done(), vec!["apply", "apply"], Some("applied")),
        (Transactional, done(), vec!["apply", "probe"], Some("probed")),
        (Asked, done(), vec!["apply", "probe"], Some("probed")),
        (Asked, Probed::NotDone, vec!["apply", "probe", "apply"], Some("applied")),
        (Asked, Probed::Partial, vec!["apply", "probe", "apply"], Some("applied")),
        (Asked, Probed::Unknown, vec!["apply", "probe"], None),
        (Opaque, done(), vec!["apply"], None),
    ] {
        let step = Told { class, answer, ledger: Ledger::default(), reached: Arc::default() };
        let store: Arc<dyn RunStore> = Arc::new(ObjectRunStore::memory());
        let make = || {
            let mut p = pipeline();
            let handle = p.add("told", step.clone(), constant(()));
            (p, handle)
        };
        let (runner, _) = process(&store, 1);
        let plan = runner.plan(&cx(), make().0).await.unwrap();
        let cx = cx();
        tokio::select! {
            () = step.reached.notified() => {}
            _ = runner.run(&cx, plan) => panic!("it never ends"),
        }
        let (p, handle) = make();
        let finished = process(&store, 2).0.resume(&cx, p).await.unwrap().unwrap();
        let log = step.ledger.log();
        let found: Vec<&str> = log.iter().map(|line| if line == "probe" { "probe" } else { "apply" }).collect();
        assert_eq!(found, calls, "{class:?}");
        let keys: BTreeSet<&String> = log.iter().filter(|line| *line != "probe").collect();
        assert_eq!(keys.len(), 1, "the same key for every attempt: {keys:?}");
        assert_eq!(finished.output(&handle).as_deref(), output, "{class:?}");
        match (output, &finished.result) {
            (Some(_), RunResult::Succeeded) => {}
            (None, RunResult::NeedsOperator { remaining, commands, .. }) => {
                assert_eq!(remaining, &["told"]);
                assert!(commands[0].contains("may have been done"), "{commands:?}");
            }
            (_, other) => panic!("{class:?}: {other:?}"),
        }
    }
}

/// A store to which a process cannot write its signs of life any more, from some moment on or while the first record
/// of its run takes very long.
#[derive(Debug)]
struct Silenced {
    inner: Arc<dyn RunStore>,
    silent: AtomicBool,
    at_first_record: bool,
}

impl Silenced {
    fn new(inner: &Arc<dyn RunStore>, at_first_record: bool) -> Arc<Self> {
        Arc::new(Self { inner: Arc::clone(inner), silent: AtomicBool::new(false), at_first_record })
    }
}

#[async_trait]
impl RunStore for Silenced {
    async fn create(&self, key: &str, body: Bytes) -> Result<Created> {
        if self.at_first_record && key.ends_with("/00000000") && key.contains("/runs/") {
            self.silent.store(true, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_mins(4)).await;
        }
        if self.silent.load(Ordering::SeqCst) && key.contains("/beat-") {
            std::future::pending::<()>().await;
        }
        self.inner.create(key, body).await
    }
    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        self.inner.get(key).await
    }
    async fn list(&self, prefix: &str) -> Result<Vec<String>> {
        self.inner.list(prefix).await
    }
    async fn remove(&self, key: &str) -> Result<()> {
        self.inner.remove(key).await
    }
}

#[tokio::test(start_paused = true)]
async fn who_was_taken_over_stops_and_undoes_nothing() {
    let ledger = Ledger::default();
    let class = EffectClass::Converging;
    let told = Told { class, answer: Probed::NotDone, ledger: Ledger::default(), reached: Arc::default() };
    let make = {
        let (told, ledger) = (told.clone(), ledger.clone());
        move || {
            let mut p = pipeline();
            let build = p.add("build", Act::new("build", &ledger), Vec::<Handle<String>>::new());
            p.step("told", told.clone(), constant(())).after(&build).add();
            p
        }
    };
    let store: Arc<dyn RunStore> = Arc::new(ObjectRunStore::memory());
    let silenced = Silenced::new(&store, false);
    let (runner, _) = process(&(Arc::clone(&silenced) as Arc<dyn RunStore>), 1);
    let plan = runner.plan(&cx(), make()).await.unwrap();
    let first = tokio::spawn(async move { runner.run(&cx(), plan).await });
    told.reached.notified().await;
    silenced.silent.store(true, Ordering::SeqCst);

    let second = process(&store, 2).0.resume(&cx(), make()).await.unwrap().unwrap();
    assert!(second.succeeded());
    let first = first.await.unwrap().unwrap();
    assert!(first.was_superseded(), "{:?}", first.result);
    assert_eq!(ledger.done(), BTreeSet::from(["build".to_owned()]), "it is the other's by now");
    let records = read_run(store.as_ref(), &"dev".parse().unwrap(), &first.run).await.unwrap();
    let taken = records.iter().position(|record| matches!(record.body, RecordBody::Resumed { .. }));
    let after: Vec<_> = records[taken.unwrap()..].iter().map(|record| &record.nonce[..10]).collect();
    assert!(after.windows(2).all(|pair| pair[0] == pair[1]), "only one writes from there on: {after:?}");
}

#[tokio::test(start_paused = true)]
async fn who_loses_the_lock_at_the_first_record_begins_nothing() {
    let ledger = Ledger::default();
    let store: Arc<dyn RunStore> = Arc::new(ObjectRunStore::memory());
    let silenced: Arc<dyn RunStore> = Silenced::new(&store, true);
    let (runner, sink) = process(&silenced, 1);
    let plan = runner.plan(&cx(), diamond(&ledger, None)).await.unwrap();
    let error = runner.run(&cx(), plan).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced, "{}", error.report());
    assert!(ledger.log().is_empty() && sink.events().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_cancel_can_leave_a_run_to_be_resumed() {
    let ledger = Ledger::default();
    let store = ticking(&ledger);
    let (runner, sink) = process(&store, 1);
    let runner = runner.on_cancel(OnCancel::Suspend);
    let token = CancellationToken::new();
    let first_cx = cx().with_cancellation(token.clone());
    let plan = runner.plan(&first_cx, diamond(&ledger, None)).await.unwrap();
    let cancel = async {
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        token.cancel();
    };
    let (finished, ()) = tokio::join!(runner.run(&first_cx, plan), cancel);
    let finished = finished.unwrap();
    assert!(matches!(&finished.result, RunResult::Suspended { reason } if reason.contains("resumed")), "{finished:?}");
    check_events(&sink, "suspended");
    assert!(ledger.undone().is_empty());
    let applied = ledger.applied().len();
    assert!(applied > 1 && applied < 9, "what ran may end, and no more begins: {applied}");
    assert_eq!(runner.environment(&cx()).await.unwrap().open.unwrap().run, finished.run);

    let (runner, sink) = process(&store, 2);
    let resumed = runner.resume(&cx(), diamond(&ledger, None)).await.unwrap().unwrap();
    assert!(resumed.succeeded());
    assert_eq!(ledger.applied().len(), 9, "nothing was done twice");
    let events = sink.events();
    assert_eq!(events.iter().filter(|event| is_kept(&event.kind)).count(), applied);
    assert!(matches!(events[1].kind, EventKind::RunResumed { kept, undo: None, .. } if kept == applied));
}

#[tokio::test(start_paused = true)]
async fn a_window_is_looked_at_again() {
    let clock = Arc::new(FixedClock::new("2026-11-25T12:00:00Z".parse().unwrap()));
    let window =
        MaintenanceWindow::new("UTC").unwrap().weekly([Weekday::Wednesday], time(10, 0, 0, 0), time(14, 0, 0, 0));
    let ledger = Ledger::default();
    let store = ticking(&ledger);
    let make = || {
        let mut p = pipeline();
        let gate = p.add("window", WindowGate::new(window.clone()), constant("release".to_owned()));
        let subject = gate.map(|_| "x".to_owned());
        let one = p.add("one", Act::new("one", &ledger), vec![subject]);
        p.add("two", Act::new("two", &ledger), vec![one]);
        p
    };
    let runner = process(&store, 1).0.clock(Arc::clone(&clock) as Arc<_>);
    let plan = runner.plan(&cx(), make()).await.unwrap();
    let until_one = async {
        while !ledger.done().contains("one") {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let cx = cx();
    tokio::select! {
        () = until_one => {}
        _ = runner.run(&cx, plan) => panic!("two is not done"),
    }
    clock.set("2026-11-25T20:00:00Z".parse().unwrap());
    let runner = process(&store, 2).0.clock(Arc::clone(&clock) as Arc<_>);
    let finished = runner.resume(&cx, make()).await.unwrap().unwrap();
    assert!(matches!(finished.result, RunResult::Suspended { .. }), "{:?}", finished.result);
    assert_eq!(ledger.done().len(), 1);
    clock.set("2026-12-02T11:00:00Z".parse().unwrap());
    let runner = process(&store, 3).0.clock(clock);
    assert!(runner.resume(&cx, make()).await.unwrap().unwrap().succeeded());
    assert_eq!(ledger.done().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn nothing_open_is_nothing_to_resume() {
    let ledger = Ledger::default();
    let store = ticking(&ledger);
    let (runner, sink) = process(&store, 1);
    assert!(runner.resume(&cx(), diamond(&ledger, None)).await.unwrap().is_none());
    let plan = runner.plan(&cx(), diamond(&ledger, None)).await.unwrap();
    assert!(runner.run(&cx(), plan).await.unwrap().succeeded());
    assert!(runner.resume(&cx(), diamond(&ledger, None)).await.unwrap().is_none());
    assert!(runner.roll_back(&cx(), diamond(&ledger, None)).await.unwrap().is_none());
    assert_eq!(sink.events().iter().filter(|event| matches!(event.kind, EventKind::RunFinished { .. })).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn damaged_records_stop_everything_until_somebody_gives_the_run_up() {
    let ledger = Ledger::default();
    let store = ticking(&ledger);
    assert!(first(&store, &ledger, None, 60).await.is_none());
    let (runner, _) = process(&store, 2);
    let open = runner.environment(&cx()).await.unwrap().open.unwrap().run;
    assert_eq!(
        runner.give_up(&cx(), &open).await.unwrap_err().kind(),
        ErrorKind::InvalidInput,
        "its records are whole"
    );

    let keys = store.list(&format!("environments/dev/runs/{open}")).await.unwrap();
    let key = &keys[keys.len() - 3];
    let mut line = store.get(key).await.unwrap().unwrap().to_vec();
    line[40] ^= 1;
    store.remove(key).await.unwrap();
    store.create(key, line.clone().into()).await.unwrap();
    let log = ledger.log();
    let plan = runner.plan(&cx(), diamond(&ledger, None)).await.unwrap();
    for error in [
        runner.run(&cx(), plan).await.unwrap_err(),
        runner.resume(&cx(), diamond(&ledger, None)).await.unwrap_err(),
        runner.roll_back(&cx(), diamond(&ledger, None)).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.report().contains(key.as_str()) && error.report().contains("give_up"), "{}", error.report());
    }
    assert_eq!(ledger.log(), log, "nothing was changed");

    assert_eq!(runner.give_up(&cx(), "another").await.unwrap_err().kind(), ErrorKind::InvalidInput);
    let RunResult::NeedsOperator { remaining, commands, .. } = runner.give_up(&cx(), &open).await.unwrap() else {
        panic!("it is not undone");
    };
    assert!(remaining.contains(&"build".to_owned()), "{remaining:?}");
    assert!(commands.iter().any(|command| command.contains("strike build out")), "{commands:?}");
    assert_eq!(store.get(key).await.unwrap().unwrap(), line, "nothing is mended or deleted");
    let plan = runner.plan(&cx(), diamond(&ledger, None)).await.unwrap();
    assert!(runner.run(&cx(), plan).await.unwrap().succeeded(), "the next deploy starts");
}

/// A store that does not take the end of the first run.
#[derive(Debug)]
struct NoEnd(Arc<dyn RunStore>, AtomicBool);

#[async_trait]
impl RunStore for NoEnd {
    async fn create(&self, key: &str, body: Bytes) -> Result<Created> {
        let end = String::from_utf8_lossy(&body).contains("\"record\":\"run_finished\"");
        if end && !self.1.swap(true, Ordering::SeqCst) {
            return Err(Error::new(ErrorKind::LimitExceeded, "store.create", "the disk is full"));
        }
        self.0.create(key, body).await
    }
    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        self.0.get(key).await
    }
    async fn list(&self, prefix: &str) -> Result<Vec<String>> {
        self.0.list(prefix).await
    }
    async fn remove(&self, key: &str) -> Result<()> {
        self.0.remove(key).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_lacks_only_its_end_is_ended_and_not_undone() {
    for other in [false, true] {
        let ledger = Ledger::default();
        let store: Arc<dyn RunStore> = Arc::new(NoEnd(ticking(&ledger), AtomicBool::new(false)));
        let (runner, sink) = process(&store, 1);
        let plan = runner.plan(&cx(), diamond(&ledger, None)).await.unwrap();
        let first = runner.run(&cx(), plan).await.unwrap();
        assert!(first.succeeded());
        assert!(recording::lines(&sink.events()).contains("warns the end is not recorded"));
        assert_eq!(
            runner.environment(&cx()).await.unwrap().open.unwrap().run,
            first.run,
            "no more than the records say"
        );

        let (runner, sink) = process(&store, 2);
        let next = if other { edited(&ledger) } else { diamond(&ledger, None) };
        let plan = runner.plan(&cx(), next).await.unwrap();
        assert!(runner.run(&cx(), plan).await.unwrap().succeeded());
        assert!(ledger.undone().is_empty(), "{}", recording::lines(&sink.events()));
        assert_eq!(ledger.done().len(), if other { 10 } else { 9 });
        assert!(runner.environment(&cx()).await.unwrap().open.is_none());
    }
}
