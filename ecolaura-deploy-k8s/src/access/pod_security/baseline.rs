//! What is known to give a pod the node.

use k8s_openapi::api::core::v1::SELinuxOptions;

use super::{Control, Part, Pod, Violation};

const HOST_NAMESPACES: Control = Control::baseline("Host Namespaces", "unset or false");
const HOST_PATH: Control = Control::baseline("HostPath Volumes", "left out");
const HOST_PORTS: Control = Control::baseline("Host Ports", "unset or 0");
const HOST_PROBES: Control = Control::baseline("Host Probes / Lifecycle Hooks", "unset");
const PRIVILEGED: Control = Control::baseline("Privileged Containers", "unset or false");
const CAPABILITIES: Control = Control::baseline(
    "Capabilities",
    "to add only AUDIT_WRITE, CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, MKNOD, NET_BIND_SERVICE, SETFCAP, SETGID, \
     SETPCAP, SETUID, SYS_CHROOT",
);
const PROC_MOUNT: Control = Control::baseline("/proc Mount Type", "unset or Default");
const SELINUX_TYPE: Control = Control::baseline("SELinux", "unset or one of the container types");
const SELINUX_WHO: Control = Control::baseline("SELinux", "unset");
const APPARMOR: Control = Control::baseline("AppArmor", "unset, RuntimeDefault or Localhost");
const SECCOMP: Control = Control::baseline("Seccomp", "unset, RuntimeDefault or Localhost");
const SYSCTLS: Control = Control::baseline("Sysctls", "one of the safe ones");
const HOST_PROCESS: Control = Control::baseline("HostProcess", "unset or false");

const ADDABLE: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Safe kernel settings, each with the minor version that let it in.
const SAFE: [(&str, u32); 12] = [
    ("kernel.shm_rmid_forced", 0),
    ("net.ipv4.ip_local_port_range", 0),
    ("net.ipv4.tcp_syncookies", 0),
    ("net.ipv4.ping_group_range", 0),
    ("net.ipv4.ip_unprivileged_port_start", 0),
    ("net.ipv4.ip_local_reserved_ports", 27),
    ("net.ipv4.tcp_keepalive_time", 29),
    ("net.ipv4.tcp_fin_timeout", 29),
    ("net.ipv4.tcp_keepalive_intvl", 29),
    ("net.ipv4.tcp_keepalive_probes", 29),
    ("net.ipv4.tcp_rmem", 32),
    ("net.ipv4.tcp_wmem", 32),
];

const CONTAINER_TYPES: [(&str, u32); 5] =
    [("", 0), ("container_t", 0), ("container_init_t", 0), ("container_kvm_t", 0), ("container_engine_t", 31)];

const APPARMOR_ANNOTATION: &str = "container.apparmor.security.beta.kubernetes.io/";

pub(super) fn violations(pod: &Pod<'_>) -> Vec<Violation> {
    let mut found = of_pod(pod);
    for part in pod.parts() {
        found.extend(of_container(&part));
        found.extend(profiles(pod, &part));
        if pod.minor >= 34 {
            found.extend(hosts(&part));
        }
    }
    found
}

fn of_pod(pod: &Pod<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    let spec = pod.spec;
    for (name, value) in [("hostNetwork", spec.host_network), ("hostPID", spec.host_pid), ("hostIPC", spec.host_ipc)] {
        if value == Some(true) {
            found.push(HOST_NAMESPACES.violated(pod.field(name), Some(true)));
        }
    }
    for (n, volume) in spec.volumes.iter().flatten().enumerate() {
        if let Some(host) = &volume.host_path {
            found.push(HOST_PATH.violated(pod.field(&format!("volumes[{n}].hostPath")), Some(&host.path)));
        }
    }
    let annotations = pod.template.metadata.as_ref().and_then(|metadata| metadata.annotations.as_ref());
    for (key, value) in annotations.into_iter().flatten() {
        let allowed = value.is_empty() || value == "runtime/default" || value.starts_with("localhost/");
        if key.starts_with(APPARMOR_ANNOTATION) && !allowed {
            found.push(APPARMOR.violated(format!("{}metadata.annotations[{key}]", pod.at), Some(value)));
        }
    }
    let Some(security) = pod.security() else { return found };
    for (n, sysctl) in security.sysctls.iter().flatten().enumerate() {
        if !is_in(&SAFE, &sysctl.name, pod.minor) {
            found.push(SYSCTLS.violated(pod.field(&format!("securityContext.sysctls[{n}].name")), Some(&sysctl.name)));
        }
    }
    if let Some(profile) = security.app_armor_profile.as_ref().filter(|profile| !is_profile(&profile.type_)) {
        found.push(APPARMOR.violated(pod.field("securityContext.appArmorProfile.type"), Some(&profile.type_)));
    }
    if let Some(profile) = security.seccomp_profile.as_ref().filter(|profile| !is_profile(&profile.type_)) {
        found.push(SECCOMP.violated(pod.field("securityContext.seccompProfile.type"), Some(&profile.type_)));
    }
    found.extend(selinux(security.se_linux_options.as_ref(), &pod.field("securityContext"), pod.minor));
    if security.windows_options.as_ref().is_some_and(|windows| windows.host_process == Some(true)) {
        found.push(HOST_PROCESS.violated(pod.field("securityContext.windowsOptions.hostProcess"), Some(true)));
    }
    found
}

