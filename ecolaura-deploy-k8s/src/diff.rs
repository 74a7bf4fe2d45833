//! What differs between an object as it is and as it would be, for people. Pure.

use std::collections::BTreeSet;

use ecolaura_deploy_core::redact::is_named_like_a_secret;
use serde_json::Value;

use crate::names::APPLIED;

/// How many differences of an object are listed; the rest is counted.
const LISTED: usize = 40;

/// How long a value may be in a line.
const LONGEST: usize = 100;

const REDACTED: &str = "(redacted)";

/// What the server says by itself, which nobody wishes.
const SERVERS: &[&str] =
    &["creationTimestamp", "generation", "managedFields", "resourceVersion", "selfLink", "uid", "deletionTimestamp"];

/// The differences, a line each: `spec.replicas 1 → 2`. Values of a Secret, and of what is named like one, are not shown.
pub(crate) fn lines(before: &Value, after: &Value) -> Vec<String> {
    let secret = after.get("kind").and_then(Value::as_str) == Some("Secret");
    let mut found = Found { lines: Vec::new(), secret };
    found.compare("", Some(&wish(before)), Some(&wish(after)));
    let more = found.lines.len().saturating_sub(LISTED);
    found.lines.truncate(LISTED);
    found.lines.extend((more > 0).then(|| format!("and {more} more")));
    found.lines
}

/// The object without what is not wished.
fn wish(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|key, _| !SERVERS.contains(&key.as_str()));
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.remove(APPLIED);
        }
        metadata.retain(|_, value| !is_empty(value));
    }
    object
}

