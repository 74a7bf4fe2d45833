//! Environment variables, resolved.

use std::collections::BTreeMap;

use super::Surroundings;
use crate::{
    cluster::desired::{EnvValue, EnvVar, SecretValue},
    manifest::{Field, suggestion},
};

/// What a pod knows of itself before it exists.
#[derive(Debug)]
pub(super) struct PodMetadata {
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
}

/// The variables of a container, `envFrom` first, each name once: the last one wins, as in Kubernetes.
pub(super) fn read(container: &Field<'_>, pod: &PodMetadata, surroundings: &Surroundings<'_>) -> Vec<EnvVar> {
    let mut variables: Vec<EnvVar> = Vec::new();
    let mut add = |variable: EnvVar| {
        variables.retain(|other| other.name != variable.name);
        variables.push(variable);
    };
    for source in container.list("envFrom") {
        all_of(&source, surroundings).into_iter().for_each(&mut add);
    }
    let mut seen = Vec::new();
    for field in container.list("env") {
        let Some(name) = field.text_of("name") else { continue };
        if name.is_empty() || name.contains(['=', '\0']) {
            field.problem(format!("has the name {name:?}, expected a name without `=`"));
        }
        if seen.contains(&name) {
            field.warning(format!("sets `{name}` a second time: the last one wins"));
        }
        seen.push(name);
        if let Some(value) = value(&field, pod, surroundings) {
            add(EnvVar { name: name.to_owned(), value });
        }
    }
    variables
}

fn value(field: &Field<'_>, pod: &PodMetadata, surroundings: &Surroundings<'_>) -> Option<EnvValue> {
    let Some(from) = field.get("valueFrom") else {
        let text = field.text_of("value").unwrap_or_default();
        addresses(field, text, surroundings);
        return Some(EnvValue::Template(text.to_owned()));
    };
    if field.get("value").is_some_and(|value| value.text() != Some("")) {
        field.problem("has both `value` and `valueFrom`, expected one of them");
    }
    let sources: Vec<_> = from.fields().filter(|(_, source)| !source.is_null()).collect();
    let [(kind, source)] = sources.as_slice() else {
        from.problem("must name exactly one source: `configMapKeyRef`, `secretKeyRef` or `fieldRef`");
        return None;
    };
    match *kind {
        "configMapKeyRef" => config(source, surroundings),
        "secretKeyRef" => secret(source, surroundings),
        "fieldRef" => downward(source, pod),
        "resourceFieldRef" | "fileKeyRef" => {
            source.problem("is not supported here; give the value itself or by a ConfigMap");
            None
        }
        _ => None,
    }
}

/// Notes what means something else on one machine than in a cluster: addresses that every replica would bind at once,
/// names that only a cluster's DNS knows.
pub(super) fn addresses(field: &Field<'_>, text: &str, surroundings: &Surroundings<'_>) {
    let shown = if text.len() <= 60 { format!("{text:?} ") } else { String::new() };
    let only_port = text.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    if only_port || text.contains("0.0.0.0") || text.contains("[::]") {
        field.warning(format!(
            "{shown}binds all addresses: here replicas share the port number; bind `$(POD_IP)`, which is set for every pod"
        ));
    }
    if let Some(host) = text.split_once("://").map(|(_, rest)| host(rest)) {
        let first = host.split('.').next().unwrap_or_default();
        if surroundings.services.contains(host) || host.contains(".svc") && surroundings.services.contains(first) {
            field.warning(format!(
                "{shown}names the Service `{first}` by a cluster's DNS, which is not here; give its address by the \
                 workload's configuration"
            ));
        }
    }
}

/// The host of what follows `://`.
fn host(rest: &str) -> &str {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    host.split(':').next().unwrap_or_default()
}

fn config(source: &Field<'_>, surroundings: &Surroundings<'_>) -> Option<EnvValue> {
    let value = entry(source, "ConfigMap", &surroundings.configs.config_maps)?;
    addresses(source, value, surroundings);
    Some(EnvValue::Literal(value.to_owned()))
}

