//! What can be seen of a namespace.

use std::time::Duration;

use super::{
    Engine, World,
    live::{Pod, is_available},
};
use crate::{
    backend::{ClusterStatus, Pod as PodFacts, Track},
    local::cluster::{
        rollout::{PodReport, RolloutView},
        state::{Edition, Namespace},
        supervise::PodLog,
    },
    vocabulary::{Name, ServiceName},
};

/// How many lines of a pod's log a verdict looks at.
const LINES: usize = 20;

impl Engine {
    /// What runs; pods that are about to end too.
    pub(super) fn status(&self, namespace: &Name) -> ClusterStatus {
        let mut world = self.world();
        let record = world.state.namespaces.get(namespace).cloned().unwrap_or_default();
        let mut pods = Vec::new();
        for ((_, service), live) in world.live.iter().filter(|((of, _), _)| of == namespace) {
            pods.extend(live.pods.iter().filter_map(|pod| pod_facts(pod, service, &record)));
        }
        let urls = if record.awake { record.urls() } else { std::collections::BTreeMap::new() };
        ClusterStatus::new(record.snapshot(namespace), pods, urls, world.events(namespace).list())
    }

    /// The last lines of a service's pods together, those of pods that ended lately too.
    pub(super) fn logs(&self, namespace: &Name, service: &ServiceName, lines: usize) -> Option<Vec<String>> {
        let world = self.world();
        let live = world.live.get(&(namespace.clone(), service.clone()))?;
        let logs = live.ended.iter().chain(live.pods.iter().map(|pod| &pod.log));
        let named = |log: &PodLog| {
            let pod = log.pod.clone();
            log.last(lines).into_iter().map(move |(order, line)| (order, format!("{pod} {line}")))
        };
        let mut all: Vec<(u64, String)> = logs.flat_map(|log| named(log)).collect();
        all.sort();
        let from = all.len().saturating_sub(lines);
        Some(all.into_iter().skip(from).map(|(_, line)| line).collect())
    }
}

fn pod_facts(pod: &Pod, service: &ServiceName, record: &Namespace) -> Option<PodFacts> {
    let status = pod.watched.get();
    if status.ended {
        return None;
    }
    let known = record.services.get(service);
    // A pod that was kept over a change without new pods belongs to the newest text of its template.
    let stable = known.and_then(|known| known.stable()).filter(|stable| stable.spec.template_digest() == pod.template);
    let edition = match pod.track {
        Track::Stable => stable.or_else(|| known?.edition(pod.edition)),
        Track::Candidate => known.and_then(|known| known.edition(pod.edition)),
    };
    Some(PodFacts {
        name: pod.name.clone(),
        service: service.clone(),
        revision: edition.map_or(pod.revision, |edition| edition.revision),
        track: pod.track,
        ready: status.ready_since.is_some() && !pod.retiring,
        restarts: status.restarts,
        phase: if pod.retiring { "Terminating" } else { status.phase }.to_owned(),
        address: Some(pod.address.clone()),
        pid: status.pid,
    })
}

impl World {
    /// The roll-out of `track` to `edition`.
    pub(super) fn rollout(
        &self,
        (namespace, service): (&Name, &ServiceName),
        edition: &Edition,
        (track, replicas): (Track, u32),
    ) -> RolloutView {
        let live = self.live.get(&(namespace.clone(), service.clone()));
        let min_ready = Duration::from_secs(edition.spec.min_ready_seconds.into());
        let template = edition.spec.template_digest();
        let report = |pod: &Pod| {
            let status = pod.watched.get();
            PodReport {
                name: pod.name.clone(),
                current: pod.template == template,
                available: is_available(&status, min_ready),
                retiring: pod.retiring,
                restarts: status.in_a_row,
                trouble: status.trouble,
                log: pod.log.last(LINES).into_iter().map(|(_, line)| line).collect(),
            }
        };
        let pods = live.into_iter().flat_map(|live| &live.pods).filter(|pod| pod.track == track);
        let stalled = live.map_or(Duration::ZERO, |live| match track {
            Track::Stable => live.stable.at.elapsed(),
            Track::Candidate => live.candidate.at.elapsed(),
        });
        RolloutView {
            object: format!("Deployment {namespace}/{service}, revision {}", edition.revision),
            service: service.to_string(),
            replicas,
            pods: pods.map(report).collect(),
            stalled,
            progress_deadline: Duration::from_secs(edition.spec.progress_deadline_seconds.into()),
        }
    }
}
