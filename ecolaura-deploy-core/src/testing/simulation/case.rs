//! One simulation: a fresh world, mishaps, processes until the environment is closed, and the next deploy.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use tokio_util::sync::CancellationToken;

use super::{
    Make, Simulation,
    life::{Ended, Scene},
    machine::SimMachine,
    mishap::{Mishap, Profile},
    observe::{self, Subjects},
    stage::{Stage, job},
    world::{Fakes, SimClock, State},
};
use crate::{
    Context,
    event::{Event, EventKind},
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

    /// How the process ended that worked on the environment last.
    pub fn last(&self) -> Option<&Ended> {
        last(&self.disk, &self.processes)
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

/// How the process ended that wrote to a run under the newest epoch: a process that was paused may end after one that
/// came later. The last one to end, where none wrote to a run.
pub(super) fn last<'a>(disk: &Disk, processes: &'a [(u32, Ended)]) -> Option<&'a Ended> {
    let authors = disk.authors();
    let writers: BTreeSet<u32> =
        authors.iter().filter(|(key, _)| key.contains("/runs/")).map(|(_, process)| *process).collect();
    let holders = authors.iter().rev().filter(|(key, _)| key.ends_with("/held")).map(|(_, process)| process);
    let ended = |process: &u32| processes.iter().find(|(number, _)| number == process);
    let newest = holders.filter(|process| writers.contains(process)).find_map(ended);
    newest.or(processes.last()).map(|(_, ended)| ended)
}

/// Plays one simulation, within a runtime whose clock is paused.
pub(super) async fn play(simulation: &Simulation, seed: u64, mishaps: Vec<Mishap>, smooth: &Smooth) -> Observed {
    let scene = Scene::new(simulation, seed, &mishaps);
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

impl Scene {
    fn new(simulation: &Simulation, seed: u64, mishaps: &[Mishap]) -> Self {
        let aftermath = mishaps.iter().find_map(|mishap| match mishap {
            Mishap::OneMachine { aftermath } => Some(*aftermath),
            _ => None,
        });
        Self {
            seed,
            fakes: (simulation.fakes)(),
            disk: Disk::new(),
            over: Arc::clone(&simulation.over),
            injector: Injector::seeded(seed),
            clock: Arc::new(SimClock::new(seed)),
            machine: SimMachine::default(),
            aftermath,
            said: Arc::default(),
        }
    }

    fn environment(&self, make: &Arc<Make>) -> crate::vocabulary::EnvironmentName {
        let world =
            super::world::World::new(&self.fakes, Arc::new(self.disk.store(&Process::new(0))), &Injector::new());
        make(&world).environment
    }

    /// The same with a fresh injector, and an eye on what must hold at every moment.
    fn watched(&self, cx: &Context, subjects: &Subjects, smooth: &Smooth, moments: &Arc<Mutex<Vec<String>>>) -> Self {
        let namespaces = subjects.namespaces();
        let needed = needed(&observe::ready(&self.fakes, cx, &namespaces), &smooth.ready);
        let (fakes, cx, moments) = (self.fakes.clone(), cx.clone(), Arc::clone(moments));
        let injector = Injector::seeded(self.seed).watched(move |entry| {
            if !["cluster", "cdn"].iter().any(|world| entry.call.starts_with(world)) {
                return;
            }
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
