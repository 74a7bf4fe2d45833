//! What this crate needs besides what a plan asks for.

use super::{Need, Needs};

type Row = (&'static str, &'static str, &'static [&'static str]);

/// To deploy into a namespace: what is applied everywhere, watched to judge a roll-out, and kept as a record.
const DEPLOY: [Row; 14] = [
    ("", "namespaces", &["get"]),
    ("apps", "deployments", &["get", "list", "watch", "create", "patch", "delete"]),
    ("apps", "replicasets", &["get", "list", "watch"]),
    ("apps", "controllerrevisions", &["get", "list", "watch", "create", "update", "patch", "delete"]),
    ("", "services", &["get", "list", "watch", "create", "patch", "delete"]),
    ("discovery.k8s.io", "endpointslices", &["list", "watch"]),
    ("", "configmaps", &["get", "list", "watch", "create", "patch", "delete"]),
    // Never listed: a list of secrets is all of their values.
    ("", "secrets", &["get", "create", "patch", "delete"]),
    ("", "pods", &["get", "list", "watch"]),
    ("", "pods/log", &["get"]),
    ("", "events", &["list", "watch"]),
    ("coordination.k8s.io", "leases", &["get", "create", "update"]),
    ("autoscaling", "horizontalpodautoscalers", &["list"]),
    ("batch", "jobs", &["get", "list", "watch", "create", "delete"]),
];

/// To operate what was rolled out; bringing a revision back takes what deploying does.
const OPERATE: [Row; 12] = [
    ("apps", "deployments", &["get", "list", "watch", "patch"]),
    ("apps", "statefulsets", &["get", "list", "watch", "patch"]),
    ("apps", "daemonsets", &["get", "list", "watch", "patch"]),
    ("apps", "deployments/scale", &["patch"]),
    ("apps", "statefulsets/scale", &["patch"]),
    ("apps", "replicasets", &["list", "watch"]),
    ("apps", "controllerrevisions", &["list"]),
    ("", "pods", &["list", "watch"]),
    ("", "pods/log", &["get"]),
    ("", "events", &["list", "watch"]),
    ("coordination.k8s.io", "leases", &["get", "create", "update"]),
    ("autoscaling", "horizontalpodautoscalers", &["list"]),
];

/// To find out what is wrong in a namespace; reads only.
const DIAGNOSE: [Row; 11] = [
    ("", "pods", &["list"]),
    ("", "pods/log", &["get"]),
    ("", "events", &["list"]),
    ("", "services", &["list"]),
    ("apps", "deployments", &["list"]),
    ("apps", "replicasets", &["list"]),
    ("apps", "statefulsets", &["list"]),
    ("apps", "daemonsets", &["list"]),
    ("batch", "jobs", &["list"]),
    ("discovery.k8s.io", "endpointslices", &["list"]),
    ("metrics.k8s.io", "pods", &["list"]),
];

impl Needs {
    /// What this crate always needs in `namespace`, whatever is deployed.
    pub fn to_deploy(namespace: &str) -> Self {
        DEPLOY.into_iter().flat_map(|row| within(row, namespace)).collect()
    }

    /// What pausing, resuming, restarting, scaling and looking at history and progress take in `namespace`
    /// ([`KubernetesCluster::scale`](crate::KubernetesCluster::scale) and its neighbours). Bringing a revision back takes
    /// [`Needs::to_deploy`].
    pub fn to_operate(namespace: &str) -> Self {
        OPERATE.into_iter().flat_map(|row| within(row, namespace)).collect()
    }

    /// What [`diagnose`](crate::diagnose::diagnose) reads in `namespace`. The nodes, which it shows too, are another
    /// thing: [`Needs::to_read_nodes`].
    pub fn to_diagnose(namespace: &str) -> Self {
        DIAGNOSE.into_iter().flat_map(|row| within(row, namespace)).collect()
    }

    /// To read the state of all nodes.
    pub fn to_read_nodes() -> Self {
        [Need::new("list", "", "nodes"), Need::new("list", "metrics.k8s.io", "nodes")].into_iter().collect()
    }
}

fn within((group, path, verbs): Row, namespace: &str) -> impl Iterator<Item = Need> {
    let (resource, part) = path.split_once('/').map_or((path, None), |(resource, part)| (resource, Some(part)));
    verbs.iter().map(move |verb| {
        let need = Need::new(*verb, group, resource).within(namespace);
        match part {
            Some(part) => need.subresource(part),
            None => need,
        }
    })
}
