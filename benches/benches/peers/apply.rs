//! Many objects, new and unchanged, beside `kubectl apply --server-side`.

use std::{collections::BTreeMap, fmt::Write as _, path::Path};

use ecolaura_deploy_benches::{
    programs::{self, Peers},
    table::{Goal, OURS, Records, Row, Unit, by_turns},
};
use ecolaura_deploy_core::{
    ErrorKind,
    backend::{ApplyRequest, ClusterTarget as _, Placement, Workload},
    vocabulary::Name,
};
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{ConfigMap, Service},
};
use kube::{
    Api, Client, ResourceExt as _,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};
use tokio::time::{Duration, Instant};

use crate::{
    options::Options,
    servers::{Servers, cx, name},
};

const KUBECTL: &str = "kubectl apply --server-side";

/// What is measured.
const FRESH: &str = "fresh";
const FRESH_PLANNED: &str = "fresh, planned";
const FRESH_AFTER: &str = "fresh, after its plan";
const SAME: &str = "unchanged";
const SAME_PLANNED: &str = "unchanged, planned";

pub(crate) async fn measure(options: &Options, servers: &Servers, peers: &Peers) -> Vec<Row> {
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("all.yaml");
    std::fs::write(&file, manifests(options.objects)).unwrap();
    let bench = Bench { servers, file: &file, client: servers.client().await };
    let mut namespaces = Vec::new();
    let sides: &[&str] = if peers.kubectl.is_some() { &[OURS, KUBECTL] } else { &[OURS] };
    let records = by_turns(options.rounds, sides, async |side| match (side, &peers.kubectl) {
        (KUBECTL, Some(kubectl)) => bench.kubectl(kubectl, &mut namespaces).await,
        _ => bench.ours(&mut namespaces).await,
    })
    .await;
    bench.check(&namespaces).await;
    servers.clean(namespaces).await;
    rows(&records, options.objects)
}

fn rows(records: &Records, objects: usize) -> Vec<Row> {
    let row = |title: &str, what, theirs, goal| {
        records.row(format!("{objects} objects {title}"), Unit::Seconds, what, (KUBECTL, theirs), Goal::Ratio(goal))
    };
    vec![
        row("fresh: apply", FRESH, FRESH, 0.1),
        row("fresh: apply after its plan", FRESH_AFTER, FRESH, 0.1),
        row("fresh: plan and apply", FRESH_PLANNED, FRESH, 0.1),
        row("unchanged: apply", SAME, SAME, 0.03),
        row("unchanged: plan and apply", SAME_PLANNED, SAME, 0.03),
    ]
}

/// How many objects an application has: a Deployment, two Services, and the configuration that its pods read.
const APPLICATION: usize = 50;

/// Applications of which no pod runs.
fn manifests(objects: usize) -> String {
    let mut text = String::new();
    for number in 0..objects {
        text.push_str("---\n");
        match number % APPLICATION {
            0 => deployment(&mut text, number / APPLICATION, objects),
            1 | 2 => service(&mut text, number / APPLICATION, number),
            _ => map(&mut text, number),
        }
        .unwrap();
    }
    text
}

fn map(text: &mut String, number: usize) -> std::fmt::Result {
    write!(
        text,
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: map-{number}\n  labels:\n    app: shop\ndata:\n  \
         number: \"{number}\"\n  settings: |\n    [server]\n    address = \"0.0.0.0:8080\"\n    workers = {number}\n    \
         [log]\n    level = \"info\"\n"
    )
}

fn service(text: &mut String, app: usize, number: usize) -> std::fmt::Result {
    write!(
        text,
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: service-{number}\nspec:\n  selector:\n    app: app-{app}\n  \
         ports:\n  - name: http\n    port: 80\n    targetPort: http\n"
    )
}

