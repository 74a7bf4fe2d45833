//! Who owns the fields of an object, and whose fields become ours.
//!
//! What somebody applied by kubectl's client side, or created or edited by it, keeps owning the fields that it wrote: a
//! field that leaves the manifests stays then, because another one still wants it. Where it is asked for, such owners are
//! merged into ours before an apply; from then on this crate is the only one who wants those fields.

mod fields;

use std::collections::{BTreeMap, BTreeSet};

use ecolaura_deploy_core::{Error, ErrorKind, Result};
use kube::{
    api::{Patch, PatchParams},
    core::{DynamicObject, Status},
};
use serde_json::{Value, json};

use self::fields::Fields;
use crate::{
    error::Call,
    manifest::Wanted,
    names::{MANAGER, OPERATOR},
    object::Kind,
    reconcile::{Examined, Outcome, Server},
};

/// As whom kubectl writes when it does not apply on the server; the last is what the server calls everybody who wrote
/// before it kept owners.
const CLIENT_SIDE: [&str; 5] =
    ["kubectl-client-side-apply", "kubectl-create", "kubectl-edit", "kubectl-replace", "before-first-apply"];

/// Annotation: what kubectl applied last, for its own comparison.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// How often an object is read anew when it was changed meanwhile.
const TRIES: usize = 5;

/// How many objects a warning names.
const NAMED: usize = 5;

/// Whose fields are taken over.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ownership {
    migrated: BTreeSet<String>,
}

/// Nobody's fields are taken over.
pub(crate) static NONE: Ownership = Ownership { migrated: BTreeSet::new() };

/// An object's owners after the fields of some became ours.
#[derive(Debug, Clone, PartialEq)]
struct Merged {
    entries: Vec<Value>,
    /// What each of them owned.
    from: BTreeMap<String, Fields>,
}

impl Ownership {
    pub(crate) fn migrate_client_side(&mut self) {
        self.migrated.extend(CLIENT_SIDE.map(str::to_owned));
    }

    pub(crate) fn migrate(&mut self, manager: String) {
        self.migrated.insert(manager);
    }

    /// Whether a refusal is only about fields that become ours by applying: of those who are migrated, and of what was
    /// changed by an operation, which the manifests have the last word on.
    fn yields(&self, status: &Status) -> bool {
        let mut causes = status.details.iter().flat_map(|details| &details.causes).peekable();
        causes.peek().is_some()
            && causes.all(|cause| {
                let owner = cause.message.split('"').nth(1).unwrap_or_default();
                cause.reason == "FieldManagerConflict" && (owner == OPERATOR || self.migrated.contains(owner))
            })
    }

    /// Whether applying this object takes fields over.
    pub(crate) fn takes_over(&self, live: &DynamicObject) -> bool {
        self.merged(&entries(live)).is_some()
    }

    /// Nothing if there is nothing of theirs. What they own in another version of the kind than ours is left to them: a
    /// field may have another path there.
    fn merged(&self, entries: &[Value]) -> Option<Merged> {
        let is_theirs = |entry: &Value| is_client_side(entry) && self.migrated.contains(manager(entry));
        let is_ours = |entry: &&Value| manager(entry) == MANAGER && is(entry, "operation", "Apply") && is_whole(entry);
        let ours = entries.iter().find(is_ours);
        let newest = entries.iter().filter(|entry| is_theirs(entry)).max_by_key(|entry| text(entry, "time"))?;
        let version = text(ours.unwrap_or(newest), "apiVersion");
        let (taken, mut rest): (Vec<Value>, Vec<Value>) = entries
            .iter()
            .filter(|entry| !is_ours(entry))
            .cloned()
            .partition(|entry| is_theirs(entry) && text(entry, "apiVersion") == version);
        if taken.is_empty() {
            return None;
        }
        let mut all = ours.map(fields::of).unwrap_or_default();
        let mut from: BTreeMap<String, Fields> = BTreeMap::new();
        for entry in &taken {
            let mut theirs = fields::of(entry);
            fields::forget_annotation(&mut theirs, LAST_APPLIED);
            all = fields::union(&all, &theirs);
            let before = from.entry(manager(entry).to_owned()).or_default();
            *before = fields::union(before, &theirs);
        }
        let mut entry = ours.unwrap_or(newest).clone();
        (entry["manager"], entry["operation"], entry["fieldsV1"]) =
            (json!(MANAGER), json!("Apply"), Value::Object(all));
        rest.insert(0, entry);
        Some(Merged { entries: rest, from })
    }

