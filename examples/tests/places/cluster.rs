//! On a real cluster: what the examples say, what stands there afterwards, the second call, and the end.

use std::collections::BTreeSet;

use ecolaura_deploy_core::{
    Context,
    backend::{ClusterStatus, ClusterTarget as _, Track},
    testing::servers::all_named,
    vocabulary::ServiceName,
};
use ecolaura_deploy_examples::{Http, scratch};
use ecolaura_deploy_k8s::{Connect, Connection, KubernetesCluster};
use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, api::DeleteParams};

use super::example::{Example, Run};

/// A test for each example.
pub const ALL: [(&str, fn()); 7] = [
    ("cluster::deploy_backend", a_second_release_takes_the_place_of_the_first_and_is_not_done_again),
    ("cluster::deploy_microservices", the_service_that_is_refused_goes_alone),
    ("cluster::blue_green", a_colour_that_does_not_pass_has_no_request),
    ("cluster::canary", a_canary_that_answers_errors_is_taken_back),
    ("cluster::rollback", the_way_back_leads_to_the_release_before),
    ("cluster::troubleshoot", a_release_that_crashes_is_named_with_its_last_words),
    ("cluster::fleet", three_environments_are_released_to_and_a_lost_pod_is_replaced),
];

/// An example and the cluster it runs on, which its namespace leaves with the test.
struct Guest {
    example: Example,
    kubeconfig: String,
    registry: String,
    runtime: tokio::runtime::Runtime,
}

impl Guest {
    /// None without a cluster, unless everything is asked for.
    fn new(name: &'static str) -> Option<Self> {
        let [kubeconfig, registry, _] =
            all_named(["ECOLAURA_TEST_KUBECONFIG", "ECOLAURA_TEST_REGISTRY", "ECOLAURA_TEST_NODE"])?;
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let guest = Self { example: Example::new(name), kubeconfig, registry, runtime };
        guest.down();
        Some(guest)
    }

    fn namespace(&self) -> String {
        format!("example-{}", self.example.name.replace('_', "-"))
    }

    /// It must have got through, and have looked at all that it says.
    fn run(&self) -> Run {
        self.run_with(&[])
    }

    fn run_with(&self, arguments: &[&str]) -> Run {
        let run = self.start(arguments);
        run.ends_with(0);
        assert!(!run.output.contains("cannot be reached"), "nothing is left out: {run}");
        assert!(run.output.contains(&format!("left on the cluster: namespace {}", self.namespace())), "{run}");
        assert!(run.output.contains("to take it away: cargo run") && run.output.contains("--down"), "{run}");
        run
    }

    fn start(&self, arguments: &[&str]) -> Run {
        self.look(&[&["--registry", &self.registry], arguments].concat())
    }

    fn look(&self, arguments: &[&str]) -> Run {
        self.example.run(&[&["--kubeconfig", &self.kubeconfig], arguments].concat())
    }

    fn down(&self) -> Run {
        let run = self.look(&["--down"]);
        run.ends_with(0);
        run
    }

    async fn connection(&self, cx: &Context) -> Connection {
        Connect::kubeconfig(&self.kubeconfig).connect(cx).await.unwrap()
    }

    fn status(&self) -> ClusterStatus {
        self.runtime.block_on(async {
            let cx = Context::new("test".parse().unwrap());
            let cluster = KubernetesCluster::new("cluster".parse().unwrap(), self.connection(&cx).await);
            cluster.status(&cx, &self.namespace().parse().unwrap()).await.unwrap()
        })
    }

    /// Exactly these pods of each service are there, all ready and stable, and every Service answers `answer`. The pods'
    /// names tell whether they are the ones from before.
    fn stands(&self, services: &[(&str, usize)], answer: &str) -> BTreeSet<String> {
        let status = self.status();
        let wanted: BTreeSet<&str> = services.iter().map(|(service, _)| *service).collect();
        let found: BTreeSet<&str> = status.snapshot.revisions.keys().map(ServiceName::as_str).collect();
        assert_eq!(found, wanted, "{status:?}");
        for (service, count) in services {
            let pods: Vec<_> = status.pods.iter().filter(|pod| pod.service.as_str() == *service).collect();
            assert_eq!(pods.len(), *count, "{service}: {status:?}");
            assert!(pods.iter().all(|pod| pod.ready && pod.track == Track::Stable), "{status:?}");
        }
        assert_eq!(status.addresses.len(), services.len(), "{status:?}");
        let http = Http::connecting(std::time::Duration::from_secs(5));
        for address in status.addresses.values() {
            assert_eq!(self.runtime.block_on(http.text(address)).unwrap().trim(), answer, "{address}");
        }
        status.pods.into_iter().map(|pod| pod.name).collect()
    }

    /// `--down` takes everything away, and says so.
    fn leaves(self) {
        let run = self.down();
        assert!(run.output.contains(&format!("namespace {} is gone", self.namespace())), "{run}");
        let found = self.runtime.block_on(async {
            let connection = self.connection(&Context::new("test".parse().unwrap())).await;
            Api::<Namespace>::all(connection.client()).get_opt(&self.namespace()).await.unwrap()
        });
        assert!(found.is_none(), "{found:?}");
        assert!(self.down().output.contains("nothing to take away"), "{run}");
    }
}

