//! Runs that wait for a person or a window.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use ecolaura_deploy_core::{
    Admitted, Context, Error, ErrorKind, Result,
    backend::{Approval, ApprovalRequest, Approver},
    pipeline::{Constant, Handle, Pipeline, constant},
    run::{RunResult, Runner},
    step::{Applied, EffectClass, NoUndo, Planned, Step, StepPlan},
    steps::Approve,
    store::{Created, ObjectRunStore, RunStore},
    testing::{Fault, Faulty},
    vocabulary::{Fingerprint, Name},
};

use crate::world::{Act, Ledger, cx, pipeline, run};

/// Says yes once `yes` is not 0; counts questions.
#[derive(Debug)]
struct Door {
    name: Name,
    yes: AtomicUsize,
    asked: AtomicUsize,
}

impl Default for Door {
    fn default() -> Self {
        Self { name: "door".parse().unwrap(), yes: AtomicUsize::new(0), asked: AtomicUsize::new(0) }
    }
}

#[async_trait]
impl Approver for Door {
    fn name(&self) -> &Name {
        &self.name
    }
    async fn request(&self, _cx: &Context, request: &ApprovalRequest) -> Result<Approval> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        Ok(match self.yes.load(Ordering::SeqCst) {
            0 => Approval::Waiting { how: "say yes".to_owned() },
            _ => Approval::Approved { by: "ann".to_owned(), digest: request.digest },
        })
    }
}

/// Tests that take long; their success is remembered.
#[derive(Debug, Clone, Default)]
struct Tests(Arc<AtomicUsize>);

#[async_trait]
impl Step for Tests {
    type Input = String;
    type Output = String;
    type Undo = NoUndo;
    fn kind(&self) -> &'static str {
        "tests"
    }
    fn effect_class(&self) -> EffectClass {
        EffectClass::Pure
    }
    async fn plan(&self, cx: &Context, source: Planned<String>) -> Result<StepPlan<String>> {
        let Planned::Known(source) = source else { return Ok(StepPlan::changing(Vec::new())) };
        let fingerprint = Fingerprint::new().part("source", &source);
        Ok(match cx.recall(self.kind(), &fingerprint).await {
            Some(passed) => StepPlan::unchanged(Vec::new(), passed),
            None => StepPlan::changing(Vec::new()).fingerprint(fingerprint),
        })
    }
    async fn apply(&self, _cx: &Context, source: String) -> Result<Applied<String, NoUndo>> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(Applied::new(source))
    }
}

/// tests → build → approval → roll, and a site beside them.
fn gated(ledger: &Ledger, door: &Arc<Door>, tests: &Tests, site: Option<Fault>) -> Pipeline {
    let mut p = pipeline();
    let tested = p.add("tests", tests.clone(), constant("v1".to_owned()));
    let built = p.add("build", Act::new("build", ledger), vec![tested]);
    let approve = Approve::new(Arc::clone(door) as Arc<dyn Approver>, "production");
    let admitted: Handle<Admitted<String>> = p.add("approve", approve, built.clone());
    p.add("roll", Act::new("roll", ledger), vec![admitted.map(Admitted::into_subject)]);
    let slow = Act::new("site", ledger).pause(Duration::from_secs(9));
    let site = p.step("site", Faulty::new(slow, site), vec![built]).group("site".parse().unwrap()).add();
    p.step("site-2", Act::new("site-2", ledger), vec![site]).group("site".parse().unwrap()).add();
    p
}

#[tokio::test(start_paused = true)]
async fn what_was_done_stays_and_is_not_done_again_after_the_approval() {
    let (ledger, door, tests) = (Ledger::default(), Arc::new(Door::default()), Tests::default());
    let runner = Runner::new(Arc::new(ObjectRunStore::memory()));
    let plan = runner.plan(&cx(), gated(&ledger, &door, &tests, None)).await.unwrap();
    let first = runner.run(&cx(), plan).await.unwrap();
    let RunResult::Suspended { reason } = &first.result else { panic!("{:?}", first.result) };
    assert!(reason.contains("say yes"), "{reason}");
    assert_eq!(ledger.log(), ["apply build", "apply site", "apply site-2"], "only what needs the answer waits");

    door.yes.store(1, Ordering::SeqCst);
    let plan = runner.plan(&cx(), gated(&ledger, &door, &tests, None)).await.unwrap();
    let second = runner.run(&cx(), plan).await.unwrap();
    assert_eq!(second.result, RunResult::Succeeded);
    assert_eq!(ledger.log().last().map(String::as_str), Some("apply roll"));
    assert_eq!((ledger.log().len(), tests.0.load(Ordering::SeqCst)), (4, 1), "tests and build were remembered");
}

/// A store whose process is killed after so many writes.
#[derive(Debug)]
struct Killed {
    store: ObjectRunStore,
    left: AtomicUsize,
}

#[async_trait]
impl RunStore for Killed {
    async fn create(&self, key: &str, body: Bytes) -> Result<Created> {
        if self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_err() {
            std::future::pending::<()>().await;
        }
        self.store.create(key, body).await
    }
    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        self.store.get(key).await
    }
    async fn list(&self, prefix: &str) -> Result<Vec<String>> {
        self.store.list(prefix).await
    }
    async fn remove(&self, key: &str) -> Result<()> {
        self.store.remove(key).await
    }
}

