//! The life of a pod: started, probed, restarted, and in the end retired.

mod health;

use std::{
    net::Ipv4Addr,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{
    backoff::Backoff,
    logs::PodLog,
    probe::ask,
    process::{Launch, Running, write_pid},
};
use crate::{
    backend::FailureCause,
    cluster::desired::{PodFacts, PodTemplate, PreStop},
    local::cluster::{events::Events, program::Program, proxy::Backend, rollout::Trouble},
};

/// How long to wait before starting again what could not be started at all.
const START_AGAIN: Duration = Duration::from_secs(10);

/// What a process gets at least between the signal to end and the one that kills.
const LEAST_GRACE: Duration = Duration::from_secs(2);

/// A pod to run.
pub(in super::super) struct PodSpec {
    pub(in super::super) facts: PodFacts,
    pub(in super::super) ip: Ipv4Addr,
    pub(in super::super) template: PodTemplate,
    /// Of the Services in the namespace, in Kubernetes' names.
    pub(in super::super) links: Vec<(String, String)>,
    pub(in super::super) image: Program,
    /// The port that must accept a connection where no readiness probe says more.
    pub(in super::super) first_port: Option<u16>,
    /// Why it cannot have an address.
    pub(in super::super) refused: Option<String>,
    /// The pod's own folder, removed when it has ended.
    pub(in super::super) dir: PathBuf,
}

/// What is known of a pod.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct PodStatus {
    /// `Pending`, `Running`, `CrashLoopBackOff`, `CannotStart`, `Terminating`.
    pub(in super::super) phase: &'static str,
    pub(in super::super) ready_since: Option<Instant>,
    pub(in super::super) restarts: u32,
    /// Restarts since it last ran for a while.
    pub(in super::super) in_a_row: u32,
    pub(in super::super) pid: Option<u32>,
    pub(in super::super) trouble: Option<Trouble>,
    pub(in super::super) ended: bool,
}

/// A pod's status, and a bell for whoever waits for a change.
#[derive(Debug)]
pub(in super::super) struct Watched {
    status: Mutex<PodStatus>,
    changed: Arc<Notify>,
    events: Arc<Events>,
}

impl Watched {
    pub(in super::super) fn new(changed: Arc<Notify>, events: Arc<Events>) -> Self {
        Self { status: Mutex::new(PodStatus { phase: "Pending", ..PodStatus::default() }), changed, events }
    }

    fn lock(&self) -> MutexGuard<'_, PodStatus> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in super::super) fn get(&self) -> PodStatus {
        self.lock().clone()
    }

    fn set(&self, change: impl FnOnce(&mut PodStatus)) {
        change(&mut self.lock());
        self.changed.notify_one();
    }

    fn ready(&self, ready: bool) {
        self.set(|status| status.ready_since = ready.then(|| status.ready_since.unwrap_or_else(Instant::now)));
    }
}

/// How a pod is told to end.
#[derive(Debug, Clone, Default)]
pub(in super::super) struct Retirement {
    /// In order: requests first, then the signal, then the grace.
    pub(in super::super) orderly: CancellationToken,
    /// At once.
    pub(in super::super) kill: CancellationToken,
}

/// Everything that the life of a pod touches.
struct Life {
    spec: PodSpec,
    watched: Arc<Watched>,
    log: Arc<PodLog>,
    backend: Arc<Backend>,
}

/// Why a container's run is over.
enum Over {
    Exited(String),
    Killed(String),
    Retired,
}

/// Runs a pod until it is retired, and returns when no process of it is left.
pub(in super::super) async fn supervise(
    spec: PodSpec,
    watched: Arc<Watched>,
    log: Arc<PodLog>,
    backend: Arc<Backend>,
    retirement: Retirement,
) {
    let life = Life { spec, watched, log, backend };
    let killed = retirement.kill.clone();
    // Dropping a run closes the guardian's lifeline, which kills the group.
    _ = killed.run_until_cancelled(life.live(&retirement.orderly)).await;
    _ = std::fs::remove_dir_all(&life.spec.dir);
    life.watched.set(|status| *status = PodStatus { ended: true, phase: "Ended", ..status.clone() });
}