impl Drop for Guest {
    /// Nobody waits until it is gone.
    fn drop(&mut self) {
        self.runtime.block_on(async {
            let connection = self.connection(&Context::new("test".parse().unwrap())).await;
            let api = Api::<Namespace>::all(connection.client());
            _ = api.delete(&self.namespace(), &DeleteParams::default()).await;
        });
    }
}

fn a_second_release_takes_the_place_of_the_first_and_is_not_done_again() {
    let Some(guest) = Guest::new("deploy_backend") else { return };
    let run = guest.run();
    assert!(run.output.contains("answers `release 1`") && run.output.contains("answers `release 2`"), "{run}");
    let pods = guest.stands(&[("backend", 2)], "release 2");
    let run = guest.run();
    assert!(run.output.contains("nothing to do") && !run.output.contains("release 1"), "{run}");
    // As on another machine, or after `cargo clean`.
    std::fs::remove_dir_all(scratch("deploy_backend").join("records")).unwrap();
    assert!(guest.run().output.contains("nothing to do"), "what runs is what the cluster says, not the records");
    assert_eq!(guest.stands(&[("backend", 2)], "release 2"), pods, "they were not touched");
    guest.leaves();
}

fn the_service_that_is_refused_goes_alone() {
    let Some(guest) = Guest::new("deploy_microservices") else { return };
    let run = guest.run();
    assert!(run.output.contains("nobody likes the mail service"), "{run}");
    let services = [("orders", 2), ("users", 2)];
    let pods = guest.stands(&services, "hello");
    guest.run();
    assert_eq!(guest.stands(&services, "hello"), pods, "they were not touched");
}

fn a_colour_that_does_not_pass_has_no_request() {
    let Some(guest) = Guest::new("blue_green") else { return };
    let run = guest.run();
    assert!(run.output.contains("answers `blue`"), "{run}");
    assert_eq!(run.output.matches("answers `green`").count(), 2, "before and after the broken one: {run}");
    assert!(run.output.contains("answered 500"), "{run}");
    let pods = guest.stands(&[("backend", 2)], "green");
    let run = guest.run();
    assert!(run.output.contains("nothing to do") && !run.output.contains("answers `blue`"), "{run}");
    assert!(run.output.contains("answered 500"), "the broken one is tried again: {run}");
    assert_eq!(guest.stands(&[("backend", 2)], "green"), pods, "they were not touched");
}

fn a_canary_that_answers_errors_is_taken_back() {
    let Some(guest) = Guest::new("canary") else { return };
    for call in ["first", "second"] {
        let run = guest.run();
        assert!(run.output.contains("error rate: fail") && run.output.contains("rolled back"), "{call}: {run}");
        assert_eq!(run.output.matches("answers `good`").count(), 2, "{call}: {run}");
        guest.stands(&[("backend", 2)], "good");
    }
}

fn the_way_back_leads_to_the_release_before() {
    let Some(guest) = Guest::new("rollback") else { return };
    for call in ["first", "second"] {
        let run = guest.run();
        assert!(run.output.contains("answers `release 1`"), "{call}: {run}");
        guest.stands(&[("backend", 2)], "release 1");
    }
}

fn a_release_that_crashes_is_named_with_its_last_words() {
    let Some(guest) = Guest::new("troubleshoot") else { return };
    let run = guest.run();
    for word in ["crash loop", "fatal: cannot reach the database: DATABASE_URL is not set", "Events", "Next"] {
        assert!(run.output.contains(word), "no {word}: {run}");
    }
    let pods = guest.stands(&[("backend", 2)], "release 1");
    let run = guest.look(&["--namespace", &guest.namespace(), "--service", "backend"]);
    run.ends_with(0);
    assert!(run.output.contains("all 2 pods are ready"), "{run}");
    assert_eq!(guest.stands(&[("backend", 2)], "release 1"), pods, "who only looks changes nothing");
    let run = guest.look(&["--namespace", &guest.namespace(), "--service", "frontend"]);
    run.ends_with(1);
    assert!(run.output.contains("there is no Service frontend"), "{run}");
    let run = guest.look(&["--namespace", "nowhere"]);
    run.ends_with(1);
    assert!(run.output.contains("there is no namespace nowhere"), "{run}");
    assert!(guest.run().output.contains("crash loop"), "and once more");
}

fn three_environments_are_released_to_and_a_lost_pod_is_replaced() {
    let Some(guest) = Guest::new("fleet") else { return };
    let run = guest.run_with(&["--lose", "production"]);
    for environment in ["dev", "staging", "production"] {
        assert!(run.output.lines().any(|line| line.trim_end() == format!("{environment:10}  done")), "{run}");
    }
    assert_eq!(run.output.matches("goes on; 1 of its steps were done before").count(), 1, "{run}");
    assert!(run.output.contains("production  goes on"), "{run}");
    let services = ["web-dev", "web-production", "web-staging"].map(|service| (service, 2));
    let pods = guest.stands(&services, "release 1");
    for call in ["second", "third"] {
        let run = guest.run();
        assert_eq!(run.output.matches("roll out: nothing to do").count(), 3, "{call}: {run}");
        assert_eq!(guest.stands(&services, "release 1"), pods, "they were not touched");
    }
    let run = guest.start(&["--lose", "nowhere"]);
    run.ends_with(2);
    assert!(run.output.contains("there is no environment `nowhere`"), "{run}");
    guest.leaves();
}
