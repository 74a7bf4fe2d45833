//! Commands in pods, run once.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use ecolaura_deploy_core::{
    Context, Effect, Error, ErrorKind, Result,
    backend::FailureCause,
    event::{EventKind, RecordingSink},
    pipeline::{Pipeline, constant},
    run::Runner,
    steps,
    store::ObjectRunStore,
    vocabulary::Digest,
};
use ecolaura_deploy_k8s::{
    Connection,
    job::{JobEnd, JobReport, JobRequest, OnCancel, delete_job, run_job},
};
use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use kube::{
    Api,
    api::{DeleteParams, ListParams},
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::{Scratch, Servers, cx, image, name, runtime, servers};

struct Bench {
    servers: Servers,
    namespace: Scratch,
    connection: Connection,
}

impl Bench {
    async fn new(servers: Servers) -> Self {
        Self { namespace: servers.namespace().await, connection: servers.connection().await, servers }
    }

    /// A Job whose container starts in this mode.
    async fn request(&self, key: &str, mode: &str) -> JobRequest {
        let image = image(&self.servers, mode).await;
        self.of_image(key, &format!("{}/{image}", self.servers.registry))
    }

    fn of_image(&self, key: &str, image: &str) -> JobRequest {
        let spec = json!({"backoffLimit": 0, "template": {"spec": {
            "restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "containers": [{"name": "c", "image": image}],
        }}});
        JobRequest::new(self.namespace.name.clone(), name("migrate"), key, spec)
    }

    async fn run(&self, request: &JobRequest) -> Result<JobReport> {
        run_job(&cx(), &self.connection, request).await
    }

    async fn pods(&self) -> Vec<Pod> {
        let api = Api::<Pod>::namespaced(self.servers.client().await, self.namespace.name.as_str());
        api.list(&ListParams::default()).await.unwrap().items
    }

    async fn jobs(&self) -> Vec<Job> {
        self.api().await.list(&ListParams::default()).await.unwrap().items
    }

    async fn api(&self) -> Api<Job> {
        Api::namespaced(self.servers.client().await, self.namespace.name.as_str())
    }
}

fn counted(lines: usize) -> Vec<String> {
    (1..=lines).map(|line| format!("line {line} of {lines}")).collect()
}

/// What running the Job in a step says.
async fn printed(bench: &Bench, request: &JobRequest) -> Vec<String> {
    let (connection, request) = (bench.connection.clone(), request.clone());
    let run = move |cx: Context, (): ()| {
        let (connection, request) = (connection.clone(), request.clone());
        async move { run_job(&cx, &connection, &request).await?.into_result() }
    };
    let mut pipeline = Pipeline::new("jobs".parse().unwrap(), "test".parse().unwrap());
    pipeline.add("migrate", steps::call("job", run), constant(()));
    let sink = Arc::new(RecordingSink::new());
    let runner = Runner::new(Arc::new(ObjectRunStore::memory())).events(Arc::<RecordingSink>::clone(&sink));
    let plan = runner.plan(&cx(), pipeline).await.unwrap();
    assert!(runner.run(&cx(), plan).await.unwrap().succeeded());
    let output = |kind| match kind {
        EventKind::Output { line, .. } => Some(line),
        _ => None,
    };
    sink.events().into_iter().filter_map(|event| output(event.kind)).collect()
}

#[test]
fn a_job_runs_once_for_its_key() {
    let Some(servers) = servers() else { return };
    runtime().block_on(async {
        let bench = Bench::new(servers).await;
        let request = bench.request("run-1/migrate", "count 50 0").await;
        assert_eq!(printed(&bench, &request).await, counted(50), "all that it printed, in order");
        // Many come again at the same time, and one with another wish.
        let again = futures_util::future::join_all((0..5).map(|_| bench.run(&request))).await;
        for report in again {
            let report = report.unwrap();
            assert!(report.adopted && report.end == JobEnd::Succeeded, "{report:?}");
        }
        let other = bench.request("run-1/migrate", "count 51 0").await;
        assert_eq!(bench.run(&other).await.unwrap_err().kind(), ErrorKind::AlreadyExists);
        assert_eq!((bench.jobs().await.len(), bench.pods().await.len()), (1, 1));
        delete_job(&cx(), &bench.connection, &request).await.unwrap();
        delete_job(&cx(), &bench.connection, &request).await.unwrap();
        assert_eq!((bench.jobs().await.len(), bench.pods().await.len()), (0, 0));
    });
}

#[test]
fn many_who_come_at_once_start_one() {
    let Some(servers) = servers() else { return };
    runtime().block_on(async {
        let bench = Bench::new(servers).await;
        let request = bench.request("run-2/migrate", "count 20 0").await;
        let all = futures_util::future::join_all((0..8).map(|_| bench.run(&request))).await;
        let adopted = all.iter().filter(|report| report.as_ref().is_ok_and(|report| report.adopted)).count();
        assert_eq!(adopted, 7, "{all:?}");
        assert_eq!(bench.pods().await.len(), 1);
    });
}

#[test]
fn a_job_that_fails_tells_why() {
    let Some(servers) = servers() else { return };
    runtime().block_on(async {
        let bench = Bench::new(servers).await;
        let mut request = bench.request("run-3/migrate", "count 3 7").await;
        request.spec["backoffLimit"] = json!(1);
        let began = Instant::now();
        let report = bench.run(&request).await.unwrap();
        let JobEnd::Failed { cause, chain, ran } = &report.end else { panic!("{report:?}") };
        println!("job failed: {:.1} s: {}", began.elapsed().as_secs_f32(), chain.join(" > "));
        assert_eq!((*cause, *ran), (FailureCause::JobFailed, true));
        let text = chain.join("\n");
        for words in ["BackoffLimitExceeded", "exit code 7", "log: line 3 of 3"] {
            assert!(text.contains(words), "no `{words}` in {text}");
        }
        assert_eq!(bench.pods().await.len(), 2, "as often as the spec says");
        let error = report.into_result().unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::CommandFailed, Effect::Unknown));
        // It is not started again for the same key.
        assert!(bench.run(&request).await.unwrap().adopted);
        assert_eq!(bench.pods().await.len(), 2);
    });
}

