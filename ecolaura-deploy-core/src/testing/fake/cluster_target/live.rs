//! The pods of one revision, as time goes by.

use tokio::time::Instant;

use super::{Behaviour, Pods};
use crate::{
    backend::{FailureCause, Pod, RolloutState, Track},
    cluster::desired::DesiredService,
    vocabulary::{PinnedImage, ServiceName},
};

/// A revision with pods.
#[derive(Debug, Clone)]
pub(super) struct Live {
    pub(super) revision: u64,
    pub(super) wish: DesiredService,
    pub(super) replicas: u32,
    pub(super) since: Instant,
}

impl Live {
    pub(super) fn available(&self, pods: &Pods<'_>) -> u32 {
        let behaviour = pods.behaviour(&self.wish.template.image);
        let started = pods.now.saturating_duration_since(self.since).as_nanos().checked_div(pods.startup.as_nanos());
        match behaviour {
            Behaviour::Serves => {
                started.map_or(self.replicas, |started| u32::try_from(started).unwrap_or(u32::MAX).min(self.replicas))
            }
            _ => 0,
        }
    }

    pub(super) fn rollout(&self, name: &ServiceName, pods: &Pods<'_>) -> RolloutState {
        let available = self.available(pods);
        let age = pods.now.saturating_duration_since(self.since);
        let failed = |cause, said: &str| {
            let chain = vec![format!("Deployment {name}"), format!("Pod {}", self.pod_name(name, 0)), said.to_owned()];
            RolloutState::Failed { cause, chain }
        };
        match pods.behaviour(&self.wish.template.image) {
            _ if available == self.replicas => RolloutState::Ready,
            Behaviour::CrashLoops if age >= pods.startup * 3 => {
                failed(FailureCause::CrashLoop, "restarted 3 times, last exit code 1")
            }
            Behaviour::NeverReady if age.as_secs() >= u64::from(self.wish.progress_deadline_seconds) => {
                failed(FailureCause::ReadinessProbe, "the readiness probe fails")
            }
            _ => {
                let message = format!("{name}: {available} of {} updated replicas are available", self.replicas);
                RolloutState::Progressing { message }
            }
        }
    }

    pub(super) fn pod_name(&self, name: &ServiceName, index: u32) -> String {
        format!("{name}-{}-{index}", self.revision)
    }

    pub(super) fn pods(&self, name: &ServiceName, track: Track, pods: &Pods<'_>) -> Vec<Pod> {
        let crashing = pods.behaviour(&self.wish.template.image) == Behaviour::CrashLoops;
        let available = self.available(pods);
        let pod = |index| Pod {
            name: self.pod_name(name, index),
            service: name.clone(),
            revision: self.revision,
            track,
            ready: index < available,
            restarts: if crashing { 3 } else { 0 },
            phase: if crashing { "CrashLoopBackOff".to_owned() } else { "Running".to_owned() },
            address: None,
            pid: None,
        };
        (0..self.replicas).map(pod).collect()
    }
}

impl Pods<'_> {
    fn behaviour(&self, image: &PinnedImage) -> Behaviour {
        self.behaviours.get(image).copied().unwrap_or_default()
    }
}