fn of_container(part: &Part<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    for (n, port) in part.ports().iter().enumerate() {
        if let Some(host) = port.host_port.filter(|host| *host != 0) {
            found.push(HOST_PORTS.violated(part.field(&format!("ports[{n}].hostPort")), Some(host)));
        }
    }
    let Some(security) = part.security() else { return found };
    let field = |name: &str| part.field(&format!("securityContext.{name}"));
    if security.privileged == Some(true) {
        found.push(PRIVILEGED.violated(field("privileged"), Some(true)));
    }
    let added = security.capabilities.iter().flat_map(|capabilities| capabilities.add.iter().flatten());
    let added: Vec<&str> = added.map(String::as_str).filter(|name| !ADDABLE.contains(name)).collect();
    if !added.is_empty() {
        found.push(CAPABILITIES.violated(field("capabilities.add"), Some(added.join(", "))));
    }
    if let Some(mount) = security.proc_mount.as_ref().filter(|mount| *mount != "Default") {
        found.push(PROC_MOUNT.violated(field("procMount"), Some(mount)));
    }
    if security.windows_options.as_ref().is_some_and(|windows| windows.host_process == Some(true)) {
        found.push(HOST_PROCESS.violated(field("windowsOptions.hostProcess"), Some(true)));
    }
    found
}

fn profiles(pod: &Pod<'_>, part: &Part<'_>) -> Vec<Violation> {
    let Some(security) = part.security() else { return Vec::new() };
    let mut found = selinux(security.se_linux_options.as_ref(), &part.field("securityContext"), pod.minor);
    if let Some(profile) = security.app_armor_profile.as_ref().filter(|profile| !is_profile(&profile.type_)) {
        found.push(APPARMOR.violated(part.field("securityContext.appArmorProfile.type"), Some(&profile.type_)));
    }
    if let Some(profile) = security.seccomp_profile.as_ref().filter(|profile| !is_profile(&profile.type_)) {
        found.push(SECCOMP.violated(part.field("securityContext.seccompProfile.type"), Some(&profile.type_)));
    }
    found
}

/// Addresses that the kubelet would ask in the pod's stead.
fn hosts(part: &Part<'_>) -> Vec<Violation> {
    let probes = part.probes().map(|(name, probe)| {
        let http = probe.http_get.as_ref().and_then(|get| get.host.as_ref());
        (name.to_owned(), http, probe.tcp_socket.as_ref().and_then(|socket| socket.host.as_ref()))
    });
    let hooks = part.lifecycle().into_iter().flat_map(|lifecycle| {
        let handlers = [("postStart", &lifecycle.post_start), ("preStop", &lifecycle.pre_stop)];
        handlers.into_iter().filter_map(move |(name, handler)| {
            let handler = handler.as_ref()?;
            let http = handler.http_get.as_ref().and_then(|get| get.host.as_ref());
            let socket = handler.tcp_socket.as_ref().and_then(|socket| socket.host.as_ref());
            Some((format!("lifecycle.{name}"), http, socket))
        })
    });
    let mut found = Vec::new();
    for (name, http, socket) in probes.chain(hooks) {
        for (kind, host) in [("httpGet", http), ("tcpSocket", socket)] {
            if let Some(host) = host.filter(|host| !host.is_empty()) {
                found.push(HOST_PROBES.violated(part.field(&format!("{name}.{kind}.host")), Some(host)));
            }
        }
    }
    found
}

fn selinux(options: Option<&SELinuxOptions>, at: &str, minor: u32) -> Vec<Violation> {
    let Some(options) = options else { return Vec::new() };
    let mut found = Vec::new();
    let field = |name: &str| format!("{at}.seLinuxOptions.{name}");
    if let Some(kind) = options.type_.as_ref().filter(|kind| !is_in(&CONTAINER_TYPES, kind, minor)) {
        found.push(SELINUX_TYPE.violated(field("type"), Some(kind)));
    }
    for (name, value) in [("user", &options.user), ("role", &options.role)] {
        if let Some(value) = value.as_ref().filter(|value| !value.is_empty()) {
            found.push(SELINUX_WHO.violated(field(name), Some(value)));
        }
    }
    found
}

fn is_in(known: &[(&str, u32)], name: &str, minor: u32) -> bool {
    known.iter().any(|(known, since)| *known == name && minor >= *since)
}

fn is_profile(kind: &str) -> bool {
    matches!(kind, "RuntimeDefault" | "Localhost")
}
