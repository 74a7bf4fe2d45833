//! What is wrong with what runs in a namespace, in one call: the pods with their containers, logs and events, what made
//! them, what leads to them, the nodes below them, and what they use.

mod gather;
mod hints;
mod logs;
mod network;
mod nodes;
mod pods;
mod report;
#[cfg(test)]
mod tests;
mod text;
mod usage;
mod workloads;

use std::{collections::BTreeMap, fmt, time::Duration};

use ecolaura_deploy_core::{Context, ErrorKind, Result};
use k8s_openapi::jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::report::{
    ContainerReport, Diagnosis, EventReport, Health, LogReport, NodeReport, Part, PodReport, ServiceReport, Usage,
    WorkloadReport,
};
use crate::{Connection, time};

const OPERATION: &str = "cluster.diagnose";

/// How long one part may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Which pods are meant, and how much is told of them.
///
/// ```
/// use ecolaura_deploy_k8s::diagnose::Selection;
/// let selection = Selection::labels("shop", [("app", "web")]).log_lines(20);
/// assert_eq!(selection.to_string(), "shop, app=web");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Selection {
    /// The namespace.
    pub namespace: String,
    /// Which of its pods.
    pub pods: Pick,
    /// How many of the last lines of each log; 100 unless set.
    pub log_lines: usize,
    /// How many pods are told of, the most broken ones; 20 unless set.
    pub at_most: usize,
}

/// Which pods of a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Pick {
    /// All.
    All,
    /// Those with these labels.
    Labels(BTreeMap<String, String>),
    /// Those that this Service sends requests to.
    Service(String),
}

impl Selection {
    /// All pods of `namespace`.
    pub fn all(namespace: impl Into<String>) -> Self {
        Self { namespace: namespace.into(), pods: Pick::All, log_lines: 100, at_most: 20 }
    }

    /// Those with these labels.
    pub fn labels<K: Into<String>, V: Into<String>>(
        namespace: impl Into<String>,
        labels: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        let labels = labels.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        Self { pods: Pick::Labels(labels), ..Self::all(namespace) }
    }

    /// Those that the Service `name` sends requests to.
    pub fn service(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self { pods: Pick::Service(name.into()), ..Self::all(namespace) }
    }

    /// With so many of the last lines of each log.
    pub fn log_lines(self, lines: usize) -> Self {
        Self { log_lines: lines, ..self }
    }

    /// With so many pods, the most broken ones.
    pub fn at_most(self, pods: usize) -> Self {
        Self { at_most: pods, ..self }
    }
}

impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.namespace)?;
        match &self.pods {
            Pick::All => Ok(()),
            Pick::Labels(labels) => write!(f, ", {}", selector(labels)),
            Pick::Service(name) => write!(f, ", Service {name}"),
        }
    }
}

/// `app=web,tier=front`
fn selector(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(",")
}

/// Looks at everything that can say what is wrong with the selected pods, at the same time. Changes nothing.
///
/// What cannot be read, because it is forbidden or not there, is left out and told in its place ([`Part::Unknown`]);
/// [`Needs::to_diagnose`](crate::access::Needs::to_diagnose) names the rights that it takes. What the redactor of `cx` knows
/// is taken out of everything. The answer is bounded: so many pods, lines and events, 32 KiB of each log.
///
/// # Errors
///
/// Only if there is nothing to tell: [`ErrorKind::Unavailable`] and [`ErrorKind::Unauthenticated`], and when `cx` is
/// cancelled.
pub async fn diagnose(cx: &Context, connection: &Connection, selection: &Selection) -> Result<Diagnosis> {
    let cx = cx.clone().with_deadline_in(PATIENCE);
    let fatal = |kind| matches!(kind, ErrorKind::Unavailable | ErrorKind::Unauthenticated | ErrorKind::Cancelled);
    let identity = match connection.check(&cx).await {
        Err(error) if fatal(error.kind()) => return Err(error),
        identity => identity.ok(),
    };
    let now = time::now(&cx);
    let found = Box::pin(gather::gather(&cx, connection, selection)).await?;
    let mut pods = pods::reports(&found, now);
    let pods_left_out = pods.as_mut().map_or(0, |pods| pods.split_off(pods.len().min(selection.at_most)).len());
    if let Some(pods) = pods.as_mut() {
        logs::add(&cx, connection, selection, pods).await?;
    }
    let workloads = workloads::reports(&found, now);
    let mut diagnosis = Diagnosis {
        at: seconds(now).to_string(),
        selection: selection.clone(),
        server: identity.as_ref().map(|identity| format!("Kubernetes {}", identity.version)),
        user: identity.map(|identity| identity.user),
        services: network::reports(&found),
        nodes: nodes::reports(&found, pods.known().map_or(&[], Vec::as_slice)),
        usage: usage::of_pods(&found),
        events: pods::events(&found),
        pods,
        pods_left_out,
        workloads,
        left_out: found.left_out,
        next: Vec::new(),
    };
    diagnosis.next = hints::of(&diagnosis);
    Ok(redacted(&cx, diagnosis))
}

fn seconds(now: Timestamp) -> Timestamp {
    Timestamp::from_second(now.as_second()).unwrap_or(now)
}

/// Without what the redactor knows, wherever it stands.
fn redacted(cx: &Context, diagnosis: Diagnosis) -> Diagnosis {
    fn clean(cx: &Context, json: &mut Value) {
        match json {
            Value::String(text) => {
                if let std::borrow::Cow::Owned(clean) = cx.redactor().redact(text) {
                    *text = clean;
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| clean(cx, item)),
            Value::Object(fields) => fields.values_mut().for_each(|value| clean(cx, value)),
            _ => {}
        }
    }
    let Ok(mut json) = serde_json::to_value(&diagnosis) else { return diagnosis };
    clean(cx, &mut json);
    serde_json::from_value(json).unwrap_or(diagnosis)
}
