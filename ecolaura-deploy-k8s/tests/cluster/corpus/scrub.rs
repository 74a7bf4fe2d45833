//! A case without what changes from run to run, and as text.

use ecolaura_deploy_k8s::verdict::Mode;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use super::case::{self, Case};

/// What events tell although they are no warnings.
pub(super) const TELLING: &[&str] =
    &["FailedBinding", "Killing", "TriggeredScaleUp", "WaitForFirstConsumer", "WaitForPodScheduled"];

/// What no verdict is made of.
const NOISE: &[&str] = &[
    "allocatedResources",
    "automountServiceAccountToken",
    "clusterIPs",
    "containerID",
    "controller-uid",
    "batch.kubernetes.io/controller-uid",
    "deployment.kubernetes.io/desired-replicas",
    "deployment.kubernetes.io/max-replicas",
    "dnsPolicy",
    "enableServiceLinks",
    "env",
    "eventTime",
    "fieldPath",
    "finalizers",
    "generateName",
    "hostIP",
    "hostIPs",
    "imagePullPolicy",
    "ipFamilies",
    "ipFamilyPolicy",
    "lastHeartbeatTime",
    "lastProbeTime",
    "livenessProbe",
    "managedFields",
    "podIP",
    "podIPs",
    "preemptionPolicy",
    "priority",
    "qosClass",
    "readinessProbe",
    "reportingComponent",
    "reportingInstance",
    "resources",
    "resourceVersion",
    "schema",
    "schedulerName",
    "securityContext",
    "serviceAccount",
    "serviceAccountName",
    "source",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "tolerations",
    "user",
    "volumeMounts",
    "volumes",
];

/// The case as if it had been found at the present of the corpus, in a namespace `shop`.
pub(super) fn scrub(case: Case, namespace: &str, now: Timestamp) -> Case {
    let names = names(&case, namespace);
    let present: Timestamp = case::NOW.parse().unwrap();
    // In whole seconds, as the API has them.
    let shift = SignedDuration::from_secs(present.as_second() - now.as_second());
    let scrub = |value: &Value| {
        let mut value = value.clone();
        clean(&mut value, shift, &names);
        value
    };
    let all = |values: &[Value]| values.iter().map(scrub).collect();
    Case {
        object: scrub(&case.object),
        replica_sets: all(&case.replica_sets),
        pods: all(&case.pods),
        events: all(&case.events),
        ..case
    }
}

/// What stands for what, the longest first.
fn names(case: &Case, namespace: &str) -> Vec<(String, String)> {
    let mut names = vec![(namespace.to_owned(), "shop".to_owned())];
    let of = |object: &Value, field: &str| object["metadata"][field].as_str().map(str::to_owned);
    let mut add = |object: &Value, name: String| {
        names.extend(of(object, "uid").map(|uid| (uid, format!("uid-of-{name}"))));
        names.extend(of(object, "name").map(|found| (found, name)));
    };
    add(&case.object, of(&case.object, "name").unwrap_or_default().replace(namespace, "shop"));
    for (index, set) in case.replica_sets.iter().enumerate() {
        add(set, format!("web-{}", index + 1));
    }
    for (index, pod) in case.pods.iter().enumerate() {
        add(pod, format!("web-pod-{}", index + 1));
    }
    for (index, event) in case.events.iter().enumerate() {
        names.extend(of(event, "name").map(|found| (found, format!("event-{}", index + 1))));
        names.extend(of(event, "uid").map(|found| (found, format!("uid-of-event-{}", index + 1))));
    }
    for node in case.pods.iter().filter_map(|pod| pod["spec"]["nodeName"].as_str()) {
        names.push((node.to_owned(), "node-1".to_owned()));
    }
    for (field, name) in [("currentRevision", "web-revision-1"), ("updateRevision", "web-revision-2")] {
        let revision =
            case.object["status"][field].as_str().filter(|found| names.iter().all(|(from, _)| from != found));
        names.extend(revision.map(|found| (found.to_owned(), name.to_owned())));
    }
    names.retain(|(from, to)| from != to && !from.is_empty());
    names.sort_by_key(|(from, _)| std::cmp::Reverse(from.len()));
    names
}

