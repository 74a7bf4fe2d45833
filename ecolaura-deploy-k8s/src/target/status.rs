//! What runs in a namespace, and what it printed.

use std::collections::BTreeMap;

use ecolaura_deploy_core::{
    Context, ErrorKind, Result,
    backend::{ClusterSnapshot, ClusterStatus, Pod, Track},
    vocabulary::{Name, ServiceName},
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::{Event, Pod as KubernetesPod};
use kube::{
    Api,
    api::{ListParams, LogParams},
};
use serde_json::{Value, json};

use super::{Inner, deployment_kind, live::json_of, service_kind};
use crate::{
    error::Call,
    names::{PART, REVISION, SERVICE, TRACK},
    render::edition_of,
    watch::revision,
};

/// How many events are shown.
const EVENTS: usize = 20;

/// Where a Service answers: its load balancer, or the cluster's own address.
pub(super) fn address(service: &Value) -> Option<(ServiceName, String)> {
    if service.get("kind").and_then(Value::as_str) != Some("Service") {
        return None;
    }
    let text = |pointer: &str| service.pointer(pointer).and_then(Value::as_str);
    let name = ServiceName::new(text("/metadata/name")?).ok()?;
    let port = service.pointer("/spec/ports/0/port").and_then(Value::as_u64)?;
    let balancer =
        text("/status/loadBalancer/ingress/0/hostname").or_else(|| text("/status/loadBalancer/ingress/0/ip"));
    let own = text("/spec/clusterIP").filter(|address| *address != "None");
    let inside = || format!("{name}.{}.svc", text("/metadata/namespace").unwrap_or_default());
    let host = balancer.or(own).map_or_else(inside, str::to_owned);
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    Some((name, format!("http://{host}:{port}")))
}

pub(super) async fn status(inner: &Inner, cx: &Context, namespace: &Name) -> Result<ClusterStatus> {
    let (mut revisions, mut state) = (BTreeMap::new(), serde_json::Map::new());
    for deployment in deployments(inner, cx, namespace).await? {
        let name = deployment.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        let Ok(service) = ServiceName::new(name) else { continue };
        // What others made is revision 0: it is kept under that number before it is changed.
        revisions.insert(service, Some(revision(&deployment).unwrap_or_default()));
        let replicas = deployment.pointer("/spec/replicas").cloned().unwrap_or_default();
        state.insert(
            name.to_owned(),
            json!({"edition": edition_of(&deployment).unwrap_or_default(), "replicas": replicas}),
        );
    }
    let snapshot = ClusterSnapshot::new(namespace.clone(), revisions, Value::Object(state));
    let pods = pods(inner, cx, namespace, None).await?;
    let pods = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).filter_map(shown).collect();
    Ok(ClusterStatus::new(snapshot, pods, addresses(inner, cx, namespace).await?, events(inner, cx, namespace).await?))
}

/// The Deployments of a namespace that are no candidates.
async fn deployments(inner: &Inner, cx: &Context, namespace: &Name) -> Result<Vec<Value>> {
    let call = Call::reads("cluster.status", format!("Deployments of {namespace}"));
    let list =
        async |client| deployment_kind().api(client, Some(namespace.as_str())).list(&ListParams::default()).await;
    let found = inner.connection.call(cx, call, list).await?;
    let is_stable = |deployment: &Value| {
        let labels = deployment.pointer("/spec/template/metadata/labels");
        labels.and_then(|labels| labels.get(TRACK)).and_then(Value::as_str) != Some("candidate")
    };
    Ok(found.into_iter().map(|object| json_of(&object)).filter(is_stable).collect())
}

/// The pods of a service, or of all that this crate rolled out.
pub(super) async fn pods(
    inner: &Inner,
    cx: &Context,
    namespace: &Name,
    service: Option<&str>,
) -> Result<Vec<KubernetesPod>> {
    let selector = service.map_or(SERVICE.to_owned(), |service| format!("{SERVICE}={service}"));
    let params = ListParams::default().labels(&selector);
    let params = &params;
    let call = Call::reads("cluster.status", format!("pods of {namespace}"));
    let list = async |client| Api::<KubernetesPod>::namespaced(client, namespace.as_str()).list(params).await;
    Ok(inner.connection.call(cx, call, list).await?.items)
}

fn shown(pod: &KubernetesPod) -> Option<Pod> {
    let json = serde_json::to_value(pod).ok()?;
    let text = |pointer: &str| json.pointer(pointer).and_then(Value::as_str);
    let label = |key: &str| json.pointer("/metadata/labels").and_then(|labels| labels.get(key)).and_then(Value::as_str);
    let annotation = json.pointer("/metadata/annotations").and_then(|annotations| annotations.get(REVISION));
    let statuses = || json.pointer("/status/containerStatuses").and_then(Value::as_array).into_iter().flatten();
    let conditions = json.pointer("/status/conditions").and_then(Value::as_array);
    let waiting = statuses().find_map(|status| status.pointer("/state/waiting/reason").and_then(Value::as_str));
    let port = json.pointer("/spec/containers/0/ports/0/containerPort").and_then(Value::as_u64);
    let restarts: u64 = statuses().filter_map(|status| status.get("restartCount").and_then(Value::as_u64)).sum();
    let fields = json!({
        "name": text("/metadata/name")?,
        "service": label(SERVICE)?,
        "revision": annotation.and_then(Value::as_str).and_then(|text| text.parse::<u64>().ok()).unwrap_or_default(),
        "track": if label(TRACK) == Some("candidate") { Track::Candidate } else { Track::Stable },
        "ready": conditions.into_iter().flatten().any(|condition| condition["type"] == "Ready" && condition["status"] == "True"),
        "restarts": restarts,
        "phase": waiting.or_else(|| text("/status/phase")).unwrap_or("Unknown"),
        "address": text("/status/podIP").map(|ip| port.map_or_else(|| ip.to_owned(), |port| format!("{ip}:{port}"))),
        "pid": null,
    });
    serde_json::from_value(fields).ok()
}

