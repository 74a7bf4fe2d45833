//! Many runs as Jobs.

use std::{num::NonZeroUsize, sync::Arc};

use ecolaura_deploy_core::{
    event::{Event, EventKind, RecordingSink},
    run::RunResult,
};
use ecolaura_deploy_k8s::fleet::{Fleet, FleetReport, Member, MemberEnd};
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::ListParams};
use serde_json::json;

use crate::support::{Scratch, Servers, cx, image, name, runtime, servers};

struct Bench {
    servers: Servers,
    namespace: Scratch,
    /// A folder that the pods share.
    data: tempfile::TempDir,
    sink: Arc<RecordingSink>,
}

impl Bench {
    async fn new(servers: Servers) -> Self {
        let (namespace, data) = (servers.namespace().await, tempfile::tempdir().unwrap());
        Self { namespace, data, sink: Arc::new(RecordingSink::new()), servers }
    }

    async fn fleet(&self, at_once: usize) -> Fleet {
        let image = image(&self.servers, "deploy").await;
        let pod = json!({
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "deploy", "image": format!("{}/{image}", self.servers.registry),
                "command": ["/app/server", "deploy"], "volumeMounts": [{"name": "data", "mountPath": "/data"}]}],
            "volumes": [{"name": "data", "hostPath": {"path": self.data.path(), "type": "Directory"}}],
        });
        Fleet::new(self.servers.connection().await, self.namespace.name.clone(), pod)
            .at_once(NonZeroUsize::new(at_once).unwrap())
            .events(Arc::<RecordingSink>::clone(&self.sink))
    }

    async fn pods(&self) -> Vec<Pod> {
        let api = Api::<Pod>::namespaced(self.servers.client().await, self.namespace.name.as_str());
        api.list(&ListParams::default()).await.unwrap().items
    }

    fn heard(&self, environment: &str) -> Vec<Event> {
        let mut events = self.sink.events();
        events.retain(|event| event.environment.as_str() == environment);
        events
    }
}

fn member(environment: &str, result: &str) -> Member {
    Member::new(name(environment)).args([environment, result])
}

fn ends(report: FleetReport) -> Vec<MemberEnd> {
    report.members.into_iter().map(|member| member.end).collect()
}

#[test]
fn each_member_runs_once_and_a_lost_pod_is_replaced() {
    let Some(servers) = servers() else { return };
    runtime().block_on(async {
        let bench = Bench::new(servers).await;
        let fleet = bench.fleet(3).await;
        let members = [member("dev", "done"), member("staging", "undone"), member("production", "lost")];
        let report = fleet.run(&cx(), "release-1", &members).await.unwrap();
        println!("{report}");
        let undone = RunResult::RolledBack { failed: "roll out".to_owned(), cause: "no image".to_owned() };
        let wanted =
            [MemberEnd::Ran(RunResult::Succeeded), MemberEnd::Ran(undone), MemberEnd::Ran(RunResult::Succeeded)];
        assert_eq!(ends(report.clone()), wanted);
        assert!(report.into_result().unwrap_err().report().contains("staging undone"));
        assert_eq!(bench.pods().await.len(), 4, "one for each, and one in the place of the lost one");
        let resumed =
            bench.heard("production").into_iter().any(|event| matches!(event.kind, EventKind::RunResumed { .. }));
        assert!(resumed && bench.heard("dev").len() == 2, "{:?}", bench.sink.events());
        // Whoever comes again with the key finds what became of it.
        assert_eq!(ends(fleet.run(&cx(), "release-1", &members).await.unwrap()), wanted);
        assert_eq!(bench.pods().await.len(), 4);
    });
}

#[test]
fn no_more_run_at_once_than_is_said_and_none_after_a_failure() {
    let Some(servers) = servers() else { return };
    runtime().block_on(async {
        let bench = Bench::new(servers).await;
        let fleet = bench.fleet(1).await.stop_at_first_failure();
        let members = [member("dev", "done"), member("staging", "undone"), member("production", "done")];
        let report = fleet.run(&cx(), "release-1", &members).await.unwrap();
        let found = ends(report);
        assert!(found[0] == MemberEnd::Ran(RunResult::Succeeded) && found[2] == MemberEnd::NotStarted, "{found:?}");
        assert_eq!(bench.pods().await.len(), 2);
        let twice = [member("dev", "done"), member("dev", "done")];
        assert!(fleet.run(&cx(), "release-2", &twice).await.unwrap_err().report().contains("two members"));
        assert_eq!(bench.pods().await.len(), 2, "nothing is started where something is wrong");
    });
}
