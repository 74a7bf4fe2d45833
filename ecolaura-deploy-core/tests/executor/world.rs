//! Steps that write into a ledger, a pipeline of them, and what must hold after every run.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use ecolaura_deploy_core::{
    Context, Error, ErrorKind, Result,
    event::{Event, EventSink, RecordingSink},
    pipeline::{Handle, Pipeline},
    plan::{Action, Change, World},
    run::{RunResult, Runner},
    step::{Applied, EffectClass, Planned, Step, StepPlan, UndoData, Undoer},
    store::{ObjectRunStore, Record, RecordBody, RunStore, read_run},
    testing::{Fault, Faulty, recording},
};
use serde::{Deserialize, Serialize};

/// What goes wrong when a step is undone.
#[derive(Debug, Clone, Copy)]
pub(crate) enum UndoFault {
    Fails,
    Panics,
    Hangs,
    /// So many attempts fail.
    Flaky(u32),
}

type Hook = Arc<dyn Fn(usize) + Send + Sync>;

/// The world that steps change: which of them are done, and all that happened in order.
#[derive(Clone, Default)]
pub(crate) struct Ledger {
    pub(crate) log: Arc<Mutex<Vec<String>>>,
    done: Arc<Mutex<BTreeSet<String>>>,
    pub(crate) undo_faults: Arc<Mutex<BTreeMap<String, UndoFault>>>,
    ticks: Arc<AtomicUsize>,
    at_work: Arc<AtomicUsize>,
    most_at_work: Arc<AtomicUsize>,
    hook: Arc<Mutex<Option<Hook>>>,
}

impl std::fmt::Debug for Ledger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").finish_non_exhaustive()
    }
}

impl Ledger {
    pub(crate) fn done(&self) -> BTreeSet<String> {
        self.done.lock().unwrap().clone()
    }

    /// Somebody else undid what `step` did.
    pub(crate) fn forget(&self, step: &str) {
        self.done.lock().unwrap().remove(step);
    }

    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    pub(crate) fn say(&self, line: String) {
        self.log.lock().unwrap().push(line);
    }

    /// Calls `hook` with the number of each await point that is reached.
    pub(crate) fn on_tick(&self, hook: impl Fn(usize) + Send + Sync + 'static) {
        *self.hook.lock().unwrap() = Some(Arc::new(hook));
    }

    pub(crate) fn ticks(&self) -> usize {
        self.ticks.load(Ordering::SeqCst)
    }

    /// An await point.
    pub(crate) async fn tick(&self) {
        let n = self.ticks.fetch_add(1, Ordering::SeqCst);
        let hook = self.hook.lock().unwrap().clone();
        if let Some(hook) = hook {
            hook(n);
        }
        tokio::task::yield_now().await;
    }

    /// How many steps were at work at the same time, at most.
    pub(crate) fn most_at_work(&self) -> usize {
        self.most_at_work.load(Ordering::SeqCst)
    }

    fn work(&self) -> Working {
        let now = self.at_work.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_at_work.fetch_max(now, Ordering::SeqCst);
        Working(Arc::clone(&self.at_work))
    }

    /// What `log` says was applied.
    pub(crate) fn applied(&self) -> Vec<String> {
        self.log().iter().filter_map(|line| line.strip_prefix("apply ").map(str::to_owned)).collect()
    }

    pub(crate) fn undone(&self) -> Vec<String> {
        self.log().iter().filter_map(|line| line.strip_prefix("undo ").map(str::to_owned)).collect()
    }
}

struct Working(Arc<AtomicUsize>);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Was {
    step: String,
    done: bool,
}

impl UndoData for Was {
    const KIND: &'static str = "act";
}

#[async_trait]
impl Undoer<Was> for Ledger {
    fn target(&self) -> String {
        "ledger".to_owned()
    }

    fn describe(&self, undo: &Was) -> String {
        format!("strike {} out", undo.step)
    }

    async fn undo(&self, cx: &Context, undo: Was) -> Result<()> {
        self.tick().await;
        assert!(cx.check("act.undo").is_ok(), "undoing has a fresh context");
        assert_eq!(cx.effect_key(), format!("{}/{}/undo", cx.run_id(), undo.step));
        let fault = self.undo_faults.lock().unwrap().get(&undo.step).copied();
        match fault {
            Some(UndoFault::Fails) => return Err(Error::new(ErrorKind::Conflict, "act.undo", "the ledger is locked")),
            Some(UndoFault::Panics) => panic!("no way back"),
            Some(UndoFault::Hangs) => std::future::pending().await,
            Some(UndoFault::Flaky(times)) if cx.attempt() <= times => {
                return Err(Error::new(ErrorKind::Unavailable, "act.undo", "not there"));
            }
            _ => {}
        }
        self.say(format!("undo {}", undo.step));
        if !undo.done {
            self.done.lock().unwrap().remove(&undo.step);
        }
        self.tick().await;
        Ok(())
    }
}

