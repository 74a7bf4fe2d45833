//! What the backends must hold.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{
    backend::{ClusterStatus, Track},
    event::Event,
    testing::{
        fake::migrator::MigratorCall,
        inject::{Entry, Reached},
    },
    vocabulary::{MigrationVersion, Name, ServiceName},
};

/// How many pods of each service are ready.
pub type Ready = BTreeMap<(Name, ServiceName), usize>;

/// I3: a migration is not applied where it is applied, nor reverted where it is not; no backup is taken twice for one
/// effect.
pub fn applied_once(calls: &[MigratorCall], ledger: &[Entry]) -> Vec<String> {
    let mut broken = Vec::new();
    let mut applied: BTreeSet<MigrationVersion> = BTreeSet::new();
    for call in calls {
        let (fine, what) = match call {
            MigratorCall::Applied(version) => (applied.insert(*version), format!("migration {version} applied")),
            MigratorCall::Reverted(version) => (applied.remove(version), format!("migration {version} reverted")),
            _ => continue,
        };
        if !fine {
            broken.push(format!("I3: {what} twice"));
        }
    }
    let mut backups: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for entry in ledger.iter().filter(|entry| entry.call == "database.backup" && entry.reached == Reached::Done) {
        backups.entry(&entry.caller.key).or_default().insert(&entry.subject);
    }
    let twice = backups.into_iter().filter(|(_, keys)| keys.len() > 1);
    broken.extend(twice.map(|(effect, keys)| format!("I3: `{effect}` took {} backups", keys.len())));
    broken
}

/// I3, I7: the world is as it should be, all of it: `expected` is `the old release` or the like.
pub fn state(what: &str, expected: &BTreeMap<String, String>, found: &BTreeMap<String, String>) -> Vec<String> {
    let names: BTreeSet<&String> = expected.keys().chain(found.keys()).collect();
    let none = "nothing".to_owned();
    let of = |state: &BTreeMap<String, String>, name: &String| state.get(name).unwrap_or(&none).clone();
    let differing = names.into_iter().filter(|name| of(expected, name) != of(found, name));
    differing.map(|name| format!("I7: {name} is {}, in {what} it is {}", of(found, name), of(expected, name))).collect()
}

/// I6: as many pods are ready as are needed.
pub fn available(needed: &Ready, found: &Ready) -> Vec<String> {
    let short = needed.iter().filter_map(|(service, needed)| {
        let ready = found.get(service).copied().unwrap_or_default();
        let (namespace, name) = service;
        (ready < *needed).then(|| format!("I6: {ready} pods of {namespace}/{name} are ready, {needed} are needed"))
    });
    short.collect()
}

/// I8: in each world no effect of an epoch comes after one of a newer epoch, but for what [only adds](Entry::adds_only).
pub fn fenced(ledger: &[Entry]) -> Vec<String> {
    let mut newest: BTreeMap<&str, u64> = BTreeMap::new();
    let mut broken = Vec::new();
    for entry in ledger.iter().filter(|entry| entry.is_effect() && entry.caller.epoch != 0) {
        let world = entry.call.split('.').next().unwrap_or_default();
        let newest = newest.entry(world).or_default();
        let epoch = entry.caller.epoch;
        if epoch < *newest && !entry.adds_only() {
            broken.push(format!("I8: `{}` of epoch {epoch} came after an effect of epoch {newest}", entry.call));
        }
        *newest = epoch.max(*newest);
    }
    broken
}

/// I9: none of `secrets` is in anything that was said or written, plain, in base64 or percent-encoded: `sinks` are texts
/// by where they are from.
pub fn no_secrets<'a>(secrets: &[impl AsRef<str>], sinks: impl IntoIterator<Item = (&'a str, String)>) -> Vec<String> {
    let forms: Vec<Vec<String>> = secrets.iter().map(|secret| forms(secret.as_ref())).collect();
    let mut broken = Vec::new();
    for (place, text) in sinks {
        let shown = forms.iter().filter(|forms| forms.iter().any(|form| text.contains(form))).count();
        if shown > 0 {
            broken.push(format!("I9: {shown} secrets stand in {place}"));
        }
    }
    broken
}

/// The ways in which a secret is written. Of base64 the middle, which does not depend on what stands around the secret.
fn forms(secret: &str) -> Vec<String> {
    let percent = |encode: fn(u8) -> String| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        secret.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { encode(byte) }).collect()
    };
    let json = |text: &str| serde_json::to_string(text).unwrap_or_default().trim_matches('"').to_owned();
    let mut forms = vec![
        secret.to_owned(),
        json(secret),
        // A body in an error in a record.
        json(&json(secret)),
        percent(|byte| format!("%{byte:02X}")),
        percent(|byte| format!("%{byte:02x}")),
    ];
    for shift in 0..3 {
        let text = STANDARD.encode([&vec![b' '; shift], secret.as_bytes()].concat());
        let middle = text.get(4..text.len().saturating_sub(4)).unwrap_or_default();
        forms.extend(
            [middle.to_owned(), middle.replace('+', "-").replace('/', "_")].into_iter().filter(|form| form.len() >= 8),
        );
    }
    forms
}

/// An event as a sink for [`no_secrets`].
pub(crate) fn event_text(event: &Event) -> String {
    serde_json::to_string(event).unwrap_or_else(|error| error.to_string())
}

/// I10: nothing stands beside the stable pods.
pub fn no_candidates(status: &ClusterStatus) -> Vec<String> {
    let idle = status.pods.iter().filter(|pod| pod.track == Track::Candidate);
    idle.map(|pod| format!("I10: the candidate's pod `{}` is still there", pod.name)).collect()
}
