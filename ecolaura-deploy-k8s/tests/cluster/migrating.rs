//! Jobs as steps of a pipeline, and migrations by the tool of an ORM in an app's image.

mod sqlite;

use std::{path::Path, sync::Arc, time::Duration};

use ecolaura_deploy_core::{
    Admitted, Context, Error, ErrorKind,
    backend::{BackupLevel, ImageMigrator as _, MigrationPlan, Migrator},
    pipeline::{Constant, Pipeline, constant},
    run::{RunResult, Runner},
    step::NoUndo,
    steps::{self, MigrateOf, Safeguard},
    store::ObjectRunStore,
    vocabulary::{MigrationVersion, PinnedImage},
};
use ecolaura_deploy_k8s::job::{JobMigrator, MigrationTool, OwnTool, RunJob};
use k8s_openapi::api::batch::v1::Job;
use kube::{Api, api::ListParams};
use serde_json::{Value, json};

use crate::support::{Scratch, Servers, cx, image, image_with_tool, name, runtime, servers};

struct Bench {
    servers: Servers,
    namespace: Scratch,
    runner: Runner,
    /// The database, as a folder of the node.
    data: tempfile::TempDir,
}

const V0: MigrationVersion = MigrationVersion(0);
const V2: MigrationVersion = MigrationVersion(2);
const V3: MigrationVersion = MigrationVersion(3);

impl Bench {
    async fn new(servers: Servers) -> Self {
        let (namespace, data) = (servers.namespace().await, tempfile::tempdir().unwrap());
        Self { namespace, runner: Runner::new(Arc::new(ObjectRunStore::memory())), data, servers }
    }

    async fn step(&self, job: &str, spec: Value) -> RunJob {
        RunJob::new(self.servers.connection().await, self.namespace.name.clone(), name(job), spec)
            .registry(self.servers.registry.clone())
    }

    /// The Jobs that are there, by the names that they were asked for under.
    async fn jobs(&self) -> Vec<String> {
        let api = Api::<Job>::namespaced(self.servers.client().await, self.namespace.name.as_str());
        let jobs = api.list(&ListParams::default()).await.unwrap().items;
        let mut names: Vec<String> =
            jobs.into_iter().map(|job| job.metadata.labels.unwrap()["deploy.ecolaura.io/job"].clone()).collect();
        names.sort();
        names
    }

    async fn migrator(&self, milliseconds: u32) -> JobMigrator {
        let pod = json!({
            "terminationGracePeriodSeconds": 0,
            "containers": [{"name": "app", "image": "test/backend",
                "env": [{"name": "MIGRATION_MS", "value": milliseconds.to_string()}],
                "volumeMounts": [{"name": "data", "mountPath": "/data"}]}],
            "volumes": [{"name": "data", "hostPath": {"path": self.data.path(), "type": "Directory"}}],
        });
        let connection = self.servers.connection().await;
        let tool = MigrationTool::Own(OwnTool::sqlx());
        JobMigrator::new(name("shop"), connection, self.namespace.name.clone(), pod, tool)
            .registry(self.servers.registry.clone())
    }

    fn ledger(&self) -> String {
        std::fs::read_to_string(self.data.path().join("ledger")).unwrap_or_default()
    }
}

fn spec(container: &Value) -> Value {
    json!({"backoffLimit": 0, "template": {"spec": {
        "restartPolicy": "Never", "terminationGracePeriodSeconds": 0, "containers": [container],
    }}})
}

type Images = Vec<(Constant<String>, Constant<Admitted<PinnedImage>>)>;

fn images(image: &PinnedImage) -> Images {
    vec![(constant("test/backend".to_owned()), constant(Admitted::by_gate("scan", image.clone())))]
}

fn pipeline() -> Pipeline {
    Pipeline::new("jobs".parse().unwrap(), "test".parse().unwrap())
}

fn failing() -> impl ecolaura_deploy_core::step::Step<Input = (), Output = (), Undo = NoUndo> {
    steps::call("fail", |_: Context, (): ()| async { Err(Error::new(ErrorKind::GateRefused, "test", "no")) })
}

async fn run(bench: &Bench, pipeline: Pipeline) -> RunResult {
    let plan = bench.runner.plan(&cx(), pipeline).await.unwrap();
    bench.runner.run(&cx(), plan).await.unwrap().result
}

#[test]
fn a_job_runs_once_for_its_images_and_again_for_others() {
    let Some(servers) = servers() else { return };
    runtime().block_on(async {
        let bench = Bench::new(servers).await;
        let one = async |image: &PinnedImage| {
            let mut pipeline = pipeline();
            let job = bench.step("report", spec(&json!({"name": "c", "image": "test/backend"}))).await;
            pipeline.add("report", job, images(image));
            assert!(matches!(run(&bench, pipeline).await, RunResult::Succeeded));
            bench.jobs().await.len()
        };
        let (first, second) = (image(&bench.servers, "count 1 0").await, image(&bench.servers, "count 2 0").await);
        assert_eq!(one(&first).await, 1);
        assert_eq!(one(&first).await, 1, "nothing has changed");
        assert_eq!(one(&second).await, 2);
    });
}