pub(super) async fn addresses(inner: &Inner, cx: &Context, namespace: &Name) -> Result<BTreeMap<ServiceName, String>> {
    let params = ListParams::default().labels(&format!("{PART}=workload"));
    let params = &params;
    let call = Call::reads("cluster.status", format!("Services of {namespace}"));
    let list = async |client| service_kind().api(client, Some(namespace.as_str())).list(params).await;
    let found = inner.connection.call(cx, call, list).await?;
    let services = found.into_iter().map(|mut object| {
        object
            .types
            .get_or_insert_with(|| kube::core::TypeMeta { api_version: "v1".to_owned(), kind: "Service".to_owned() });
        json_of(&object)
    });
    Ok(services.filter_map(|service| address(&service)).collect())
}

/// What happened lately, newest last; nothing where events may not be read.
async fn events(inner: &Inner, cx: &Context, namespace: &Name) -> Result<Vec<String>> {
    let call = Call::reads("cluster.status", format!("events of {namespace}"));
    let list = async |client| {
        Api::<Event>::namespaced(client, namespace.as_str()).list(&ListParams::default().limit(500)).await
    };
    let found = match inner.connection.call(cx, call, list).await {
        Ok(found) => found.items,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Vec::new(),
        Err(error) => return Err(error),
    };
    let mut found: Vec<(Option<k8s_openapi::jiff::Timestamp>, String)> = found
        .into_iter()
        .map(|event| {
            let object = event.involved_object;
            let what = format!("{} {}", object.kind.unwrap_or_default(), object.name.unwrap_or_default());
            let line = format!("{what}: {}: {}", event.reason.unwrap_or_default(), event.message.unwrap_or_default());
            (
                event.last_timestamp.map(|time| time.0).or(event.event_time.map(|time| time.0)),
                cx.redactor().redact(&line).into_owned(),
            )
        })
        .collect();
    found.sort();
    let skipped = found.len().saturating_sub(EVENTS);
    Ok(found.into_iter().skip(skipped).map(|(_, line)| line).collect())
}

pub(super) async fn logs(
    inner: &Inner,
    cx: &Context,
    namespace: &Name,
    service: &ServiceName,
    lines: usize,
) -> Result<Vec<String>> {
    let tail = i64::try_from(lines).unwrap_or(i64::MAX);
    let pods = pods(inner, cx, namespace, Some(service.as_str())).await?;
    let mut calls = Vec::new();
    for pod in &pods {
        for container in pod.spec.iter().flat_map(|spec| &spec.containers) {
            let pod = pod.metadata.name.clone().unwrap_or_default();
            calls.push(log(inner, cx, namespace, pod, container.name.clone(), tail));
        }
    }
    let parts: Vec<Vec<(String, String)>> =
        stream::iter(calls).buffered(cx.limits().parallel_transfers.get()).try_collect().await?;
    let mut found: Vec<(String, String)> = parts.into_iter().flatten().collect();
    found.sort_by(|one, other| one.0.cmp(&other.0));
    let skipped = found.len().saturating_sub(lines);
    Ok(found.into_iter().skip(skipped).map(|(_, line)| line).collect())
}

/// The last lines of a container, each with when it was printed.
async fn log(
    inner: &Inner,
    cx: &Context,
    namespace: &Name,
    pod: String,
    container: String,
    tail: i64,
) -> Result<Vec<(String, String)>> {
    let call = Call::reads("cluster.logs", format!("the log of {container} in Pod {namespace}/{pod}"));
    let params =
        LogParams { container: Some(container), tail_lines: Some(tail), timestamps: true, ..LogParams::default() };
    let (name, params) = (&pod, &params);
    let logs = async |client| Api::<KubernetesPod>::namespaced(client, namespace.as_str()).logs(name, params).await;
    let text = match inner.connection.call(cx, call, logs).await {
        Ok(text) => text,
        // It has not begun, or is gone: it printed nothing that can be read.
        Err(error) if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::NotFound) => String::new(),
        Err(error) => return Err(error),
    };
    Ok(text.lines().map(|line| line_of(cx, &pod, line)).collect())
}

/// When it was printed, and the line with its pod before it.
fn line_of(cx: &Context, pod: &str, line: &str) -> (String, String) {
    let (time, text) = line.split_once(' ').unwrap_or(("", line));
    (time.to_owned(), format!("{pod} {}", cx.redactor().redact(text)))
}
