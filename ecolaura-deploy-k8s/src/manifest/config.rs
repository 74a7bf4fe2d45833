//! `ConfigMap`s and `Secret`s: entries replaced by what an environment sets, and values kept out of every text.

use base64::{Engine, engine::general_purpose::STANDARD};
use ecolaura_deploy_core::{
    Secret,
    backend::Workload,
    manifest::{Notes, suggestion},
    redact::Redactor,
};
use serde_json::{Map, Value, json};

use super::{Surroundings, Wanted};

/// Puts the workload's configuration and secrets in. What replaces nothing is a problem.
pub(super) fn replace(objects: &mut [Wanted], workload: &Workload, surroundings: &Surroundings, notes: &Notes) {
    objects.iter_mut().filter(|object| object.key.is("", "Secret")).for_each(|object| encode(object, notes));
    for (path, value) in &workload.config {
        if let Err(near) = put(objects, "ConfigMap", path, json!(value)) {
            notes.problem(format!("the configuration `{path}` replaces nothing: no ConfigMap has this entry{near}"));
        }
    }
    for path in workload.secrets.keys() {
        // Without values, as in a plan that may not read them, the entry still must be there.
        let value = surroundings.secrets.get(path).map_or(json!(""), |value| json!(STANDARD.encode(value.expose())));
        if let Err(near) = put(objects, "Secret", path, value) {
            notes.problem(format!("the secret `{path}` replaces nothing: no Secret has this entry{near}"));
        }
    }
}

/// Replaces the entry at `path`; without one the error suggests another.
fn put(objects: &mut [Wanted], kind: &str, path: &str, value: Value) -> Result<(), String> {
    let (name, key) = path.split_once('/').unwrap_or((path, ""));
    let mut known = Vec::new();
    for object in objects.iter_mut().filter(|object| object.key.is("", kind)) {
        let Some(data) = object.json.get_mut("data").and_then(Value::as_object_mut) else { continue };
        if object.key.name == name
            && let Some(entry) = data.get_mut(key)
        {
            *entry = value;
            return Ok(());
        }
        known.extend(data.keys().map(|key| format!("{}/{key}", object.key.name)));
    }
    Err(suggestion(path, known.iter().map(String::as_str)))
}

/// `stringData` becomes `data`: the server does the same, and then it is not clear any more who owns an entry.
fn encode(object: &mut Wanted, notes: &Notes) {
    let place = object.place();
    let Some(secret) = object.json.as_object_mut() else { return };
    let plain = secret.remove("stringData");
    let mut data = match secret.remove("data") {
        Some(Value::Object(data)) => data,
        _ => Map::new(),
    };
    for (key, value) in &data {
        let decoded = value.as_str().map(|text| STANDARD.decode(text.split_ascii_whitespace().collect::<String>()));
        if !value.is_null() && decoded.is_none_or(|decoded| decoded.is_err()) {
            let expected = "expected base64 of the value, or the value itself under `stringData`";
            notes.problem(format!("{place}: `data.{key}` is not base64, {expected}"));
        }
    }
    for (key, value) in plain.as_ref().and_then(Value::as_object).into_iter().flatten() {
        match value.as_str() {
            Some(text) => _ = data.insert(key.clone(), json!(STANDARD.encode(text))),
            None if value.is_null() => {}
            None => notes.problem(format!("{place}: `stringData.{key}` is not a text; put it in quotes")),
        }
    }
    secret.insert("data".to_owned(), Value::Object(data));
}

/// Makes the values of a Secret known to whatever prints.
pub(super) fn register(object: &Wanted, redactor: &Redactor) {
    if !object.key.is("", "Secret") {
        return;
    }
    let entries = object.json.get("data").and_then(Value::as_object).into_iter().flatten();
    for text in entries.filter_map(|(_, value)| value.as_str()) {
        let text: String = text.split_ascii_whitespace().collect();
        redactor.register(&Secret::new(text.clone()));
        if let Some(value) = STANDARD.decode(&text).ok().and_then(|bytes| String::from_utf8(bytes).ok()) {
            redactor.register(&Secret::new(value));
        }
    }
}