    /// Has an object tell its owners as they are once they were merged.
    pub(crate) fn foresee(&self, live: &mut Value) {
        let Some(entries) = live.pointer_mut("/metadata/managedFields") else { return };
        if let Some(merged) = entries.as_array().and_then(|entries| self.merged(entries)) {
            *entries = Value::Array(merged.entries);
        }
    }

    /// The outcome with what is taken over. What the server was asked cannot show it: nothing is taken over yet then.
    pub(crate) fn told(&self, outcome: Outcome, wanted: &Wanted, live: Option<&DynamicObject>) -> Outcome {
        let mut lines = match outcome {
            Outcome::Keep => Vec::new(),
            Outcome::Update { lines } => lines,
            other => return other,
        };
        if let Some(merged) = live.and_then(|live| self.merged(&entries(live))) {
            lines.extend(merged.dropped(&wanted.json).into_iter().map(|path| format!("{path} removed")));
            lines.extend(merged.told());
        }
        if lines.is_empty() { Outcome::Keep } else { Outcome::Update { lines } }
    }

    /// What a reader should know of owners that stay.
    pub(crate) fn warnings(&self, examined: &[Examined]) -> Vec<String> {
        let (mut owned, mut managers, mut staying) = (Vec::new(), BTreeSet::new(), Vec::new());
        for examined in examined {
            let Some(live) = &examined.live else { continue };
            let after = entries(live);
            let after = self.merged(&after).map_or(after, |merged| merged.entries);
            let theirs: Vec<&Value> = after.iter().filter(|entry| self.is_in_the_way(entry)).collect();
            if theirs.is_empty() {
                continue;
            }
            owned.push(examined.wanted.title.as_str());
            managers.extend(theirs.iter().map(|entry| manager(entry).to_owned()));
            for entry in theirs {
                let mut theirs = fields::of(entry);
                fields::forget_annotation(&mut theirs, LAST_APPLIED);
                let left = fields::missing(&theirs, &examined.wanted.json, &[]);
                staying.extend(left.iter().map(|path| format!("{path} of {}", examined.wanted.title)));
            }
        }
        if owned.is_empty() {
            return Vec::new();
        }
        let managers = managers.into_iter().collect::<Vec<_>>().join(", ");
        let now = if staying.is_empty() { String::new() } else { format!(", as {} does now", some(&staying)) };
        let way = if self.migrated.is_empty() {
            "`KubernetesCluster::migrate_client_side_ownership` takes them over"
        } else {
            "they are of another version of the kind and are not taken over"
        };
        vec![format!(
            "fields of {} belong to {managers}: what leaves the manifests there stays in the cluster{now}; {way}",
            some(&owned)
        )]
    }

    fn is_in_the_way(&self, entry: &Value) -> bool {
        let known = CLIENT_SIDE.contains(&manager(entry)) || self.migrated.contains(manager(entry));
        let mut fields = fields::of(entry);
        fields::forget_annotation(&mut fields, LAST_APPLIED);
        known && is_client_side(entry) && fields::count(&fields) > 0
    }
}

impl Merged {
    /// `takes over 5 fields from kubectl-client-side-apply`
    fn told(&self) -> impl Iterator<Item = String> {
        self.from.iter().map(|(manager, theirs)| match fields::count(theirs) {
            1 => format!("takes over 1 field from {manager}"),
            count => format!("takes over {count} fields from {manager}"),
        })
    }

