use super::*;
use crate::vocabulary::{EnvironmentName, Repository};

const MANIFEST: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: web}
data: {level: info}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - {name: web, image: a/web, ports: [{containerPort: 80}], envFrom: [{configMapRef: {name: web}}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
";

struct Bench {
    cluster: FakeCluster,
    cx: Context,
    folder: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("web.yaml"), MANIFEST).unwrap();
        let cx = Context::new(EnvironmentName::new("dev").unwrap());
        Self { cluster: FakeCluster::new(Name::new("fake").unwrap()), cx, folder }
    }

    async fn apply(&self, version: &str, placement: Placement) -> AppliedWorkload {
        let workload = Workload::new(namespace(), [self.folder.path()]).image("a/web", image(version));
        self.cluster.apply(&self.cx, &ApplyRequest::new(workload, placement)).await.unwrap()
    }

    async fn ready(&self, applied: &AppliedWorkload) {
        assert_eq!(self.cluster.wait_until_ready(&self.cx, applied).await.unwrap(), RolloutState::Ready);
    }

    async fn shift(&self, candidate: &AppliedWorkload, traffic: Traffic) {
        self.cluster.shift(&self.cx, &TrafficRequest::new(candidate.clone(), traffic)).await.unwrap();
    }
}

fn namespace() -> Name {
    Name::new("dev").unwrap()
}

fn image(version: &str) -> PinnedImage {
    PinnedImage::new(Repository::new("a/web").unwrap(), Digest::of(version))
}

#[tokio::test(start_paused = true)]
async fn pods_become_ready_one_after_the_other() {
    let bench = Bench::new();
    let applied = bench.apply("1", Placement::Replace).await;
    let ready = async || {
        let status = bench.cluster.status(&bench.cx, &namespace()).await.unwrap();
        status.pods.iter().filter(|pod| pod.ready).count()
    };
    let mut seen = Vec::new();
    for _ in 0..5 {
        seen.push(ready().await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(seen, [0, 1, 2, 3, 3]);
    bench.ready(&applied).await;
}

#[tokio::test(start_paused = true)]
async fn a_candidate_gets_exactly_its_share() {
    let bench = Bench::new();
    let stable = bench.apply("1", Placement::Replace).await;
    bench.ready(&stable).await;
    let candidate = bench.apply("2", Placement::Beside { replicas: Some(1) }).await;
    bench.ready(&candidate).await;
    let address = stable.addresses.values().next().unwrap();
    for percent in [0, 10, 33, 100, 5] {
        bench.shift(&candidate, Traffic::Candidate { percent }).await;
        let answers = (0..1000).filter(|_| bench.cluster.answer(address) == Some(image("2"))).count();
        assert!(answers.abs_diff(usize::from(percent) * 10) <= 1, "{answers} at {percent} %");
    }
    assert_eq!(bench.cluster.answer("http://elsewhere"), None);
}

#[tokio::test(start_paused = true)]
async fn calls_that_changed_something_are_remembered() {
    let bench = Bench::new();
    for _ in 0..2 {
        let stable = bench.apply("1", Placement::Replace).await;
        bench.ready(&stable).await;
    }
    let beside = Placement::Beside { replicas: None };
    let candidate = bench.apply("2", beside).await;
    bench.ready(&candidate).await;
    bench.shift(&candidate, Traffic::Promote).await;
    bench.shift(&candidate, Traffic::Promote).await;
    let services = candidate.services.clone();
    let revisions = |revision| services.iter().map(|name| (name.clone(), revision)).collect();
    assert_eq!(
        bench.cluster.calls(),
        [
            ClusterCall::Applied { revisions: revisions(1), placement: Placement::Replace },
            ClusterCall::Applied { revisions: revisions(2), placement: beside },
            ClusterCall::Shifted { services: services.clone(), traffic: Traffic::Promote },
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn configuration_reaches_the_process() {
    let bench = Bench::new();
    let applied = bench.apply("1", Placement::Replace).await;
    let environment = bench.cluster.environment(&namespace(), &applied.services[0]).unwrap();
    assert_eq!(environment.get("level").map(String::as_str), Some("info"));
    assert_eq!(environment.get("PORT").map(String::as_str), Some("80"));
}
