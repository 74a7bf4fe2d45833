//! What hardened pods need besides.

use k8s_openapi::api::core::v1::{SeccompProfile, Volume};

use super::{Control, Part, Pod, Violation};

const VOLUMES: Control = Control::restricted(
    "Volume Types",
    "of configMap, csi, downwardAPI, emptyDir, ephemeral, image, persistentVolumeClaim, projected or secret",
);
const ESCALATION: Control = Control::restricted("Privilege Escalation", "false");
const NON_ROOT: Control = Control::restricted("Running as Non-root", "true, here or for the whole pod");
const NON_ROOT_EXPLICIT: Control = Control::restricted("Running as Non-root", "unset or true");
const USER: Control = Control::restricted("Running as Non-root user", "unset or not 0");
const SECCOMP: Control = Control::restricted("Seccomp", "RuntimeDefault or Localhost, here or for the whole pod");
const DROP: Control = Control::restricted("Capabilities", "[ALL]");
const ADD: Control = Control::restricted("Capabilities", "to add NET_BIND_SERVICE at most");

pub(super) fn violations(pod: &Pod<'_>) -> Vec<Violation> {
    let mut found = of_pod(pod);
    for part in pod.parts() {
        found.extend(user(pod, &part));
        if !pod.is_windows() {
            found.extend(linux(pod, &part));
        }
    }
    found
}

fn of_pod(pod: &Pod<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    for (n, volume) in pod.spec.volumes.iter().flatten().enumerate() {
        if !is_restricted(volume) {
            // The same field as at `baseline`, where that has something to say.
            let field = if volume.host_path.is_some() { ".hostPath" } else { "" };
            let name = pod.field(&format!("volumes[{n}]{field}"));
            found.push(VOLUMES.violated(name, Some(format!("`{}`, of another type", volume.name))));
        }
    }
    let Some(security) = pod.security() else { return found };
    if security.run_as_non_root == Some(false) {
        found.push(NON_ROOT_EXPLICIT.violated(pod.field("securityContext.runAsNonRoot"), Some(false)));
    }
    if security.run_as_user == Some(0) {
        found.push(USER.violated(pod.field("securityContext.runAsUser"), Some(0)));
    }
    found
}

fn is_restricted(volume: &Volume) -> bool {
    volume.config_map.is_some()
        || volume.csi.is_some()
        || volume.downward_api.is_some()
        || volume.empty_dir.is_some()
        || volume.ephemeral.is_some()
        || volume.image.is_some()
        || volume.persistent_volume_claim.is_some()
        || volume.projected.is_some()
        || volume.secret.is_some()
}

fn user(pod: &Pod<'_>, part: &Part<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    let security = part.security();
    let whole = pod.security().and_then(|security| security.run_as_non_root);
    let field = part.field("securityContext.runAsNonRoot");
    match security.and_then(|security| security.run_as_non_root) {
        Some(false) => found.push(NON_ROOT.violated(field, Some(false))),
        None if whole != Some(true) => found.push(NON_ROOT.violated(field, None::<bool>)),
        _ => {}
    }
    if security.and_then(|security| security.run_as_user) == Some(0) {
        found.push(USER.violated(part.field("securityContext.runAsUser"), Some(0)));
    }
    found
}

fn linux(pod: &Pod<'_>, part: &Part<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    let security = part.security();
    let field = |name: &str| part.field(&format!("securityContext.{name}"));
    let escalation = security.and_then(|security| security.allow_privilege_escalation);
    if escalation != Some(false) {
        found.push(ESCALATION.violated(field("allowPrivilegeEscalation"), escalation));
    }
    let capabilities = security.and_then(|security| security.capabilities.as_ref());
    let dropped = capabilities.and_then(|capabilities| capabilities.drop.as_deref()).unwrap_or_default();
    if !dropped.iter().any(|name| name == "ALL") {
        let found_drop = (!dropped.is_empty()).then(|| format!("[{}]", dropped.join(", ")));
        found.push(DROP.violated(field("capabilities.drop"), found_drop));
    }
    let added = capabilities.and_then(|capabilities| capabilities.add.as_deref()).unwrap_or_default();
    let added: Vec<&str> = added.iter().map(String::as_str).filter(|name| *name != "NET_BIND_SERVICE").collect();
    if !added.is_empty() {
        found.push(ADD.violated(field("capabilities.add"), Some(added.join(", "))));
    }
    let allowed = |profile: &SeccompProfile| matches!(profile.type_.as_str(), "RuntimeDefault" | "Localhost");
    let whole = pod.security().and_then(|security| security.seccomp_profile.as_ref());
    let mine = security.and_then(|security| security.seccomp_profile.as_ref());
    if !mine.or(whole).is_some_and(allowed) {
        found.push(SECCOMP.violated(field("seccompProfile.type"), mine.map(|profile| &profile.type_)));
    }
    found
}