fn deployment(text: &mut String, app: usize, objects: usize) -> std::fmt::Result {
    let digest = "0".repeat(64);
    write!(
        text,
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: app-{app}\nspec:\n  replicas: 0\n  selector:\n    \
         matchLabels:\n      app: app-{app}\n  template:\n    metadata:\n      labels:\n        app: app-{app}\n    \
         spec:\n      containers:\n      - name: app\n        image: registry.example.com/app@sha256:{digest}\n        \
         ports:\n        - name: http\n          containerPort: 8080\n        volumeMounts:\n        - name: settings\n          \
         mountPath: /etc/app\n      volumes:\n      - name: settings\n        projected:\n          sources:\n"
    )?;
    let first = app * APPLICATION;
    (first + 3..objects.min(first + APPLICATION)).try_for_each(|map| {
        writeln!(
            text,
            "          - configMap:\n              name: map-{map}\n              items:\n              - key: settings\n                \
             path: {map}.toml"
        )
    })
}

struct Bench<'a> {
    servers: &'a Servers,
    file: &'a Path,
    client: Client,
}

impl Bench<'_> {
    fn request(&self, namespace: &Name) -> ApplyRequest {
        let workload = Workload::new(namespace.clone(), [self.file]).named(name("shop"));
        ApplyRequest::new(workload, Placement::Replace)
    }

    /// Applies as a program does that was just started; planned first, as a run does, if that is asked for. Seconds of
    /// all, and of applying.
    async fn apply(&self, namespace: &Name, planned: bool) -> (f64, f64) {
        let request = self.request(namespace);
        let began = Instant::now();
        let (cx, cluster) = (cx(), self.servers.cluster().await);
        if planned {
            cluster.plan(&cx, &request).await.unwrap();
        }
        let planned = began.elapsed().as_secs_f64();
        cluster.apply(&cx, &request).await.unwrap();
        let all = began.elapsed().as_secs_f64();
        (all, all - planned)
    }

    async fn ours(&self, namespaces: &mut Vec<Name>) -> Vec<(&'static str, f64)> {
        let mut measured = Vec::new();
        for (planned, fresh, same) in [(false, FRESH, SAME), (true, FRESH_PLANNED, SAME_PLANNED)] {
            let namespace = self.servers.namespace().await;
            let (all, applying) = self.apply(&namespace, planned).await;
            measured.push((fresh, all));
            if planned {
                measured.push((FRESH_AFTER, applying));
            }
            self.until_quiet(&namespace).await;
            let before = self.versions(&namespace).await;
            measured.push((same, self.apply(&namespace, planned).await.0));
            assert_eq!(self.versions(&namespace).await, before, "something was written although nothing changed");
            namespaces.push(namespace);
        }
        measured
    }

    async fn kubectl(&self, kubectl: &Path, namespaces: &mut Vec<Name>) -> Vec<(&'static str, f64)> {
        let namespace = self.servers.namespace().await;
        let file = self.file.to_str().unwrap();
        let arguments = ["--kubeconfig", self.servers.kubeconfig(), "--namespace", namespace.as_str()];
        let arguments = || arguments.into_iter().chain(["apply", "--server-side", "-f", file]);
        let mut measured = Vec::new();
        for what in [FRESH, SAME] {
            let began = Instant::now();
            let ended = programs::run(kubectl, arguments()).await.checked();
            measured.push((what, (ended.at - began).as_secs_f64()));
            self.until_quiet(&namespace).await;
        }
        namespaces.push(namespace);
        measured
    }

    /// Waits until the controllers have nothing to do with the namespace, so that they do not slow down what comes next.
    async fn until_quiet(&self, namespace: &Name) {
        let deployments = Api::<Deployment>::namespaced(self.client.clone(), namespace.as_str());
        let seen = |deployment: &Deployment| {
            let observed = deployment.status.as_ref().and_then(|status| status.observed_generation);
            observed == deployment.metadata.generation
        };
        while !deployments.list(&ListParams::default()).await.unwrap().iter().all(seen) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }

    async fn list<K>(&self, namespace: &Name) -> Vec<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType = ()>,
        K: Clone + serde::de::DeserializeOwned + std::fmt::Debug,
    {
        let api = Api::<K>::namespaced(self.client.clone(), namespace.as_str());
        api.list(&ListParams::default()).await.unwrap().items
    }

    /// The versions of all objects.
    async fn versions(&self, namespace: &Name) -> BTreeMap<String, Option<String>> {
        let maps = self.list::<ConfigMap>(namespace).await.into_iter().map(|map| ("ConfigMap", map.metadata));
        let services = self.list::<Service>(namespace).await.into_iter().map(|service| ("Service", service.metadata));
        let deployments =
            self.list::<Deployment>(namespace).await.into_iter().map(|found| ("Deployment", found.metadata));
        let all = maps.chain(services).chain(deployments);
        all.map(|(kind, meta)| (format!("{kind} {}", meta.name.unwrap_or_default()), meta.resource_version)).collect()
    }

    /// That every side made the same, and that ours asks the server before it says that nothing changed.
    async fn check(&self, namespaces: &[Name]) {
        let [first, rest @ ..] = namespaces else { return };
        let made = self.made(first).await;
        for other in rest {
            let same = self.made(other).await;
            assert_eq!(made.len(), same.len(), "{first} and {other} have not the same objects");
            for (name, object) in &made {
                assert_eq!(Some(object), same.get(name), "{name} in {first} and {other}");
            }
        }
        println!("  all {} namespaces hold the same {} objects", namespaces.len(), made.len());
        let theirs = json!({"spec": {"selector": {"app": "somebody-elses"}}});
        let services = Api::<Service>::namespaced(self.client.clone(), first.as_str());
        services.patch("service-1", &PatchParams::default(), &Patch::Merge(theirs)).await.unwrap();
        let refused = self.servers.cluster().await.apply(&cx(), &self.request(first)).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Conflict, "{}", refused.report());
        assert!(refused.report().contains("Service service-1: `spec.selector`"), "{}", refused.report());
    }

    /// What the manifests brought, without what each side notes for itself and what the server adds. Ours gives
    /// configuration that pods read a name by its content.
    async fn made(&self, namespace: &Name) -> BTreeMap<String, Value> {
        let maps = self.list::<ConfigMap>(namespace).await;
        let names: BTreeMap<String, String> =
            maps.iter().filter_map(|map| Some((map.name_any(), base(map)?))).collect();
        let maps = maps.into_iter().filter_map(|map| Some((format!("ConfigMap {}", base(&map)?), json!(map.data))));
        let services = self.list::<Service>(namespace).await.into_iter().map(|service| {
            let mut spec = json!(service.spec);
            spec.as_object_mut().unwrap().retain(|key, _| !key.starts_with("clusterIP"));
            (format!("Service {}", service.name_any()), spec)
        });
        let deployments = self.list::<Deployment>(namespace).await.into_iter().map(|deployment| {
            let mut spec = json!(deployment.spec);
            let metadata = spec.pointer_mut("/template/metadata").and_then(Value::as_object_mut).unwrap();
            metadata.remove("annotations");
            let labels = metadata.get_mut("labels").and_then(Value::as_object_mut).unwrap();
            labels.retain(|key, _| !key.starts_with(NOTES));
            for source in spec.pointer_mut(SOURCES).and_then(Value::as_array_mut).unwrap() {
                let name = source.pointer_mut("/configMap/name").unwrap();
                *name = json!(names[name.as_str().unwrap()]);
            }
            (format!("Deployment {}", deployment.name_any()), spec)
        });
        maps.chain(services).chain(deployments).collect()
    }
}

const NOTES: &str = "deploy.ecolaura.io/";
const SOURCES: &str = "/template/spec/volumes/0/projected/sources";

/// The name in the manifests, of what came from them.
fn base(map: &ConfigMap) -> Option<String> {
    let labels = map.labels();
    labels.get("app")?;
    Some(labels.get(&format!("{NOTES}base")).cloned().unwrap_or_else(|| map.name_any()))
}