    /// What goes because only they wanted it.
    fn dropped(&self, wanted: &Value) -> BTreeSet<String> {
        let others: Vec<Fields> = self.entries.iter().skip(1).map(fields::of).collect();
        self.from.values().flat_map(|theirs| fields::missing(theirs, wanted, &others)).collect()
    }
}

impl Server<'_> {
    /// Applies an object, or asks what would come of it. The inner error is the server's no.
    pub(crate) async fn send(&self, kind: &Kind, wanted: &Wanted, dry: bool) -> Result<Result<DynamicObject, Status>> {
        match self.send_once(kind, wanted, dry).await? {
            Err(status) if self.ownership.yields(&status) => {
                let mut forced = *self;
                forced.permissions.force = true;
                forced.send_once(kind, wanted, dry).await
            }
            answer => Ok(answer),
        }
    }

    /// Before an apply: merges into ours what is to be taken over. Nothing of the object but its owners changes, so a
    /// cancel between this and the apply leaves it as it was, and the next apply goes on.
    pub(crate) async fn take_over(&self, kind: &Kind, wanted: &Wanted, live: Option<&DynamicObject>) -> Result<()> {
        let mut found = live.cloned();
        for _ in 0..TRIES {
            let Some(live) = &found else { return Ok(()) };
            let Some(merged) = self.ownership.merged(&entries(live)) else { return Ok(()) };
            match self.write_owners(kind, wanted, live, &merged).await {
                Ok(()) => return Ok(()),
                // Somebody wrote meanwhile, be it only its status.
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                Err(error) => return Err(error),
            }
            found = self.get(kind, &wanted.key).await?;
        }
        let message = format!("{} changes all the time: the fields of others could not be taken over", wanted.key);
        Err(Error::new(ErrorKind::Conflict, "cluster.apply", message).advice("try again"))
    }

    async fn write_owners(&self, kind: &Kind, wanted: &Wanted, live: &DynamicObject, merged: &Merged) -> Result<()> {
        let mut patch = json!({"metadata": {
            "managedFields": merged.entries, "resourceVersion": live.metadata.resource_version}});
        if live.metadata.annotations.as_ref().is_some_and(|annotations| annotations.contains_key(LAST_APPLIED)) {
            patch["metadata"]["annotations"] = json!({LAST_APPLIED: null});
        }
        let params = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let (params, patch) = (&params, &Patch::Merge(patch));
        let write = async |client| {
            let api = kind.api(client, wanted.key.namespace.as_deref());
            api.patch(&wanted.key.name, params, patch).await
        };
        let call = Call::writes("cluster.apply", "take over the fields of", &wanted.key);
        self.connection.call(self.cx, call, write).await.map(|_| ())
    }
}

fn entries(live: &DynamicObject) -> Vec<Value> {
    let entries = live.metadata.managed_fields.iter().flatten();
    entries.map(|entry| serde_json::to_value(entry).unwrap_or_default()).collect()
}

fn text<'a>(entry: &'a Value, key: &str) -> &'a str {
    entry.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn manager(entry: &Value) -> &str {
    text(entry, "manager")
}

fn is(entry: &Value, key: &str, value: &str) -> bool {
    text(entry, key) == value
}

/// Whether it is about the object and not about its status or scale.
fn is_whole(entry: &Value) -> bool {
    text(entry, "subresource").is_empty()
}

fn is_client_side(entry: &Value) -> bool {
    is(entry, "operation", "Update") && is_whole(entry)
}

/// `a, b and 3 more`
fn some(names: &[impl AsRef<str>]) -> String {
    let shown: Vec<&str> = names.iter().take(NAMED).map(AsRef::as_ref).collect();
    match names.len().saturating_sub(NAMED) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests;