impl Life {
    async fn live(&self, retire: &CancellationToken) {
        if let Some(message) = &self.spec.refused {
            self.cannot_start(FailureCause::PortTaken, message.clone());
            return retire.cancelled().await;
        }
        let mut backoff = Backoff::default();
        loop {
            let began = Instant::now();
            let (launch, mut running) = match self.start().await {
                Ok(started) => started,
                Err((cause, message)) => {
                    self.cannot_start(cause, message);
                    match retire.run_until_cancelled(sleep(START_AGAIN)).await {
                        Some(()) => continue,
                        None => return,
                    }
                }
            };
            self.started(&running);
            let over = self.watch(&launch, &mut running, retire).await;
            self.watched.ready(false);
            let trouble = match over {
                Over::Retired => return self.end(&launch, running).await,
                Over::Exited(how) => {
                    running.clear().await;
                    Trouble::Exited(how)
                }
                Over::Killed(why) => {
                    running.end(self.grace()).await;
                    Trouble::Killed(why)
                }
            };
            if !self.pause(trouble, backoff.after(began.elapsed()), retire).await {
                return;
            }
        }
    }

    fn event(&self, text: &str) {
        self.watched.events.add(format!("pod {}: {text}", self.spec.facts.name));
    }

    fn grace(&self) -> Duration {
        Duration::from_secs(self.spec.template.termination_grace_seconds.into())
    }

    fn launch(&self) -> Result<Launch, String> {
        let input = self.spec.template.resolve(&self.spec.facts);
        let image = &self.spec.image;
        let dir = image.working_dir(self.spec.template.working_dir.as_deref())?;
        let temporary = self.spec.dir.join("tmp");
        std::fs::create_dir_all(&temporary).map_err(|error| format!("`{}`: {error}", temporary.display()))?;
        let mut env = image.environment(&self.spec.facts.name, &temporary);
        for (name, value) in self.spec.links.iter().cloned().chain(input.env) {
            env.retain(|(known, _)| *known != name);
            env.push((name, value));
        }
        let command = image.command(input.command, input.args)?;
        let (program, args) = image.locate(&command, &env)?;
        Ok(Launch { program, args, env, dir, image: image.clone() })
    }

    async fn start(&self) -> Result<(Launch, Running), (FailureCause, String)> {
        if !self.spec.image.exists() {
            let message = format!("the unpacked image {} is gone", self.spec.template.image);
            return Err((FailureCause::ImageMissing, message));
        }
        let failed = |message| (FailureCause::CannotStart, message);
        let launch = self.launch().map_err(failed)?;
        match Running::start(&launch, &self.log).await {
            Ok(running) => Ok((launch, running)),
            Err(error) => Err(failed(format!("`{}`: {error}", launch.program.display()))),
        }
    }

    fn cannot_start(&self, cause: FailureCause, message: String) {
        self.event(&format!("cannot start: {message}"));
        self.watched.set(|status| {
            status.phase = "CannotStart";
            status.trouble = Some(Trouble::CannotStart { cause, message });
        });
    }

    fn started(&self, running: &Running) {
        let pid = running.pid();
        if let Some(pid) = pid {
            write_pid(&self.spec.dir.join("pid"), pid);
        }
        self.event("started");
        self.watched.set(|status| {
            status.phase = "Running";
            status.pid = pid;
        });
    }

    /// Until the process ends, a probe has it killed, or the pod is retired.
    async fn watch(&self, launch: &Launch, running: &mut Running, retire: &CancellationToken) -> Over {
        tokio::select! {
            biased;
            () = retire.cancelled() => Over::Retired,
            how = running.ended() => Over::Exited(how),
            why = self.probe(launch) => Over::Killed(why),
        }
    }

    /// Waits before the next start; no if the pod is retired meanwhile.
    async fn pause(&self, trouble: Trouble, (pause, in_a_row): (Duration, u32), retire: &CancellationToken) -> bool {
        self.event(&format!("{}; starts again in {pause:?}", trouble.line()));
        self.watched.set(|status| {
            status.phase = "CrashLoopBackOff";
            status.pid = None;
            status.trouble = Some(trouble);
            status.restarts += 1;
            status.in_a_row = in_a_row;
        });
        retire.run_until_cancelled(sleep(pause)).await.is_some()
    }

    /// Lets requests under way finish, then ends the process, all within the grace.
    async fn end(&self, launch: &Launch, running: Running) {
        self.watched.set(|status| status.phase = "Terminating");
        let deadline = Instant::now() + self.grace();
        let drained = async {
            self.backend.drained().await;
            match &self.spec.template.pre_stop {
                Some(PreStop::Sleep { seconds }) => sleep(Duration::from_secs((*seconds).into())).await,
                // Its answer does not matter.
                Some(PreStop::Run { check }) => _ = ask(check, self.spec.ip, launch, self.grace()).await,
                None => {}
            }
        };
        _ = tokio::time::timeout_at(deadline, drained).await;
        running.end(deadline.saturating_duration_since(Instant::now()).max(LEAST_GRACE)).await;
        self.event("ended");
    }
}
