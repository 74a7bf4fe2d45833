//! `ConfigMap`s and `Secret`s: where variables get their values.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};

use super::Values;
use super::objects::Objects;
use crate::{
    backend::Workload,
    manifest::{Field, Notes, suggestion},
};

/// An entry; `None` if it is there and cannot be a variable, which was noted or does not matter unless it is used.
type Entries = BTreeMap<String, Option<String>>;

/// The data of all `ConfigMap`s and `Secret`s, by name.
#[derive(Debug, Default)]
pub(super) struct Configs {
    pub(super) config_maps: BTreeMap<String, Entries>,
    pub(super) secrets: BTreeMap<String, Entries>,
}

impl Configs {
    /// The data, with the workload's replacements in it.
    pub(super) fn read(objects: &Objects<'_>, workload: &Workload, values: &Values, notes: &Notes) -> Self {
        let named = |fields: &[Field<'_>], entries: fn(&Field<'_>) -> Entries| {
            fields.iter().map(|field| (field.origin.name.clone(), entries(field))).collect()
        };
        let mut configs =
            Self { config_maps: named(&objects.config_maps, config_map), secrets: named(&objects.secrets, secret) };
        for (path, value) in &workload.config {
            if let Err(near) = replace(&mut configs.config_maps, path, value) {
                let problem = "replaces nothing: no ConfigMap has this entry";
                notes.problem(format!("the configuration `{path}` {problem}{near}"));
            }
        }
        for (path, value) in &values.0 {
            if let Err(near) = replace(&mut configs.secrets, path, value.expose()) {
                notes.problem(format!("the secret `{path}` replaces nothing: no Secret has this entry{near}"));
            }
        }
        configs
    }
}

/// Replaces the entry at `path`; without one the error suggests another.
fn replace(objects: &mut BTreeMap<String, Entries>, path: &str, value: &str) -> Result<(), String> {
    let entry = path.split_once('/').and_then(|(name, key)| objects.get_mut(name)?.get_mut(key));
    if let Some(entry) = entry {
        *entry = Some(value.to_owned());
        return Ok(());
    }
    let known = objects.iter().flat_map(|(name, entries)| entries.keys().map(move |key| format!("{name}/{key}")));
    let known: Vec<String> = known.collect();
    Err(suggestion(path, known.iter().map(String::as_str)))
}

fn config_map(field: &Field<'_>) -> Entries {
    let mut entries: Entries = field.map_of("data").into_iter().map(|(key, value)| (key, Some(value))).collect();
    if let Some(binary) = field.get("binaryData") {
        entries.extend(binary.fields().map(|(key, _)| (key.to_owned(), None)));
    }
    entries
}

fn secret(field: &Field<'_>) -> Entries {
    let mut entries = Entries::new();
    if let Some(data) = field.get("data") {
        entries.extend(data.fields().map(|(key, value)| (key.to_owned(), decode(&value))));
    }
    // As the API server does it: `stringData` wins.
    entries.extend(field.map_of("stringData").into_iter().map(|(key, value)| (key, Some(value))));
    entries
}

fn decode(value: &Field<'_>) -> Option<String> {
    let text: String = value.text()?.split_ascii_whitespace().collect();
    match STANDARD.decode(text) {
        Ok(bytes) => String::from_utf8(bytes).ok(),
        Err(_) => {
            value.problem("is not base64, expected base64 of the value, or the value itself under `stringData`");
            None
        }
    }
}
