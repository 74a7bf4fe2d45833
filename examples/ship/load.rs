//! Steady traffic through a service's proxy while a release goes on, and a count of the answers.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use super::backends::Platform;
use ecolaura_deploy_core::{
    Context, Result,
    backend::ClusterTarget,
    event::{Event, EventKind, EventSink, FnSink, StepOutcome},
    vocabulary::{Name, ServiceName},
};
use ecolaura_deploy_examples::Http;
use tokio::{task::JoinSet, time::MissedTickBehavior};
use tokio_util::sync::CancellationToken;

/// The header in which the proxy says which version answered.
const TRACK: &str = "x-ecolaura-track";

/// What is asked for, in turn.
const PATHS: [&str; 4] = ["/api/summary", "/api/plants", "/api/plants/1", "/api/flags"];

const CALLERS: u64 = 4;
const PAUSE: Duration = Duration::from_millis(40);
const PATIENCE: Duration = Duration::from_secs(10);
/// How many failed requests are told one by one.
const TOLD: u64 = 3;
const SETTLE: Duration = Duration::from_millis(500);

#[derive(Debug, Default)]
struct Counters {
    total: AtomicU64,
    candidate: AtomicU64,
    failed: AtomicU64,
    failed_candidate: AtomicU64,
    failed_after_abort: AtomicU64,
    /// The candidate was taken back.
    aborted: AtomicBool,
    /// How often it was said that a request failed.
    told: AtomicU64,
    /// Nothing is counted before the first answer if nothing ran before.
    counting: AtomicBool,
}

/// How many requests were answered, and by which version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    pub total: u64,
    pub candidate: u64,
    pub failed: u64,
    pub failed_candidate: u64,
    pub failed_after_abort: u64,
}

impl std::fmt::Display for Totals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let stable = self.total - self.candidate;
        write!(f, "{} requests, {stable} to stable, {} to candidate; ", self.total, self.candidate)?;
        match self.failed {
            0 => f.write_str("none failed"),
            failed => write!(
                f,
                "{failed} failed: {} from stable, {} from candidate, {} after the abort",
                failed - self.failed_candidate,
                self.failed_candidate,
                self.failed_after_abort
            ),
        }
    }
}

/// Traffic on the backend of one environment.
#[derive(Debug)]
pub struct Load {
    counters: Arc<Counters>,
    /// Whether the backend ran before.
    running: bool,
    stop: CancellationToken,
    callers: JoinSet<()>,
}

impl Load {
    /// Begins as soon as the backend of `namespace` has an address. What is asked before the first answer counts only
    /// if it runs already.
    pub async fn start(cx: &Context, platform: &Platform, namespace: &Name) -> Result<Self> {
        let running =
            platform.host.is_up() && platform.cluster.status(cx, namespace).await?.pods.iter().any(|pod| pod.ready);
        let counters = Arc::new(Counters { counting: AtomicBool::new(running), ..Counters::default() });
        let stop = CancellationToken::new();
        let mut callers = JoinSet::new();
        for number in 0..CALLERS {
            let caller = Caller {
                http: if platform.host.contains() { Http::connecting(PATIENCE) } else { Http::new(PATIENCE) },
                counters: Arc::clone(&counters),
                cluster: Arc::clone(&platform.cluster),
                namespace: namespace.clone(),
                number,
            };
            let (cx, stop) = (cx.clone(), stop.clone());
            callers.spawn(async move {
                stop.run_until_cancelled(caller.call(&cx)).await;
            });
        }
        Ok(Self { counters, running, stop, callers })
    }

    /// Notices when the roll-out is taken back. Where nothing ran before, nothing is there to answer then: the traffic
    /// ends.
    pub fn watch(&self) -> Arc<dyn EventSink> {
        let (counters, stop, running) = (Arc::clone(&self.counters), self.stop.clone(), self.running);
        Arc::new(FnSink::new(move |event: &Event| {
            let rollout = event.step.as_deref() == Some(super::pipeline::ROLL_OUT);
            match &event.kind {
                EventKind::UndoStarted | EventKind::StepFinished { outcome: StepOutcome::Failed { .. }, .. }
                    if rollout && !running =>
                {
                    stop.cancel();
                }
                EventKind::UndoFinished { error: None, .. } if rollout => counters.aborted.store(true, Relaxed),
                _ => {}
            }
        }))
    }

    /// The count so far.
    pub fn totals(&self) -> Totals {
        let counters = &self.counters;
        Totals {
            total: counters.total.load(Relaxed),
            candidate: counters.candidate.load(Relaxed),
            failed: counters.failed.load(Relaxed),
            failed_candidate: counters.failed_candidate.load(Relaxed),
            failed_after_abort: counters.failed_after_abort.load(Relaxed),
        }
    }

    /// Goes on for a moment, to see what the end of the run left, and ends then.
    pub async fn settle(self) -> Totals {
        if !self.stop.is_cancelled() {
            tokio::time::sleep(SETTLE).await;
        }
        self.stop().await
    }

    /// Ends the traffic. Requests under way are given up and not counted.
    pub async fn stop(mut self) -> Totals {
        self.stop.cancel();
        while self.callers.join_next().await.is_some() {}
        self.totals()
    }
}

struct Caller {
    http: Http,
    counters: Arc<Counters>,
    cluster: Arc<dyn ClusterTarget>,
    namespace: Name,
    number: u64,
}

impl Caller {
    async fn call(&self, cx: &Context) {
        let address = self.address(cx).await;
        let mut ticks = tokio::time::interval(PAUSE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for path in PATHS.iter().cycle().skip(usize::try_from(self.number).unwrap_or_default()) {
            ticks.tick().await;
            self.ask(&format!("{address}{path}")).await;
        }
    }

    async fn address(&self, cx: &Context) -> String {
        let backend = ServiceName::new(super::pipeline::BACKEND).ok();
        loop {
            let status = self.cluster.status(cx, &self.namespace).await.ok();
            let found = status.and_then(|status| status.addresses.get(backend.as_ref()?).cloned());
            match found {
                Some(address) => return address,
                None => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
    }

    async fn ask(&self, url: &str) {
        let aborted = self.counters.aborted.load(Relaxed);
        let answer = self.http.get(url).await;
        let failed = !answer.as_ref().is_ok_and(|answer| answer.status().is_success());
        if !failed {
            self.counters.counting.store(true, Relaxed);
        } else if !self.counters.counting.load(Relaxed) {
            return;
        }
        let track = answer.as_ref().ok().and_then(|answer| answer.headers().get(TRACK));
        let candidate = track.is_some_and(|track| track == "candidate");
        if failed && !candidate {
            let why = answer.map_or_else(|error| error.report(), |answer| format!("`{url}`: {}", answer.status()));
            self.tell(&why);
        }
        self.count(failed, candidate, aborted);
    }

    /// Says why the first requests failed that should not have.
    fn tell(&self, why: &str) {
        if self.counters.told.fetch_add(1, Relaxed) < TOLD {
            super::session::remark(&format!("a request failed: {why}"));
        }
    }

    fn count(&self, failed: bool, candidate: bool, aborted: bool) {
        let add = |counter: &AtomicU64, yes: bool| counter.fetch_add(u64::from(yes), Relaxed);
        add(&self.counters.total, true);
        add(&self.counters.candidate, candidate);
        add(&self.counters.failed, failed);
        add(&self.counters.failed_candidate, failed && candidate);
        add(&self.counters.failed_after_abort, failed && aborted);
    }
}
