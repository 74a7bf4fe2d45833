//! One simulation: a fresh world, mishaps, processes until the environment is closed, and the next deploy.

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::join_all;
use tokio_util::sync::CancellationToken;

use super::{
    Make, Simulation,
    life::{Ended, Job, Scene},
    mishap::{Mishap, Profile},
    observe::{self, Subjects},
    world::{Fakes, SimClock, State},
};
use crate::{
    Context,
    event::{Event, EventKind},
    run::RunResult,
    testing::{
        inject::{Disk, Entry, Injector, Process},
        invariants::{self, Ready},
    },
};

/// What the same processes do without mishaps: where things can go wrong, and what comes out.
#[derive(Debug, Clone, Default)]
pub(super) struct Smooth {
    pub(super) profile: Profile,
    pub(super) subjects: Subjects,
    pub(super) state: State,
    pub(super) ready: Ready,
}

/// Everything that can be looked at after a simulation.
#[derive(Debug)]
#[non_exhaustive]
pub struct Observed {
    /// The seed.
    pub seed: u64,
    /// What went wrong.
    pub mishaps: Vec<Mishap>,
    /// The processes, in the order in which they ended.
    pub processes: Vec<(u32, Ended)>,
    /// The next deploys, without mishaps.
    pub next: Vec<Ended>,
    /// The world before the first process.
    pub before: State,
    /// The world as a run without mishaps leaves it.
    pub wanted: State,
    /// The world after the last process and before the next deploy.
    pub found: State,
    /// The world after the next deploy.
    pub afterwards: State,
    /// The calls of all processes, in order.
    pub ledger: Vec<Entry>,
    /// The run store.
    pub disk: Disk,
    /// What the processes said.
    pub events: Vec<(u32, Event)>,
    /// The fakes.
    pub fakes: Fakes,
    /// What was wrong at some moment.
    pub moments: Vec<String>,
    /// How many objects the store created before the first process.
    pub(super) earlier: usize,
    pub(super) subjects: Subjects,
    pub(super) cx: Context,
}

impl Observed {
    /// Everything that was written and called, as text.
    pub fn journal(&self) -> String {
        let objects = self.disk.objects().into_iter();
        let mut lines: Vec<String> =
            objects.map(|(key, body)| format!("{key} {}", String::from_utf8_lossy(&body).trim_end())).collect();
        lines.extend(self.ledger.iter().map(|entry| format!("{entry:?}")));
        lines.join("\n")
    }

    /// How the process ended that closed the environment or asked for an operator; how the last one did, if none did.
    pub fn last(&self) -> Option<&Ended> {
        let ends = |ended: &&Ended| ended.closes() || matches!(ended, Ended::Finished(RunResult::NeedsOperator { .. }));
        let ended = || self.processes.iter().map(|(_, ended)| ended);
        ended().rfind(ends).or_else(|| ended().next_back())
    }

