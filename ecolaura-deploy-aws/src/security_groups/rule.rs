//! One rule that lets something in.

use std::{collections::BTreeMap, fmt};

use aws_sdk_ec2::types::SecurityGroupRule;
use ecolaura_deploy_core::{Error, ErrorKind, Result};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// Who is let in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Peer {
    /// Addresses, of either version.
    Addresses(IpNet),
    /// Whoever is in a security group.
    Group(String),
    /// The addresses of a prefix list.
    PrefixList(String),
}

impl Peer {
    /// As EC2 keeps it: without the part of an address that its network does not look at.
    pub(super) fn kept(self) -> Self {
        match self {
            Self::Addresses(net) => Self::Addresses(net.trunc()),
            other => other,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Addresses(net) => write!(f, "{net}"),
            Self::Group(id) | Self::PrefixList(id) => f.write_str(id),
        }
    }
}

/// To what.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Ports {
    /// Every port of every protocol.
    All,
    /// Ports of TCP or UDP, the first and the last.
    Range {
        /// `tcp` or `udp`.
        protocol: String,
        /// The first.
        from: u16,
        /// The last.
        to: u16,
    },
    /// A protocol without ports, such as `icmp`.
    Other(String),
}

impl Ports {
    /// One port of TCP.
    pub fn tcp(port: u16) -> Self {
        Self::Range { protocol: "tcp".to_owned(), from: port, to: port }
    }

    /// As EC2 keeps them: protocols that have a name by their name.
    pub(super) fn kept(self) -> Self {
        match self {
            Self::Range { protocol, from, to } => Self::of(&protocol, Some(from.into()), Some(to.into())),
            other => other,
        }
    }

    /// Whether `port` is among them.
    pub fn has(&self, port: u16) -> bool {
        match self {
            Self::All => true,
            Self::Range { from, to, .. } => (*from..=*to).contains(&port),
            Self::Other(_) => false,
        }
    }

    /// Of a protocol by name or number, and its ports; -1 stands for all.
    pub(super) fn of(protocol: &str, from: Option<i32>, to: Option<i32>) -> Self {
        let protocol = match protocol {
            "6" => "tcp",
            "17" => "udp",
            other => other,
        };
        let port = |port: Option<i32>| port.and_then(|port| u16::try_from(port).ok());
        match (protocol, port(from), port(to)) {
            ("-1", _, _) => Self::All,
            ("tcp" | "udp", Some(from), Some(to)) => Self::Range { protocol: protocol.to_owned(), from, to },
            ("tcp" | "udp", ..) => Self::Range { protocol: protocol.to_owned(), from: 0, to: u16::MAX },
            _ => Self::Other(protocol.to_owned()),
        }
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Range { protocol, from, to } if from == to => write!(f, "{protocol}/{from}"),
            Self::Range { protocol, from, to } => write!(f, "{protocol}/{from}-{to}"),
            Self::Other(protocol) => f.write_str(protocol),
        }
    }
}

/// A rule that lets something in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Rule {
    /// Its id: `sgr-0123456789abcdef0`.
    pub id: String,
    /// The security group that has it.
    pub group: String,
    /// Who is let in.
    pub peer: Peer,
    /// To what.
    pub ports: Ports,
    /// What it says in words; empty if nothing.
    #[serde(default)]
    pub description: String,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

impl Rule {
    /// The rule `id` of `group`.
    pub fn new(id: impl Into<String>, group: impl Into<String>, peer: Peer, ports: Ports) -> Self {
        Self { id: id.into(), group: group.into(), peer, ports, description: String::new(), tags: BTreeMap::new() }
    }

    /// Of what EC2 says; `None` of a rule for what goes out. A peer that cannot be read is `Corrupt`: nobody knows that it
    /// is harmless.
    pub(super) fn read(seen: &SecurityGroupRule) -> Result<Option<Self>> {
        if seen.is_egress == Some(true) {
            return Ok(None);
        }
        let id = seen.security_group_rule_id().unwrap_or("unknown").to_owned();
        let unread = || {
            Error::new(ErrorKind::Corrupt, "ec2.rules", format!("the peer of rule {id} cannot be read"))
                .with("group", seen.group_id().unwrap_or("unknown"))
        };
        let net = |text: &str| text.parse().map(Peer::Addresses).map_err(|_| unread());
        let peer = match (seen.cidr_ipv4(), seen.cidr_ipv6(), seen.referenced_group_info(), seen.prefix_list_id()) {
            (Some(text), ..) | (_, Some(text), ..) => net(text)?,
            (_, _, Some(group), _) => Peer::Group(group.group_id().ok_or_else(unread)?.to_owned()),
            (_, _, _, Some(list)) => Peer::PrefixList(list.to_owned()),
            _ => return Err(unread()),
        };
        let ports = Ports::of(seen.ip_protocol().unwrap_or("-1"), seen.from_port, seen.to_port);
        let tags = seen.tags().iter().filter_map(|tag| Some((tag.key.clone()?, tag.value.clone()?))).collect();
        let (group, description) = (seen.group_id().unwrap_or_default(), seen.description().unwrap_or_default());
        let (group, description) = (group.to_owned(), description.to_owned());
        Ok(Some(Self { id, group, peer, ports, description, tags }))
    }
}