/// Writes its name into the ledger.
#[derive(Debug, Clone)]
pub(crate) struct Act {
    pub(crate) name: &'static str,
    pub(crate) ledger: Ledger,
    pub(crate) class: EffectClass,
    pub(crate) pause: Duration,
}

impl Act {
    pub(crate) fn new(name: &'static str, ledger: &Ledger) -> Self {
        Self { name, ledger: ledger.clone(), class: EffectClass::Converging, pause: Duration::from_secs(1) }
    }

    pub(crate) fn class(self, class: EffectClass) -> Self {
        Self { class, ..self }
    }

    pub(crate) fn pause(self, pause: Duration) -> Self {
        Self { pause, ..self }
    }

    fn is_done(&self) -> bool {
        self.ledger.done().contains(self.name)
    }

    fn change(&self, action: Action) -> Change {
        Change::new(World::File, self.name, action, "not in the ledger")
    }
}

#[async_trait]
impl Step for Act {
    type Input = Vec<String>;
    type Output = String;
    type Undo = Was;

    fn kind(&self) -> &'static str {
        "act"
    }

    fn effect_class(&self) -> EffectClass {
        self.class
    }

    async fn plan(&self, _cx: &Context, _input: Vec<Planned<String>>) -> Result<StepPlan<String>> {
        if self.is_done() {
            return Ok(StepPlan::unchanged(vec![Change::unchanged(World::File, self.name)], self.name.to_owned()));
        }
        Ok(StepPlan::changing(vec![self.change(Action::Create)]).precondition("done", self.is_done()))
    }

    async fn prepare(&self, _cx: &Context, _input: &Vec<String>) -> Result<Option<Was>> {
        self.ledger.tick().await;
        Ok(Some(Was { step: self.name.to_owned(), done: self.is_done() }))
    }

    async fn apply(&self, cx: &Context, _input: Vec<String>) -> Result<Applied<String, Was>> {
        let _working = self.ledger.work();
        self.ledger.tick().await;
        cx.sleep("act.apply", self.pause).await?;
        self.ledger.done.lock().unwrap().insert(self.name.to_owned());
        self.ledger.say(format!("apply {}", self.name));
        cx.status("written");
        self.ledger.tick().await;
        Ok(Applied::new(self.name.to_owned()))
    }

    fn undoer(&self) -> Option<Arc<dyn Undoer<Was>>> {
        Some(Arc::new(self.ledger.clone()))
    }
}

/// Every step of [`diamond`] with its group and what it needs.
pub(crate) const DIAMOND: [(&str, &str, &[&str]); 9] = [
    ("build", "release", &[]),
    ("push-a", "release", &["build"]),
    ("push-b", "release", &["build"]),
    ("mail-1", "mail", &["build"]),
    ("mail-2", "mail", &["mail-1"]),
    ("migrate", "release", &["push-a", "push-b"]),
    ("site-1", "site", &["push-b"]),
    ("site-2", "site", &["site-1"]),
    ("roll", "release", &["migrate"]),
];

pub(crate) fn pipeline() -> Pipeline {
    Pipeline::new("p".parse().unwrap(), "dev".parse().unwrap())
}

/// Two branches that join, and two groups of their own beside them. `fault` is that of one step.
pub(crate) fn diamond(ledger: &Ledger, fault: Option<(&str, Fault)>) -> Pipeline {
    let mut pipeline = pipeline();
    let mut handles: BTreeMap<&str, Handle<String>> = BTreeMap::new();
    for (name, group, needs) in DIAMOND {
        let input: Vec<Handle<String>> = needs.iter().map(|need| handles[need].clone()).collect();
        let step = Faulty::new(Act::new(name, ledger), fault.filter(|(of, _)| *of == name).map(|(_, fault)| fault));
        let step = pipeline.step(name, step, input).group(group.parse().unwrap()).deadline(Duration::from_mins(5));
        handles.insert(name, step.add());
    }
    pipeline
}

pub(crate) fn cx() -> Context {
    Context::new("dev".parse().unwrap())
}

/// A run and all that can be looked at afterwards.
pub(crate) struct Ran {
    pub(crate) result: RunResult,
    pub(crate) events: Vec<Event>,
    pub(crate) records: Vec<Record>,
    pub(crate) ledger: Ledger,
}

