//! Reads everything at once; what cannot be read is told in its place.

use std::{collections::BTreeMap, fmt::Debug, sync::Arc};

use ecolaura_deploy_core::{Context, Error, ErrorKind, Result};
use k8s_openapi::{
    NamespaceResourceScope,
    api::{
        apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet},
        batch::v1::Job,
        core::v1::{Event, Namespace, Node, Pod, Service},
        discovery::v1::EndpointSlice,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{Api, Client, Resource, api::ListParams, core::DynamicObject};
use serde::{Serialize, de::DeserializeOwned};

use super::{OPERATION, Part, Pick, Selection, selector, usage::Metrics};
use crate::{Connection, error::Call};

/// So many objects are read with one call, and of a kind in all.
const PAGE: u32 = 500;
const MOST: usize = 2000;

/// All that was read.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) selection: Selection,
    pub(super) pods: Part<Vec<Arc<Pod>>>,
    pub(super) replica_sets: Part<Vec<Arc<ReplicaSet>>>,
    /// Deployments, `StatefulSet`s, `DaemonSet`s and Jobs.
    pub(super) workloads: Vec<DynamicObject>,
    pub(super) services: Part<Vec<Service>>,
    pub(super) slices: Part<Vec<EndpointSlice>>,
    pub(super) events: Part<Vec<Arc<Event>>>,
    pub(super) nodes: Part<Vec<Node>>,
    pub(super) pod_metrics: Part<Vec<Metrics>>,
    pub(super) node_metrics: Part<Vec<Metrics>>,
    /// What else could not be read, and why.
    pub(super) left_out: Vec<String>,
}

struct Reader<'a> {
    cx: &'a Context,
    connection: &'a Connection,
    namespace: &'a str,
}

pub(super) async fn gather(cx: &Context, connection: &Connection, selection: &Selection) -> Result<Found> {
    let namespace = selection.namespace.as_str();
    let reader = &Reader { cx, connection, namespace };
    let services = reader.list::<Service>("services", "").await?;
    let (labels, missing) = labels(selection, &services);
    let selected = labels.as_ref().map(selector).unwrap_or_default();
    let pods = async {
        match missing {
            Some(why) => Ok(Part::unknown(why)),
            None => reader.list::<Pod>("pods", &selected).await,
        }
    };
    let pod_metrics = format!("/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods");
    let (pods, replica_sets, workloads, slices, events, nodes, pod_metrics, node_metrics) = tokio::try_join!(
        pods,
        reader.list::<ReplicaSet>("replicasets", ""),
        workloads(reader),
        reader.list::<EndpointSlice>("endpointslices", ""),
        reader.list::<Event>("events", ""),
        nodes(reader),
        reader.metrics(&pod_metrics, &selected),
        reader.metrics("/apis/metrics.k8s.io/v1beta1/nodes", ""),
    )?;
    let (workloads, mut left_out) = workloads;
    let empty = workloads.is_empty() && pods.items().is_empty() && services.items().is_empty();
    let pods = if empty && reader.lacks_namespace().await? {
        Part::unknown(format!("there is no namespace {namespace}"))
    } else {
        pods
    };
    let others = [("endpointslices", slices.why()), ("replicasets", replica_sets.why())];
    left_out.extend(others.into_iter().filter_map(|(kind, why)| Some(format!("{kind}: {}", why?))));
    let counts = [("pods", pods.items().len()), ("events", events.items().len()), ("nodes", nodes.items().len())];
    left_out
        .extend(counts.iter().filter(|(_, count)| *count >= MOST).map(|(kind, _)| format!("{kind}: more than {MOST}")));
    let shared = |pods: Part<Vec<Pod>>| pods.map(|pods| pods.iter().cloned().map(Arc::new).collect());
    Ok(Found {
        selection: selection.clone(),
        pods: shared(pods),
        replica_sets: replica_sets.map(|sets| sets.iter().cloned().map(Arc::new).collect()),
        workloads,
        services,
        slices,
        events: events.map(|events| events.iter().cloned().map(Arc::new).collect()),
        nodes,
        pod_metrics,
        node_metrics,
        left_out,
    })
}

/// The labels that are selected by, or why that cannot be told.
fn labels(selection: &Selection, services: &Part<Vec<Service>>) -> (Option<BTreeMap<String, String>>, Option<String>) {
    let name = match &selection.pods {
        Pick::All => return (None, None),
        Pick::Labels(labels) => return (Some(labels.clone()), None),
        Pick::Service(name) => name,
    };
    let found = match services {
        Part::Unknown { why } => return (None, Some(format!("the Service {name} could not be read: {why}"))),
        Part::Known(services) => services.iter().find(|service| service.metadata.name.as_ref() == Some(name)),
    };
    let selector =
        found.and_then(|service| service.spec.as_ref()?.selector.clone()).filter(|labels| !labels.is_empty());
    match (found, selector) {
        (None, _) => (None, Some(format!("there is no Service {name}"))),
        (Some(_), None) => (None, Some(format!("the Service {name} selects no pods by labels"))),
        (Some(_), selector) => (selector, None),
    }
}

