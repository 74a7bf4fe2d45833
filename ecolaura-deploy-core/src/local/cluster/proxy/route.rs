//! The table of a service: its pods by version, and the share of each version.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{
    drain::{Backend, Ticket},
    pick::{Split, least_busy},
};
use crate::backend::Track;

/// The pods of one version.
#[derive(Debug, Default)]
struct Pods {
    all: Vec<Arc<Backend>>,
    turn: usize,
}

impl Pods {
    /// Gives a request to the least busy pod of this version, `track`, not to one of those `tried`.
    fn take(&mut self, tried: &[Arc<Backend>], track: Track) -> Option<Ticket> {
        let fresh = |pod: &&Arc<Backend>| !tried.iter().any(|other| Arc::ptr_eq(other, pod));
        let pods: Vec<&Arc<Backend>> = self.all.iter().filter(fresh).collect();
        let loads: Vec<usize> = pods.iter().map(|pod| pod.load()).collect();
        let place = least_busy(&loads, self.turn)?;
        self.turn = self.turn.wrapping_add(1);
        Some(pods[place].take(track))
    }
}

#[derive(Debug, Default)]
struct Table {
    stable: Pods,
    candidate: Pods,
    split: Split,
    /// Why there may be no pod.
    reason: String,
}

/// Chooses pods for requests. All ways of one service share it.
#[derive(Debug, Default)]
pub(in super::super) struct Router(Mutex<Table>);

impl Router {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the table in one step. A pod that is not in it any more gets no further request.
    pub(in super::super) fn set(
        &self,
        stable: Vec<Arc<Backend>>,
        candidate: Vec<Arc<Backend>>,
        percent: u8,
        reason: String,
    ) {
        let mut table = self.table();
        table.split.set(percent);
        (table.stable.all, table.candidate.all, table.reason) = (stable, candidate, reason);
    }

    /// A pod for one request, not one of those `tried` while there is another; the error says why there is none.
    ///
    /// A version without a ready pod leaves its requests to the other, but a candidate that has no share gets none.
    pub(super) fn pick(&self, tried: &[Arc<Backend>]) -> Result<Ticket, String> {
        let mut guard = self.table();
        let table = &mut *guard;
        let none = &mut Pods::default();
        let (stable, candidate) = ((&mut table.stable, Track::Stable), (&mut table.candidate, Track::Candidate));
        let (first, second) = match table.split.next() {
            Track::Candidate => (candidate, stable),
            Track::Stable if table.split.includes_candidate() => (stable, candidate),
            Track::Stable => (stable, (none, Track::Candidate)),
        };
        for tried in [tried, &[]] {
            if let Some(ticket) = first.0.take(tried, first.1).or_else(|| second.0.take(tried, second.1)) {
                return Ok(ticket);
            }
        }
        Err(table.reason.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, net::Ipv4Addr};

    use super::*;

    fn pod(name: &str) -> Arc<Backend> {
        Arc::new(Backend::new(name.into(), Ipv4Addr::LOCALHOST, BTreeMap::new()))
    }

    fn picks(router: &Router, number: usize) -> String {
        (0..number).map(|_| router.pick(&[]).map_or_else(|why| why, |ticket| ticket.0.pod.clone())).collect()
    }

    #[test]
    fn shares_and_their_exceptions() {
        let router = Router::default();
        let (a, b, c) = (pod("a"), pod("b"), pod("c"));
        router.set(vec![], vec![c.clone()], 0, "!".into());
        assert_eq!(picks(&router, 2), "!!");
        router.set(vec![a.clone(), b.clone()], vec![c.clone()], 50, String::new());
        let seen = picks(&router, 40);
        assert_eq!(seen.matches('c').count(), 20);
        assert_eq!(seen.matches('a').count(), 10);
        router.set(vec![a.clone(), b], vec![], 50, String::new());
        assert!(!picks(&router, 10).contains('c'));
        router.set(vec![], vec![c.clone()], 10, String::new());
        assert_eq!(picks(&router, 3), "ccc");
        router.set(vec![a.clone()], vec![c.clone()], 100, String::new());
        assert_eq!(picks(&router, 3), "ccc");
        assert_eq!(router.pick(&[c]).unwrap().0.pod, "a");
    }

    #[test]
    fn a_busy_pod_is_spared() {
        let router = Router::default();
        router.set(vec![pod("a"), pod("b")], vec![], 0, String::new());
        let kept: Vec<Ticket> = (0..4).map(|_| router.pick(&[]).unwrap()).collect();
        let busy = kept.iter().filter(|ticket| ticket.0.pod == "a").count();
        assert_eq!(busy, 2);
    }
}
