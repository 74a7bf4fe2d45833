//! Moving requests, and going back.

use std::collections::BTreeMap;

use tokio::{sync::mpsc, time::Instant};

use super::{Engine, Order, SOON, wait::Awaited};
use crate::{
    Effect, Error, ErrorKind, Result,
    backend::{ClusterSnapshot, FailureCause, RolloutState, Track, Traffic},
    local::cluster::state::{Namespace, Service},
    vocabulary::{Name, ServiceName},
};

type Revisions = BTreeMap<ServiceName, u64>;

impl Engine {
    pub(super) async fn shift(
        &self,
        order: &Order<'_>,
        candidates: &Revisions,
        traffic: &Traffic,
        lines: &mpsc::Sender<String>,
    ) -> Result<()> {
        let turn = self.turn(order.namespace);
        let _turn = turn.lock().await;
        match traffic {
            Traffic::Candidate { percent } if *percent > 100 => {
                Err(Error::invalid("cluster.shift", format!("a share of {percent} %, at most 100")))
            }
            Traffic::Candidate { percent } => self.share(order, candidates, *percent).await,
            Traffic::Promote => self.promote(order, candidates, lines).await,
            Traffic::Discard => self.discard(order, candidates).await,
        }
    }

    async fn share(&self, order: &Order<'_>, candidates: &Revisions, percent: u8) -> Result<()> {
        self.fulfil(order, |record| change_all(record, candidates, |candidate| candidate.percent = percent)).await
    }

    async fn discard(&self, order: &Order<'_>, candidates: &Revisions) -> Result<()> {
        self.fulfil(order, |record| {
            let left = |(name, revision): &(&ServiceName, &u64)| {
                record
                    .services
                    .get(name)
                    .and_then(Service::candidate)
                    .is_some_and(|(_, edition)| edition.revision != **revision)
            };
            if let Some((name, revision)) = candidates.iter().find(left) {
                return Err(no_candidate(&[format!("{name} revision {revision}")]));
            }
            for name in candidates.keys() {
                if let Some(service) = record.services.get_mut(name) {
                    service.discard();
                }
            }
            record.services.retain(|_, service| service.spec().is_some());
            Ok(())
        })
        .await?;
        self.until_ended(order.namespace, candidates, Some(Track::Candidate)).await;
        Ok(())
    }

    /// The candidates grow to full size while each keeps its share, then all take over in one step, and the former
    /// pods end.
    async fn promote(&self, order: &Order<'_>, candidates: &Revisions, lines: &mpsc::Sender<String>) -> Result<()> {
        let namespace = order.namespace;
        if self.is_stable(namespace, candidates) {
            self.fulfil(order, |_| Ok(())).await?;
        } else {
            self.grow(order, candidates, true).await?;
            let awaited = Awaited { namespace, revisions: candidates, track: Track::Candidate };
            if let RolloutState::Failed { cause, chain } = self.wait(&awaited, None, lines).await {
                // The candidate goes on with what it has; the caller decides.
                self.grow(order, candidates, false).await?;
                return Err(rollout_failed("cluster.shift", &cause.to_string(), &chain));
            }
            self.fulfil(order, |record| {
                for name in candidates.keys() {
                    if let Some(service) = record.services.get_mut(name) {
                        service.promote();
                    }
                }
                Ok(())
            })
            .await?;
        }
        let awaited = Awaited { namespace, revisions: candidates, track: Track::Stable };
        match self.wait(&awaited, None, lines).await {
            RolloutState::Failed { cause, chain } => {
                Err(rollout_failed("cluster.shift", &cause.to_string(), &chain).with_effect(Effect::Complete))
            }
            _ => Ok(()),
        }
    }

    fn is_stable(&self, namespace: &Name, revisions: &Revisions) -> bool {
        let world = self.world();
        let Some(record) = world.state.namespaces.get(namespace) else { return false };
        let service = |name| record.services.get(name);
        revisions.iter().all(|(name, revision)| {
            service(name).is_some_and(|service| {
                service.candidate().is_none() && service.stable().is_some_and(|stable| stable.revision == *revision)
            })
        })
    }

    async fn grow(&self, order: &Order<'_>, candidates: &Revisions, promoting: bool) -> Result<()> {
        self.fulfil(order, |record| change_all(record, candidates, |candidate| candidate.promoting = promoting)).await
    }

