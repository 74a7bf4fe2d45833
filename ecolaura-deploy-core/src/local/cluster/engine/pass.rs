//! One comparison of state and pods, and what follows from it.

use std::{collections::BTreeSet, net::Ipv4Addr, path::PathBuf, sync::Arc, time::Duration};

use super::{
    Engine, World,
    live::{Live, Pod, is_available},
};
use crate::{
    backend::Track,
    cluster::desired::{PodFacts, RolloutStrategy},
    local::cluster::{
        addresses::free,
        program::Program,
        proxy::Backend,
        rollout::{Action, decide, decide_candidate},
        state::{Edition, Namespace, Service},
        supervise::{PodLog, PodSpec, Retirement, Watched, supervise},
    },
    redact::Redactor,
    vocabulary::{Name, ServiceName},
};

/// How many addresses are tried for a pod whose port is taken.
const TRIES: usize = 8;

impl Engine {
    /// Looks at every service; yes if something is on its way and should be looked at again soon.
    pub(super) fn pass(&self, world: &mut World) -> bool {
        let mut names: BTreeSet<(Name, ServiceName)> = world.live.keys().cloned().collect();
        for (namespace, record) in world.state.namespaces.iter().filter(|(_, record)| record.awake) {
            names.extend(record.services.keys().map(|service| (namespace.clone(), service.clone())));
        }
        let mut busy = false;
        for (namespace, service) in names {
            busy |= self.pass_service(world, &namespace, &service);
        }
        self.passes.send_modify(|passes| *passes += 1);
        busy
    }

    fn pass_service(&self, world: &mut World, namespace: &Name, name: &ServiceName) -> bool {
        let record = world.state.namespaces.get(namespace).filter(|record| record.awake);
        let service = record.and_then(|record| record.services.get(name)).cloned().unwrap_or_default();
        let live = world.live(namespace, name);
        live.clear();
        adopt(live, &service);
        for track in [Track::Stable, Track::Candidate] {
            self.pass_track(world, (namespace, name), &service, track);
        }
        let live = world.live(namespace, name);
        let percent = service.candidate().map_or(0, |(candidate, _)| candidate.percent);
        live.router.set(live.serving(Track::Stable), live.serving(Track::Candidate), percent, live.reason());
        if live.is_empty() && service.stable().is_none() && service.candidate().is_none() {
            // Its logs go with it; a service that is applied again begins anew.
            let gone = world.state.namespaces.get(namespace).is_none_or(|record| !record.services.contains_key(name));
            if gone {
                world.live.remove(&(namespace.clone(), name.clone()));
            }
            return false;
        }
        !settled(live, &service)
    }

    fn pass_track(&self, world: &mut World, (namespace, name): (&Name, &ServiceName), service: &Service, track: Track) {
        let (edition, replicas) = match track {
            Track::Stable => match service.stable() {
                Some(edition) => (edition, edition.spec.replicas),
                None => return retire_all(world.live(namespace, name), track),
            },
            Track::Candidate => match service.candidate() {
                Some((candidate, edition)) => (edition, candidate.replicas),
                None => return retire_all(world.live(namespace, name), track),
            },
        };
        let template = edition.spec.template_digest();
        let min_ready = min_ready(edition);
        let live = world.live(namespace, name);
        let mut pods: Vec<&mut Pod> = live.track_mut(track).collect();
        let views: Vec<_> = pods.iter().map(|pod| pod.view(template, min_ready)).collect();
        let strategy: RolloutStrategy = edition.spec.strategy;
        let actions = match track {
            Track::Stable => decide(replicas, strategy, &views),
            Track::Candidate => decide_candidate(replicas, &views),
        };
        let mut starts = 0;
        for action in actions {
            match action {
                Action::Retire(place) => pods[place].retire(),
                Action::Start(number) => starts += number,
            }
        }
        for _ in 0..starts {
            self.start_pod(world, (namespace, name), edition, track);
        }
        note_progress(world.live(namespace, name), edition, track);
    }

