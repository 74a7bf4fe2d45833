//! Autoscalers.

use super::{Rule, Scene, conditions, progressing};

/// Able to scale. An autoscaler that has no figures yet keeps nobody waiting: fresh pods have none.
pub(super) fn autoscaler(scene: &Scene<'_>) -> Rule {
    match conditions::of_list(&scene.object.data, "AbleToScale") {
        Some(found) if found.status == "False" => Err(progressing(found.says())),
        _ => Ok(()),
    }
}
