//! What runs the pods: the agent's heart, and that of a cluster without agent.
//!
//! Wishes are written to the state first; then one pass compares state and pods and starts or retires what differs.
//! Pods ring a bell when something about them changes, and another pass follows.

mod call;
mod listeners;
mod live;
mod pass;
mod traffic;
mod view;
mod wait;

use std::{
    collections::BTreeMap,
    fs,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{Notify, watch};

use self::{listeners::Listeners, live::Live};
use super::{
    addresses::Block,
    events::Events,
    proxy::Use,
    state::{Folder, Namespace, Service, State},
    supervise::end_leftover,
};
use crate::{
    Context, Result,
    vocabulary::{Name, ServiceName},
};

/// How often waiting decisions (a pod that must be ready for a while) are looked at again.
const SOON: Duration = Duration::from_millis(100);

/// How often all is looked at without a reason.
const LATER: Duration = Duration::from_secs(10);

/// How often unpacked images are swept.
const SWEEP: Duration = Duration::from_mins(1);

/// Runs pods in one folder.
#[derive(Debug)]
pub(super) struct Engine {
    folder: Folder,
    block: Block,
    world: Mutex<World>,
    /// Rung when a pass is due.
    bell: Arc<Notify>,
    /// Counts passes, for those who wait.
    passes: watch::Sender<u64>,
    pub(super) used: Arc<Use>,
    /// Held while wishes change what is written.
    writing: tokio::sync::Mutex<()>,
    /// One change at a time in a namespace.
    turns: Mutex<BTreeMap<Name, Arc<tokio::sync::Mutex<()>>>>,
}

/// A change that somebody asked for.
#[derive(Debug)]
struct Order<'a> {
    operation: &'static str,
    namespace: &'a Name,
    cx: Context,
}

/// State and pods.
#[derive(Debug, Default)]
struct World {
    state: State,
    live: BTreeMap<(Name, ServiceName), Live>,
    events: BTreeMap<Name, Arc<Events>>,
    listeners: Listeners,
    last_pod: u8,
}

impl World {
    fn events(&mut self, namespace: &Name) -> Arc<Events> {
        Arc::clone(self.events.entry(namespace.clone()).or_default())
    }

    fn live(&mut self, namespace: &Name, service: &ServiceName) -> &mut Live {
        self.live.entry((namespace.clone(), service.clone())).or_default()
    }
}

impl Engine {
    /// Opens the folder, which must be locked. What a killed predecessor left running ends; what should run starts
    /// again if `resume`, and otherwise when it is applied.
    pub(super) async fn open(folder: Folder, resume: bool) -> Result<Arc<Self>> {
        let mut state = folder.read()?;
        if !resume && state.namespaces.values().any(|namespace| namespace.awake) {
            state.namespaces.values_mut().for_each(|namespace| namespace.awake = false);
            folder.write(&state)?;
        }
        end_leftovers(&folder);
        let engine = Arc::new(Self {
            block: Block::of(folder.path()),
            folder,
            world: Mutex::new(World { state, last_pod: u8::MAX, ..World::default() }),
            bell: Arc::new(Notify::new()),
            passes: watch::Sender::new(0),
            used: Arc::new(Use::new()),
            writing: tokio::sync::Mutex::new(()),
            turns: Mutex::default(),
        });
        let awake = |(name, namespace): (&Name, &Namespace)| namespace.awake.then(|| name.clone());
        let names: Vec<Name> = engine.world().state.namespaces.iter().filter_map(awake).collect();
        for name in names {
            // A port that somebody took meanwhile is reported by the next roll-out; the rest serves.
            if let Err(error) = engine.commit(&name, |_| Ok(())).await {
                engine.world().events(&name).add(error.report());
            }
        }
        Ok(engine)
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn turn(&self, namespace: &Name) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(turns.entry(namespace.clone()).or_default())
    }

    /// Changes what a namespace should be. The ports of its Services are taken first and the wish is on disk before it
    /// has an effect; an error leaves everything as it was.
    async fn commit<T>(&self, name: &Name, change: impl FnOnce(&mut Namespace) -> Result<T>) -> Result<T> {
        let _writing = self.writing.lock().await;
        let mut wish = self.world().state.namespaces.get(name).cloned().unwrap_or_default();
        let answer = change(&mut wish)?;
        let opened = self.take_ports(name, &mut wish).await?;
        let mut world = self.world();
        let mut state = world.state.clone();
        state.namespaces.insert(name.clone(), wish);
        if state != world.state {
            self.folder.write(&state)?;
            world.state = state;
        }
        self.open_ports(&mut world, name, opened);
        self.pass(&mut world);
        Ok(answer)
    }

    /// Changes what a namespace should be, unless whoever ordered it was taken over.
    async fn fulfil<T>(&self, order: &Order<'_>, change: impl FnOnce(&mut Namespace) -> Result<T>) -> Result<T> {
        let admitted = |record: &mut Namespace| {
            record.epochs.admit(order.operation, &order.cx)?;
            change(record)
        };
        self.commit(order.namespace, admitted).await
    }

    /// Passes whenever the bell rings, for as long as the engine lives.
    pub(super) async fn run(self: Arc<Self>) {
        loop {
            let busy = {
                let mut world = self.world();
                self.pass(&mut world)
            };
            _ = tokio::time::timeout(if busy { SOON } else { LATER }, self.bell.notified()).await;
        }
    }

    /// Removes images that no kept edition and no pod needs, now and then.
    pub(super) async fn sweep(self: Arc<Self>) {
        loop {
            tokio::time::sleep(SWEEP).await;
            let engine = Arc::clone(&self);
            let swept = tokio::task::spawn_blocking(move || engine.sweep_once()).await;
            if let Ok(Err(error)) = swept {
                tracing::warn!(error = error.report(), "unpacked images are left");
            }
        }
    }

    fn sweep_once(&self) -> Result<()> {
        let wanted = {
            let world = self.world();
            if world.live.values().any(Live::retires) {
                return Ok(());
            }
            let services = world.state.namespaces.values().flat_map(|namespace| namespace.services.values());
            services.flat_map(Service::images).map(crate::vocabulary::Digest::to_hex).collect()
        };
        self.folder.sweep_images(&wanted)
    }

    /// Ends everything in order and returns when it is gone. What was applied is kept, asleep.
    pub(super) async fn stop(&self) -> Result<()> {
        let names: Vec<Name> = self.world().state.namespaces.keys().cloned().collect();
        for name in names {
            let turn = self.turn(&name);
            let _turn = turn.lock().await;
            self.commit(&name, |namespace| {
                namespace.awake = false;
                Ok(())
            })
            .await?;
        }
        let mut passes = self.passes.subscribe();
        while !self.world().live.values().all(Live::is_empty) {
            self.bell.notify_one();
            _ = tokio::time::timeout(SOON, passes.changed()).await;
        }
        Ok(())
    }

    /// Kills everything at once.
    pub(super) async fn kill(&self) {
        let tasks: Vec<_> = self.world().live.values_mut().flat_map(Live::kill).collect();
        for task in tasks {
            _ = task.await;
        }
    }
}

/// Ends processes of a predecessor whose guardians were killed too.
fn end_leftovers(folder: &Folder) {
    let pods = folder.file("pods");
    for entry in fs::read_dir(&pods).into_iter().flatten().flatten() {
        if let Some(pid) = end_leftover(&entry.path().join("pid")) {
            tracing::warn!(pid, "ended a process that a killed agent left");
        }
    }
    // What cannot be removed now is removed the next time.
    _ = fs::remove_dir_all(pods);
}