    fn start_pod(&self, world: &mut World, (namespace, name): (&Name, &ServiceName), edition: &Edition, track: Track) {
        let template = &edition.spec.template;
        let ports: Vec<u16> = template.ports.iter().map(|port| port.number).collect();
        let (ip, refused) = self.pod_address(world, &ports);
        let pod = world.pod_name(namespace, name, edition);
        let events = world.events(namespace);
        let dir = self.folder.file("pods").join(&pod);
        let spec = PodSpec {
            facts: PodFacts { ip: ip.to_string(), name: pod.clone(), namespace: namespace.to_string() },
            ip,
            template: template.clone(),
            links: world.state.namespaces.get(namespace).map(Namespace::links).unwrap_or_default(),
            image: Program::new(self.folder.image(template.image.digest), edition.image.clone()),
            first_port: edition.spec.endpoints.first().and_then(|endpoint| Some(endpoint.ports.first()?.target)),
            refused,
            dir,
        };
        let redactor = Redactor::new();
        template.secrets().for_each(|secret| _ = redactor.register(&secret));
        let log = Arc::new(PodLog::new(&self.log_folder(namespace, name), &pod, redactor));
        let watched = Arc::new(Watched::new(Arc::clone(&self.bell), events));
        let backend = Arc::new(Backend::new(pod.clone(), ip, targets(edition)));
        let retirement = Retirement::default();
        let address = ports.first().map_or_else(|| ip.to_string(), |port| format!("{ip}:{port}"));
        let life = supervise(spec, Arc::clone(&watched), Arc::clone(&log), Arc::clone(&backend), retirement.clone());
        let task = Some(tokio::spawn(life));
        let template = edition.spec.template_digest();
        world.live(namespace, name).pods.push(Pod {
            name: pod,
            address,
            track,
            edition: edition.id,
            revision: edition.revision,
            template,
            watched,
            log,
            backend,
            retirement,
            retiring: false,
            task,
        });
    }

    /// An address whose ports are free; if there is none, why.
    fn pod_address(&self, world: &mut World, ports: &[u16]) -> (Ipv4Addr, Option<String>) {
        let used: BTreeSet<Ipv4Addr> =
            world.live.values().flat_map(|live| &live.pods).map(|pod| pod.backend.ip).collect();
        let mut refused = Some("all loopback addresses for pods are in use".to_owned());
        let mut last = Ipv4Addr::LOCALHOST;
        for ip in self.block.pods(world.last_pod, &used).take(TRIES) {
            last = ip;
            world.last_pod = ip.octets()[3];
            refused =
                free(ip, ports).err().map(|port| format!("port {port} is taken at every address tried, last {ip}"));
            if refused.is_none() {
                break;
            }
        }
        (last, refused)
    }

    pub(super) fn log_folder(&self, namespace: &Name, service: &ServiceName) -> PathBuf {
        self.folder.file("logs").join(namespace.as_str()).join(service.as_str())
    }
}

impl World {
    /// `backend-6f1c2a9b-3`, with the template's hash, as a Deployment names its pods.
    fn pod_name(&mut self, namespace: &Name, service: &ServiceName, edition: &Edition) -> String {
        let hash = edition.spec.template_digest().to_hex();
        let live = self.live(namespace, service);
        live.started += 1;
        format!("{service}-{}-{}", &hash[..8], live.started)
    }
}

fn min_ready(edition: &Edition) -> Duration {
    Duration::from_secs(edition.spec.min_ready_seconds.into())
}

/// Candidates that were promoted are stable from now on; those that were discarded go at once.
fn adopt(live: &mut Live, service: &Service) {
    let candidate = service.candidate().map(|(candidate, _)| candidate.edition);
    let stable = service.stable().map(|edition| edition.id);
    for pod in live.track_mut(Track::Candidate).filter(|pod| Some(pod.edition) != candidate) {
        if Some(pod.edition) == stable {
            pod.track = Track::Stable;
        } else {
            pod.retire();
        }
    }
}

fn retire_all(live: &mut Live, track: Track) {
    live.track_mut(track).for_each(Pod::retire);
}

fn note_progress(live: &mut Live, edition: &Edition, track: Track) {
    let template = edition.spec.template_digest();
    let views: Vec<_> = live.track_mut(track).map(|pod| pod.view(template, min_ready(edition))).collect();
    let updated = views.iter().filter(|pod| pod.current && !pod.retiring).count();
    let available = views.iter().filter(|pod| pod.current && !pod.retiring && pod.available).count();
    let progress = match track {
        Track::Stable => &mut live.stable,
        Track::Candidate => &mut live.candidate,
    };
    progress.note(edition.id, (updated, available, views.len() - updated));
}

/// Whether nothing is on its way that only time brings forward.
fn settled(live: &Live, service: &Service) -> bool {
    let waits = |pod: &Pod| {
        let edition = service.edition(pod.edition);
        edition.is_some_and(|edition| {
            let status = pod.watched.get();
            status.ready_since.is_some() && !is_available(&status, min_ready(edition))
        })
    };
    !live.pods.iter().any(waits)
}

/// The pods' port for each port of each Service.
fn targets(edition: &Edition) -> std::collections::BTreeMap<(ServiceName, u16), u16> {
    let ports = |endpoint: &crate::cluster::desired::Endpoint| {
        let name = endpoint.name.clone();
        endpoint.ports.iter().map(move |port| ((name.clone(), port.port), port.target)).collect::<Vec<_>>()
    };
    edition.spec.endpoints.iter().flat_map(ports).collect()
}
