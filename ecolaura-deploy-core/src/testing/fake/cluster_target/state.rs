//! What a fake cluster holds. Everything that time changes is computed from when it began.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{ClusterCall, Pods, address, live::Live};
use crate::{
    Error, ErrorKind, Result,
    backend::{AppliedWorkload, ClusterSnapshot, FailureCause, Pod, RolloutState, Track, Traffic},
    cluster::desired::{Current, CurrentService, DesiredService, Endpoint, PodFacts},
    fence::Epochs,
    vocabulary::{Digest, Name, PinnedImage, ServiceName},
};

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) services: BTreeMap<(Name, ServiceName), Service>,
    /// By the namespace.
    pub(super) epochs: BTreeMap<Name, Epochs>,
    pub(super) calls: Vec<ClusterCall>,
}

/// A service, also one that was there and is gone.
#[derive(Debug, Default)]
pub(super) struct Service {
    /// Every wish that was accepted, by its revision and digest: one revision may have had other numbers of pods.
    wishes: BTreeMap<(u64, Digest), DesiredService>,
    newest: u64,
    stable: Option<Live>,
    /// What answers until the stable one can.
    former: Option<Live>,
    candidate: Option<Live>,
    percent: u8,
    /// Hundredths of a request that the candidate is owed.
    owed: u16,
}

impl Service {
    pub(super) fn exists(&self) -> bool {
        self.stable.is_some() || self.candidate.is_some()
    }

    pub(super) fn stable_revision(&self) -> Option<u64> {
        self.stable.as_ref().map(|live| live.revision)
    }

    /// The digests of the wishes that stand: enough to find them again.
    pub(super) fn snapshot(&self) -> Value {
        let digest = |live: &Option<Live>| live.as_ref().map(|live| (live.wish.digest(), live.replicas));
        serde_json::json!({ "stable": digest(&self.stable), "candidate": digest(&self.candidate) })
    }

    pub(super) fn endpoints(&self) -> &[Endpoint] {
        self.stable.as_ref().or(self.candidate.as_ref()).map(|live| live.wish.endpoints.as_slice()).unwrap_or_default()
    }

    fn current(&self) -> Option<CurrentService> {
        let stable = self.stable.as_ref()?;
        let candidate = self.candidate.as_ref().map(|live| (live.revision, live.wish.clone()));
        Some(CurrentService { revision: stable.revision, service: stable.wish.clone(), candidate })
    }

    /// A live revision of `wish`: that of `like` if the pods would be the same, else a new one.
    fn accept(&mut self, wish: &DesiredService, like: Option<Live>, replicas: u32, pods: &Pods<'_>) -> Live {
        let same = like.filter(|live| live.wish.template_digest() == wish.template_digest());
        let live = match same {
            Some(live) => Live { wish: wish.clone(), replicas, ..live },
            None => {
                self.newest += 1;
                Live { revision: self.newest, wish: wish.clone(), replicas, since: pods.now }
            }
        };
        self.wishes.insert((live.revision, wish.digest()), wish.clone());
        live
    }

    pub(super) fn replace(&mut self, wish: &DesiredService, pods: &Pods<'_>) -> u64 {
        let live = self.accept(wish, self.stable.clone(), wish.replicas, pods);
        self.stand(live)
    }

    /// Makes `live` the stable one; candidates end.
    fn stand(&mut self, live: Live) -> u64 {
        let revision = live.revision;
        self.end_candidate();
        if let Some(old) = self.stable.replace(live)
            && old.revision != revision
            && self.former.is_none()
        {
            self.former = Some(old);
        }
        revision
    }

    pub(super) fn beside(&mut self, wish: &DesiredService, replicas: u32, pods: &Pods<'_>) -> u64 {
        let live = self.accept(wish, self.candidate.clone(), replicas, pods);
        let revision = live.revision;
        if self.candidate.as_ref().is_none_or(|old| old.revision != revision) {
            self.end_candidate();
        }
        self.candidate = Some(live);
        revision
    }

