//! The ports of Services.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::Ipv4Addr,
    sync::Arc,
};

use tokio::net::TcpListener;

use super::{Engine, World};
use crate::{
    Error, ErrorKind, Result,
    local::cluster::{
        addresses::{ServiceAddress, exhausted, listen},
        proxy::Listener,
        state::Namespace,
    },
    vocabulary::{Name, ServiceName},
};

/// A port of a Service in a namespace.
type Key = (Name, ServiceName, u16);

/// The ports that are served.
#[derive(Debug, Default)]
pub(super) struct Listeners(BTreeMap<Key, Listener>);

/// Ports that were taken and are not served yet.
pub(super) type Taken = Vec<(ServiceName, u16, TcpListener)>;

/// The ports that a namespace wants, by Service.
fn wanted(namespace: &Namespace) -> BTreeMap<ServiceName, BTreeSet<u16>> {
    let mut wanted: BTreeMap<ServiceName, BTreeSet<u16>> = BTreeMap::new();
    for service in namespace.services.values().filter(|_| namespace.awake) {
        let specs = service.stable().into_iter().chain(service.candidate().map(|(_, edition)| edition));
        for endpoint in specs.flat_map(|edition| &edition.spec.endpoints) {
            wanted.entry(endpoint.name.clone()).or_default().extend(endpoint.ports.iter().map(|port| port.port));
        }
    }
    wanted
}

impl Engine {
    /// Takes the ports that `wish` wants and that are not served yet, and notes the addresses in it. Fails with
    /// `Conflict` naming the port that is taken.
    pub(super) async fn take_ports(&self, name: &Name, wish: &mut Namespace) -> Result<Taken> {
        let mut all = Taken::new();
        for (service, ports) in wanted(wish) {
            let (served, missing) = self.served(name, &service, ports);
            if missing.is_empty() {
                continue;
            }
            let pinned = wish.addresses.get(&service).map(|address| address.ip).filter(|_| !served.is_empty());
            let (address, taken) = self.take(wish, (&service, pinned), &missing).await?;
            let entry = wish.addresses.entry(service.clone()).or_insert_with(|| address.clone());
            entry.ip = address.ip;
            entry.ports.retain(|port, _| served.contains(port));
            entry.ports.extend(address.ports);
            all.extend(taken.into_iter().map(|(port, listener)| (service.clone(), port, listener)));
        }
        Ok(all)
    }

    /// The ports of a Service that are served, and those that are not.
    fn served(&self, name: &Name, service: &ServiceName, ports: BTreeSet<u16>) -> (Vec<u16>, Vec<u16>) {
        let world = self.world();
        let served = |port: &u16| world.listeners.0.contains_key(&(name.clone(), service.clone(), *port));
        ports.into_iter().partition(served)
    }

    /// Ports of one Service: at the address it has, or else at one that is free. One that answers already is pinned.
    async fn take(
        &self,
        wish: &Namespace,
        (service, pinned): (&ServiceName, Option<Ipv4Addr>),
        ports: &[u16],
    ) -> Result<(ServiceAddress, Vec<(u16, TcpListener)>)> {
        let known = wish.addresses.get(service).map(|address| address.ip);
        let used = self.used_addresses(wish);
        let others = self.block.services(&used).filter(|_| pinned.is_none());
        let mut refused = None;
        for ip in known.into_iter().chain(others) {
            match take_all(ip, ports).await {
                Ok(taken) => return Ok(taken),
                Err((port, error)) => refused.get_or_insert((ip, port, error)),
            };
        }
        let Some((ip, port, error)) = refused else { return Err(exhausted("cluster.apply", "Services")) };
        let message = format!("port {port} of Service {service} cannot be opened at any address, not at {ip}: {error}");
        let kind = match error.kind() {
            io::ErrorKind::PermissionDenied => ErrorKind::PermissionDenied,
            _ => ErrorKind::Conflict,
        };
        Err(Error::new(kind, "cluster.apply", message).with_source(error).advice(
            "find who listens at that port of all addresses (`ss -ltnp`) and stop it, or change the Service's port",
        ))
    }

    fn used_addresses(&self, wish: &Namespace) -> BTreeSet<Ipv4Addr> {
        let world = self.world();
        let others = world.state.namespaces.values().chain([wish]);
        others.flat_map(|namespace| namespace.addresses.values()).map(|address| address.ip).collect()
    }

    /// Serves what was taken and closes what is no longer wanted.
    pub(super) fn open_ports(&self, world: &mut World, name: &Name, taken: Taken) {
        let Some(record) = world.state.namespaces.get(name) else { return };
        let ports = wanted(record);
        let owners: BTreeMap<ServiceName, ServiceName> = owners(record);
        for (service, port, listener) in taken {
            let Some(owner) = owners.get(&service) else { continue };
            let router = Arc::clone(&world.live(name, owner).router);
            let served = Listener::start(listener, (service.clone(), port), router, Arc::clone(&self.used));
            world.listeners.0.insert((name.clone(), service, port), served);
        }
        let unwanted = |(namespace, service, port): &Key| {
            namespace == name && !ports.get(service).is_some_and(|ports| ports.contains(port))
        };
        let closed = world.listeners.0.extract_if(.., |key, _| unwanted(key));
        for (_, listener) in closed {
            tokio::spawn(listener.stop());
        }
    }
}

/// Which Deployment a Service leads to.
fn owners(namespace: &Namespace) -> BTreeMap<ServiceName, ServiceName> {
    let mut owners = BTreeMap::new();
    for (name, service) in &namespace.services {
        let specs = service.stable().into_iter().chain(service.candidate().map(|(_, edition)| edition));
        for endpoint in specs.flat_map(|edition| &edition.spec.endpoints) {
            owners.entry(endpoint.name.clone()).or_insert_with(|| name.clone());
        }
    }
    owners
}

/// All of `ports` at `ip`, or the one that is refused.
async fn take_all(ip: Ipv4Addr, ports: &[u16]) -> Result<(ServiceAddress, Vec<(u16, TcpListener)>), (u16, io::Error)> {
    let mut address = ServiceAddress { ip, ports: BTreeMap::new() };
    let mut taken = Vec::new();
    for port in ports {
        let (real, listener) = listen(ip, *port).await.map_err(|error| (*port, error))?;
        address.ports.insert(*port, real);
        taken.push((*port, listener));
    }
    Ok((address, taken))
}