/// Whether everything that `wanted` says is so in `live`: then applying it again can only take fields away. Lists must
/// be the same item by item; an item of `live` may have more fields, as the server fills defaults in.
pub(crate) fn is_within(wanted: &Value, live: &Value) -> bool {
    match (wanted, live) {
        (Value::Object(wanted), Value::Object(live)) => wanted.iter().all(|(key, value)| {
            value.is_null() || is_empty(value) || live.get(key).is_some_and(|live| is_within(value, live))
        }),
        (Value::Array(wanted), Value::Array(live)) => {
            wanted.len() == live.len() && wanted.iter().zip(live).all(|(wanted, live)| is_within(wanted, live))
        }
        _ => wanted == live,
    }
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(serde_json::Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
}

struct Found {
    lines: Vec<String>,
    secret: bool,
}

impl Found {
    fn compare(&mut self, path: &str, before: Option<&Value>, after: Option<&Value>) {
        match (before, after) {
            (before, after) if before == after => {}
            (Some(Value::Object(before)), Some(Value::Object(after))) => {
                let keys: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
                for key in keys {
                    self.compare(&join(path, key), before.get(key), after.get(key));
                }
            }
            (Some(Value::Array(before)), Some(Value::Array(after))) => self.lists(path, before, after),
            (before, after) => self.note(path, before, after),
        }
    }

    /// Lists of things with names are compared by name, others by place.
    fn lists(&mut self, path: &str, before: &[Value], after: &[Value]) {
        let Some(key) = ["name", "mountPath", "containerPort", "port", "ip", "type"].into_iter().find(|key| {
            before.iter().chain(after).all(|item| item.get(key).is_some())
                && are_distinct(before, key)
                && are_distinct(after, key)
        }) else {
            for index in 0..before.len().max(after.len()) {
                self.compare(&format!("{path}[{index}]"), before.get(index), after.get(index));
            }
            return;
        };
        let find = |list: &'_ [Value], name: &str| list.iter().position(|item| text(&item[key]) == name);
        let mut names: Vec<String> = before.iter().map(|item| text(&item[key])).collect();
        names.extend(after.iter().map(|item| text(&item[key])).filter(|name| find(before, name).is_none()));
        let count = self.lines.len();
        for name in &names {
            let (old, new) = (find(before, name).map(|at| &before[at]), find(after, name).map(|at| &after[at]));
            self.compare(&format!("{path}[{name}]"), old, new);
        }
        if self.lines.len() == count {
            self.lines.push(format!("{path} in another order"));
        }
    }

    fn note(&mut self, path: &str, before: Option<&Value>, after: Option<&Value>) {
        let hidden = self.is_secret(path);
        let show = |value: &Value| if hidden { REDACTED.to_owned() } else { shown(value) };
        self.lines.push(match (before, after) {
            (None, Some(after)) => format!("{path} added: {}", show(after)),
            (Some(before), None) => format!("{path} removed, was {}", show(before)),
            (Some(_), Some(_)) if hidden => format!("{path} {REDACTED} changed"),
            (Some(before), Some(after)) => format!("{path} {} → {}", show(before), show(after)),
            (None, None) => return,
        });
    }

    fn is_secret(&self, path: &str) -> bool {
        if self.secret && (path.starts_with("data") || path.starts_with("stringData")) {
            return true;
        }
        // `env[NAME].value`, and a whole variable that came or went.
        let variable = path.rsplit_once("env[").and_then(|(_, rest)| rest.split_once(']'));
        let named = variable.map_or_else(|| path.rsplit('.').next().unwrap_or_default(), |(name, _)| name);
        let refers = path.contains("secretName")
            || path.contains("secretKeyRef")
            || path.contains("secretRef")
            || path.contains("mount");
        !refers && is_named_like_a_secret(named)
    }
}

fn are_distinct(list: &[Value], key: &str) -> bool {
    let names: BTreeSet<String> = list.iter().map(|item| text(&item[key])).collect();
    names.len() == list.len()
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn shown(value: &Value) -> String {
    let text = text(value);
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// `metadata.labels.app`, `data["app.conf"]`.
fn join(path: &str, key: &str) -> String {
    match (path.is_empty(), key.contains(['.', '/', ' '])) {
        (true, _) => key.to_owned(),
        (false, true) => format!("{path}[{key:?}]"),
        (false, false) => format!("{path}.{key}"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(replicas: u32, image: &str, token: &str) -> Value {
        json!({"kind": "Deployment", "metadata": {"generation": replicas, "annotations": {APPLIED: image}},
            "spec": {"replicas": replicas, "template": {"spec": {"containers": [
                {"name": "web", "image": image, "env": [{"name": "API_TOKEN", "value": token}, {"name": "A", "value": "1"}]}]}}},
            "status": {"replicas": replicas}})
    }

    #[test]
    fn fields_are_told_by_path_and_secrets_are_not_shown() {
        let found = lines(&deployment(1, "a@sha256:1", "hunter2"), &deployment(2, "a@sha256:2", "hunter3"));
        let path = "spec.template.spec.containers[web]";
        let expected = [
            "spec.replicas 1 → 2".to_owned(),
            format!("{path}.env[API_TOKEN].value (redacted) changed"),
            format!("{path}.image a@sha256:1 → a@sha256:2"),
        ];
        assert_eq!(found, expected);
        assert!(lines(&deployment(1, "a", "b"), &deployment(1, "a", "b")).is_empty());
        let noted = json!({"metadata": {"name": "x", "annotations": {APPLIED: "1"}}});
        assert!(lines(&json!({"metadata": {"name": "x"}}), &noted).is_empty(), "what is noted is no wish");
        let secret = |value: &str| json!({"kind": "Secret", "data": {"password": value, "user": "root"}});
        assert_eq!(lines(&secret("aHVudGVyMg=="), &secret("eA==")), ["data.password (redacted) changed"]);
    }

    #[test]
    fn lists_are_compared_by_name() {
        let ports =
            |names: &[&str]| json!({"ports": names.iter().map(|name| json!({"name": name})).collect::<Vec<_>>()});
        assert_eq!(lines(&ports(&["a", "b"]), &ports(&["b", "a"])), ["ports in another order"]);
        assert_eq!(lines(&ports(&["a", "b"]), &ports(&["b"])), [r#"ports[a] removed, was {"name":"a"}"#]);
        assert_eq!(lines(&json!({"args": ["x", "y"]}), &json!({"args": ["x"]})), ["args[1] removed, was y"]);
    }

    #[test]
    fn what_is_wished_is_within_what_the_server_filled_in() {
        let live = json!({"spec": {"replicas": 1, "ports": [{"port": 80, "protocol": "TCP"}]}, "status": {}});
        assert!(is_within(&json!({"spec": {"ports": [{"port": 80}], "paused": null, "labels": {}}}), &live));
        assert!(!is_within(&json!({"spec": {"ports": [{"port": 81}]}}), &live));
        assert!(!is_within(&json!({"spec": {"ports": []}, "x": 1}), &live));
        assert!(!is_within(&json!({"spec": {"ports": [{"port": 80}, {"port": 81}]}}), &live));
    }
}
