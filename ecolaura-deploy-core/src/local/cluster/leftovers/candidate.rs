//! Candidates that no request goes to.

use std::{collections::BTreeMap, fs};

use super::super::{state::Folder, target::ProcessCluster};
use crate::{
    Context, Result,
    backend::{AppliedWorkload, ClusterTarget as _, Leftover, Track, Traffic, TrafficRequest},
    leftovers::{Listing, Purpose, blocking, busy, written},
    vocabulary::{Digest, Name, ServiceName},
};

pub(super) const IDLE: &str = "idle candidate";

/// A candidate without requests.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Idle {
    namespace: Name,
    service: ServiceName,
    revision: u64,
    replicas: u32,
}

impl Idle {
    fn object(&self) -> String {
        format!("{}/{} revision {}", self.namespace, self.service, self.revision)
    }
}

impl ProcessCluster {
    pub(super) async fn idle_candidates(&self, operation: &'static str) -> Result<Vec<Leftover>> {
        let folder = self.folder.clone();
        blocking(operation, move || {
            let changed = fs::metadata(folder.file("state.json")).ok().and_then(|seen| written(&seen));
            let leftover = |idle: Idle| {
                let found = format!(
                    "its {} replicas stand beside the stable ones and get no request; a run that has not ended may still need them",
                    idle.replicas
                );
                let leftover = Leftover::new(IDLE, idle.object(), found, "end its replicas");
                match changed {
                    Some(changed) => leftover.since(changed),
                    None => leftover,
                }
            };
            Ok(idle(&folder)?.into_iter().map(leftover).collect())
        })
        .await
    }

    /// Discards the candidate if it still gets no request. No agent is started for it.
    pub(super) async fn discard_idle(&self, cx: &Context, operation: &'static str, leftover: &Leftover) -> Result<()> {
        cx.check(operation)?;
        let (folder, object) = (self.folder.clone(), leftover.object.clone());
        let found = blocking(operation, move || Ok(idle(&folder)?.into_iter().find(|idle| idle.object() == object)));
        let Some(found) = found.await? else { return Ok(()) };
        if self.is_run()? {
            let mut candidate = AppliedWorkload::new(found.namespace, Track::Candidate, Digest::of(""));
            candidate.revisions = BTreeMap::from([(found.service, found.revision)]);
            return self.shift(cx, &TrafficRequest::new(candidate, Traffic::Discard)).await;
        }
        let (folder, leftover) = (self.folder.clone(), leftover.clone());
        blocking(operation, move || discard_asleep(&folder, operation, &found, &leftover)).await
    }
}

fn idle(folder: &Folder) -> Result<Vec<Idle>> {
    let mut found = Vec::new();
    for (namespace, record) in folder.read()?.namespaces {
        for (service, known) in record.services {
            let candidate = known.candidate().filter(|(candidate, _)| candidate.percent == 0 && !candidate.promoting);
            if let Some((candidate, edition)) = candidate {
                let (namespace, revision) = (namespace.clone(), edition.revision);
                found.push(Idle { namespace, service, revision, replicas: candidate.replicas });
            }
        }
    }
    Ok(found)
}

/// Takes the candidate out of what would be started again.
fn discard_asleep(folder: &Folder, operation: &'static str, wanted: &Idle, leftover: &Leftover) -> Result<()> {
    let mut listing = Listing::default();
    if !listing.alone(operation, &folder.file("lock"), Purpose::Clean)? {
        return Err(busy(operation, leftover));
    }
    if !idle(folder)?.contains(wanted) {
        return Ok(());
    }
    let mut state = folder.read()?;
    if let Some(record) = state.namespaces.get_mut(&wanted.namespace) {
        if let Some(service) = record.services.get_mut(&wanted.service) {
            service.discard();
        }
        record.services.retain(|_, service| service.spec().is_some());
    }
    folder.write(&state)
}
