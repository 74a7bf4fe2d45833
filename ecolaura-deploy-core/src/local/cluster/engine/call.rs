//! Answering calls.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use tokio::{sync::mpsc, time::Instant};

use super::{Engine, Order, wait::Awaited};
use crate::{
    Error, ErrorKind, Result,
    backend::{AppliedWorkload, Placement, Track},
    cluster::desired::{Current, Desired},
    local::{
        cluster::{
            agent::protocol::{Request, Running},
            state::Namespace,
        },
        image::ImageConfig,
    },
    vocabulary::{Digest, Name, ServiceName},
};

fn json<T: Serialize>(value: &T) -> Result<serde_json::Value> {
    crate::context::to_json("cluster.answer", value)
}

impl Engine {
    /// Answers `request`; what is to be said meanwhile goes to `lines`. Dropped before it answers, it has done all of
    /// a wish or nothing.
    pub(in super::super) async fn call(
        &self,
        request: Request,
        lines: mpsc::Sender<String>,
    ) -> Result<serde_json::Value> {
        let _used = self.used.begin();
        let until = |remaining: Option<std::time::Duration>| remaining.map(|remaining| Instant::now() + remaining);
        match request {
            Request::Running { namespace } => json(&self.running(&namespace)),
            Request::Apply { caller, desired, images, placement } => {
                let namespace = desired.namespace.clone();
                let order = Order { operation: "cluster.apply", namespace: &namespace, cx: caller.context() };
                json(&self.apply(&order, desired, images, placement).await?)
            }
            Request::Wait { namespace, revisions, track, remaining } => {
                let awaited = Awaited { namespace: &namespace, revisions: &revisions, track };
                json(&self.wait(&awaited, until(remaining), &lines).await)
            }
            Request::Shift { caller, namespace, candidates, traffic } => {
                let order = Order { operation: "cluster.shift", namespace: &namespace, cx: caller.context() };
                json(&self.shift(&order, &candidates, &traffic, &lines).await?)
            }
            Request::Status { namespace } => json(&self.status(&namespace)),
            Request::Restore { caller, snapshot, remaining } => {
                let order =
                    Order { operation: "cluster.restore", namespace: &snapshot.namespace, cx: caller.context() };
                json(&self.restore(&order, &snapshot, until(remaining), &lines).await?)
            }
            Request::Logs { namespace, service, lines } => {
                let logs = self.logs(&namespace, &service, lines);
                let none = || {
                    Error::new(
                        ErrorKind::NotFound,
                        "cluster.logs",
                        format!("no service `{service}` runs in {namespace}"),
                    )
                };
                json(&logs.ok_or_else(none)?)
            }
            Request::Stop => json(&self.stop().await?),
        }
    }

    fn running(&self, namespace: &Name) -> Running {
        let world = self.world();
        let record = world.state.namespaces.get(namespace);
        Running {
            awake: record.is_some_and(|record| record.awake),
            current: record.map_or_else(Current::default, Namespace::current),
        }
    }

    async fn apply(
        &self,
        order: &Order<'_>,
        desired: Desired,
        images: BTreeMap<Digest, ImageConfig>,
        placement: Placement,
    ) -> Result<AppliedWorkload> {
        let namespace = order.namespace;
        let turn = self.turn(namespace);
        let _turn = turn.lock().await;
        let (track, replicas) = match placement {
            Placement::Replace => (Track::Stable, None),
            Placement::Beside { replicas } => (Track::Candidate, replicas),
        };
        let endpoints = desired.services.iter().flat_map(|service| &service.endpoints);
        let endpoints: BTreeSet<ServiceName> = endpoints.map(|endpoint| endpoint.name.clone()).collect();
        let mut applied = AppliedWorkload::new(namespace.clone(), track, desired.digest);
        applied.services = desired.services.iter().map(|service| service.name.clone()).collect();
        applied.revisions = self
            .fulfil(order, |record| {
                record.awake = true;
                let mut revisions = BTreeMap::new();
                for wanted in desired.services {
                    let image = images.get(&wanted.template.image.digest).cloned().unwrap_or_default();
                    let service = record.services.entry(wanted.name.clone()).or_default();
                    let name = wanted.name.clone();
                    let revision = match track {
                        Track::Stable => service.replace(wanted, image),
                        Track::Candidate => service.stand_beside(wanted, image, replicas),
                    };
                    revisions.insert(name, revision);
                }
                Ok(revisions)
            })
            .await?;
        let world = self.world();
        applied.addresses = world.state.namespaces.get(namespace).map(Namespace::urls).unwrap_or_default();
        applied.addresses.retain(|name, _| endpoints.contains(name));
        Ok(applied)
    }
}
