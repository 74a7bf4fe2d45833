//! The conditions of a status, and what they say of kinds that are not known here.

use ecolaura_deploy_core::backend::FailureCause;
use serde_json::Value;

use super::{Rule, Scene, failed, progressing};

/// One entry of `conditions`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Condition<'a> {
    pub(super) status: &'a str,
    pub(super) reason: &'a str,
    pub(super) message: &'a str,
    pub(super) observed: Option<i64>,
}

impl Condition<'_> {
    /// `Reason: message`.
    pub(super) fn says(&self) -> String {
        match (self.reason, self.message) {
            ("", "") => "it does not say why".to_owned(),
            ("", said) | (said, "") => said.to_owned(),
            (reason, message) => format!("{reason}: {message}"),
        }
    }
}

/// The condition of this type below `status`. Of several, which some controllers write, the last one.
pub(super) fn of<'a>(status: &'a Value, kind: &str) -> Option<Condition<'a>> {
    let text = |found: &'a Value, field: &str| found.get(field).and_then(Value::as_str).unwrap_or_default();
    let conditions = status.get("conditions")?.as_array()?;
    let found = conditions.iter().rfind(|found| text(found, "type") == kind)?;
    Some(Condition {
        status: text(found, "status"),
        reason: text(found, "reason"),
        message: text(found, "message"),
        observed: found.get("observedGeneration").and_then(Value::as_i64),
    })
}

/// The same of an object.
pub(super) fn of_list<'a>(object: &'a Value, kind: &str) -> Option<Condition<'a>> {
    of(object.get("status")?, kind)
}

/// A kind that is not known here: by its generation, and by `Reconciling`, `Stalled` and `Ready` where it has them.
pub(super) fn generic(scene: &Scene<'_>) -> Rule {
    let data = &scene.object.data;
    if let Some(observed) = data.pointer("/status/observedGeneration").and_then(Value::as_i64) {
        scene.is_observed(Some(observed))?;
    }
    if let Some(found) = of_list(data, "Stalled").filter(|found| found.status == "True") {
        return Err(failed(FailureCause::NotReconciled, vec![scene.title(), found.says()]));
    }
    if let Some(found) = of_list(data, "Reconciling").filter(|found| found.status == "True") {
        return Err(progressing(found.says()));
    }
    let generation = scene.object.metadata.generation;
    match of_list(data, "Ready") {
        Some(found) if found.observed.is_some() && found.observed < generation => {
            Err(progressing("waiting for the spec update to be observed"))
        }
        Some(found) if found.status != "True" => Err(progressing(found.says())),
        _ => Ok(()),
    }
}