#[test]
fn a_job_that_can_never_start_is_taken_away() {
    let Some(servers) = servers() else { return };
    runtime().block_on(async {
        let bench = Bench::new(servers).await;
        let nothing = format!("{}/test/backend@{}", bench.servers.registry, Digest::of("no such job"));
        let request = bench.of_image("run-4/migrate", &nothing);
        let began = Instant::now();
        let report = bench.run(&request).await.unwrap();
        println!("image of a job missing: {:.1} s", began.elapsed().as_secs_f32());
        let JobEnd::Failed { cause, ran, .. } = &report.end else { panic!("{report:?}") };
        assert_eq!((*cause, *ran), (FailureCause::ImageMissing, false), "{report:?}");
        assert_eq!((bench.jobs().await.len(), bench.pods().await.len()), (0, 0));
        assert_eq!(report.into_result().unwrap_err().effect(), Effect::None);
    });
}

#[test]
fn a_job_has_a_deadline_of_its_own() {
    let Some(servers) = servers() else { return };
    runtime().block_on(async {
        let bench = Bench::new(servers).await;
        let request = bench.request("run-5/migrate", "silent").await.deadline(Duration::from_secs(2));
        let report = bench.run(&request).await.unwrap();
        let JobEnd::Failed { cause, .. } = &report.end else { panic!("{report:?}") };
        assert_eq!(*cause, FailureCause::DeadlineExceeded, "{report:?}");
    });
}

/// What comes of a Job whose wait is cancelled after it has begun.
async fn cancelled(bench: &Bench, request: &JobRequest, timeout: bool) -> Error {
    let token = CancellationToken::new();
    let (waiting, patience) = (cx().with_cancellation(token.clone()), Duration::from_secs(4));
    let waiting = if timeout { waiting.with_deadline_in(patience) } else { waiting };
    let ended = run_job(&waiting, &bench.connection, request);
    let cancel = async {
        tokio::time::sleep(patience).await;
        if !timeout {
            token.cancel();
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        ended = ended => ended.unwrap_err(),
        () = cancel => unreachable!(),
    }
}

#[test]
fn a_cancel_leaves_it_or_takes_it_away_as_chosen() {
    let Some(servers) = servers() else { return };
    runtime().block_on(async {
        let bench = Bench::new(servers).await;
        for timeout in [false, true] {
            let request = bench.request(&format!("run-6/{timeout}"), "count 400 0").await;
            let error = cancelled(&bench, &request, timeout).await;
            let kind = if timeout { ErrorKind::Timeout } else { ErrorKind::Cancelled };
            assert_eq!((error.kind(), error.effect()), (kind, Effect::Unknown), "{error:?}");
            assert!(error.report().contains("runs on"), "{}", error.report());
            // Whoever comes next waits for that one.
            let report = bench.run(&request).await.unwrap();
            assert!(report.adopted && report.end == JobEnd::Succeeded, "{report:?}");

            let mut request = request.on_cancel(OnCancel::Delete);
            request.key = format!("run-7/{timeout}");
            let error = cancelled(&bench, &request, timeout).await;
            assert!(error.report().contains("is deleted"), "{}", error.report());
            assert_eq!(bench.jobs().await.len(), if timeout { 2 } else { 1 });
        }
    });
}

#[test]
fn a_job_that_somebody_else_deletes_is_not_run_again() {
    let Some(servers) = servers() else { return };
    runtime().block_on(async {
        let bench = Bench::new(servers).await;
        let request = bench.request("run-8/migrate", "silent").await;
        let delete = async {
            let api = bench.api().await;
            while bench.pods().await.is_empty() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            api.delete(&request.job_name(), &DeleteParams::background()).await.unwrap();
        };
        let (ended, ()) = tokio::join!(bench.run(&request), delete);
        let error = ended.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::Unknown), "{error:?}");
    });
}

#[test]
fn containers_are_told_apart() {
    let Some(servers) = servers() else { return };
    runtime().block_on(async {
        let bench = Bench::new(servers).await;
        let mut request = bench.request("run-9/migrate", "count 2 0").await;
        let pod = &mut request.spec["template"]["spec"];
        let mut first: Value = pod["containers"][0].clone();
        first["name"] = json!("first");
        pod["initContainers"] = json!([first]);
        let lines = printed(&bench, &request).await;
        let of = |name: &str| counted(2).into_iter().map(|line| format!("{name}: {line}")).collect::<Vec<_>>();
        assert_eq!(lines, [of("first"), of("c")].concat());
    });
}
