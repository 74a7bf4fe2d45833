//! Decides what becomes of each call, and writes it down.

use std::{
    collections::BTreeMap,
    fmt,
    future::pending,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{
    CallFault,
    ledger::{Caller, Entry, Reached},
    process::Process,
    schedule,
};
use crate::{Context, Result};

/// Called with each entry of the ledger as soon as the backend has answered.
type Watch = Arc<dyn Fn(&Entry) + Send + Sync>;

/// Done once, when a call begins.
type Hook = Box<dyn FnOnce() + Send>;

/// Which calls fail, and the ledger of what happened. Clones share all of it.
///
/// ```
/// # async fn example() -> ecolaura_deploy_core::Result<()> {
/// use std::sync::Arc;
/// use ecolaura_deploy_core::{Context, backend::FeatureFlags, testing::{fake::small::FakeFlags, inject::*}};
/// let injector = Injector::new();
/// injector.at("flags.get", 2, CallFault::ServerError);
/// let flags = Injected::new(Arc::new(FakeFlags::new()), &injector);
/// let cx = Context::new("dev".parse()?);
/// assert!(flags.get(&cx, "beta").await.is_err(), "there is no such flag");
/// assert!(flags.get(&cx, "beta").await.unwrap_err().report().contains("internal server error"));
/// assert_eq!(injector.ledger()[1].reached, Reached::Nothing);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Injector {
    shared: Arc<Mutex<State>>,
    watch: Option<Watch>,
    seed: Option<u64>,
    process: Process,
}

impl fmt::Debug for Injector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Injector").field("seed", &self.seed).field("process", &self.process).finish_non_exhaustive()
    }
}

#[derive(Default)]
struct State {
    ordered: Vec<Order>,
    hooks: BTreeMap<(u32, bool), Vec<Hook>>,
    counts: BTreeMap<&'static str, u32>,
    /// How often a caller made the same call, for its place in the schedule.
    turns: BTreeMap<String, u32>,
    ledger: Vec<Entry>,
}

/// A fault that waits for its call.
#[derive(Debug)]
struct Order {
    /// `None` counts all calls.
    call: Option<String>,
    first: u32,
    fault: CallFault,
}

impl Order {
    fn hits(&self, call: &str, nth: u32, overall: u32) -> bool {
        let at = match &self.call {
            Some(name) if name == call => nth,
            Some(_) => return false,
            None => overall,
        };
        (self.first..self.first.saturating_add(self.fault.calls())).contains(&at)
    }
}

impl Default for Injector {
    fn default() -> Self {
        Self::new()
    }
}

impl Injector {
    /// No faults, no pauses.
    pub fn new() -> Self {
        Self { shared: Arc::default(), watch: None, seed: None, process: Process::new(0) }
    }

    /// No faults, and a pause of (tokio's) time before and after each call, of a length that `seed`, the caller and the
    /// call decide. With tokio's clock paused, callers take turns in an order that depends on the seed alone, whatever
    /// the machine's threads do: a pause ends only when nothing else can go on.
    pub fn seeded(seed: u64) -> Self {
        Self { seed: Some(seed), ..Self::new() }
    }

    /// The same for the calls of `process`.
    pub fn of(&self, process: &Process) -> Self {
        Self { process: process.clone(), ..self.clone() }
    }