    pub(super) async fn restore(
        &self,
        order: &Order<'_>,
        snapshot: &ClusterSnapshot,
        deadline: Option<Instant>,
        lines: &mpsc::Sender<String>,
    ) -> Result<()> {
        let namespace = order.namespace;
        let turn = self.turn(namespace);
        let _turn = turn.lock().await;
        self.fulfil(order, |record| go_back(record, snapshot)).await?;
        let present =
            |(name, revision): (&ServiceName, &Option<u64>)| revision.map(|revision| (name.clone(), revision));
        let revisions: Revisions = snapshot.revisions.iter().filter_map(present).collect();
        let awaited = Awaited { namespace, revisions: &revisions, track: Track::Stable };
        match self.wait(&awaited, deadline, lines).await {
            RolloutState::Failed { cause: FailureCause::DeadlineExceeded, chain } => return Err(late(&chain)),
            RolloutState::Failed { cause, chain } => {
                return Err(rollout_failed("cluster.restore", &cause.to_string(), &chain));
            }
            _ => {}
        }
        let gone = |(name, revision): (&ServiceName, &Option<u64>)| revision.is_none().then(|| (name.clone(), 0));
        self.until_ended(namespace, &snapshot.revisions.iter().filter_map(gone).collect(), None).await;
        let candidates = snapshot.revisions.keys().map(|name| (name.clone(), 0)).collect();
        self.until_ended(namespace, &candidates, Some(Track::Candidate)).await;
        Ok(())
    }

    /// Waits until no pod (of one track) of these services is left. Each ends within its grace.
    async fn until_ended(&self, namespace: &Name, services: &Revisions, track: Option<Track>) {
        let mut passes = self.passes.subscribe();
        let left = || {
            let world = self.world();
            services.keys().any(|name| {
                let live = world.live.get(&(namespace.clone(), name.clone()));
                live.is_some_and(|live| live.pods.iter().any(|pod| track.is_none_or(|track| pod.track == track)))
            })
        };
        while left() {
            self.bell.notify_one();
            _ = tokio::time::timeout(SOON, passes.changed()).await;
        }
    }
}

/// Changes the candidates of all services, or none if one is missing.
fn change_all(
    record: &mut Namespace,
    candidates: &Revisions,
    mut change: impl FnMut(&mut crate::local::cluster::state::Candidate),
) -> Result<()> {
    let mut missing = Vec::new();
    for (name, revision) in candidates {
        let service = record.services.get_mut(name);
        if !service.is_some_and(|service| service.change_candidate(*revision, &mut change)) {
            missing.push(format!("{name} revision {revision}"));
        }
    }
    if missing.is_empty() { Ok(()) } else { Err(no_candidate(&missing)) }
}

fn no_candidate(missing: &[String]) -> Error {
    let message = format!("no such candidate: {}", missing.join(", "));
    Error::new(ErrorKind::NotFound, "cluster.shift", message)
        .advice("it was replaced or discarded meanwhile; see the cluster's status and apply it again")
}

/// Puts every service of the snapshot back, or none if one cannot be.
fn go_back(record: &mut Namespace, snapshot: &ClusterSnapshot) -> Result<()> {
    let edition = |name: &ServiceName| snapshot.state.get(name.as_str()).and_then(serde_json::Value::as_u64);
    let mut missing = Vec::new();
    for (name, revision) in &snapshot.revisions {
        let Some(revision) = revision else {
            record.services.remove(name);
            continue;
        };
        let service = record.services.get_mut(name);
        match service.and_then(|service| Some((service.find(*revision, edition(name))?, service))) {
            Some((edition, service)) => service.go_back(edition),
            None => missing.push(format!("{name} revision {revision}")),
        }
    }
    if !missing.is_empty() {
        let message = format!("no longer kept: {}", missing.join(", "));
        return Err(Error::new(ErrorKind::NotFound, "cluster.restore", message)
            .advice("roll that release out again; a cluster keeps the last 10 of each service"));
    }
    record.awake = true;
    Ok(())
}

fn late(chain: &[String]) -> Error {
    Error::new(ErrorKind::Timeout, "cluster.restore", format!("it does not serve yet: {}", chain.join("; ")))
        .with_effect(Effect::Partial)
        .advice("it goes on; ask for the status, or restore again with more time")
}

fn rollout_failed(operation: &'static str, cause: &str, chain: &[String]) -> Error {
    Error::new(ErrorKind::RolloutFailed, operation, format!("{cause}: {}", chain.join("; ")))
        .with_effect(Effect::Partial)
        .advice("see the service's log, mend what it says, and go on")
}