#[test]
fn a_job_that_is_undone_by_another() {
    let Some(servers) = servers() else { return };
    runtime().block_on(async {
        let bench = Bench::new(servers).await;
        let image = image(&bench.servers, "count 1 0").await;
        let container = json!({"name": "c", "image": "test/backend"});
        let mut pipeline = pipeline();
        let job = bench.step("seed", spec(&container)).await.undone_by(spec(&container));
        let seeded = pipeline.add("seed", job, images(&image));
        pipeline.step("fail", failing(), constant(())).after(&seeded).add();
        assert!(matches!(run(&bench, pipeline).await, RunResult::RolledBack { .. }));
        assert_eq!(bench.jobs().await, ["seed", "seed"], "one that did it, one that undid it");
    });
}

#[test]
fn tests_in_a_job_judge_the_release_and_refuse_it() {
    let Some(servers) = servers() else { return };
    runtime().block_on(async {
        let bench = Bench::new(servers).await;
        let image = image(&bench.servers, "crash").await;
        let with_tests = async |changes: bool| {
            let mut pipeline = pipeline();
            let changed = steps::call("change", |_: Context, (): ()| async { Ok(()) });
            let job = bench.step("tests", spec(&json!({"name": "c", "image": "test/backend"}))).await.judging();
            let tests = pipeline.step("tests", job, images(&image));
            if changes {
                let changed = pipeline.add("change", changed, constant(()));
                let job = bench.step("tests", spec(&json!({"name": "c", "image": "test/backend"}))).await.judging();
                pipeline.step("tests", job, images(&image)).after(&changed).add();
            } else {
                tests.add();
            }
            run(&bench, pipeline).await
        };
        assert!(matches!(with_tests(false).await, RunResult::Succeeded));
        assert!(bench.jobs().await.is_empty(), "nothing to judge");
        let refused = with_tests(true).await;
        let RunResult::RolledBack { cause, .. } = &refused else { panic!("{refused:?}") };
        assert!(format!("{cause:?}").contains("cannot go on: no database"), "the log tells why: {cause:?}");
    });
}

fn versions(plan: &MigrationPlan) -> (Vec<i64>, Vec<i64>) {
    let applied = plan.applied.iter().map(|version| version.0);
    (applied.collect(), plan.pending.iter().map(|migration| migration.version.0).collect())
}

#[test]
fn the_tool_of_an_orm_migrates_and_reverts() {
    let Some(servers) = servers() else { return };
    runtime().block_on(async {
        let bench = Bench::new(servers).await;
        let image = image_with_tool(&bench.servers, "sqlx").await;
        let source = Arc::new(bench.migrator(0).await);
        let migrator = source.of(&image);
        assert_eq!(versions(&migrator.plan(&cx()).await.unwrap()), (vec![], vec![1, 2, 3]));
        let report = migrator.migrate(&cx(), V2).await.unwrap();
        assert_eq!((report.from, report.to, report.done.len()), (V0, V2, 2));
        assert_eq!(bench.ledger(), "1 plants\n2 height of plants\n");
        assert_eq!(migrator.migrate(&cx(), MigrationVersion(9)).await.unwrap_err().kind(), ErrorKind::InvalidInput);
        let error = migrator.backup(&cx(), "key", BackupLevel::Exists).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);

        // A run that fails later takes back what it migrated, and no more.
        let mut pipeline = pipeline();
        let input = (constant(Safeguard(None)), constant(Admitted::by_gate("scan", image)));
        let migrated = pipeline.add("migrate", MigrateOf::new(source), input);
        pipeline.step("fail", failing(), constant(())).after(&migrated).add();
        assert!(matches!(run(&bench, pipeline).await, RunResult::RolledBack { .. }));
        assert_eq!(bench.ledger(), "1 plants\n2 height of plants\n");
        assert!(bench.jobs().await.is_empty(), "every Job is gone once its answer is known");

        std::fs::write(bench.data.path().join("ledger"), "1 plants edited\n").unwrap();
        let error = migrator.plan(&cx()).await.unwrap_err();
        assert!(error.kind() == ErrorKind::Conflict && error.report().contains("1 plants"), "{}", error.report());
    });
}

#[test]
fn a_deployer_that_is_gone_does_not_migrate_into_the_next_ones_revert() {
    let Some(servers) = servers() else { return };
    runtime().block_on(async {
        let bench = Bench::new(servers).await;
        let image = image_with_tool(&bench.servers, "sqlx").await;
        let slow: Arc<dyn Migrator> = bench.migrator(2500).await.of(&image);
        let gone = {
            let slow = Arc::clone(&slow);
            tokio::spawn(async move { slow.migrate(&cx(), V3).await })
        };
        while bench.ledger().is_empty() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        gone.abort();
        assert!(is_running(&bench, &bench.data.path().join("ledger")), "two migrations are still to come");
        let quick = bench.migrator(0).await.of(&image);
        let report = quick.revert(&cx(), V0).await.unwrap();
        assert_eq!((report.to, bench.ledger()), (V0, String::new()));
        assert_eq!(versions(&quick.plan(&cx()).await.unwrap()), (vec![], vec![1, 2, 3]));
    });
}

fn is_running(bench: &Bench, ledger: &Path) -> bool {
    !bench.ledger().contains("3 pots") && ledger.is_file()
}
