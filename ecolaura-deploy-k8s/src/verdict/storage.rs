//! Volumes that were asked for.

use ecolaura_deploy_core::backend::FailureCause;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;

use super::{Rule, Scene, failed, progressing};

pub(super) fn claim(scene: &Scene<'_>) -> Rule {
    let claim: PersistentVolumeClaim = scene.typed()?;
    let uid = claim.metadata.uid.as_deref();
    match claim.status.as_ref().and_then(|status| status.phase.as_deref()) {
        Some("Bound") => Ok(()),
        Some("Lost") => Err(failed(
            FailureCause::VolumeMissing,
            vec![scene.title(), "its volume is gone, and with it what was on it".to_owned()],
        )),
        // It is bound when its first pod comes, which may be waiting for this.
        _ if scene.said(uid, &["WaitForFirstConsumer", "WaitForPodScheduled"]).is_some() => Ok(()),
        _ => {
            let said = scene.said(uid, &["ProvisioningFailed", "FailedBinding", "ExternalProvisioning"]);
            Err(progressing(format!(
                "not bound to a volume{}",
                said.map(|said| format!(": {said}")).unwrap_or_default()
            )))
        }
    }
}
