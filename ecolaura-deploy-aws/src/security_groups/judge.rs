//! Whether rules let in only whom they should: pure.

use std::{collections::BTreeSet, fmt};

use ecolaura_deploy_core::{Verdict, analysis::scan::AllowEntry};
use ipnet::IpNet;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::rule::{Peer, Ports, Rule};

/// Ports that administer or hold data: shells, desktops, databases, caches, brokers, the APIs of Docker, etcd and
/// Kubernetes.
const ADMIN: [u16; 21] = [
    22, 23, 1433, 1521, 2375, 2376, 2379, 3306, 3389, 5432, 5601, 5672, 5900, 5985, 5986, 6379, 6443, 9092, 9200,
    10250, 27017,
];

/// A network of so few fixed bits is the world, or as good as: two halves of it are two rules.
const WORLD: u8 = 4;

/// What is wrong with a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Exposure {
    /// The whole world reaches a port that administers or holds data.
    WorldOpen,
    /// Somebody else than the group itself reaches everything.
    AllTraffic,
    /// Whom nobody has named is let in.
    UnknownPeer,
}

impl fmt::Display for Exposure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WorldOpen => "world-open",
            Self::AllTraffic => "all-traffic",
            Self::UnknownPeer => "unknown-peer",
        })
    }
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Finding {
    /// What is wrong.
    pub exposure: Exposure,
    /// With which rule.
    pub rule: Rule,
}

impl Finding {
    /// What it is tolerated by: `sg-1/world-open/tcp/22/0.0.0.0/0`. The same for the same rule made anew.
    pub fn id(&self) -> String {
        let Rule { group, ports, peer, .. } = &self.rule;
        format!("{group}/{}/{ports}/{peer}", self.exposure)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rule { group, id, ports, peer, .. } = &self.rule;
        write!(f, "{}: {group} lets {peer} in to {ports} ({id})", self.exposure)
    }
}

/// Who may be let in.
#[derive(Debug, Clone, Default)]
pub struct GroupPolicy {
    networks: Option<Vec<IpNet>>,
    groups: BTreeSet<String>,
    admin: BTreeSet<u16>,
    allow: Vec<AllowEntry>,
}

impl GroupPolicy {
    /// Nobody of the whole world reaches ports that administer or hold data, and nobody reaches everything. Peers are not
    /// looked at until some are named.
    pub fn new() -> Self {
        Self { admin: ADMIN.into(), ..Self::default() }
    }

    /// Takes `port` too for one that administers or holds data.
    pub fn admin_port(mut self, port: u16) -> Self {
        self.admin.insert(port);
        self
    }

    /// Addresses that are known. Once a peer is named, all others are findings.
    pub fn network(mut self, network: IpNet) -> Self {
        self.networks.get_or_insert_default().push(network);
        self
    }

    /// A security group, or a prefix list, that is known. Once a peer is named, all others are findings.
    pub fn group(mut self, id: impl Into<String>) -> Self {
        self.networks.get_or_insert_default();
        self.groups.insert(id.into());
        self
    }

    /// Tolerates a [finding](Finding::id) for a time.
    pub fn allow(mut self, entry: AllowEntry) -> Self {
        self.allow.push(entry);
        self
    }

    fn exposures(&self, rule: &Rule) -> Vec<Exposure> {
        let own = rule.peer == Peer::Group(rule.group.clone());
        let world = matches!(&rule.peer, Peer::Addresses(net) if net.prefix_len() < WORLD);
        let admin = self.admin.iter().any(|port| rule.ports.has(*port));
        let known = [
            (world && admin, Exposure::WorldOpen),
            (!own && rule.ports == Ports::All, Exposure::AllTraffic),
            (!own && !self.knows(&rule.peer), Exposure::UnknownPeer),
        ];
        known.into_iter().filter(|(is, _)| *is).map(|(_, exposure)| exposure).collect()
    }

    fn knows(&self, peer: &Peer) -> bool {
        let Some(networks) = &self.networks else { return true };
        match peer {
            Peer::Addresses(net) => networks.iter().any(|known| known.contains(net)),
            Peer::Group(id) | Peer::PrefixList(id) => self.groups.contains(id),
        }
    }

    fn tolerated(&self, finding: &Finding) -> Option<&AllowEntry> {
        let id = finding.id();
        self.allow.iter().filter(|entry| entry.id == id).max_by_key(|entry| entry.until)
    }
}

/// The verdict on `rules` under `policy` on the day `today`; the findings that count; and a line for each finding and
/// each thing that was let pass.
pub fn judge(rules: &[Rule], policy: &GroupPolicy, today: Date) -> (Verdict, Vec<Finding>, Vec<String>) {
    let found = rules
        .iter()
        .flat_map(|rule| policy.exposures(rule).into_iter().map(|exposure| Finding { exposure, rule: rule.clone() }));
    let (mut counted, mut lines) = (Vec::new(), Vec::new());
    for finding in found {
        match policy.tolerated(&finding) {
            Some(entry) if entry.until >= today => {
                lines.push(format!("{finding}: tolerated until {}: {}", entry.until, entry.reason));
            }
            Some(entry) => {
                lines.push(format!("{finding}: was tolerated until {}", entry.until));
                counted.push(finding);
            }
            None => {
                lines.push(finding.to_string());
                counted.push(finding);
            }
        }
    }
    (if counted.is_empty() { Verdict::Pass } else { Verdict::Fail }, counted, lines)
}
