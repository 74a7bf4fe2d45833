//! A lock among real contenders, on real stores.

mod first;
mod losing;
mod racing;
mod taking;
mod waiting;

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;

use super::*;
use crate::{
    Context, Result,
    clock::{Clock, FixedClock},
    nonce::{NonceSource, RandomNonces},
    pipeline::Landing,
    store::{EnvironmentState, ObjectRunStore, RunStore},
    vocabulary::EnvironmentName,
};

pub(super) const TERM: Duration = Duration::from_mins(1);

pub(super) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(super) fn dev() -> EnvironmentName {
    "dev".parse().unwrap()
}

pub(super) fn memory() -> Arc<dyn RunStore> {
    Arc::new(ObjectRunStore::memory())
}

/// One that wants the lock.
#[derive(Debug, Clone)]
pub(super) struct Deployer {
    pub(super) store: Arc<dyn RunStore>,
    pub(super) clock: Arc<FixedClock>,
    pub(super) run: String,
    pub(super) holder: Holder,
    pub(super) landing: Landing,
    pub(super) policy: LockPolicy,
    pub(super) cx: Context,
}

impl Deployer {
    /// On a machine that nobody else can look into.
    pub(super) fn new(store: &Arc<dyn RunStore>, run: &str) -> Self {
        Self {
            store: Arc::clone(store),
            clock: Arc::new(FixedClock::new(at("2026-11-24T10:00:00Z"))),
            run: run.to_owned(),
            holder: Holder::new(format!("host-of-{run}"), 42, ""),
            landing: Landing::Unnumbered,
            policy: LockPolicy::default().term(TERM),
            cx: Context::new(dev()),
        }
    }

    pub(super) fn here(mut self) -> Self {
        self.holder = Holder::this_process();
        self
    }

    pub(super) fn wait(mut self, wait: Wait) -> Self {
        self.policy = self.policy.wait(wait);
        self
    }

    pub(super) fn landing(mut self, landing: Landing) -> Self {
        self.landing = landing;
        self
    }

    async fn request<T>(&self, act: impl AsyncFnOnce(&Context, Request<'_>) -> T) -> T {
        let clock: Arc<dyn Clock> = Arc::<FixedClock>::clone(&self.clock);
        let nonces: Arc<dyn NonceSource> = Arc::new(RandomNonces);
        let machine: Arc<dyn Machine> = Arc::new(ThisMachine);
        let request = Request {
            store: &self.store,
            clock: &clock,
            nonces: &nonces,
            environment: &dev(),
            run: &self.run,
            holder: &self.holder,
            machine: &machine,
            landing: self.landing,
            policy: self.policy,
        };
        act(&self.cx, request).await
    }

    pub(super) async fn acquire(&self) -> Result<Epoch> {
        self.request(async |cx, request| acquire(cx, request).await).await
    }

    /// What it does that saw `seen` some time ago. The number, if it won.
    pub(super) async fn create_after(&self, seen: Option<&Seen>) -> Result<Option<u64>> {
        let created = self.request(async |_, request| acquire::create(&request.ground(), &request, seen).await).await?;
        Ok(created.map(|(number, _)| number))
    }

    /// Takes the lock and gives it back; the epoch's number.
    pub(super) async fn pass(&self) -> u64 {
        let epoch = self.acquire().await.unwrap();
        let (number, state) = (epoch.number(), epoch.state().clone());
        epoch.release(state).await.unwrap();
        number
    }
}

pub(super) async fn release(epoch: Epoch) {
    epoch.release(EnvironmentState::default()).await.unwrap();
}
