//! The life of one simulated process: it goes on with what it finds, or plans and runs.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio_util::sync::CancellationToken;

use super::{
    Make, Over,
    machine::{Aftermath, SimMachine},
    steps,
    world::{Fakes, SimClock, World},
};
use crate::{
    Context, Error, ErrorKind, Result,
    clock::Clock,
    event::{Event, EventSink},
    lock::{Holder, LockPolicy, Wait},
    nonce::SeededNonces,
    run::{RunResult, Runner},
    testing::{
        Fault,
        inject::{Disk, Injector, Process, schedule::number},
    },
};

/// How a process ended.
#[derive(Debug)]
#[non_exhaustive]
pub enum Ended {
    /// Its run, or the run that it went on with, came to an end.
    Finished(RunResult),
    /// It was refused.
    Refused(Error),
    /// It died.
    Killed,
    /// It did not end in half a day, and was killed.
    Stuck,
    /// It panicked.
    Panicked,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finished(result) => write!(f, "{result:?}"),
            Self::Refused(error) => write!(f, "refused ({}): {}", error.kind(), error.report()),
            Self::Killed => f.write_str("killed"),
            Self::Stuck => f.write_str("stuck"),
            Self::Panicked => f.write_str("panicked"),
        }
    }
}

impl Ended {
    /// Whether nothing is left to do: the environment has the new release, or the old one again.
    pub fn closes(&self) -> bool {
        matches!(
            self,
            Self::Finished(RunResult::Succeeded | RunResult::SucceededExcept { .. } | RunResult::RolledBack { .. })
        )
    }
}

/// Everything that the processes of one simulation have in common.
#[derive(Clone)]
pub(super) struct Scene {
    pub(super) seed: u64,
    pub(super) fakes: Fakes,
    pub(super) disk: Disk,
    pub(super) over: Arc<Over>,
    pub(super) injector: Injector,
    pub(super) clock: Arc<SimClock>,
    pub(super) machine: SimMachine,
    /// What becomes of the one machine that all processes run on; without it none can be looked into.
    pub(super) aftermath: Option<Aftermath>,
    pub(super) said: Arc<Said>,
}

/// What left the processes: events by process, and errors.
#[derive(Debug, Default)]
pub(super) struct Said {
    events: Mutex<Vec<(u32, Event)>>,
}

impl Said {
    pub(super) fn events(&self) -> Vec<(u32, Event)> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[derive(Debug)]
struct Ear {
    process: Process,
    said: Arc<Said>,
}

impl EventSink for Ear {
    fn emit(&self, event: &Event) {
        if !self.process.is_dead() {
            let mut events = self.said.events.lock().unwrap_or_else(PoisonError::into_inner);
            events.push((self.process.number(), event.clone()));
        }
    }
}

/// How long a process waits for another one.
const PATIENCE: Duration = Duration::from_hours(4);
/// How long a process may take at most: more than all deadlines together.
const HALF_A_DAY: Duration = Duration::from_hours(12);

/// What one process is to do.
#[derive(Clone)]
pub(super) struct Job {
    pub(super) make: Arc<Make>,
    pub(super) faults: Vec<(String, Fault)>,
    pub(super) cancel: CancellationToken,
}

impl Scene {
    /// Lets `process` do `job` until it ends, dies or takes too long. Nothing of it goes on afterwards.
    pub(super) async fn live(&self, process: &Process, job: Job) -> Ended {
        let (scene, own) = (self.clone(), process.clone());
        let mut work = tokio::task::spawn_local(async move { scene.work(&own, &job).await });
        let ended = tokio::select! {
            biased;
            () = process.died() => Ended::Killed,
            ended = &mut work => match ended {
                Ok(Ok(result)) => Ended::Finished(result),
                Ok(Err(error)) => Ended::Refused(error),
                Err(_) => Ended::Panicked,
            },
            () = tokio::time::sleep(HALF_A_DAY) => Ended::Stuck,
        };
        process.kill();
        work.abort();
        if let Some(aftermath) = self.aftermath {
            self.machine.end(process.number(), aftermath);
        }
        ended
    }

    fn holder(&self, process: &Process) -> Holder {
        match self.aftermath {
            Some(_) => self.machine.start(process.number()),
            None => Holder::new("simulated", process.number(), ""),
        }
    }

    async fn work(&self, process: &Process, job: &Job) -> Result<RunResult> {
        let store = (self.over)(Arc::new(self.disk.store(process)), process.number());
        let world = World::new(&self.fakes, store, &self.injector.of(process));
        let pipeline = || {
            let mut pipeline = (job.make)(&world);
            for (step, fault) in &job.faults {
                steps::inject(&mut pipeline, step, *fault);
            }
            pipeline
        };
        let ear = Ear { process: process.clone(), said: Arc::clone(&self.said) };
        let runner = Runner::new(Arc::clone(&world.store))
            .events(Arc::new(ear))
            .clock(Arc::clone(&self.clock) as Arc<dyn Clock>)
            .nonces(Arc::new(SeededNonces::new(number(self.seed, &format!("process {}", process.number())))))
            .holder(self.holder(process))
            .machine(Arc::new(self.machine.clone()))
            .lock(LockPolicy::default().wait(Wait::Queue(PATIENCE)));
        let cx = Context::new(pipeline().environment.clone()).with_cancellation(job.cancel.clone());
        // Both ways in are ways to go on with what is open.
        if process.number() > 0
            && (self.seed + u64::from(process.number())).is_multiple_of(2)
            && let Some(finished) = runner.recover(&cx, pipeline()).await?
        {
            return Ok(finished.result);
        }
        let mut tries = 3;
        loop {
            let plan = runner.plan(&cx, pipeline()).await?;
            match runner.run(&cx, plan).await {
                Err(error) if error.kind() == ErrorKind::StalePlan && tries > 0 => tries -= 1,
                finished => return finished.map(|finished| finished.result),
            }
        }
    }
}
