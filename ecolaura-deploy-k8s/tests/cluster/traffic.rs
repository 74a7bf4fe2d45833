//! No request is lost while versions change: steady load through the address of the Service, counted.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use ecolaura_deploy_core::{
    backend::{
        AppliedWorkload, ApplyRequest, ClusterTarget as _, Placement, RolloutState, Traffic, TrafficRequest, Workload,
    },
    vocabulary::PinnedImage,
};
use ecolaura_deploy_k8s::KubernetesCluster;

use crate::support::{Scratch, Servers, ask, cx, get, image, runtime, servers};

/// Callers, each with a request every 30 ms: 265 a second.
const CALLERS: usize = 8;
const PAUSE: Duration = Duration::from_millis(30);

const MANIFEST: &str = r"
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 1, maxUnavailable: 0}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 6
      containers:
        - name: web
          image: web
          ports: [{name: http, containerPort: 8080}]
          env:
            - {name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
            - {name: PORT, value: '8080'}
          readinessProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 1}
          lifecycle: {preStop: {sleep: {seconds: 4}}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{port: 8080, targetPort: http}]
";

/// What was answered.
#[derive(Debug, Default)]
struct Counts {
    first: AtomicU64,
    second: AtomicU64,
    failed: AtomicU64,
}

struct Load {
    counts: Arc<Counts>,
    stop: Arc<AtomicBool>,
    callers: Vec<JoinHandle<Vec<String>>>,
    began: Instant,
}

impl Load {
    fn on(address: &str) -> Self {
        let (counts, stop) = (Arc::<Counts>::default(), Arc::<AtomicBool>::default());
        let caller = |_| {
            let (counts, stop, address) = (Arc::clone(&counts), Arc::clone(&stop), address.to_owned());
            std::thread::spawn(move || call(&address, &counts, &stop))
        };
        let callers = (0..CALLERS).map(caller).collect();
        Self { counts, stop, callers, began: Instant::now() }
    }

    /// The requests that each version answered since it was asked last.
    fn lap(&self) -> (u64, u64) {
        (self.counts.first.swap(0, Relaxed), self.counts.second.swap(0, Relaxed))
    }

    /// Ends the load; every request must have been answered.
    fn end(self, what: &str) {
        self.stop.store(true, Relaxed);
        let errors: Vec<String> = self.callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect();
        let answered = self.counts.first.load(Relaxed) + self.counts.second.load(Relaxed);
        println!(
            "{what}: failed {} in {:.0} s, {answered} answered since the last look",
            errors.len(),
            self.began.elapsed().as_secs_f32()
        );
        assert!(errors.is_empty(), "{} requests failed, such as {:?}", errors.len(), &errors[..errors.len().min(5)]);
    }
}

fn call(address: &str, counts: &Counts, stop: &AtomicBool) -> Vec<String> {
    let mut errors = Vec::new();
    while !stop.load(Relaxed) {
        match get(address).as_deref() {
            Ok("v1") => _ = counts.first.fetch_add(1, Relaxed),
            Ok("v2") => _ = counts.second.fetch_add(1, Relaxed),
            Ok(other) => errors.push(format!("answered {other}")),
            Err(error) => errors.push(error.clone()),
        }
        std::thread::sleep(PAUSE);
    }
    counts.failed.fetch_add(errors.len() as u64, Relaxed);
    errors
}

struct Bench {
    namespace: Scratch,
    cluster: KubernetesCluster,
    files: tempfile::TempDir,
    first: PinnedImage,
    second: PinnedImage,
}

impl Bench {
    async fn new(servers: &Servers) -> Self {
        let files = tempfile::tempdir().unwrap();
        std::fs::write(files.path().join("web.yaml"), MANIFEST).unwrap();
        Self {
            namespace: servers.namespace().await,
            cluster: servers.cluster().await,
            files,
            first: image(servers, "serve v1").await,
            second: image(servers, "serve v2").await,
        }
    }

    async fn apply(&self, image: &PinnedImage, placement: Placement) -> AppliedWorkload {
        let workload = Workload::new(self.namespace.name.clone(), [self.files.path()]).image("web", image.clone());
        let applied = self.cluster.apply(&cx(), &ApplyRequest::new(workload, placement)).await.unwrap();
        let state = self.cluster.wait_until_ready(&cx(), &applied).await.unwrap();
        assert_eq!(state, RolloutState::Ready);
        applied
    }

    async fn shift(&self, candidate: &AppliedWorkload, traffic: Traffic) {
        self.cluster.shift(&cx(), &TrafficRequest::new(candidate.clone(), traffic)).await.unwrap();
    }

    /// The first version, and load on it.
    async fn loaded(&self) -> Load {
        let applied = self.apply(&self.first, Placement::Replace).await;
        let address = applied.addresses.values().next().unwrap().clone();
        ask(address.clone()).await.unwrap();
        // Nodes hear of a Service one after the other.
        tokio::time::sleep(Duration::from_secs(2)).await;
        Load::on(&address)
    }
}

async fn moment() {
    tokio::time::sleep(Duration::from_secs(3)).await;
}

fn on_a_cluster(test: impl AsyncFnOnce(Bench)) {
    let Some(servers) = servers() else { return };
    runtime().block_on(async { test(Bench::new(&servers).await).await });
}

#[test]
fn a_rolling_update_loses_no_request() {
    on_a_cluster(async |bench| {
        let load = bench.loaded().await;
        bench.apply(&bench.second, Placement::Replace).await;
        load.lap();
        moment().await;
        let (first, second) = load.lap();
        assert!(
            first == 0 && second > 0,
            "{first} requests reached the old version after the roll-out, {second} the new one"
        );
        load.end("rolling update");
    });
}

#[test]
fn a_switch_of_colours_and_back_and_for_good_loses_no_request() {
    on_a_cluster(async |bench| {
        let load = bench.loaded().await;
        let candidate = bench.apply(&bench.second, Placement::Beside { replicas: None }).await;
        let (_, second) = load.lap();
        assert_eq!(second, 0, "the new colour had requests before the switch");
        for (percent, name) in [(100, "to the new colour"), (0, "back"), (100, "to the new colour again")] {
            bench.shift(&candidate, Traffic::Candidate { percent }).await;
            load.lap();
            moment().await;
            let (first, second) = load.lap();
            let others = if percent == 100 { first } else { second };
            assert_eq!(others, 0, "{name}: {first} to the old, {second} to the new");
        }
        bench.shift(&candidate, Traffic::Promote).await;
        load.lap();
        moment().await;
        let (first, second) = load.lap();
        assert!(first == 0 && second > 0, "{first} to the old, {second} to the new");
        load.end("blue-green");
    });
}

#[test]
fn a_canary_forward_and_aborted_loses_no_request() {
    on_a_cluster(async |bench| {
        let load = bench.loaded().await;
        let candidate = bench.apply(&bench.second, Placement::Beside { replicas: Some(1) }).await;
        for percent in [33, 50] {
            bench.shift(&candidate, Traffic::Candidate { percent }).await;
            load.lap();
            moment().await;
            let (first, second) = load.lap();
            let share = second * 100 / (first + second).max(1);
            println!("{percent} % asked for, {share} % of {} requests", first + second);
            assert!(share.abs_diff(u64::from(percent)) < 12, "{percent} % were asked for, {share} % came");
        }
        bench.shift(&candidate, Traffic::Discard).await;
        load.lap();
        moment().await;
        let (first, second) = load.lap();
        assert!(second == 0 && first > 0, "{first} to the stable one, {second} to the candidate after the abort");
        load.end("canary");
    });
}