    fn end_candidate(&mut self) {
        (self.candidate, self.percent, self.owed) = (None, 0, 0);
    }

    fn shift(&mut self, traffic: &Traffic) {
        match traffic {
            Traffic::Candidate { percent } => self.percent = *percent,
            Traffic::Discard => self.end_candidate(),
            Traffic::Promote => {
                if let Some(candidate) = self.candidate.take() {
                    let replicas = candidate.wish.replicas;
                    self.stand(Live { replicas, ..candidate });
                }
            }
        }
    }

    fn live(&self, revision: u64, track: Track) -> Option<&Live> {
        let candidate = self.candidate.as_ref().filter(|_| track == Track::Candidate);
        candidate.into_iter().chain(&self.stable).find(|live| live.revision == revision)
    }

    pub(super) fn answer(&mut self, pods: &Pods<'_>) -> Option<PinnedImage> {
        self.owed += u16::from(self.percent);
        let mut candidate = self.candidate.as_ref().filter(|live| live.available(pods) > 0);
        if candidate.is_some() && self.owed >= 100 {
            self.owed -= 100;
        } else {
            self.owed = self.owed.min(100);
            candidate = None;
        }
        let mut answering = candidate.into_iter().chain(&self.stable).chain(&self.former);
        answering.find(|live| live.available(pods) > 0).map(|live| live.wish.template.image.clone())
    }

    pub(super) fn pods(&self, name: &ServiceName, pods: &Pods<'_>) -> Vec<Pod> {
        let lives = self.former.iter().chain(&self.stable).map(|live| (live, Track::Stable));
        let lives = lives.chain(self.candidate.iter().map(|live| (live, Track::Candidate)));
        lives.flat_map(|(live, track)| live.pods(name, track, pods)).collect()
    }

    /// What the process of the first stable pod has in its environment.
    pub(super) fn environment(&self, namespace: &Name, name: &ServiceName) -> Option<BTreeMap<String, String>> {
        let live = self.stable.as_ref()?;
        let name = live.pod_name(name, 0);
        let facts = PodFacts { ip: "127.0.1.1".to_owned(), name, namespace: namespace.to_string() };
        Some(live.wish.template.resolve(&facts).env.into_iter().collect())
    }

    pub(super) fn logs(&self, name: &ServiceName, pods: &Pods<'_>) -> Vec<String> {
        self.pods(name, pods).iter().map(|pod| format!("{} started revision {}", pod.name, pod.revision)).collect()
    }
}

impl State {
    /// Lets go of what was replaced, now that the new one is ready.
    pub(super) fn settle(&mut self, pods: &Pods<'_>) {
        for service in self.services.values_mut() {
            let done = service.stable.as_ref().is_none_or(|live| live.available(pods) == live.replicas);
            service.former = service.former.take().filter(|_| !done);
        }
    }

    pub(super) fn service(&mut self, namespace: &Name, name: &ServiceName) -> &mut Service {
        self.services.entry((namespace.clone(), name.clone())).or_default()
    }

    /// The service that answers at `wanted`.
    pub(super) fn at(&mut self, wanted: &str) -> Option<&mut Service> {
        let here = |namespace: &Name, service: &Service| {
            service.endpoints().iter().any(|endpoint| address(namespace, endpoint) == wanted)
        };
        self.services.iter_mut().find(|((namespace, _), service)| here(namespace, service)).map(|(_, service)| service)
    }

    pub(super) fn current(&self, namespace: &Name) -> Current {
        let services = self.services.iter().filter(|((place, _), _)| place == namespace);
        Current { services: services.filter_map(|(_, service)| service.current()).collect() }
    }

    pub(super) fn find(&self, namespace: &Name, name: &ServiceName) -> Option<&Service> {
        self.services.get(&(namespace.clone(), name.clone()))
    }

