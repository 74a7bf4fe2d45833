//! Whether a pod is alive and ready: what its probes say, and when they ask.

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::{
    super::{
        probe::{Counter, ask},
        process::Launch,
    },
    Life,
};
use crate::{
    cluster::desired::{Check, Probe},
    local::cluster::rollout::Trouble,
};

impl Life {
    /// Asks the probes until one of them has the container killed.
    pub(super) async fn probe(&self, launch: &Launch) -> String {
        let template = &self.spec.template;
        if let Some(probe) = &template.startup
            && let Err(why) = self.wait_for_startup(probe, launch).await
        {
            return format!("the start-up probe fails: {why}");
        }
        let readiness = async {
            match &template.readiness {
                Some(probe) => self.readiness(probe, launch).await,
                None => self.first_connection(launch).await,
            }
            std::future::pending::<String>().await
        };
        let liveness = async {
            match &template.liveness {
                Some(probe) => self.liveness(probe, launch).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! { why = readiness => why, why = liveness => why }
    }

    async fn try_once(&self, probe: &Probe, launch: &Launch) -> Result<(), String> {
        let limit = Duration::from_secs(probe.timeout_seconds.max(1).into());
        ask(&probe.check, self.spec.ip, launch, limit).await
    }

    async fn wait_for_startup(&self, probe: &Probe, launch: &Launch) -> Result<(), String> {
        let mut counter = Counter::new(probe, false);
        let mut ticks = Ticks::new(probe);
        loop {
            ticks.next().await;
            match self.try_once(probe, launch).await {
                Ok(()) => return Ok(()),
                Err(why) if counter.failures(false) => return Err(why),
                Err(why) => self.watched.set(|status| status.trouble = Some(Trouble::NotReady(why))),
            }
        }
    }

    async fn readiness(&self, probe: &Probe, launch: &Launch) {
        let mut counter = Counter::new(probe, false);
        let mut ticks = Ticks::new(probe).eager();
        loop {
            ticks.next().await;
            let answer = self.try_once(probe, launch).await;
            let ready = counter.count(answer.is_ok());
            if ready {
                ticks.settle();
            }
            self.note_readiness(ready, answer.err());
        }
    }

    fn note_readiness(&self, ready: bool, why: Option<String>) {
        let before = self.watched.get();
        match why {
            Some(why) if !ready => {
                if before.ready_since.is_some() {
                    self.event(&format!("is not ready any more: {why}"));
                }
                self.watched.set(|status| {
                    status.ready_since = None;
                    status.trouble = Some(Trouble::NotReady(why));
                });
            }
            _ if ready && before.ready_since.is_none() => {
                self.event("is ready");
                self.watched.set(|status| {
                    status.trouble = None;
                    status.ready_since = Some(Instant::now());
                });
            }
            _ => {}
        }
    }

    /// Without a readiness probe a container is ready as soon as it runs; one that stands behind a Service only when
    /// it accepts connections, because a request sent before would be lost.
    async fn first_connection(&self, launch: &Launch) {
        let Some(port) = self.spec.first_port else { return self.note_readiness(true, None) };
        loop {
            match ask(&Check::TcpSocket { port }, self.spec.ip, launch, Duration::from_secs(1)).await {
                Ok(()) => return self.note_readiness(true, None),
                Err(why) => self.note_readiness(false, Some(why)),
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn liveness(&self, probe: &Probe, launch: &Launch) -> String {
        let mut counter = Counter::new(probe, true);
        let mut ticks = Ticks::new(probe);
        loop {
            ticks.next().await;
            let answer = self.try_once(probe, launch).await;
            if counter.failures(answer.is_ok())
                && let Err(why) = answer
            {
                return format!("the liveness probe fails: {why}");
            }
        }
    }
}

/// When a probe asks: after its delay, then once a period.
struct Ticks {
    next: Instant,
    period: Duration,
    eager: Option<Duration>,
}

impl Ticks {
    fn new(probe: &Probe) -> Self {
        let next = Instant::now() + Duration::from_secs(probe.initial_delay_seconds.into());
        Self { next, period: Duration::from_secs(probe.period_seconds.max(1).into()), eager: None }
    }

    /// Asks more often until it is settled: a start that takes 200 ms should not cost a period of 10 s. Kubernetes
    /// does the same once the start-up probe has passed.
    fn eager(mut self) -> Self {
        self.eager = Some(Duration::from_millis(100));
        self
    }

    fn settle(&mut self) {
        self.eager = None;
    }

    async fn next(&mut self) {
        sleep_until(self.next).await;
        let pause = match &mut self.eager {
            Some(pause) => {
                let now = *pause;
                *pause = (now * 2).min(self.period);
                now
            }
            None => self.period,
        };
        self.next = Instant::now() + pause;
    }
}