fn clean(value: &mut Value, shift: SignedDuration, names: &[(String, String)]) {
    match value {
        Value::Object(fields) => {
            fields.retain(|key, value| !value.is_null() && !NOISE.contains(&key.as_str()));
            for (key, value) in fields.iter_mut() {
                match key.as_str() {
                    "imageID" => *value = "".into(),
                    "image" => *value = "registry.example.com/web".into(),
                    "clusterIP" if value != "None" => *value = "10.0.0.1".into(),
                    // The revision of a StatefulSet has a name already.
                    "pod-template-hash" | "controller-revision-hash"
                        if value.as_str().is_none_or(|text| plain(text, names) == text) =>
                    {
                        *value = "hash".into();
                    }
                    _ => clean(value, shift, names),
                }
            }
            fields.retain(|_, value| value.as_object().is_none_or(|fields| !fields.is_empty()));
        }
        Value::Array(list) => list.iter_mut().for_each(|value| clean(value, shift, names)),
        Value::String(text) => match text.parse::<Timestamp>() {
            Ok(time) => *text = (time + shift).to_string(),
            Err(_) => *text = plain(text, names),
        },
        _ => {}
    }
}

/// Text with the names of the corpus, and without addresses and digests.
fn plain(text: &str, names: &[(String, String)]) -> String {
    let mut text = text.to_owned();
    for (from, to) in names {
        text = text.replace(from, to);
    }
    words(&text)
}

/// Stands in for addresses, hexadecimal numbers and what else machines make.
fn words(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut word = String::new();
    for letter in text.chars().chain([' ']) {
        if letter.is_ascii_alphanumeric() || letter == '.' {
            word.push(letter);
            continue;
        }
        let address =
            word.matches('.').count() == 3 && word.chars().all(|letter| letter == '.' || letter.is_ascii_digit());
        let digits = word.len() >= 5 && word.chars().all(|letter| letter.is_ascii_digit());
        let digest = word.len() >= 20 && word.chars().all(|letter| letter.is_ascii_hexdigit());
        match () {
            () if address => out.push_str("10.0.0.1"),
            () if digest => out.push_str("00"),
            () if digits => out.push_str("5000"),
            () => out.push_str(&word),
        }
        word.clear();
        out.push(letter);
    }
    out.pop();
    out
}

/// The case as a file of the corpus.
pub(super) fn text(case: &Case) -> String {
    assert!(case.judge(Mode::Strict).is_ok(), "a case that cannot be read again");
    let value = serde_json::to_value(case).unwrap();
    let order = ["from", "strict", "kstatus", "written", "object", "replicaSets", "pods", "events"];
    let mut lines = Vec::new();
    for key in order {
        if let Some(value) = value.get(key) {
            let fields = Map::from_iter([(key.to_owned(), value.clone())]);
            block(&Value::Object(fields), 0, &mut lines);
        }
    }
    lines.join("\n") + "\n"
}

const WIDTH: usize = 120;

/// YAML in which what fits into a line is one.
fn block(value: &Value, indent: usize, lines: &mut Vec<String>) {
    let pad = " ".repeat(indent);
    match value {
        Value::Object(fields) => {
            for (key, value) in ordered(fields) {
                let line = format!("{pad}{}: {}", word(key), flow(value));
                if line.len() <= WIDTH || !(value.is_object() || value.is_array()) {
                    lines.push(line);
                } else {
                    lines.push(format!("{pad}{}:", word(key)));
                    block(value, indent + 2, lines);
                }
            }
        }
        Value::Array(list) => {
            for value in list {
                let line = format!("{pad}- {}", flow(value));
                if line.len() <= WIDTH || !(value.is_object() || value.is_array()) {
                    lines.push(line);
                } else {
                    let first = lines.len();
                    block(value, indent + 2, lines);
                    lines[first].replace_range(indent..indent + 2, "- ");
                }
            }
        }
        value => lines.push(format!("{pad}{}", flow(value))),
    }
}

fn flow(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let fields: Vec<String> =
                ordered(fields).map(|(key, value)| format!("{}: {}", word(key), flow(value))).collect();
            format!("{{{}}}", fields.join(", "))
        }
        Value::Array(list) => format!("[{}]", list.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::String(text) => word(text),
        value => value.to_string(),
    }
}

/// As people write objects: what it is first.
fn ordered(fields: &Map<String, Value>) -> impl Iterator<Item = (&String, &Value)> {
    const FIRST: &[&str] = &["apiVersion", "kind", "metadata", "name", "namespace", "uid", "type", "spec"];
    let place = |key: &str| FIRST.iter().position(|first| *first == key).unwrap_or(FIRST.len());
    let mut fields: Vec<_> = fields.iter().collect();
    fields.sort_by_key(|(key, _)| place(key));
    fields.into_iter()
}

fn word(text: &str) -> String {
    let plain = text.starts_with(|letter: char| letter.is_ascii_alphabetic())
        && text.chars().all(|letter| letter.is_ascii_alphanumeric() || "_./-".contains(letter))
        && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"].contains(&text.to_lowercase().as_str());
    if plain { text.to_owned() } else { Value::from(text).to_string() }
}