    /// Where the revisions of `applied` are, all together.
    pub(super) fn rollout(&self, applied: &AppliedWorkload, pods: &Pods<'_>) -> RolloutState {
        let mut missing = Vec::new();
        for (name, revision) in &applied.revisions {
            let service = self.find(&applied.namespace, name);
            let Some(live) = service.and_then(|service| service.live(*revision, applied.track)) else {
                let chain = vec![format!("Deployment {name}"), format!("revision {revision} was replaced by another")];
                return RolloutState::Failed { cause: FailureCause::Superseded, chain };
            };
            match live.rollout(name, pods) {
                RolloutState::Ready => {}
                RolloutState::Progressing { message } => missing.push(message),
                failed => return failed,
            }
        }
        if missing.is_empty() { RolloutState::Ready } else { RolloutState::Progressing { message: missing.join("; ") } }
    }

    pub(super) fn shift(&mut self, candidate: &AppliedWorkload, traffic: &Traffic, pods: &Pods<'_>) -> Result<()> {
        let mut moving = Vec::new();
        for (name, revision) in &candidate.revisions {
            let service = self.find(&candidate.namespace, name);
            let stands = |live: Option<&Live>| live.is_some_and(|live| live.revision == *revision);
            let beside = service.is_some_and(|service| stands(service.candidate.as_ref()));
            let promoted = service.is_some_and(|service| stands(service.stable.as_ref()));
            let done = match traffic {
                Traffic::Promote => promoted,
                Traffic::Discard => !beside && !promoted,
                Traffic::Candidate { .. } => false,
            };
            if beside {
                moving.push(name.clone());
            } else if !done {
                let message = format!("no candidate of `{name}` has revision {revision}");
                return Err(Error::new(ErrorKind::NotFound, "cluster.shift", message));
            }
        }
        for name in &moving {
            self.service(&candidate.namespace, name).shift(traffic);
        }
        if !moving.is_empty() {
            self.calls.push(ClusterCall::Shifted { services: moving, traffic: traffic.clone() });
        }
        self.settle(pods);
        Ok(())
    }

    pub(super) fn restore(&mut self, snapshot: &ClusterSnapshot, pods: &Pods<'_>) -> Result<()> {
        let mut wishes = Vec::new();
        for (name, revision) in &snapshot.revisions {
            let wish = revision.map(|revision| self.wish(snapshot, name, revision)).transpose()?;
            wishes.push((name, wish));
        }
        let mut changed = false;
        for (name, wish) in wishes {
            let service = self.service(&snapshot.namespace, name);
            let before = service.snapshot();
            match wish {
                None => {
                    service.end_candidate();
                    (service.stable, service.former) = (None, None);
                }
                Some((revision, wish)) => {
                    let stands = service.stable.as_ref().filter(|live| live.revision == revision);
                    let since = stands.or(service.former.as_ref().filter(|live| live.revision == revision));
                    let since = since.map_or(pods.now, |live| live.since);
                    service.stand(Live { revision, replicas: wish.replicas, wish, since });
                }
            }
            changed |= before != service.snapshot();
        }
        if changed {
            self.calls.push(ClusterCall::Restored(snapshot.revisions.clone()));
        }
        self.settle(pods);
        Ok(())
    }

    fn wish(&self, snapshot: &ClusterSnapshot, name: &ServiceName, revision: u64) -> Result<(u64, DesiredService)> {
        let stored = &snapshot.state[name.as_str()]["stable"][0];
        let digest = stored.as_str().and_then(|text| text.parse::<Digest>().ok());
        let wishes = self.find(&snapshot.namespace, name).map(|service| &service.wishes);
        let kept = wishes.into_iter().flatten().filter(|((kept, _), _)| *kept == revision);
        let wish = kept.max_by_key(|((_, kept), _)| Some(*kept) == digest).map(|(_, wish)| (revision, wish.clone()));
        wish.ok_or_else(|| {
            let message = format!("revision {revision} of `{name}` is not kept");
            Error::new(ErrorKind::NotFound, "cluster.restore", message)
        })
    }
}
