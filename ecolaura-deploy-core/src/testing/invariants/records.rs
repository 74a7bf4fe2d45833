//! What the run store must hold.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;

use crate::{
    store::{Record, RecordBody},
    testing::inject::{Disk, Entry, Reached},
    vocabulary::Digest,
};

/// I1: what a caller was told is durable is there, with the bytes that were written, unless it was damaged on purpose.
pub fn acknowledged(disk: &Disk) -> Vec<String> {
    let (objects, damaged) = (disk.objects(), disk.damaged());
    let lost = |(key, digest): (String, Digest)| match objects.get(&key) {
        _ if damaged.contains(&key) => None,
        None => Some(format!("I1: `{key}` was acknowledged and is gone")),
        Some(body) if Digest::of(body) != digest => Some(format!("I1: `{key}` is not what was acknowledged")),
        Some(_) => None,
    };
    disk.acknowledged().into_iter().filter_map(lost).collect()
}

/// I2: what was damaged was not removed.
pub fn damage_kept(disk: &Disk) -> Vec<String> {
    let damaged = disk.damaged();
    let removed = disk.removed().into_iter().filter(|key| damaged.contains(key));
    removed.map(|key| format!("I2: `{key}` was damaged, and then removed")).collect()
}

/// The records of each run, by the key before their number. What was damaged is left out.
fn runs(disk: &Disk) -> BTreeMap<String, Vec<Record>> {
    let (objects, damaged) = (disk.objects(), disk.damaged());
    let mut runs: BTreeMap<String, Vec<Record>> = BTreeMap::new();
    for (key, body) in objects.iter().filter(|(key, _)| key.contains("/runs/") && !damaged.contains(*key)) {
        if let (Some((run, _)), Ok((record, _))) = (key.rsplit_once('/'), Record::open(key, body)) {
            runs.entry(run.to_owned()).or_default().push(record);
        }
    }
    runs
}

/// I4: no run ends twice, or goes on after its end.
pub fn one_ending(disk: &Disk) -> Vec<String> {
    let mut broken = Vec::new();
    for (run, records) in runs(disk) {
        let ends = |record: &&Record| matches!(record.body, RecordBody::RunFinished { .. });
        let endings = records.iter().filter(ends).count();
        if endings > 1 {
            broken.push(format!("I4: `{run}` ended {endings} times"));
        }
        if endings == 1 && !records.last().as_ref().is_some_and(ends) {
            broken.push(format!("I4: `{run}` went on after its end"));
        }
    }
    broken
}

/// I4: no run is still open. After the last process, for an environment that is closed. A run that began after its lock was
/// taken over did nothing, and is no open run.
pub fn nothing_open(disk: &Disk) -> Vec<String> {
    let ends = |record: &Record| matches!(record.body, RecordBody::RunFinished { .. });
    let open = |(run, records): &(String, Vec<Record>)| !records.iter().any(ends) && !began_late(disk, run, records);
    runs(disk).into_iter().filter(open).map(|(run, _)| format!("I4: `{run}` never ended")).collect()
}

/// Whether all there is of a run was written when a newer epoch was held.
fn began_late(disk: &Disk, run: &str, records: &[Record]) -> bool {
    let [Record { body: RecordBody::RunStarted { epoch, .. }, .. }] = records else { return false };
    let number = |key: &str| key.strip_suffix("/held")?.rsplit_once('/')?.1.parse::<u64>().ok();
    let creates = disk.creates().into_iter().filter(|create| create.fault.is_none());
    let before = creates.take_while(|create| !create.key.starts_with(&format!("{run}/")));
    before.filter_map(|create| number(&create.key)).any(|newer| newer > *epoch)
}

/// I10: nobody holds the lock of an environment.
pub fn released(disk: &Disk) -> Vec<String> {
    let keys: BTreeSet<String> = disk.keys().into_iter().collect();
    let mut newest: BTreeMap<&str, &str> = BTreeMap::new();
    for key in &keys {
        if let Some((environment, epoch)) = key.strip_suffix("/held").and_then(|key| key.split_once("/epochs/")) {
            newest.insert(environment, epoch);
        }
    }
    let held = newest
        .into_iter()
        .filter(|(environment, epoch)| !keys.contains(&format!("{environment}/epochs/{epoch}/released")));
    held.map(|(environment, epoch)| format!("I10: epoch {epoch} of `{environment}` is still held")).collect()
}

/// Write-ahead: every effect of a step comes after the record that says it is about to happen, and before the record that
/// says it is done. Undoing goes on without a record where the store refuses one: the old release comes first. The run
/// store must be behind the same injector as the backends.
pub fn intents_first(ledger: &[Entry], disk: &Disk) -> Vec<String> {
    let mut written: BTreeMap<String, VecDeque<Bytes>> =
        disk.written().into_iter().map(|(key, bodies)| (key, bodies.into())).collect();
    let mut intents: BTreeSet<(String, String)> = BTreeSet::new();
    let mut done: BTreeSet<(String, String)> = BTreeSet::new();
    let mut refusing: BTreeSet<u32> = BTreeSet::new();
    let mut broken = Vec::new();
    let mut newest = 0;
    for entry in ledger {
        newest = newest.max(entry.caller.epoch);
        if entry.call == "store.create" && entry.reached != Reached::Done {
            refusing.insert(entry.caller.process);
        } else if entry.call == "store.create" {
            // What was lost may have been followed by another record under its key.
            let Some(bodies) = written.get_mut(&entry.subject) else { continue };
            let body = if bodies.len() > 1 { bodies.pop_front() } else { bodies.front().cloned() };
            if let Some((record, _)) = body.and_then(|body| Record::open(&entry.subject, &body).ok()) {
                note(record, &mut intents, &mut done);
            }
        } else if entry.is_effect() && !entry.caller.step.is_empty() {
            let undoes = entry.caller.key.ends_with("/undo");
            let step = if undoes { format!("{}/undo", entry.caller.step) } else { entry.caller.step.clone() };
            let key = (entry.caller.run.clone(), step.clone());
            let unrecorded = undoes && refusing.contains(&entry.caller.process);
            if !intents.contains(&key) && !unrecorded {
                broken.push(format!("write-ahead: `{}` of `{step}` came before its intent", entry.call));
            }
            // Another process of the run may have recorded it, under a newer epoch.
            let late = entry.adds_only() && entry.caller.epoch < newest;
            if !undoes && done.contains(&key) && !late {
                broken.push(format!("write-ahead: `{}` of `{step}` came after its outcome", entry.call));
            }
        }
    }
    broken
}

fn note(record: Record, intents: &mut BTreeSet<(String, String)>, done: &mut BTreeSet<(String, String)>) {
    let run = record.run;
    match record.body {
        RecordBody::Intent { step, .. } => {
            done.remove(&(run.clone(), step.clone()));
            intents.insert((run, step));
        }
        RecordBody::UndoIntent { step, .. } => {
            intents.insert((run, format!("{step}/undo")));
        }
        RecordBody::Done { step, .. } => {
            done.insert((run, step));
        }
        _ => {}
    }
}