/// What makes pods, and the kinds of it that could not be read.
async fn workloads(reader: &Reader<'_>) -> Result<(Vec<DynamicObject>, Vec<String>)> {
    let (deployments, sets, daemons, jobs) = tokio::try_join!(
        reader.list::<Deployment>("deployments", ""),
        reader.list::<StatefulSet>("statefulsets", ""),
        reader.list::<DaemonSet>("daemonsets", ""),
        reader.list::<Job>("jobs", ""),
    )?;
    let left_out = [
        ("deployments", deployments.why()),
        ("statefulsets", sets.why()),
        ("daemonsets", daemons.why()),
        ("jobs", jobs.why()),
    ];
    let left_out = left_out.into_iter().filter_map(|(kind, why)| Some(format!("{kind}: {}", why?))).collect();
    let all = dynamic(&deployments).chain(dynamic(&sets)).chain(dynamic(&daemons)).chain(dynamic(&jobs));
    Ok((all.collect(), left_out))
}

async fn nodes(reader: &Reader<'_>) -> Result<Part<Vec<Node>>> {
    reader.pages("nodes", "", Api::<Node>::all).await
}

/// Typed objects as any object; a Kubernetes object is always JSON.
fn dynamic<K: Serialize>(objects: &Part<Vec<K>>) -> impl Iterator<Item = DynamicObject> {
    objects.items().iter().filter_map(as_dynamic)
}

pub(super) fn as_dynamic<K: Serialize>(object: &K) -> Option<DynamicObject> {
    serde_json::from_value(serde_json::to_value(object).ok()?).ok()
}

impl Reader<'_> {
    /// Whether the server says that there is none of this name; who may not ask does not know.
    async fn lacks_namespace(&self) -> Result<bool> {
        let call = Call::reads(OPERATION, format!("namespace {}", self.namespace));
        let read = async |client| Api::<Namespace>::all(client).get_metadata(self.namespace).await;
        match self.connection.call(self.cx, call, read).await {
            Ok(_) => Ok(false),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
            Err(error) => part::<()>(&error).map(|_| false),
        }
    }

    async fn list<K>(&self, what: &str, labels: &str) -> Result<Part<Vec<K>>>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + Debug,
    {
        self.pages(what, labels, |client| Api::<K>::namespaced(client, self.namespace)).await
    }

    async fn pages<K>(&self, what: &str, labels: &str, api: impl Fn(Client) -> Api<K>) -> Result<Part<Vec<K>>>
    where
        K: Clone + DeserializeOwned + Debug,
    {
        let mut found = Vec::new();
        let mut params = ListParams::default().labels(labels).limit(PAGE);
        loop {
            let call = Call::reads(OPERATION, format!("the {what}"));
            let (list, of) = (&params, &api);
            match self.connection.call(self.cx, call, async |client| of(client).list(list).await).await {
                Ok(page) => {
                    found.extend(page.items);
                    match page.metadata.continue_.filter(|next| !next.is_empty()) {
                        Some(next) if found.len() < MOST => params = params.continue_token(&next),
                        _ => return Ok(Part::Known(found)),
                    }
                }
                Err(error) => return part(&error),
            }
        }
    }

    /// Of an API that many clusters do not have.
    async fn metrics(&self, path: &str, labels: &str) -> Result<Part<Vec<Metrics>>> {
        let call = Call::reads(OPERATION, "what is used");
        let query = if labels.is_empty() { String::new() } else { format!("?labelSelector={}", encoded(labels)) };
        let address = format!("{path}{query}");
        let address = &address;
        let asked = self.connection.once(self.cx, &call, async |client: Client| {
            let request = http::Request::get(address).body(Vec::new()).map_err(kube::Error::HttpError)?;
            client.request::<List>(request).await
        });
        match asked.await {
            Ok(list) => Ok(Part::Known(list.items)),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Ok(Part::unknown("the cluster has no metrics API (metrics-server)"))
            }
            Err(error) => part(&error),
        }
    }
}

#[derive(serde::Deserialize)]
struct List {
    items: Vec<Metrics>,
}

/// `=` and `,` as they stand in a query.
fn encoded(labels: &str) -> String {
    labels
        .bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

/// Why a part is missing; only a cancel ends the whole.
pub(super) fn part<T>(error: &Error) -> Result<Part<T>> {
    // What could not be read is said where this stands.
    let said = error.message();
    let why = said.strip_prefix("could not read ").and_then(|said| said.split_once(": ")).map_or(said, |(_, why)| why);
    match error.kind() {
        ErrorKind::Cancelled => Err(Error::new(ErrorKind::Cancelled, OPERATION, why)),
        ErrorKind::Timeout => Ok(Part::unknown("no answer in time")),
        _ => Ok(Part::unknown(why)),
    }
}

/// Whether the labels of an object are among these.
pub(super) fn has(metadata: &ObjectMeta, wanted: &BTreeMap<String, String>) -> bool {
    let labels = metadata.labels.as_ref();
    wanted.iter().all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
}
