//! Build, push and scan as steps of a pipeline on the local backends.

use std::sync::Arc;

use super::*;
use crate::{
    analysis::scan::SeverityPolicy,
    backend::{Registry as _, Severity},
    event::RecordingSink,
    local::{
        registry::LayoutRegistry,
        scan::{ContentScanner, ScanPolicy},
    },
    pipeline::{Pipeline, constant},
    plan::Action,
    run::{Finished, Runner},
    steps::{BuildImage, PushImage, ScanGate},
    store::ObjectRunStore,
};

const ADVISORY: &str = r#"{"id": "RUSTSEC-2020-0071", "summary": "segfault",
    "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:L/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:H"}],
    "affected": [{"package": {"ecosystem": "crates.io", "name": "time"},
    "ranges": [{"type": "SEMVER", "events": [{"introduced": "0.0.0-0"}, {"fixed": "0.2.23"}]}]}]}"#;

struct Bench {
    dir: tempfile::TempDir,
    runner: Runner,
    registry: Arc<LayoutRegistry>,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "advisories/time.json", ADVISORY);
        let runner = Runner::new(Arc::new(ObjectRunStore::memory()));
        let registry = LayoutRegistry::new(dir.path().join("registry"), "registry".parse().unwrap()).immutable_tags();
        Self { dir, runner, registry: Arc::new(registry) }
    }

    fn lock(&self, time: &str) -> PathBuf {
        let text =
            format!("version = 4\n[[package]]\nname = \"time\"\nversion = \"{time}\"\nsource = \"registry+x\"\n");
        put(self.dir.path(), "Cargo.lock", text)
    }

    fn spec(&self, program: &str) -> ImageSpec {
        let program = put(self.dir.path(), "program", program);
        spec().layer([ImageEntry::new(program, "/app").mode(0o755)]).entrypoint(["/app"]).user("65532")
    }

    fn pipeline(&self, spec: ImageSpec) -> Pipeline {
        let registry: Arc<LayoutRegistry> = Arc::clone(&self.registry);
        let scanner = ContentScanner::new(registry.clone(), ScanPolicy::new(self.dir.path().join("advisories")));
        let mut pipeline = Pipeline::new("images".parse().unwrap(), "dev".parse().unwrap());
        let build = BuildImage::new(Arc::new(builder(self.dir.path())), "backend");
        let built = pipeline.add("build", build, constant(spec));
        let push = PushImage::new(registry, "ecolaura/backend".parse().unwrap()).tag("v1".parse().unwrap());
        let pinned = pipeline.add("push", push, built);
        pipeline.add("scan", ScanGate::new(Arc::new(scanner), SeverityPolicy::new(Severity::Medium)), pinned);
        pipeline
    }

    /// The changes that were planned, and how the run of them ended.
    async fn run(&self, spec: ImageSpec) -> (Vec<Action>, Finished) {
        let plan = self.runner.plan(&cx(), self.pipeline(spec)).await.unwrap();
        let changes = plan.summary().steps.iter().flat_map(|step| &step.changes);
        let actions = changes.map(|change| change.action).collect();
        (actions, self.runner.run(&cx(), plan).await.unwrap())
    }

    async fn tagged(&self) -> Option<crate::vocabulary::Digest> {
        let (repository, tag) = ("ecolaura/backend".parse().unwrap(), "v1".parse().unwrap());
        self.registry.resolve(&cx(), &repository, &tag).await.unwrap().map(|image| image.digest)
    }
}

#[tokio::test]
async fn a_second_run_does_nothing_and_a_lost_image_comes_back() {
    let bench = Bench::new();
    let spec = || bench.spec("program").lock_file(bench.lock("0.3.36"));
    let (actions, finished) = bench.run(spec()).await;
    assert!(finished.succeeded(), "{:?}", finished.result);
    assert_eq!(actions, [Action::Create; 3]);
    let tagged = bench.tagged().await;
    assert!(tagged.is_some());

    let (actions, finished) = bench.run(spec()).await;
    assert!(finished.succeeded() && actions.iter().all(|action| *action == Action::NoOp), "{actions:?}");

    fs::remove_dir_all(bench.dir.path().join("images")).unwrap();
    fs::remove_dir_all(bench.dir.path().join("registry")).unwrap();
    let (actions, finished) = bench.run(spec()).await;
    assert!(finished.succeeded() && actions.contains(&Action::Create), "{actions:?}");
    assert_eq!(bench.tagged().await, tagged, "the same image");
}

#[tokio::test]
async fn a_vulnerable_version_and_a_missing_bill_stop_the_run_and_take_the_tag_back() {
    let bench = Bench::new();
    let vulnerable = bench.spec("program").lock_file(bench.lock("0.1.44"));
    for (spec, expected) in [(vulnerable, "RUSTSEC-2020-0071"), (bench.spec("program"), "no bill of materials")] {
        let events = Arc::new(RecordingSink::new());
        let runner = bench.runner.clone().events(events.clone());
        let plan = runner.plan(&cx(), bench.pipeline(spec)).await.unwrap();
        let finished = runner.run(&cx(), plan).await.unwrap();
        assert!(!finished.succeeded());
        let said = format!("{:?}", events.events());
        assert!(said.contains(expected), "{said}");
        assert_eq!(bench.tagged().await, None);
    }
    // The version that mends it passes, though the files of the image are the same.
    let (_, finished) = bench.run(bench.spec("program").lock_file(bench.lock("0.2.23"))).await;
    assert!(finished.succeeded(), "{:?}", finished.result);
}
