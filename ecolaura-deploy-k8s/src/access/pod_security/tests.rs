use serde_json::{Value, json};

use super::*;

/// A template that `restricted` lets through.
fn hardened() -> Value {
    json!({"spec": {
        "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{"name": "web", "securityContext": {
            "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
        }}],
    }})
}

/// `hardened` with `change` merged in.
fn changed(change: &Value) -> Value {
    let mut template = hardened();
    merge(&mut template, change);
    template
}

fn merge(base: &mut Value, change: &Value) {
    match (base, change) {
        (Value::Object(base), Value::Object(change)) => {
            for (key, value) in change {
                merge(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (Value::Array(base), Value::Array(change)) if base.len() == change.len() => {
            base.iter_mut().zip(change).for_each(|(base, change)| merge(base, change));
        }
        (base, change) => *base = change.clone(),
    }
}

/// The fields that `policy` finds fault with.
fn fields(policy: Policy, template: &Value) -> Vec<String> {
    let template = serde_json::from_value(template.clone()).unwrap();
    policy.violations(&template, "").into_iter().map(|found| found.field).collect()
}

fn container(change: &Value) -> Value {
    changed(&json!({"spec": {"containers": [change]}}))
}

fn context(change: &Value) -> Value {
    container(&json!({"securityContext": change}))
}

fn pod(change: &Value) -> Value {
    changed(&json!({"spec": change}))
}

#[test]
fn a_hardened_pod_passes_everywhere() {
    for level in [Level::Privileged, Level::Baseline, Level::Restricted] {
        assert!(fields(Policy::new(level), &hardened()).is_empty());
    }
    // Everything that is allowed beyond leaving it out.
    let rich = changed(&json!({
        "metadata": {"annotations": {"container.apparmor.security.beta.kubernetes.io/web": "localhost/mine"}},
        "spec": {
            "securityContext": {
                "sysctls": [{"name": "net.ipv4.tcp_rmem", "value": "1"}], "seLinuxOptions": {"type": "container_engine_t"},
                "appArmorProfile": {"type": "Localhost", "localhostProfile": "mine"}, "runAsUser": 1,
            },
            "volumes": [{"name": "a", "emptyDir": {}}, {"name": "b", "secret": {"secretName": "s"}}],
            "containers": [{
                "ports": [{"containerPort": 80, "hostPort": 0}], "livenessProbe": {"httpGet": {"port": 80, "host": ""}},
                "securityContext": {"capabilities": {"add": ["NET_BIND_SERVICE"]}, "procMount": "Default"},
            }],
        },
    }));
    assert!(fields(Policy::new(Level::Restricted), &rich).is_empty());
}

/// What `baseline` forbids for the whole pod, and where that stands.
fn of_pod() -> [(Value, &'static str); 9] {
    let security = |change: Value| pod(&json!({"securityContext": change}));
    [
        (pod(&json!({"hostNetwork": true})), "hostNetwork"),
        (pod(&json!({"hostPID": true})), "hostPID"),
        (pod(&json!({"hostIPC": true})), "hostIPC"),
        (pod(&json!({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]})), "volumes[0].hostPath"),
        (security(json!({"sysctls": [{"name": "kernel.msgmax", "value": "1"}]})), "securityContext.sysctls[0].name"),
        (security(json!({"seLinuxOptions": {"type": "spc_t"}})), "securityContext.seLinuxOptions.type"),
        (security(json!({"seccompProfile": {"type": "Unconfined"}})), "securityContext.seccompProfile.type"),
        (security(json!({"appArmorProfile": {"type": "Unconfined"}})), "securityContext.appArmorProfile.type"),
        (security(json!({"windowsOptions": {"hostProcess": true}})), "securityContext.windowsOptions.hostProcess"),
    ]
}

/// The same for a container.
fn of_container() -> [(Value, &'static str); 11] {
    let host = json!({"port": 80, "host": "10.0.0.1"});
    [
        (container(&json!({"ports": [{"containerPort": 80, "hostPort": 80}]})), "ports[0].hostPort"),
        (container(&json!({"readinessProbe": {"tcpSocket": host}})), "readinessProbe.tcpSocket.host"),
        (container(&json!({"lifecycle": {"preStop": {"httpGet": host}}})), "lifecycle.preStop.httpGet.host"),
        (context(&json!({"privileged": true})), "securityContext.privileged"),
        (context(&json!({"capabilities": {"add": ["SYS_ADMIN"]}})), "securityContext.capabilities.add"),
        (context(&json!({"procMount": "Unmasked"})), "securityContext.procMount"),
        (context(&json!({"seLinuxOptions": {"user": "u"}})), "securityContext.seLinuxOptions.user"),
        (context(&json!({"seLinuxOptions": {"role": "r"}})), "securityContext.seLinuxOptions.role"),
        (context(&json!({"seccompProfile": {"type": "Unconfined"}})), "securityContext.seccompProfile.type"),
        (context(&json!({"appArmorProfile": {"type": "Unconfined"}})), "securityContext.appArmorProfile.type"),
        (context(&json!({"windowsOptions": {"hostProcess": true}})), "securityContext.windowsOptions.hostProcess"),
    ]
}

#[test]
fn baseline_forbids_what_gives_the_node() {
    const APPARMOR: &str = "container.apparmor.security.beta.kubernetes.io/web";
    let annotated = changed(&json!({"metadata": {"annotations": {APPARMOR: "unconfined"}}}));
    let pods = of_pod().map(|(template, field)| (template, format!("spec.{field}")));
    let containers = of_container().map(|(template, field)| (template, format!("spec.containers[0].{field}")));
    let annotated = [(annotated, format!("metadata.annotations[{APPARMOR}]"))];
    for (template, field) in pods.into_iter().chain(containers).chain(annotated) {
        let restricted = fields(Policy::new(Level::Restricted), &template);
        assert!(restricted.contains(&field), "{restricted:?} of {template}");
        assert!(fields(Policy::new(Level::Privileged), &template).is_empty());
        assert_eq!(fields(Policy::new(Level::Baseline), &template), [field], "{template}");
    }
}

#[test]
fn restricted_wants_more() {
    let c = "spec.containers[0].securityContext";
    let unset = json!({"spec": {"containers": [{"name": "web"}], "initContainers": [{"name": "init"}]}});
    let wanted = ["runAsNonRoot", "allowPrivilegeEscalation", "capabilities.drop", "seccompProfile.type"];
    let expected: Vec<String> = ["initContainers", "containers"]
        .iter()
        .flat_map(|list| wanted.iter().map(move |name| format!("spec.{list}[0].securityContext.{name}")))
        .collect();
    assert_eq!(fields(Policy::new(Level::Restricted), &unset), expected);
    for (template, field) in [
        (pod(&json!({"volumes": [{"name": "v", "nfs": {"server": "s", "path": "/"}}]})), "spec.volumes[0]".to_owned()),
        (pod(&json!({"securityContext": {"runAsUser": 0}})), "spec.securityContext.runAsUser".to_owned()),
        (context(&json!({"runAsUser": 0})), format!("{c}.runAsUser")),
        (context(&json!({"runAsNonRoot": false})), format!("{c}.runAsNonRoot")),
        (context(&json!({"allowPrivilegeEscalation": true})), format!("{c}.allowPrivilegeEscalation")),
        (context(&json!({"capabilities": {"drop": ["KILL", "MKNOD"]}})), format!("{c}.capabilities.drop")),
        (context(&json!({"capabilities": {"add": ["CHOWN"]}})), format!("{c}.capabilities.add")),
    ] {
        assert_eq!(fields(Policy::new(Level::Restricted), &template), [field], "{template}");
        assert!(fields(Policy::new(Level::Baseline), &template).is_empty(), "{template}");
    }
    let windows = changed(&json!({"spec": {
        "os": {"name": "windows"}, "securityContext": {"seccompProfile": null},
        "containers": [{"securityContext": null}],
    }}));
    assert!(fields(Policy::new(Level::Restricted), &windows).is_empty());
}

#[test]
fn a_violation_says_what_is_wanted() {
    let template = serde_json::from_value(context(&json!({"capabilities": {"add": ["SYS_ADMIN", "CHOWN"]}}))).unwrap();
    let restricted = Policy::new(Level::Restricted).violations(&template, "spec.template");
    let texts: Vec<String> = restricted.iter().map(ToString::to_string).collect();
    let field = "spec.template.spec.containers[0].securityContext.capabilities.add";
    assert_eq!(texts, [format!("{field} is SYS_ADMIN, CHOWN; `restricted` wants it to add NET_BIND_SERVICE at most")]);
    let template = serde_json::from_value(context(&json!({"allowPrivilegeEscalation": null}))).unwrap();
    let text = Policy::new(Level::Restricted).violations(&template, "spec.template")[0].to_string();
    assert!(text.ends_with("allowPrivilegeEscalation is not set; `restricted` wants it false"), "{text}");
}

#[test]
fn the_namespace_says_what_it_enforces() {
    let of = |labels: Value, server| {
        let namespace = serde_json::from_value(json!({"metadata": {"labels": labels}})).unwrap();
        let policy = Policy::of(&namespace, server);
        (policy.level, policy.minor)
    };
    assert_eq!(of(json!(null), None), (Level::Privileged, 34));
    assert_eq!(of(json!({ENFORCE: "privileged"}), Some(30)), (Level::Privileged, 30));
    assert_eq!(of(json!({ENFORCE: "baseline", VERSION: "latest"}), Some(33)), (Level::Baseline, 33));
    assert_eq!(of(json!({ENFORCE: "restricted", VERSION: "v1.28"}), Some(33)), (Level::Restricted, 28));
    assert_eq!(of(json!({ENFORCE: "restricted", VERSION: "v1.99"}), Some(33)), (Level::Restricted, 33));
    assert_eq!(of(json!({ENFORCE: "resticted"}), None).0, Level::Restricted, "the server fails closed");
    assert_eq!(of(json!({"pod-security.kubernetes.io/warn": "restricted"}), None).0, Level::Privileged);
}

#[test]
fn older_versions_allow_what_they_did_not_know() {
    let old = Policy { level: Level::Baseline, minor: 26 };
    let probe = container(&json!({"livenessProbe": {"httpGet": {"port": 80, "host": "10.0.0.1"}}}));
    assert!(fields(Policy { minor: 33, ..old }, &probe).is_empty());
    let sysctl = pod(&json!({"securityContext": {"sysctls": [{"name": "net.ipv4.tcp_fin_timeout", "value": "1"}]}}));
    assert_eq!(fields(old, &sysctl).len(), 1);
    assert!(fields(Policy { minor: 29, ..old }, &sysctl).is_empty());
    let engine = pod(&json!({"securityContext": {"seLinuxOptions": {"type": "container_engine_t"}}}));
    assert_eq!(fields(old, &engine).len(), 1);
}
