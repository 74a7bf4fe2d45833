//! A pod as the proxy sees it, and the requests it has.

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::sync::Notify;

use crate::{backend::Track, vocabulary::ServiceName};

/// A pod's address, and how many requests it has.
#[derive(Debug)]
pub(in super::super) struct Backend {
    pub(in super::super) pod: String,
    pub(in super::super) ip: Ipv4Addr,
    /// The pod's port for each port of each Service that selects it.
    pub(in super::super) targets: BTreeMap<(ServiceName, u16), u16>,
    in_flight: AtomicUsize,
    idle: Notify,
}

/// A request that a pod has, of the version that it was meant for; over when dropped.
#[derive(Debug)]
pub(super) struct Ticket(pub(super) Arc<Backend>, pub(super) Track);

impl Backend {
    pub(in super::super) fn new(pod: String, ip: Ipv4Addr, targets: BTreeMap<(ServiceName, u16), u16>) -> Self {
        Self { pod, ip, targets, in_flight: AtomicUsize::new(0), idle: Notify::new() }
    }

    /// Gives it one more request. Only under the lock of the table it stands in.
    pub(super) fn take(self: &Arc<Self>, track: Track) -> Ticket {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        Ticket(Arc::clone(self), track)
    }

    pub(super) fn load(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }

    /// Waits until it has no request. It gets no new one once it was taken out of its table.
    pub(in super::super) async fn drained(&self) {
        loop {
            let idle = self.idle.notified();
            tokio::pin!(idle);
            idle.as_mut().enable();
            if self.load() == 0 {
                return;
            }
            idle.await;
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.0.in_flight.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_pod_is_drained_when_its_last_request_is_over() {
        let backend = Arc::new(Backend::new("a".into(), Ipv4Addr::LOCALHOST, BTreeMap::new()));
        let (one, two) = (backend.take(Track::Stable), backend.take(Track::Stable));
        let drained = backend.drained();
        tokio::pin!(drained);
        assert_eq!(drained.as_mut().now_or_never(), None);
        drop(one);
        assert_eq!(drained.as_mut().now_or_never(), None);
        drop(two);
        drained.await;
    }
}