fn secret(source: &Field<'_>, surroundings: &Surroundings<'_>) -> Option<EnvValue> {
    let value = entry(source, "Secret", &surroundings.configs.secrets)?;
    let from = format!("{}/{}", source.text_of("name")?, source.text_of("key")?);
    Some(EnvValue::Secret(SecretValue::new(value.to_owned(), from, surroundings.salt)))
}

type Entries = BTreeMap<String, Option<String>>;

fn entry<'a>(source: &Field<'_>, kind: &str, objects: &'a BTreeMap<String, Entries>) -> Option<&'a str> {
    let key = source.text_of("key")?;
    let entries = object(source, kind, objects)?;
    match entries.get(key) {
        Some(Some(value)) => return Some(value),
        Some(None) => source.problem(format!("names the entry `{key}`, which is not a text")),
        None if source.truth_of("optional") => {}
        None => {
            let name = source.text_of("name").unwrap_or_default();
            let near = suggestion(key, entries.keys().map(String::as_str));
            source.problem(format!("names the key `{key}`, which the {kind} `{name}` does not have{near}"));
        }
    }
    None
}

fn object<'a>(source: &Field<'_>, kind: &str, objects: &'a BTreeMap<String, Entries>) -> Option<&'a Entries> {
    let name = source.text_of("name")?;
    let entries = objects.get(name);
    if entries.is_none() && !source.truth_of("optional") {
        let near = suggestion(name, objects.keys().map(String::as_str));
        source.problem(format!("names the {kind} `{name}`, which is not in the manifests{near}"));
    }
    entries
}

fn all_of(source: &Field<'_>, surroundings: &Surroundings<'_>) -> Vec<EnvVar> {
    let prefix = source.text_of("prefix").unwrap_or_default();
    let texts = |entries: &Entries| -> Vec<(String, String)> {
        entries.iter().filter_map(|(key, value)| Some((key.clone(), value.clone()?))).collect()
    };
    let mut variables = Vec::new();
    if let Some(reference) = source.get("configMapRef") {
        for (key, value) in
            object(&reference, "ConfigMap", &surroundings.configs.config_maps).map(texts).unwrap_or_default()
        {
            addresses(&reference, &value, surroundings);
            variables.push(EnvVar { name: format!("{prefix}{key}"), value: EnvValue::Literal(value) });
        }
    }
    if let Some(reference) = source.get("secretRef") {
        let name = reference.text_of("name").unwrap_or_default();
        for (key, value) in object(&reference, "Secret", &surroundings.configs.secrets).map(texts).unwrap_or_default() {
            let value = SecretValue::new(value, format!("{name}/{key}"), surroundings.salt);
            variables.push(EnvVar { name: format!("{prefix}{key}"), value: EnvValue::Secret(value) });
        }
    }
    variables
}

fn downward(source: &Field<'_>, pod: &PodMetadata) -> Option<EnvValue> {
    let path = source.text_of("fieldPath")?;
    let keyed = |map: &BTreeMap<String, String>, what: &str| {
        let key = path.strip_prefix(what)?.strip_prefix("['")?.strip_suffix("']")?;
        Some(EnvValue::Literal(map.get(key).cloned().unwrap_or_default()))
    };
    let value = match path {
        "status.podIP" | "status.podIPs" => Some(EnvValue::PodIp),
        "metadata.name" => Some(EnvValue::PodName),
        "metadata.namespace" => Some(EnvValue::Namespace),
        "status.hostIP" | "status.hostIPs" => Some(EnvValue::Literal("127.0.0.1".to_owned())),
        _ => keyed(&pod.labels, "metadata.labels").or_else(|| keyed(&pod.annotations, "metadata.annotations")),
    };
    if value.is_none()
        && let Some(found) = source.get("fieldPath")
    {
        found.expected(
            "`status.podIP`, `status.hostIP`, `metadata.name`, `metadata.namespace`, `metadata.labels['KEY']` or \
             `metadata.annotations['KEY']`",
        );
    }
    value
}
