//! The server's own verdict on hundreds of pods, beside ours.

#![expect(clippy::needless_pass_by_value, reason = "literals are handed in")]

use ecolaura_deploy_k8s::access::pod_security::{Level, Policy};
use futures_util::{StreamExt as _, stream};
use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

use crate::support::{control_plane, runtime};

fn hardened() -> Value {
    json!({
        "metadata": {"generateName": "p-"},
        "spec": {
            "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{"name": "web", "image": "i", "securityContext": {
                "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
            }}],
        },
    })
}

fn whole(change: Value) -> Value {
    json!({"spec": change})
}

fn container(change: Value) -> Value {
    json!({"spec": {"containers": [change]}})
}

fn inner(change: Value) -> Value {
    container(json!({"securityContext": change}))
}

fn outer(change: Value) -> Value {
    whole(json!({"securityContext": change}))
}

/// One for each thing that a control is about, good values and bad ones.
fn changes() -> Vec<Value> {
    let host = json!({"port": 80, "host": "10.0.0.1"});
    let mut changes = vec![
        json!({}),
        whole(json!({"hostNetwork": true})),
        whole(json!({"hostPID": true})),
        whole(json!({"hostIPC": true})),
        whole(json!({"hostUsers": false})),
        whole(json!({"os": {"name": "windows"}})),
        whole(json!({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]})),
        whole(json!({"volumes": [{"name": "v", "nfs": {"server": "s", "path": "/"}}]})),
        whole(json!({"volumes": [{"name": "v", "emptyDir": {}}, {"name": "w", "image": {"reference": "i"}}]})),
        whole(json!({"initContainers": [{"name": "init", "image": "i"}]})),
        container(json!({"ports": [{"containerPort": 80, "hostPort": 80}]})),
        container(json!({"livenessProbe": {"httpGet": host}})),
        container(json!({"startupProbe": {"tcpSocket": host}})),
        container(json!({"lifecycle": {"postStart": {"httpGet": host}}})),
        container(json!({"lifecycle": {"preStop": {"tcpSocket": host}}})),
        container(json!({"readinessProbe": {"httpGet": {"port": 80}}})),
        container(json!({"securityContext": null})),
        json!({"metadata": {"annotations": {"container.apparmor.security.beta.kubernetes.io/web": "unconfined"}}}),
        json!({"metadata": {"annotations": {"container.apparmor.security.beta.kubernetes.io/web": "localhost/mine"}}}),
    ];
    let both = [
        json!({"runAsUser": 0}),
        json!({"runAsUser": 1000}),
        json!({"runAsNonRoot": false}),
        json!({"runAsNonRoot": null}),
        json!({"seccompProfile": {"type": "Unconfined"}}),
        json!({"seccompProfile": {"type": "Localhost", "localhostProfile": "p"}}),
        json!({"seccompProfile": null}),
        json!({"appArmorProfile": {"type": "Unconfined"}}),
        json!({"appArmorProfile": {"type": "RuntimeDefault"}}),
        json!({"seLinuxOptions": {"type": "spc_t"}}),
        json!({"seLinuxOptions": {"type": "container_engine_t"}}),
        json!({"seLinuxOptions": {"user": "u"}}),
        json!({"seLinuxOptions": {"role": "r"}}),
        json!({"windowsOptions": {"hostProcess": true}}),
    ];
    changes.extend(both.iter().flat_map(|change| [inner(change.clone()), outer(change.clone())]));
    changes.extend([
        outer(json!({"sysctls": [{"name": "kernel.msgmax", "value": "1"}]})),
        outer(json!({"sysctls": [{"name": "net.ipv4.tcp_rmem", "value": "1"}]})),
        inner(json!({"privileged": true, "allowPrivilegeEscalation": true})),
        inner(json!({"allowPrivilegeEscalation": true})),
        inner(json!({"allowPrivilegeEscalation": null})),
        inner(json!({"procMount": "Unmasked"})),
        inner(json!({"capabilities": {"add": ["SYS_ADMIN"]}})),
        inner(json!({"capabilities": {"add": ["CHOWN"]}})),
        inner(json!({"capabilities": {"add": ["NET_BIND_SERVICE"]}})),
        inner(json!({"capabilities": {"drop": ["KILL"]}})),
    ]);
    changes
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

/// Each change alone, and each two.
fn pods() -> Vec<Value> {
    let changes = changes();
    let mut pods = Vec::new();
    for (n, first) in changes.iter().enumerate() {
        for second in &changes[n..] {
            let mut pod = hardened();
            merge(&mut pod, first);
            merge(&mut pod, second);
            pods.push(pod);
        }
    }
    pods
}

/// Whether the server refuses the pod by its pod security, and how; `None` if it is no pod at all.
async fn refused(client: &Client, namespace: &str, pod: &Value) -> Option<Option<String>> {
    let pod: Pod = serde_json::from_value(pod.clone()).unwrap();
    let params = PostParams { dry_run: true, ..PostParams::default() };
    match Api::<Pod>::namespaced(client.clone(), namespace).create(&params, &pod).await {
        Ok(_) => Some(None),
        Err(kube::Error::Api(status)) if status.message.contains("violates PodSecurity") => {
            Some(Some(status.message.clone()))
        }
        Err(kube::Error::Api(status)) if status.code == 422 => None,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn pod_security_is_what_the_server_says() {
    let Some(servers) = control_plane() else { return };
    runtime().block_on(async {
        let client = servers.client().await;
        for (level, word) in [(Level::Baseline, "baseline"), (Level::Restricted, "restricted")] {
            let namespace = servers.namespace().await;
            let name = namespace.name.as_str();
            let labels = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": word}}});
            let namespaces = Api::<Namespace>::all(client.clone());
            let labelled = namespaces.patch(name, &PatchParams::default(), &Patch::Merge(labels)).await.unwrap();
            let policy = Policy::of(&labelled, None);
            assert_eq!(policy.level, level);
            let compared = stream::iter(pods())
                .map(|pod| async {
                    let theirs = refused(&client, name, &pod).await;
                    (pod, theirs)
                })
                .buffer_unordered(16)
                .filter_map(|(pod, theirs)| async { Some((pod, theirs?)) })
                .collect::<Vec<_>>()
                .await;
            for (pod, theirs) in &compared {
                let ours = policy.violations(&serde_json::from_value(pod.clone()).unwrap(), "");
                assert_eq!(theirs.is_some(), !ours.is_empty(), "{pod}\ntheirs: {theirs:?}\nours: {ours:?}");
            }
            let no = compared.iter().filter(|(_, theirs)| theirs.is_some()).count();
            eprintln!("{word}: {} pods judged alike, {no} of them refused", compared.len());
            assert!(no > 300 && compared.len() > 800, "{} compared, {no} refused", compared.len());
        }
    });
}
