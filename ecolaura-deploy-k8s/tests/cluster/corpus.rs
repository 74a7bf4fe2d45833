//! The corpus and the real cluster say the same: each object is brought into a state, and that state has to be judged as
//! it stands here, by both modes. With `ECOLAURA_RECORD=1` the states are written into the corpus, without what changes
//! from run to run.

#[path = "../corpus/case.rs"]
mod case;
mod scrub;
mod wishes;

use std::{collections::BTreeSet, path::Path, time::Duration};

use ecolaura_deploy_k8s::verdict::Mode;
use futures_util::future::join_all;
use k8s_openapi::api::{
    apps::v1::ReplicaSet,
    core::v1::{Event, Pod},
};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    core::{ApiResource, DynamicObject, GroupVersionKind},
};
use serde::Serialize;
use serde_json::{Value, json};

use self::{
    case::{Case, Expected},
    wishes::{Images, Wish},
};
use crate::support::{Servers, counted, gateway_kinds, image, now, runtime, servers};

/// How long an object may take into its state.
const PATIENCE: Duration = Duration::from_secs(150);

#[test]
fn the_real_cluster_says_what_the_corpus_says() {
    let Some(servers) = servers() else { return };
    runtime().block_on(async {
        let client = servers.client().await;
        gateway_kinds(&client).await;
        let there = image(&servers, "serve v1").await;
        let images = Images { there: format!("{}/{}@{}", servers.registry, there.repository, there.digest) };
        let wishes = wishes::all(&images);
        let names: BTreeSet<&str> = wishes.iter().map(|wish| wish.name).collect();
        assert_eq!(names.len(), wishes.len(), "two cases have one name");
        let wrong: Vec<String> =
            join_all(wishes.iter().map(|wish| grant(&servers, &client, wish))).await.into_iter().flatten().collect();
        println!("{} states of a real cluster, {} of them judged otherwise", wishes.len(), wrong.len());
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

/// Brings the object of a wish into its state; what is wrong with the verdicts of it.
async fn grant(servers: &Servers, client: &Client, wish: &Wish) -> Option<String> {
    let namespace = servers.namespace().await;
    let name = namespace.name.as_str();
    until_usable(client, name).await;
    let place = Place { client, namespace: name };
    let mut created = None;
    for object in &wish.objects {
        // What has to be unique in the cluster is called after the namespace.
        let object = place.named(object);
        let made = place.create(&object).await;
        if object["kind"] == wish.subject.1 && created.is_none() {
            created = Some(made);
        }
    }
    if let Some(then) = &wish.then {
        place.until(wish, |case| wishes::is_ready(&case.object)).await;
        place.merge(wish, then, None).await;
    }
    if wish.finalized {
        let (api, name) = place.subject(wish);
        api.delete(&name, &DeleteParams::default()).await.unwrap();
    }
    if let Some(status) = &wish.status {
        place.merge(wish, &json!({"status": status}), Some("status")).await;
    }
    let found = match created.filter(|_| wish.at_once) {
        Some(created) => place.case(wish, created).await,
        None => place.until(wish, |case| (wish.also)(&case.object) && wrong(wish, case).is_empty()).await,
    };
    let mut wrong = wrong(wish, &found);
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(case::FOLDER).join(format!("recorded-{}.yaml", wish.name));
    match std::env::var("ECOLAURA_RECORD").is_ok_and(|value| value == "1") {
        true if wrong.is_empty() => std::fs::write(path, scrub::text(&with_ends(found))).unwrap(),
        true => {}
        false => wrong.extend(other_than_recorded(wish, &path)),
    }
    place.end(wish).await;
    (!wrong.is_empty()).then(|| format!("{}: {}", wish.name, wrong.join("; ")))
}

/// Where a judgement differs from what is wished. How long it stands is of the moment.
fn wrong(wish: &Wish, case: &Case) -> Vec<String> {
    let mut case = case.clone();
    (case.strict, case.kstatus) = (wish.strict.clone(), wish.kstatus.clone());
    with_ends(case).wrong()
}

/// Whether the corpus expects something else than this test.
fn other_than_recorded(wish: &Wish, path: &Path) -> Option<String> {
    let recorded = match Case::read(path) {
        Ok(recorded) => recorded,
        Err(error) => return Some(format!("{}: {error}", path.display())),
    };
    let expected = Case { strict: wish.strict.clone(), kstatus: wish.kstatus.clone(), ..recorded.clone() };
    let expected = with_ends(expected);
    let same = (&recorded.strict, &recorded.kstatus) == (&expected.strict, &expected.kstatus);
    (!same).then(|| format!("{} expects {:?} and {:?}", path.display(), recorded.strict, recorded.kstatus))
}

/// With the ends of the graces that run.
fn with_ends(mut case: Case) -> Case {
    let end = |mode| case.judge(mode).ok().and_then(|found| found.until).map(|until| until.to_string());
    let (strict, kstatus) = (end(Mode::Strict), end(Mode::Kstatus));
    for (expected, end) in [(&mut case.strict, strict), (&mut case.kstatus, kstatus)] {
        if let Expected::Progressing { until, .. } = expected {
            *until = end;
        }
    }
    case
}

async fn until_usable(client: &Client, namespace: &str) {
    let accounts = Api::<k8s_openapi::api::core::v1::ServiceAccount>::namespaced(client.clone(), namespace);
    while accounts.get_opt("default").await.unwrap().is_none() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Where a wish is granted.
struct Place<'a> {
    client: &'a Client,
    namespace: &'a str,
}

const OF_THE_CLUSTER: &[&str] =
    &["APIService", "CustomResourceDefinition", "Namespace", "PersistentVolume", "StorageClass"];

impl Place<'_> {
    fn api(&self, version: &str, kind: &str) -> Api<DynamicObject> {
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
        if OF_THE_CLUSTER.contains(&kind) {
            Api::all_with(self.client.clone(), &resource)
        } else {
            Api::namespaced_with(self.client.clone(), self.namespace, &resource)
        }
    }

    /// With the name of the namespace wherever `NAMESPACE` stands.
    fn named(&self, object: &Value) -> Value {
        serde_json::from_str(&object.to_string().replace("NAMESPACE", self.namespace)).unwrap()
    }

    fn subject(&self, wish: &Wish) -> (Api<DynamicObject>, String) {
        let (version, kind, name) = wish.subject;
        (self.api(version, kind), name.replace("NAMESPACE", self.namespace))
    }

    async fn create(&self, object: &Value) -> Value {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap();
        let api = self.api(text("/apiVersion"), text("/kind"));
        let wanted: DynamicObject = serde_json::from_value(object.clone()).unwrap();
        let made = api.create(&PostParams::default(), &wanted).await;
        let made = made.unwrap_or_else(|error| panic!("{error}: {object}"));
        if text("/kind") == "ResourceQuota" {
            counted(self.client, self.namespace, text("/metadata/name")).await;
        }
        json(&made)
    }

    async fn merge(&self, wish: &Wish, patch: &Value, subresource: Option<&str>) {
        let (api, name) = self.subject(wish);
        let (params, patch) = (PatchParams::default(), Patch::Merge(patch));
        match subresource {
            Some(_) => api.patch_status(&name, &params, &patch).await.unwrap(),
            None => api.patch(&name, &params, &patch).await.unwrap(),
        };
    }

    /// The case once `is_so`, or as it is when patience ends.
    async fn until(&self, wish: &Wish, is_so: impl Fn(&Case) -> bool) -> Case {
        let began = std::time::Instant::now();
        loop {
            let (api, name) = self.subject(wish);
            if let Some(object) = api.get_opt(&name).await.unwrap() {
                let case = self.case(wish, json(&object)).await;
                if is_so(&case) || began.elapsed() > PATIENCE {
                    return case;
                }
            }
            assert!(began.elapsed() < PATIENCE, "{} never came", wish.name);
            tokio::time::sleep(Duration::from_millis(400)).await;
        }
    }

    /// What is there now, and of the rest what belongs to the object.
    async fn case(&self, wish: &Wish, object: Value) -> Case {
        let replica_sets = owned(&self.all::<ReplicaSet>().await, &[&object]);
        let owners: Vec<&Value> = replica_sets.iter().chain([&object]).collect();
        let pods = owned(&self.all::<Pod>().await, &owners);
        let own: BTreeSet<String> =
            owners.iter().copied().chain(&pods).map(|owner| owner["metadata"]["uid"].to_string()).collect();
        let events = self.all::<Event>().await.into_iter();
        let events = events.filter(|event| own.contains(&event["involvedObject"]["uid"].to_string()));
        let events = events.filter(|event| {
            event["type"] == "Warning" || scrub::TELLING.iter().any(|telling| event["reason"] == *telling)
        });
        let case = Case {
            from: format!("recorded from Kubernetes {}: {}", wishes::VERSION, wish.about),
            strict: wish.strict.clone(),
            kstatus: wish.kstatus.clone(),
            written: None,
            events: events.collect(),
            object,
            replica_sets,
            pods,
        };
        scrub::scrub(case, self.namespace, now())
    }

    async fn all<K>(&self) -> Vec<Value>
    where
        K: kube::Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
            + Clone
            + serde::de::DeserializeOwned
            + Serialize
            + std::fmt::Debug,
    {
        let api = Api::<K>::namespaced(self.client.clone(), self.namespace);
        api.list(&ListParams::default()).await.unwrap().items.iter().map(json).collect()
    }

    /// Takes away what the namespace does not take with it.
    async fn end(&self, wish: &Wish) {
        let of_the_cluster =
            wish.objects.iter().filter(|object| OF_THE_CLUSTER.iter().any(|kind| object["kind"] == *kind));
        for object in of_the_cluster.map(|object| self.named(object)) {
            let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap().to_owned();
            let api = self.api(&text("/apiVersion"), &text("/kind"));
            api.delete(&text("/metadata/name"), &DeleteParams::default()).await.ok();
        }
        if wish.finalized {
            let (api, name) = self.subject(wish);
            let patch = json!({"metadata": {"finalizers": null}});
            api.patch(&name, &PatchParams::default(), &Patch::Merge(patch)).await.unwrap();
        }
    }
}

fn json(object: &impl Serialize) -> Value {
    serde_json::to_value(object).unwrap()
}

/// Those that one of `owners` controls.
fn owned(all: &[Value], owners: &[&Value]) -> Vec<Value> {
    let is_owned = |object: &&Value| {
        let references = object["metadata"]["ownerReferences"].as_array().into_iter().flatten();
        references.into_iter().any(|reference| owners.iter().any(|owner| owner["metadata"]["uid"] == reference["uid"]))
    };
    all.iter().filter(is_owned).cloned().collect()
}
