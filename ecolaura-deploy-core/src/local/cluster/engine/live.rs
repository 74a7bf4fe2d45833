//! The pods of a service that exist now.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use tokio::{task::JoinHandle, time::Instant};

use crate::{
    backend::Track,
    local::cluster::{
        proxy::{Backend, Router},
        rollout::PodView,
        supervise::{PodLog, PodStatus, Retirement, Watched},
    },
    vocabulary::Digest,
};

/// How many logs of ended pods can still be asked for.
const ENDED: usize = 5;

/// A pod.
#[derive(Debug)]
pub(super) struct Pod {
    pub(super) name: String,
    pub(super) address: String,
    pub(super) track: Track,
    /// What it was started by.
    pub(super) edition: u64,
    pub(super) revision: u64,
    pub(super) template: Digest,
    pub(super) watched: Arc<Watched>,
    pub(super) log: Arc<PodLog>,
    pub(super) backend: Arc<Backend>,
    pub(super) retirement: Retirement,
    pub(super) retiring: bool,
    pub(super) task: Option<JoinHandle<()>>,
}

impl Pod {
    pub(super) fn view(&self, template: Digest, min_ready: Duration) -> PodView {
        let status = self.watched.get();
        PodView {
            current: self.template == template,
            ready: status.ready_since.is_some(),
            available: is_available(&status, min_ready),
            retiring: self.retiring,
        }
    }

    /// Lets it end, in order.
    pub(super) fn retire(&mut self) {
        self.retiring = true;
        self.retirement.orderly.cancel();
    }

    fn serves(&self, track: Track) -> bool {
        self.track == track && !self.retiring && self.watched.get().ready_since.is_some()
    }
}

/// Whether it has been ready for long enough.
pub(super) fn is_available(status: &PodStatus, min_ready: Duration) -> bool {
    status.ready_since.is_some_and(|since| since.elapsed() >= min_ready)
}

/// How far a roll-out has come, and when that last became more.
#[derive(Debug)]
pub(super) struct Progress {
    edition: u64,
    best: (usize, usize, usize),
    pub(super) at: Instant,
}

impl Progress {
    fn new() -> Self {
        Self { edition: 0, best: (0, 0, usize::MAX), at: Instant::now() }
    }

    /// Notes how many pods are updated, available, and others.
    pub(super) fn note(&mut self, edition: u64, (updated, available, others): (usize, usize, usize)) {
        if edition != self.edition {
            *self = Self { edition, ..Self::new() };
        }
        let best = (updated.max(self.best.0), available.max(self.best.1), others.min(self.best.2));
        if best != self.best {
            self.best = best;
            self.at = Instant::now();
        }
    }
}

/// A service's pods, and the way to them.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) pods: Vec<Pod>,
    pub(super) router: Arc<Router>,
    pub(super) ended: VecDeque<Arc<PodLog>>,
    pub(super) stable: Progress,
    pub(super) candidate: Progress,
    /// How many pods it has had.
    pub(super) started: u64,
}

impl Default for Live {
    fn default() -> Self {
        Self {
            pods: Vec::new(),
            router: Arc::default(),
            ended: VecDeque::new(),
            stable: Progress::new(),
            candidate: Progress::new(),
            started: 0,
        }
    }
}

impl Live {
    pub(super) fn is_empty(&self) -> bool {
        self.pods.is_empty()
    }

    pub(super) fn retires(&self) -> bool {
        self.pods.iter().any(|pod| pod.retiring)
    }

    /// Forgets pods that have ended; their logs stay for a while.
    pub(super) fn clear(&mut self) {
        let ended = self.pods.extract_if(.., |pod| pod.watched.get().ended);
        self.ended.extend(ended.map(|pod| pod.log));
        while self.ended.len() > ENDED {
            self.ended.pop_front();
        }
    }

    pub(super) fn track_mut(&mut self, track: Track) -> impl Iterator<Item = &mut Pod> {
        self.pods.iter_mut().filter(move |pod| pod.track == track)
    }

    /// The pods of `track` that may have requests.
    pub(super) fn serving(&self, track: Track) -> Vec<Arc<Backend>> {
        self.pods.iter().filter(|pod| pod.serves(track)).map(|pod| Arc::clone(&pod.backend)).collect()
    }

    /// Why no pod may have requests.
    pub(super) fn reason(&self) -> String {
        let trouble = |pod: &Pod| Some(format!("pod {}: {}", pod.name, pod.watched.get().trouble?.line()));
        match self.pods.iter().filter(|pod| !pod.retiring).find_map(trouble) {
            Some(trouble) => format!("no pod is ready ({trouble})"),
            None if self.pods.is_empty() => "no pod runs".to_owned(),
            None => "no pod is ready yet".to_owned(),
        }
    }

    /// Kills every pod; what to wait for.
    pub(super) fn kill(&mut self) -> Vec<JoinHandle<()>> {
        self.pods.iter().for_each(|pod| pod.retirement.kill.cancel());
        self.pods.iter_mut().filter_map(|pod| pod.task.take()).collect()
    }
}