async fn is_recorded_as_done(store: &ObjectRunStore, step: &str) -> bool {
    let wanted = format!(r#""record":"done","step":"{step}""#);
    for key in store.list("environments").await.unwrap() {
        let record = store.get(&key).await.unwrap().unwrap();
        if String::from_utf8_lossy(&record).contains(&wanted) {
            return true;
        }
    }
    false
}

#[tokio::test(start_paused = true)]
async fn what_is_recorded_as_done_is_remembered_wherever_the_process_is_killed() {
    let mut killed_after_it = 0;
    for writes in 0.. {
        let (ledger, door) = (Ledger::default(), Arc::new(Door::default()));
        door.yes.store(1, Ordering::SeqCst);
        let pipeline = || gated(&ledger, &door, &Tests::default(), None);
        let store = ObjectRunStore::memory();
        let killed = Arc::new(Killed { store: store.clone(), left: writes.into() });
        let work = async {
            let runner = Runner::new(killed);
            let plan = runner.plan(&cx(), pipeline()).await?;
            runner.run(&cx(), plan).await
        };
        let ended = tokio::time::timeout(Duration::from_hours(1), work).await;
        if ended.is_ok_and(|ran| ran.is_ok_and(|ran| ran.result == RunResult::Succeeded)) {
            break;
        }
        if is_recorded_as_done(&store, "tests").await {
            killed_after_it += 1;
            let plan = Runner::new(Arc::new(store)).plan(&cx(), pipeline()).await.unwrap();
            let tests = plan.summary().steps.iter().find(|step| step.name == "tests").unwrap();
            assert!(tests.skipped, "after {writes} writes");
        }
    }
    assert!(killed_after_it > 3, "{killed_after_it}");
}

#[tokio::test(start_paused = true)]
async fn a_waiting_run_is_told_event_by_event() {
    let (ledger, door) = (Ledger::default(), Arc::new(Door::default()));
    let ran = run(&ledger, gated(&ledger, &door, &Tests::default(), None)).await;
    let expected = "planned: tests, build, approve, roll, site, site-2
run started
tests: started
tests: done
build: started
build: says written
build: done
approve: started
site: started
approve: failed, effect none: `production` waits for an approval (approve)
roll: skipped: `approve` waits
site: says written
site: done
site-2: started
site-2: says written
site-2: done
run suspended: `production` waits for an approval (approve); say yes
";
    assert_eq!(ran.lines(), expected);
    ran.check("suspended");
}

#[tokio::test(start_paused = true)]
async fn a_group_that_fails_while_the_run_waits_is_undone_and_named() {
    let (ledger, door) = (Ledger::default(), Arc::new(Door::default()));
    let ran = run(&ledger, gated(&ledger, &door, &Tests::default(), Some(Fault::FailAfter))).await;
    let RunResult::Suspended { reason } = &ran.result else { panic!("{:?}", ran.result) };
    assert!(reason.contains("say yes") && reason.contains("`site` failed"), "{reason}");
    assert_eq!(ledger.undone(), ["site"]);
    assert_eq!(ledger.done().into_iter().collect::<Vec<_>>(), ["build"]);
}

#[tokio::test(start_paused = true)]
async fn a_release_that_fails_while_it_waits_is_rolled_back() {
    let (ledger, door, mut p) = (Ledger::default(), Arc::new(Door::default()), pipeline());
    let a = p.add("a", Act::new("a", &ledger), Vec::<Constant<String>>::new());
    p.add("approve", Approve::new(Arc::clone(&door) as Arc<dyn Approver>, "it"), a.clone());
    p.add("b", Faulty::new(Act::new("b", &ledger), Some(Fault::FailAfter)), vec![a]);
    let ran = run(&ledger, p).await;
    assert!(matches!(&ran.result, RunResult::RolledBack { failed, .. } if failed == "b"), "{:?}", ran.result);
    assert_eq!(ledger.undone(), ["b", "a"]);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_asked_about_a_plan_that_changes_nothing() {
    let (ledger, door, tests) = (Ledger::default(), Arc::new(Door::default()), Tests::default());
    door.yes.store(1, Ordering::SeqCst);
    let runner = Runner::new(Arc::new(ObjectRunStore::memory()));
    for _ in 0..2 {
        let plan = runner.plan(&cx(), gated(&ledger, &door, &tests, None)).await.unwrap();
        assert!(runner.run(&cx(), plan).await.unwrap().succeeded());
    }
    assert_eq!(door.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_wait_with_an_effect_is_a_failure() {
    let mut p = pipeline();
    let ledger = Ledger::default();
    let a = p.add("a", Act::new("a", &ledger), Vec::<Constant<String>>::new());
    let half = |_cx, _a: String| async {
        let error = Error::new(ErrorKind::Waiting, "t", "half done");
        Err::<u64, _>(error.with_effect(ecolaura_deploy_core::Effect::Partial))
    };
    p.add("half", ecolaura_deploy_core::steps::call("half", half), a);
    assert!(matches!(run(&ledger, p).await.result, RunResult::RolledBack { .. }));
}
