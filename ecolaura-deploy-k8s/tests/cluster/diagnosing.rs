//! A namespace in which everything is wrong, looked at; and logs of real containers.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use ecolaura_deploy_core::vocabulary::{Digest, PinnedImage};
use ecolaura_deploy_k8s::{
    LogSource,
    diagnose::{Diagnosis, Health, PodReport, Selection, diagnose},
    logs,
};
use futures_util::TryStreamExt as _;
use k8s_openapi::api::{
    apps::v1::Deployment,
    core::v1::{Pod, Service},
};
use kube::{Api, api::PostParams};
use serde_json::{Value, json};

use crate::support::{Scratch, Servers, cx, image, runtime, servers, servers_alone};

/// What is wrong needs some time to show: restarts back off.
const SHOWN: Duration = Duration::from_secs(90);

struct Bench {
    servers: Servers,
    namespace: Scratch,
}

impl Bench {
    async fn new(servers: Servers) -> Self {
        Self { namespace: servers.namespace().await, servers }
    }

    fn namespace(&self) -> &str {
        self.namespace.name.as_str()
    }

    fn pulled(&self, image: &PinnedImage) -> String {
        format!("{}/{image}", self.servers.registry)
    }

    /// A Deployment of one pod whose container has this besides.
    async fn deploy(&self, name: &str, image: &str, container: &Value) {
        let mut web = json!({"name": "web", "image": image, "env": [
            {"name": "PORT", "value": "8080"},
            {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
        ]});
        web.as_object_mut().unwrap().extend(container.as_object().unwrap().clone());
        let labels = json!({"app": name});
        let deployment: Deployment = serde_json::from_value(json!({
            "metadata": {"name": name},
            "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": {
                "metadata": {"labels": labels}, "spec": {"containers": [web]},
            }},
        }))
        .unwrap();
        let api = Api::<Deployment>::namespaced(self.servers.client().await, self.namespace());
        api.create(&PostParams::default(), &deployment).await.unwrap();
    }

    async fn look(&self, selection: &Selection) -> Diagnosis {
        diagnose(&cx(), &self.servers.connection().await, selection).await.unwrap()
    }

    /// Looks until `is` so.
    async fn until(&self, selection: &Selection, is: impl Fn(&Diagnosis) -> bool) -> Diagnosis {
        let began = Instant::now();
        loop {
            let found = self.look(selection).await;
            if is(&found) {
                return found;
            }
            assert!(began.elapsed() < SHOWN, "{found}");
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    }

    async fn pod(&self, image: &PinnedImage) {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "counts"},
            "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": self.pulled(image)}]},
        }))
        .unwrap();
        let api = Api::<Pod>::namespaced(self.servers.client().await, self.namespace());
        // A new namespace has its service account a moment later.
        for _ in 0..100 {
            match api.create(&PostParams::default(), &pod).await {
                Err(kube::Error::Api(status)) if status.message.contains("service account") => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                created => return drop(created.unwrap()),
            }
        }
        panic!("no service account came");
    }
}

fn pods(diagnosis: &Diagnosis) -> &[PodReport] {
    diagnosis.pods.known().unwrap()
}