    /// The same, telling `watch` of each call. For what must hold at every moment.
    pub fn watched(&self, watch: impl Fn(&Entry) + Send + Sync + 'static) -> Self {
        Self { watch: Some(Arc::new(watch)), ..self.clone() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on the `nth` call of this name has `fault`. The first of all is 1.
    pub fn at(&self, call: impl Into<String>, nth: u32, fault: CallFault) {
        self.state().ordered.push(Order { call: Some(call.into()), first: nth, fault });
    }

    /// From now on the `nth` of all calls has `fault`.
    pub fn at_overall(&self, nth: u32, fault: CallFault) {
        self.state().ordered.push(Order { call: None, first: nth, fault });
    }

    /// Does `hook` when the `nth` of all calls begins, before the backend is reached.
    pub fn when(&self, nth: u32, hook: impl FnOnce() + Send + 'static) {
        self.state().hooks.entry((nth, false)).or_default().push(Box::new(hook));
    }

    /// Does `hook` when the backend has done the `nth` of all calls, before the caller hears of it.
    pub fn when_done(&self, nth: u32, hook: impl FnOnce() + Send + 'static) {
        self.state().hooks.entry((nth, true)).or_default().push(Box::new(hook));
    }

    /// From now on nothing fails.
    pub fn heal(&self) {
        let mut state = self.state();
        state.ordered.clear();
        state.hooks.clear();
    }

    /// How many calls of this name there were.
    pub fn count(&self, call: &str) -> u32 {
        self.state().counts.get(call).copied().unwrap_or_default()
    }

    /// How many calls there were of each name.
    pub fn counts(&self) -> BTreeMap<&'static str, u32> {
        self.state().counts.clone()
    }

    /// Every call so far, in order.
    pub fn ledger(&self) -> Vec<Entry> {
        self.state().ledger.clone()
    }

    /// Carries `work` out as the call `name` about `subject`, or not.
    pub(super) async fn call<T>(
        &self,
        name: &'static str,
        cx: Option<&Context>,
        subject: String,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let caller = Caller::new(self.process.number(), cx);
        let turn = self.turn(name, &caller, &subject);
        self.pause(&turn, "before").await;
        let open = self.begin(name, caller, subject);
        let result = self.process.guard(open.carry_out(cx, work)).await;
        self.pause(&turn, "after").await;
        result
    }

    /// What tells this call from every other one, in every run with the same seed.
    fn turn(&self, name: &str, caller: &Caller, subject: &str) -> String {
        if self.seed.is_none() {
            return String::new();
        }
        let Caller { process, step, attempt, .. } = caller;
        let whose = format!("{process} {step} {attempt} {name} {}", without_nonces(subject));
        let mut state = self.state();
        let turn = state.turns.entry(whose.clone()).or_default();
        *turn += 1;
        format!("{whose} {turn}")
    }

    async fn pause(&self, turn: &str, place: &str) {
        if let Some(seed) = self.seed {
            tokio::time::sleep(schedule::pause(seed, turn, place)).await;
        }
        self.process.runs().await;
    }

    fn begin(&self, name: &'static str, caller: Caller, subject: String) -> Open<'_> {
        let writes = super::calls::call(name).is_some_and(|call| call.writes);
        let mut state = self.state();
        let nth = state.counts.entry(name).or_default();
        *nth += 1;
        let (nth, overall) = (*nth, u32::try_from(state.ledger.len() + 1).unwrap_or(u32::MAX));
        let cut = self.process.is_cut_off().filter(|_| name.starts_with("store."));
        let ordered = || state.ordered.iter().find(|order| order.hits(name, nth, overall)).map(|order| order.fault);
        let fault = cut.or_else(ordered);
        let entry = Entry { call: name, writes, nth, subject, caller, fault, reached: Reached::Nothing };
        state.ledger.push(entry);
        let place = state.ledger.len() - 1;
        drop(state);
        self.hook(overall, false);
        Open { injector: self, place, name, writes, fault }
    }

    fn hook(&self, overall: u32, done: bool) {
        let hooks = self.state().hooks.remove(&(overall, done)).unwrap_or_default();
        hooks.into_iter().for_each(|hook| hook());
    }

    fn reached(&self, place: usize, reached: Reached) {
        let entry = {
            let mut state = self.state();
            state.ledger[place].reached = reached;
            state.ledger[place].clone()
        };
        if let Some(watch) = &self.watch {
            watch(&entry);
        }
    }
}

/// A call that is in the ledger.
struct Open<'a> {
    injector: &'a Injector,
    place: usize,
    name: &'static str,
    writes: bool,
    fault: Option<CallFault>,
}

impl Open<'_> {
    async fn carry_out<T>(&self, cx: Option<&Context>, work: impl Future<Output = Result<T>>) -> Result<T> {
        let Some(fault) = self.fault else { return self.reach(work).await };
        match fault {
            CallFault::Slow(time) => {
                self.bounded(cx, tokio::time::sleep(time)).await?;
                self.reach(work).await
            }
            CallFault::Hang => {
                self.bounded(cx, pending::<()>()).await?;
                Err(fault.error(self.name, self.writes))
            }
            fault if fault.happens() => {
                self.reach(work).await?;
                Err(fault.error(self.name, self.writes))
            }
            fault => Err(fault.error(self.name, self.writes)),
        }
    }

    async fn reach<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.injector.reached(self.place, Reached::Begun);
        let result = work.await;
        let reached = result.as_ref().err().map_or(Reached::Done, |error| Reached::Failed(error.kind()));
        self.injector.reached(self.place, reached);
        if reached == Reached::Done {
            self.injector.hook(u32::try_from(self.place + 1).unwrap_or(u32::MAX), true);
            self.injector.process.runs().await;
        }
        result
    }

    /// Waits as long as the context allows. Who waited in vain for an answer cannot know of the effect.
    async fn bounded(&self, cx: Option<&Context>, wait: impl Future<Output = ()>) -> Result<()> {
        let effect = CallFault::Hang.error(self.name, self.writes).effect();
        match cx {
            Some(cx) => cx.bounded(self.name, wait).await.map_err(|error| error.with_effect(effect)),
            None => {
                wait.await;
                Ok(())
            }
        }
    }
}

/// How long a pause may be at most: long enough that two callers rarely meet, short beside any deadline.
pub(super) const LONGEST: Duration = Duration::from_millis(997);

/// The key of an object without the names that are drawn, so that one more draw does not turn every order around.
fn without_nonces(key: &str) -> String {
    let parts: Vec<&str> = key.split('/').collect();
    let drawn = |at: usize| at > 0 && ["probe", "runs", "waiting"].contains(&parts[at - 1]);
    let named: Vec<&str> = (0..parts.len()).map(|at| if drawn(at) { "*" } else { parts[at] }).collect();
    named.join("/")
}
