//! Where the pods of a deployment tool may connect to.

use std::{collections::BTreeMap, net::IpAddr};

use ecolaura_deploy_core::{Error, Result};
use k8s_openapi::{
    api::networking::v1::{
        IPBlock, NetworkPolicy, NetworkPolicyEgressRule, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec,
    },
    apimachinery::pkg::{
        apis::meta::v1::{LabelSelector, ObjectMeta},
        util::intstr::IntOrString,
    },
};

const OPERATION: &str = "cluster.network_policy";

/// A destination that is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Egress {
    /// A network or a single address, and a TCP port: an API server, a registry.
    To {
        /// `10.0.0.0/24`, `10.0.0.7`, `fd00::/8`. Names are nothing that a `NetworkPolicy` knows.
        network: String,
        /// The port.
        port: u16,
    },
    /// The cluster's own DNS, by the labels that it has everywhere.
    Dns,
}

impl Egress {
    /// To `port` of `network`.
    pub fn to(network: impl Into<String>, port: u16) -> Self {
        Self::To { network: network.into(), port }
    }
}

/// A `NetworkPolicy` for the pods of `namespace` with `labels`: they connect to `egress` and nowhere else, and nothing
/// connects to them.
///
/// The API server is given by the addresses of its endpoints (`kubectl get endpointslices kubernetes`), not by that of
/// its Service: most networks apply a policy after they have chosen one.
///
/// # Errors
///
/// [`ErrorKind::InvalidInput`](ecolaura_deploy_core::ErrorKind::InvalidInput) if a network is none.
///
/// ```
/// use ecolaura_deploy_k8s::access::{Egress, network_policy};
/// let labels = [("app".to_owned(), "deployer".to_owned())].into();
/// let policy = network_policy("deployer", "ci", labels, &[Egress::to("10.0.0.1", 6443), Egress::Dns])?;
/// assert_eq!(policy.spec.unwrap().ingress, Some(Vec::new()));
/// # Ok::<_, ecolaura_deploy_core::Error>(())
/// ```
pub fn network_policy(
    name: &str,
    namespace: &str,
    labels: BTreeMap<String, String>,
    egress: &[Egress],
) -> Result<NetworkPolicy> {
    let rules = egress.iter().map(rule).collect::<Result<_>>()?;
    let metadata =
        ObjectMeta { name: Some(name.to_owned()), namespace: Some(namespace.to_owned()), ..ObjectMeta::default() };
    let spec = NetworkPolicySpec {
        pod_selector: Some(selector(labels)),
        policy_types: Some(vec!["Ingress".to_owned(), "Egress".to_owned()]),
        ingress: Some(Vec::new()),
        egress: Some(rules),
    };
    Ok(NetworkPolicy { metadata, spec: Some(spec) })
}

fn rule(egress: &Egress) -> Result<NetworkPolicyEgressRule> {
    let (peer, ports) = match egress {
        Egress::To { network, port } => {
            let block = IPBlock { cidr: cidr(network)?, except: None };
            (
                NetworkPolicyPeer { ip_block: Some(block), ..NetworkPolicyPeer::default() },
                vec![self::port("TCP", *port)],
            )
        }
        Egress::Dns => {
            let label = |name: &str, value: &str| selector([(name.to_owned(), value.to_owned())].into());
            let peer = NetworkPolicyPeer {
                namespace_selector: Some(label("kubernetes.io/metadata.name", "kube-system")),
                pod_selector: Some(label("k8s-app", "kube-dns")),
                ip_block: None,
            };
            (peer, vec![self::port("UDP", 53), self::port("TCP", 53)])
        }
    };
    Ok(NetworkPolicyEgressRule { to: Some(vec![peer]), ports: Some(ports) })
}

fn selector(labels: BTreeMap<String, String>) -> LabelSelector {
    LabelSelector { match_labels: Some(labels), match_expressions: None }
}

fn port(protocol: &str, port: u16) -> NetworkPolicyPort {
    NetworkPolicyPort { protocol: Some(protocol.to_owned()), port: Some(IntOrString::Int(port.into())), end_port: None }
}

/// `10.0.0.7` is `10.0.0.7/32`.
fn cidr(network: &str) -> Result<String> {
    let wrong = || {
        Error::invalid(OPERATION, format!("`{network}` is no network"))
            .advice("write an address or a network, `10.0.0.0/24`; names are not possible here")
    };
    let (address, bits) = match network.split_once('/') {
        Some((address, bits)) => (address, Some(bits.parse::<u8>().map_err(|_| wrong())?)),
        None => (network, None),
    };
    let most = match address.parse().map_err(|_| wrong())? {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    };
    match bits.unwrap_or(most) {
        bits if bits <= most => Ok(format!("{address}/{bits}")),
        _ => Err(wrong()),
    }
}