/// The pod of the Deployment `name`.
fn of<'a>(diagnosis: &'a Diagnosis, name: &str) -> &'a PodReport {
    pods(diagnosis).iter().find(|pod| pod.name.starts_with(name)).unwrap_or_else(|| panic!("no {name}: {diagnosis}"))
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let Some(servers) = servers() else { return };
    runtime().block_on(async {
        let bench = Bench::new(servers).await;
        let good = bench.pulled(&image(&bench.servers, "serve v1").await);
        let crashing = bench.pulled(&image(&bench.servers, "crash").await);
        let probe = json!({"readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1}});
        bench.deploy("good", &good, &probe).await;
        bench.deploy("crashing", &crashing, &json!({})).await;
        let nothing = Digest::of("no such image");
        bench.deploy("missing", &format!("{}/test/backend@{nothing}", bench.servers.registry), &json!({})).await;
        bench.deploy("unset", &good, &json!({"envFrom": [{"configMapRef": {"name": "nowhere"}}]})).await;
        bench.deploy("large", &good, &json!({"resources": {"requests": {"cpu": "500"}}})).await;
        let sick = json!({"readinessProbe": {"httpGet": {"path": "/healthz", "port": 9}, "periodSeconds": 1}});
        bench.deploy("sick", &good, &sick).await;

        let all = Selection::all(bench.namespace());
        let ready = |found: &Diagnosis, name: &str, words: &str| of(found, name).headline.contains(words);
        let found = bench
            .until(&all, |found| {
                pods(found).len() == 6
                    && ready(found, "good", "ready")
                    && ready(found, "crashing", "crash loop")
                    && ready(found, "missing", "image missing")
                    && ready(found, "unset", "configuration missing")
                    && ready(found, "large", "unschedulable")
                    && ready(found, "sick", "Readiness probe failed")
                    && of(found, "crashing").containers[0].previous.is_some()
            })
            .await;
        assert_eq!(pods(&found)[5].health, Health::Fine, "the most broken first: {found}");
        let crashing = &of(&found, "crashing").containers[0];
        let previous = crashing.previous.as_ref().and_then(|log| log.known()).unwrap();
        assert_eq!(previous.lines, ["cannot go on: no database"]);
        assert!(of(&found, "unset").headline.contains("nowhere"), "{found}");
        assert!(of(&found, "large").headline.contains("cpu"), "{found}");
        assert!(found.nodes.known().is_some_and(|nodes| !nodes.is_empty()), "{found}");
        assert!(found.events.known().unwrap().iter().any(|event| event.reason == "BackOff"), "{found}");
        assert_eq!(found.workloads.len(), 6);
        let text = found.to_string();
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");

        let began = Instant::now();
        let again = bench.look(&all).await;
        println!("looked at {} pods in {:.2} s", pods(&again).len(), began.elapsed().as_secs_f32());
    });
}

#[test]
fn a_service_is_looked_at_with_what_stands_behind_it() {
    let Some(servers) = servers() else { return };
    runtime().block_on(async {
        let bench = Bench::new(servers).await;
        let good = bench.pulled(&image(&bench.servers, "serve v1").await);
        bench.deploy("web", &good, &json!({"ports": [{"name": "http", "containerPort": 8080}]})).await;
        bench.deploy("other", &good, &json!({})).await;
        let service: Service = serde_json::from_value(json!({
            "metadata": {"name": "web"},
            "spec": {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": "http"}]},
        }))
        .unwrap();
        let api = Api::<Service>::namespaced(bench.servers.client().await, bench.namespace());
        api.create(&PostParams::default(), &service).await.unwrap();
        let selection = Selection::service(bench.namespace(), "web");
        let found = bench
            .until(&selection, |found| {
                let service = found.services.known().and_then(|services| services.first());
                service.is_some_and(|service| service.ready == 1)
                    && pods(found).iter().all(|pod| pod.health == Health::Fine)
            })
            .await;
        assert_eq!((pods(&found).len(), found.workloads.len()), (1, 1), "{found}");
        assert!(found.to_string().contains("its pod is ready"), "{found}");
        assert!(found.events.known().unwrap().iter().all(|event| event.object.contains("web")), "{found}");
        let log = pods(&found)[0].containers[0].log.known().unwrap();
        assert!(log.lines[0].starts_with("v1 listens on"), "{log:?}");
        // The kubelet's figures take half a minute.
        let used = bench.until(&selection, |found| found.usage.known().is_some_and(|usage| !usage.is_empty())).await;
        assert!(used.usage.known().unwrap()[0].memory > 0, "{used}");
        assert!(used.nodes.known().unwrap()[0].memory.is_some(), "{used}");
    });
}

fn counted(lines: usize) -> Vec<String> {
    (1..=lines).map(|line| format!("line {line} of {lines}")).collect()
}

#[test]
fn a_log_is_followed_from_before_the_start_to_the_end() {
    let Some(servers) = servers() else { return };
    runtime().block_on(async {
        let bench = Bench::new(servers).await;
        let image = image(&bench.servers, "count 100 0").await;
        bench.pod(&image).await;
        let connection = bench.servers.connection().await;
        let source = LogSource::new(bench.namespace(), "counts").container("c").follow();
        let lines: Vec<String> = logs(&cx(), &connection, source).try_collect().await.unwrap();
        assert_eq!(lines, counted(100));
        let last = LogSource::new(bench.namespace(), "counts").last(2);
        let lines: Vec<String> = logs(&cx(), &connection, last).try_collect().await.unwrap();
        assert_eq!(lines, counted(100)[98..]);
    });
}

#[test]
fn a_followed_log_outlives_the_api_server() {
    let Some(servers) = servers_alone() else { return };
    runtime().block_on(async {
        let bench = Bench::new(servers).await;
        let image = image(&bench.servers, "count 500 0").await;
        bench.pod(&image).await;
        let restart = std::env::var("ECOLAURA_TEST_RESTART_APISERVER").unwrap();
        let restarted = tokio::task::spawn_blocking(move || {
            std::thread::sleep(Duration::from_secs(4));
            Command::new(restart).arg("1").output().unwrap()
        });
        let connection = bench.servers.connection().await;
        let source = LogSource::new(bench.namespace(), "counts").follow();
        let lines: Vec<String> = logs(&cx(), &connection, source).try_collect().await.unwrap();
        let restarted = restarted.await.unwrap();
        assert!(restarted.status.success(), "{}", String::from_utf8_lossy(&restarted.stderr));
        let wrong = counted(500).into_iter().zip(&lines).find(|(wanted, found)| wanted != *found);
        assert_eq!((wrong, lines.len()), (None, 500), "each line once");
    });
}