    /// What the first process did: where things can go wrong.
    pub fn profile(&self) -> Profile {
        let ledger: Vec<Entry> = self.ledger.iter().filter(|entry| entry.caller.process == 1).cloned().collect();
        let mut calls: Vec<(&'static str, u32)> = Vec::new();
        for entry in &ledger {
            match calls.iter_mut().find(|(name, _)| *name == entry.call) {
                Some((_, count)) => *count += 1,
                None => calls.push((entry.call, 1)),
            }
        }
        let planned =
            self.events.iter().filter(|(process, _)| *process == 1).find_map(|(_, event)| match &event.kind {
                EventKind::Planned { plan } => Some(plan.steps.iter().map(|step| step.name.clone()).collect()),
                _ => None,
            });
        let creates = self.disk.creates().into_iter().skip(self.earlier).filter(|create| create.process == 1);
        Profile {
            calls,
            all_calls: u32::try_from(ledger.len()).unwrap_or(u32::MAX),
            steps: planned.unwrap_or_default(),
            ledger,
            keys: creates.map(|create| create.key).collect(),
        }
    }

    /// By what everything else is measured.
    pub(super) fn smooth(self) -> Smooth {
        Smooth {
            profile: self.profile(),
            ready: observe::ready(&self.fakes, &self.cx, &self.subjects.namespaces()),
            subjects: self.subjects,
            state: self.found,
        }
    }
}

/// How many processes there are at most until the environment must be closed.
const PROCESSES: u32 = 6;
/// How many deploys the next one may take: one that goes on with what is open, one that does the rest.
const NEXT: u32 = 3;

/// Plays one simulation, within a runtime whose clock is paused.
pub(super) async fn play(simulation: &Simulation, seed: u64, mishaps: Vec<Mishap>, smooth: &Smooth) -> Observed {
    let scene = Scene {
        seed,
        fakes: (simulation.fakes)(),
        disk: Disk::new(),
        injector: Injector::seeded(seed),
        clock: Arc::new(SimClock::new(seed)),
        said: Arc::default(),
    };
    let mut subjects = smooth.subjects.clone();
    let mut problems = Vec::new();
    if let Some(before) = &simulation.before {
        let ended = scene.live(&Process::new(0), job(before)).await;
        if !ended.closes() {
            problems.push(format!("the earlier release could not be installed: {ended}"));
        }
        subjects.extend(&scene.injector.ledger());
    }
    let environment = scene.environment(&simulation.make);
    let cx = observe::context(&environment);
    let before = observe::state(&scene.fakes, &scene.disk, &cx, &subjects).await;
    let earlier = scene.disk.creates().len();
    let moments = Arc::new(Mutex::new(problems));
    let stage = Stage {
        scene: scene.watched(&cx, &subjects, smooth, &moments),
        current: Arc::default(),
        cancel: CancellationToken::new(),
        mishaps: mishaps.clone(),
        make: Arc::clone(&simulation.make),
        earlier,
    };
    stage.arm();
    let processes = stage.processes().await;
    let scene = stage.scene.clone();
    subjects.extend(&scene.injector.ledger());
    let found = observe::state(&scene.fakes, &scene.disk, &cx, &subjects).await;
    let next = stage.next_deploys().await;
    let afterwards = observe::state(&scene.fakes, &scene.disk, &cx, &subjects).await;
    let moments = moments.lock().unwrap_or_else(PoisonError::into_inner).clone();
    Observed {
        seed,
        mishaps,
        processes,
        next,
        before,
        wanted: smooth.state.clone(),
        found,
        afterwards,
        ledger: scene.injector.ledger(),
        events: scene.said.events(),
        disk: scene.disk,
        fakes: scene.fakes,
        moments,
        earlier,
        subjects,
        cx,
    }
}

fn job(make: &Arc<Make>) -> Job {
    Job { make: Arc::clone(make), faults: Vec::new(), cancel: CancellationToken::new() }
}

/// The faults of the steps of process `number`.
fn step_faults(mishaps: &[Mishap], number: u32) -> Vec<(String, crate::testing::Fault)> {
    let fault = |mishap: &Mishap| match mishap {
        Mishap::Step { step, fault, processes } if number <= *processes => Some((step.clone(), *fault)),
        _ => None,
    };
    mishaps.iter().filter_map(fault).collect()
}

impl Scene {
    fn environment(&self, make: &Arc<Make>) -> crate::vocabulary::EnvironmentName {
        let world = super::world::World::new(&self.fakes, &self.disk, &Injector::new(), &Process::new(0));
        make(&world).environment
    }

    /// The same with a fresh injector, and an eye on what must hold at every moment.
    fn watched(&self, cx: &Context, subjects: &Subjects, smooth: &Smooth, moments: &Arc<Mutex<Vec<String>>>) -> Self {
        let namespaces = subjects.namespaces();
        let needed = needed(&observe::ready(&self.fakes, cx, &namespaces), &smooth.ready);
        let (fakes, cx, moments) = (self.fakes.clone(), cx.clone(), Arc::clone(moments));
        let injector = Injector::seeded(self.seed).watched(move |entry| {
            let mut broken = invariants::available(&needed, &observe::ready(&fakes, &cx, &namespaces));
            let missing = observe::missing_assets(&fakes, &cx).into_iter();
            broken.extend(missing.map(|key| format!("I6: the live site refers to `{key}`, which is not there")));
            let mut moments = moments.lock().unwrap_or_else(PoisonError::into_inner);
            for line in broken {
                let line = format!("{line} (first seen at {} {})", entry.call, entry.nth);
                let known = line.split(" (first").next().unwrap_or_default();
                if !moments.iter().any(|moment| moment.starts_with(known)) {
                    moments.push(line);
                }
            }
        });
        Self { injector, ..self.clone() }
    }
}

/// What the old and the new release have in common.
fn needed(old: &Ready, new: &Ready) -> Ready {
    let both = old.iter().filter_map(|(service, old)| Some((service.clone(), *old.min(new.get(service)?))));
    both.collect()
}

struct Stage {
    scene: Scene,
    /// The process that a mishap befalls.
    current: Arc<Mutex<Option<Process>>>,
    cancel: CancellationToken,
    mishaps: Vec<Mishap>,
    make: Arc<Make>,
    earlier: usize,
}

impl Stage {
    fn arm(&self) {
        let Scene { injector, disk, .. } = &self.scene;
        for mishap in &self.mishaps {
            match mishap {
                Mishap::Call { call, nth, fault } => injector.at(call.clone(), *nth, *fault),
                Mishap::Store { nth, fault, lasting } => disk.fail_at(self.earlier + nth, *fault, *lasting),
                Mishap::Kill { nth, done: false } => injector.when(*nth, self.at_current(Process::kill)),
                Mishap::Kill { nth, done: true } => injector.when_done(*nth, self.at_current(Process::kill)),
                Mishap::Takeover { nth, .. } => injector.when(*nth, self.at_current(Process::pause)),
                Mishap::Clock { nth, seconds } => {
                    let (clock, seconds) = (Arc::clone(&self.scene.clock), *seconds);
                    injector.when(*nth, move || clock.jump(seconds));
                }
                Mishap::Cancel { nth } => {
                    let cancel = self.cancel.clone();
                    injector.when(*nth, move || cancel.cancel());
                }
                Mishap::Step { .. } | Mishap::Damage { .. } | Mishap::Together { .. } => {}
            }
        }
    }

