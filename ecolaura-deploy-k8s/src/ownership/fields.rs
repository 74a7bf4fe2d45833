//! Sets of fields as `managedFields` has them: a tree of steps, `f:name` into a field, `k:{…}`, `v:…` and `i:0` to an item
//! of a list. A step that nothing follows is a field of the set, and so is one with a `.` below it. Pure.

use serde_json::{Map, Value};

pub(super) type Fields = Map<String, Value>;

/// The step that says that what it stands in belongs to the set as well as what is below.
const ITSELF: &str = ".";

/// The fields of an entry of `managedFields`.
pub(super) fn of(entry: &Value) -> Fields {
    entry.get("fieldsV1").and_then(Value::as_object).cloned().unwrap_or_default()
}

/// What is in one of them or in both.
pub(super) fn union(one: &Fields, other: &Fields) -> Fields {
    let mut all = one.clone();
    for (step, theirs) in other {
        let both = match all.get(step) {
            Some(ours) => below(ours, theirs),
            None => theirs.clone(),
        };
        all.insert(step.clone(), both);
    }
    all
}

/// The same below a step that both have.
fn below(one: &Value, other: &Value) -> Value {
    let (one, other) = (steps(one), steps(other));
    let mut all = union(&one, &other);
    if !all.is_empty() && (is_owned(&one) || is_owned(&other)) {
        all.insert(ITSELF.to_owned(), Value::Object(Fields::new()));
    }
    Value::Object(all)
}

fn steps(value: &Value) -> Fields {
    value.as_object().cloned().unwrap_or_default()
}

/// Whether the step that these follow is in the set itself.
fn is_owned(below: &Fields) -> bool {
    below.is_empty() || below.contains_key(ITSELF)
}

/// How many fields nothing is below of.
pub(super) fn count(fields: &Fields) -> usize {
    let deeper = fields.iter().filter(|(step, _)| *step != ITSELF);
    deeper.map(|(_, below)| below.as_object().map_or(1, |below| if is_leaf(below) { 1 } else { count(below) })).sum()
}

fn is_leaf(below: &Fields) -> bool {
    below.keys().all(|step| step == ITSELF)
}

/// Takes an annotation out of the set, and what held nothing else.
pub(super) fn forget_annotation(fields: &mut Fields, annotation: &str) {
    let Some(metadata) = fields.get_mut("f:metadata").and_then(Value::as_object_mut) else { return };
    let Some(annotations) = metadata.get_mut("f:annotations").and_then(Value::as_object_mut) else { return };
    let known = annotations.remove(&format!("f:{annotation}")).is_some();
    if known && is_leaf(annotations) {
        metadata.remove("f:annotations");
    }
    // A step that nothing follows would be a field.
    if metadata.is_empty() {
        fields.remove("f:metadata");
    }
}

/// The outermost fields of the set that are not in `object` and belong to none of `others`, as paths for people.
pub(super) fn missing(fields: &Fields, object: &Value, others: &[Fields]) -> Vec<String> {
    let others: Vec<&Fields> = others.iter().collect();
    let mut found = Vec::new();
    look(fields, Some(object), &others, "", &mut found);
    found
}

fn look(fields: &Fields, at: Option<&Value>, others: &[&Fields], path: &str, found: &mut Vec<String>) {
    for (step, below) in fields.iter().filter(|(step, _)| *step != ITSELF) {
        let Some(below) = below.as_object() else { continue };
        let value = at.and_then(|at| follow(at, step));
        let path = join(path, step);
        let theirs: Vec<&Fields> =
            others.iter().filter_map(|other| other.get(step)).filter_map(Value::as_object).collect();
        if value.is_none() && theirs.is_empty() && is_owned(below) {
            found.push(path);
        } else if !theirs.iter().any(|theirs| theirs.is_empty()) {
            look(below, value, &theirs, &path, found);
        }
    }
}

/// What a step leads to. An item need not say what the server adds to its key.
fn follow<'a>(at: &'a Value, step: &str) -> Option<&'a Value> {
    let (kind, rest) = step.split_once(':')?;
    match kind {
        "f" => at.get(rest).filter(|value| !value.is_null()),
        "i" => at.get(rest.parse::<usize>().ok()?),
        "v" => {
            let wanted: Value = serde_json::from_str(rest).ok()?;
            at.as_array()?.iter().find(|item| **item == wanted)
        }
        "k" => {
            let key: Fields = serde_json::from_str(rest).ok()?;
            let fits = |item: &&Value| {
                key.iter().all(|(name, value)| item.get(name).is_none_or(|found| found == value))
                    && key.keys().any(|name| item.get(name).is_some())
            };
            at.as_array()?.iter().find(fits)
        }
        _ => None,
    }
}

/// `spec.containers[web].image`, `metadata.labels["a.b/c"]`
fn join(path: &str, step: &str) -> String {
    let (kind, rest) = step.split_once(':').unwrap_or(("f", step));
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match kind {
        "f" if path.is_empty() => rest.to_owned(),
        "f" if rest.contains(['.', '/', ' ']) => format!("{path}[{rest:?}]"),
        "f" => format!("{path}.{rest}"),
        "k" => {
            let key: Fields = serde_json::from_str(rest).unwrap_or_default();
            format!("{path}[{}]", key.values().map(text).collect::<Vec<_>>().join(","))
        }
        "v" => format!("{path}[{}]", serde_json::from_str(rest).map_or_else(|_| rest.to_owned(), |value| text(&value))),
        _ => format!("{path}[{rest}]"),
    }
}
