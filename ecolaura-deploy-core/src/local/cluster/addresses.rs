//! Loopback addresses: one for each Service and one for each pod.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::Ipv4Addr,
    path::Path,
};

use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use crate::{Error, ErrorKind, Result, vocabulary::Digest};

/// The last byte of the addresses of Services and of pods.
const SERVICES: std::ops::RangeInclusive<u8> = 1..=127;
const PODS: std::ops::RangeInclusive<u8> = 128..=254;

/// Added to a port that this user may not listen on: 80 is served at 8080.
const UNPRIVILEGED: u16 = 8000;

/// The addresses of one cluster, `127.A.B.*`, with A and B from its folder, so that two clusters on one machine do not
/// meet as a rule.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block(u8, u8);

impl Block {
    pub(super) fn of(dir: &Path) -> Self {
        let digest = Digest::of(dir.as_os_str().as_encoded_bytes()).to_hex();
        let byte = |at: usize| u8::from_str_radix(&digest[at..at + 2], 16).unwrap_or(1);
        // 127.0 is what people use by hand.
        Self(byte(0).clamp(16, 254), byte(2))
    }

    fn address(self, last: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, self.0, self.1, last)
    }

    /// The addresses for Services, those not in `used`.
    pub(super) fn services(self, used: &BTreeSet<Ipv4Addr>) -> impl Iterator<Item = Ipv4Addr> + '_ {
        SERVICES.map(move |last| self.address(last)).filter(|address| !used.contains(address))
    }

    /// The addresses for pods, beginning behind `after`, those not in `used`: one that was left lately comes last.
    pub(super) fn pods(self, after: u8, used: &BTreeSet<Ipv4Addr>) -> impl Iterator<Item = Ipv4Addr> + '_ {
        let (behind, before) = (PODS.filter(move |last| *last > after), PODS.filter(move |last| *last <= after));
        behind.chain(before).map(move |last| self.address(last)).filter(|address| !used.contains(address))
    }
}

/// Where a Service answers: its address, and the port on this machine for each of its ports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ServiceAddress {
    pub(super) ip: Ipv4Addr,
    pub(super) ports: BTreeMap<u16, u16>,
}

impl ServiceAddress {
    /// `http://127.0.0.1:8080`, by the first port.
    pub(super) fn url(&self, first: u16) -> String {
        format!("http://{}:{}", self.ip, self.ports.get(&first).unwrap_or(&first))
    }
}

/// A listener at `port` of `ip`; a port that needs privileges is moved up.
pub(super) async fn listen(ip: Ipv4Addr, port: u16) -> io::Result<(u16, TcpListener)> {
    match TcpListener::bind((ip, port)).await {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && port < 1024 => {
            let moved = port + UNPRIVILEGED;
            Ok((moved, TcpListener::bind((ip, moved)).await?))
        }
        bound => Ok((port, bound?)),
    }
}

/// Whether a process could listen at all `ports` of `ip` now; the error names the one that is taken.
pub(super) fn free(ip: Ipv4Addr, ports: &[u16]) -> Result<(), u16> {
    for port in ports {
        if std::net::TcpListener::bind((ip, *port)).is_err() {
            return Err(*port);
        }
    }
    Ok(())
}

/// Nothing is free.
pub(super) fn exhausted(operation: &'static str, what: &str) -> Error {
    Error::new(ErrorKind::LimitExceeded, operation, format!("all loopback addresses for {what} are in use"))
        .advice("run fewer replicas, or use another folder for some of the environments")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_have_blocks_of_their_own_and_never_the_first() {
        let blocks: BTreeSet<Ipv4Addr> =
            (0..100).map(|number| Block::of(Path::new(&format!("/tmp/{number}"))).address(1)).collect();
        assert!(blocks.len() > 95);
        assert!(blocks.iter().all(|address| address.octets()[1] >= 16 && address.is_loopback()));
    }

    #[test]
    fn pods_go_round() {
        let block = Block::of(Path::new("/tmp"));
        let used = BTreeSet::from([block.address(201)]);
        let last = |address: Ipv4Addr| address.octets()[3];
        assert_eq!(block.pods(200, &used).map(last).next(), Some(202));
        assert_eq!(block.pods(254, &used).map(last).next(), Some(128));
        assert_eq!(block.pods(200, &used).count(), 126);
        assert_eq!(block.services(&used).map(last).next(), Some(1));
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_named() {
        let ip = Ipv4Addr::LOCALHOST;
        let listener = TcpListener::bind((ip, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(free(ip, &[port]), Err(port));
        drop(listener);
        assert_eq!(free(ip, &[port]), Ok(()));
    }
}
