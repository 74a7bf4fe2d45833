//! Waiting for a roll-out.

use std::{collections::BTreeMap, time::Duration};

use tokio::{sync::mpsc, time::Instant};

use super::{Engine, SOON, World};
use crate::{
    backend::{FailureCause, RolloutState, Track},
    local::cluster::rollout::{RolloutView, judge},
    vocabulary::{Name, ServiceName},
};

/// Which roll-outs are waited for.
#[derive(Debug, Clone)]
pub(super) struct Awaited<'a> {
    pub(super) namespace: &'a Name,
    pub(super) revisions: &'a BTreeMap<ServiceName, u64>,
    pub(super) track: Track,
}

impl Engine {
    /// Waits until all are ready or one cannot become so; at `deadline` it is over, too. What is missing goes to
    /// `lines` whenever it changes.
    pub(super) async fn wait(
        &self,
        awaited: &Awaited<'_>,
        deadline: Option<Instant>,
        lines: &mpsc::Sender<String>,
    ) -> RolloutState {
        let mut passes = self.passes.subscribe();
        let mut said = String::new();
        loop {
            let state = self.world().judge_all(awaited);
            let RolloutState::Progressing { message } = state else { return state };
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return self.world().too_late(awaited);
            }
            if message != said {
                // Nobody listens any more, or too slowly: the next line says more than this one.
                _ = lines.try_send(message.clone());
                said = message;
            }
            let pause = deadline.map_or(SOON, |deadline| SOON.min(deadline.saturating_duration_since(Instant::now())));
            _ = tokio::time::timeout(pause, passes.changed()).await;
        }
    }
}

impl World {
    /// The verdict over all: a failure first, then what is missing.
    fn judge_all(&self, awaited: &Awaited<'_>) -> RolloutState {
        let mut missing = Vec::new();
        for (service, revision) in awaited.revisions {
            match self.view(awaited, service, *revision).map(|view| judge(&view)) {
                Ok(RolloutState::Ready) => {}
                Ok(RolloutState::Progressing { message }) => missing.push(message),
                Ok(failed) | Err(failed) => return failed,
            }
        }
        if missing.is_empty() {
            return RolloutState::Ready;
        }
        RolloutState::Progressing { message: missing.join("; ") }
    }

    /// The verdict when no more time is left: the causes found so far, under the name of the deadline.
    fn too_late(&self, awaited: &Awaited<'_>) -> RolloutState {
        for (service, revision) in awaited.revisions {
            let Ok(view) = self.view(awaited, service, *revision) else { continue };
            let over = RolloutView { stalled: Duration::MAX, ..view };
            if let RolloutState::Failed { chain, .. } = judge(&over) {
                return RolloutState::Failed { cause: FailureCause::DeadlineExceeded, chain };
            }
        }
        self.judge_all(awaited)
    }

    /// What is judged of a service; a failure if another revision took its place.
    fn view(&self, awaited: &Awaited<'_>, service: &ServiceName, revision: u64) -> Result<RolloutView, RolloutState> {
        let record = self.state.namespaces.get(awaited.namespace).filter(|record| record.awake);
        let known = record.and_then(|record| record.services.get(service));
        let stable = known.and_then(|known| known.stable());
        let candidate = known.and_then(|known| known.candidate());
        let place = (awaited.namespace, service);
        match (awaited.track, stable, candidate) {
            (Track::Candidate, _, Some((candidate, edition))) if edition.revision == revision => {
                Ok(self.rollout(place, edition, (Track::Candidate, candidate.replicas)))
            }
            (_, Some(edition), _) if edition.revision == revision => {
                Ok(self.rollout(place, edition, (Track::Stable, edition.spec.replicas)))
            }
            (_, stable, _) => {
                let found = match stable {
                    Some(edition) => format!("revision {} was rolled out meanwhile", edition.revision),
                    None if record.is_none() => "the cluster was stopped meanwhile".to_owned(),
                    None => "it was removed meanwhile".to_owned(),
                };
                let object = format!("Deployment {}/{service}, revision {revision}", awaited.namespace);
                Err(RolloutState::Failed { cause: FailureCause::Superseded, chain: vec![object, found] })
            }
        }
    }
}