pub(crate) async fn run_with(cx: &Context, ledger: &Ledger, pipeline: Pipeline, store: Arc<dyn RunStore>) -> Ran {
    try_run_with(cx, ledger, pipeline, store).await.unwrap()
}

/// The same; an error if the run was refused before it began.
pub(crate) async fn try_run_with(
    cx: &Context,
    ledger: &Ledger,
    pipeline: Pipeline,
    store: Arc<dyn RunStore>,
) -> Result<Ran> {
    let sink = Arc::new(RecordingSink::new());
    let runner = Runner::new(Arc::clone(&store)).events(Arc::clone(&sink) as Arc<dyn EventSink>);
    let plan = runner.plan(cx, pipeline).await.unwrap();
    let finished = runner.run(cx, plan).await?;
    let records = read_run(store.as_ref(), cx.environment(), &finished.run).await?;
    Ok(Ran { result: finished.result, events: sink.events(), records, ledger: ledger.clone() })
}

pub(crate) async fn run(ledger: &Ledger, pipeline: Pipeline) -> Ran {
    run_with(&cx(), ledger, pipeline, Arc::new(ObjectRunStore::memory())).await
}

impl Ran {
    pub(crate) fn lines(&self) -> String {
        recording::lines(&self.events)
    }

    /// The steps that the record says may have an effect, in order of completion.
    fn completed(&self) -> Vec<&str> {
        let mut completed = Vec::new();
        for record in &self.records {
            match &record.body {
                RecordBody::Done { step, .. } | RecordBody::Failed { step, undo: Some(_), .. } => {
                    completed.retain(|known| *known != step);
                    completed.push(step.as_str());
                }
                _ => {}
            }
        }
        // Steps of other kinds leave nothing in the ledger.
        let known = self.ledger.log();
        completed.retain(|step| known.iter().any(|line| line.ends_with(&format!(" {step}"))));
        completed
    }

    /// What holds after any run that ended and could write its record.
    pub(crate) fn check(&self, case: &str) {
        assert_eq!(recording::broken_promises(&self.events), [""; 0], "{case}\n{}", self.lines());
        check_intents(&self.records, &self.ledger, case);
        let last = self.records.last().map(|record| &record.body);
        assert_eq!(last, Some(&RecordBody::RunFinished { result: self.result.clone() }), "{case}");
        self.check_undone(case);
    }

    /// Undone is exactly what the result says, in reverse order of completion.
    fn check_undone(&self, case: &str) {
        let gone: Vec<&str> = match &self.result {
            RunResult::Succeeded | RunResult::Suspended { .. } => Vec::new(),
            RunResult::SucceededExcept { groups } => {
                let of = |step: &str| DIAMOND.iter().find(|(name, ..)| *name == step).unwrap().1;
                self.completed().into_iter().filter(|step| groups.iter().any(|g| g.as_str() == of(step))).collect()
            }
            RunResult::RolledBack { .. } => self.completed(),
            _ => return,
        };
        let undone = self.ledger.undone();
        // Groups that fail apart are undone apart: each in reverse.
        let order = |of: &str| undone.iter().map(String::as_str).filter(|s| group(s) == of).collect::<Vec<_>>();
        let expected = |of: &str| gone.iter().rev().copied().filter(|s| group(s) == of).collect::<Vec<_>>();
        for of in ["release", "mail", "site"] {
            assert_eq!(order(of), expected(of), "{case}: {of}\n{}", self.lines());
        }
        let left: BTreeSet<String> =
            self.completed().into_iter().filter(|s| !gone.contains(s)).map(str::to_owned).collect();
        assert_eq!(self.ledger.done(), left, "{case}\n{}", self.lines());
    }
}

pub(crate) fn group(step: &str) -> &'static str {
    DIAMOND.iter().find(|(name, ..)| *name == step).map_or("release", |(_, group, _)| group)
}

/// No effect without a durable intent.
pub(crate) fn check_intents(records: &[Record], ledger: &Ledger, case: &str) {
    let intents: BTreeSet<&str> = records
        .iter()
        .filter_map(|record| match &record.body {
            RecordBody::Intent { step, .. } => Some(step.as_str()),
            _ => None,
        })
        .collect();
    for step in ledger.applied() {
        assert!(intents.contains(step.as_str()), "{case}: `{step}` has no intent");
    }
    let undo_intents = records.iter().filter(|record| matches!(record.body, RecordBody::UndoIntent { .. })).count();
    assert!(ledger.undone().len() <= undo_intents, "{case}: an undoing has no intent");
}
