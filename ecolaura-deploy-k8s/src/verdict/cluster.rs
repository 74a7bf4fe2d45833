//! What the cluster itself offers: namespaces, kinds, APIs.

use ecolaura_deploy_core::backend::FailureCause;
use serde_json::Value;

use super::{Rule, Scene, conditions, failed, progressing};

pub(super) fn namespace(scene: &Scene<'_>) -> Rule {
    match scene.object.data.pointer("/status/phase").and_then(Value::as_str) {
        Some("Active") => Ok(()),
        Some("Terminating") => Err(scene.superseded("it is being deleted")),
        _ => Err(progressing("waiting to become active")),
    }
}

/// Its kind can be used once it is established.
pub(super) fn definition(scene: &Scene<'_>) -> Rule {
    let condition = |kind| conditions::of_list(&scene.object.data, kind);
    if let Some(found) = condition("NamesAccepted").filter(|found| found.status == "False") {
        return Err(failed(FailureCause::AdmissionDenied, vec![scene.title(), found.says()]));
    }
    match condition("Established") {
        Some(found) if found.status == "True" => Ok(()),
        Some(found) if found.reason != "Installing" => {
            Err(failed(FailureCause::AdmissionDenied, vec![scene.title(), found.says()]))
        }
        _ => Err(progressing("waiting to be established")),
    }
}

pub(super) fn api_service(scene: &Scene<'_>) -> Rule {
    match conditions::of_list(&scene.object.data, "Available") {
        Some(found) if found.status == "True" => Ok(()),
        Some(found) => Err(progressing(found.says())),
        None => Err(progressing("waiting to become available")),
    }
}