    /// Does `what` to the process that began last.
    fn at_current(&self, what: fn(&Process)) -> impl FnOnce() + Send + use<> {
        let current = Arc::clone(&self.current);
        move || current.lock().unwrap_or_else(PoisonError::into_inner).iter().for_each(what)
    }

    fn process(&self, number: u32) -> Process {
        let process = Process::new(number);
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(process.clone());
        process
    }

    fn job(&self, number: u32) -> Job {
        let cancel = if number == 1 { self.cancel.clone() } else { CancellationToken::new() };
        Job { make: Arc::clone(&self.make), faults: step_faults(&self.mishaps, number), cancel }
    }

    /// Processes until the environment is closed, or enough of them have tried.
    async fn processes(&self) -> Vec<(u32, Ended)> {
        let together = self.mishaps.iter().find_map(|mishap| match mishap {
            Mishap::Together { processes } => Some(*processes),
            _ => None,
        });
        let mut processes = self.together(1, together.unwrap_or(1)).await;
        self.damage();
        let asks = |ended: &Ended| matches!(ended, Ended::Finished(RunResult::NeedsOperator { .. }));
        let over = |processes: &[(u32, Ended)]| processes.iter().any(|(_, ended)| ended.closes() || asks(ended));
        for _ in 1..PROCESSES {
            if over(&processes) {
                break;
            }
            let number = self.last_number() + 1;
            processes.extend(self.together(number, 1).await);
        }
        processes
    }

    fn last_number(&self) -> u32 {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map_or(0, Process::number)
    }

    /// Lets so many processes live, from `first` on, in the order in which they end.
    async fn together(&self, first: u32, processes: u32) -> Vec<(u32, Ended)> {
        let ended = Mutex::new(Vec::new());
        let lives = (first..first + processes).map(|number| self.one(number, &ended));
        join_all(lives.collect::<Vec<_>>()).await;
        ended.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets process `number` live, and another one beside it if it is paused.
    async fn one(&self, number: u32, ended: &Mutex<Vec<(u32, Ended)>>) {
        let note = |number, how| ended.lock().unwrap_or_else(PoisonError::into_inner).push((number, how));
        let process = self.process(number);
        let mut life = Box::pin(self.scene.live(&process, self.job(number)));
        tokio::select! {
            biased;
            how = &mut life => return note(number, how),
            () = stands(&process) => {}
        }
        let second = self.process(self.last_number() + 1);
        self.resume_later(&process);
        let other = async {
            note(second.number(), self.scene.live(&second, self.job(second.number())).await);
            process.resume();
        };
        tokio::join!(async { note(number, life.await) }, other);
    }

    fn resume_later(&self, process: &Process) {
        let later = self.mishaps.iter().find_map(|mishap| match mishap {
            Mishap::Takeover { calls, .. } => Some(*calls),
            _ => None,
        });
        let now = u32::try_from(self.scene.injector.ledger().len()).unwrap_or(u32::MAX);
        let resumed = process.clone();
        self.scene.injector.when(now.saturating_add(later.unwrap_or(1)), move || resumed.resume());
    }

    fn damage(&self) {
        let creates = self.scene.disk.creates();
        for mishap in &self.mishaps {
            if let Mishap::Damage { nth, damage } = mishap
                && let Some(create) = creates.get(self.earlier + nth - 1)
            {
                self.scene.disk.damage(&create.key, *damage);
            }
        }
    }

    /// Whatever happened, somebody deploys again, and nothing goes wrong any more.
    async fn next_deploys(&self) -> Vec<Ended> {
        self.scene.injector.heal();
        self.scene.disk.heal();
        let first = self.last_number() + 1;
        let mut next = Vec::new();
        for number in first..first + NEXT {
            let ended = self.scene.live(&self.process(number), job(&self.make)).await;
            let done = matches!(ended, Ended::Finished(RunResult::Succeeded));
            next.push(ended);
            if done {
                break;
            }
        }
        next
    }
}

/// Returns when `process` is paused; never if it dies first.
async fn stands(process: &Process) {
    process.stands().await;
    if !process.is_paused() {
        std::future::pending::<()>().await;
    }
}
