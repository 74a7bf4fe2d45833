//! The reference pipeline: preflight to record, and every world that a release changes.
#![expect(clippy::unwrap_used, reason = "literals that follow the grammar, and files of the caller's folder")]

use std::{path::Path, sync::Arc, time::Duration};

use crate::{
    analysis::{Analysis, MetricCheck, scan::SeverityPolicy},
    backend::{AllowedChange, BackupLevel, DataCheck, FlagState, ImageEntry, ImageSpec, Measure, Severity, Workload},
    cdn::SiteSource,
    pipeline::{Pipeline, constant},
    step::Step,
    steps::{
        self, BackupDatabase, BuildImage, MeasureData, MetricAnalyst, Migrate, PublishSite, PushImage, RecordRelease,
        Rollout, ScanGate, SetFlag, Strategy, TagImage, VerifyData,
    },
    testing::{
        fake::small::FakeFlags,
        simulation::{Fakes, Simulation, World},
    },
    vocabulary::{Platform, Release, ReleaseSequence},
};

const MANIFEST: &str = "
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
        - {name: web, image: team/web, ports: [{containerPort: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
";

/// Writes the sources of both releases.
fn write_sources(folder: &Path) {
    for version in [1, 2] {
        let release = folder.join(version.to_string());
        let write = |path: &str, content: String| {
            let path = release.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        };
        write("web.yaml", MANIFEST.to_owned());
        write("program", format!("version {version}"));
        write("site/index.html", format!("<script src=\"app.{version}.js\"></script>"));
        write(&format!("site/app.{version}.js"), format!("console.log({version})"));
    }
}

fn migrations(world: &World, version: u64) {
    let files = &world.fakes.migrator;
    for (number, table) in [(1, "orders"), (2, "items")].into_iter().take(usize::try_from(version).unwrap()) {
        files.put_file(format!("000{number}_{table}.up.sql"), format!("CREATE TABLE {table} (id);"));
        files.put_file(format!("000{number}_{table}.down.sql"), format!("DROP TABLE {table};"));
    }
}

fn spec(folder: &Path) -> ImageSpec {
    ImageSpec::new(Platform::new("linux", "amd64"))
        .layer([ImageEntry::new(folder.join("program"), "/program")])
        .entrypoint(["/program"])
}

fn canary(world: &World) -> Strategy {
    let checks = vec![MetricCheck::new("errors", Measure::ErrorRate).fail_above(0.05)];
    let analysis = Analysis::new(checks, Duration::from_secs(10), 2);
    let analyst = Arc::new(MetricAnalyst::new(Arc::clone(&world.metrics), analysis));
    Strategy::Canary { steps: vec![20, 60], replicas: 1, analyst }
}

/// Reads a secret, and asks the cluster.
fn preflight(world: &World) -> impl Step<Input = (), Output = bool> {
    let (secrets, cluster) = (Arc::clone(&world.secrets), Arc::clone(&world.cluster));
    steps::check("preflight", move |cx, ()| {
        let (secrets, cluster) = (Arc::clone(&secrets), Arc::clone(&cluster));
        async move {
            let reference = secrets.resolve(&cx, "canary").await?;
            let password = secrets.get(&cx, &reference).await?;
            // A careless step; what it says must not come out.
            cx.status(format!("logs in with {}", password.expose()));
            cluster.status(&cx, &"dev".parse()?).await?;
            Ok(true)
        }
    })
}

fn release(world: &World, sources: &Path, version: u64) -> Pipeline {
    migrations(world, version);
    let folder = sources.join(version.to_string());
    let mut pipeline = Pipeline::new("shop".parse().unwrap(), "dev".parse().unwrap());
    pipeline.brings(ReleaseSequence(version));
    let preflight = pipeline.add("preflight", preflight(world), constant(()));
    let build = BuildImage::new(Arc::clone(&world.builder), "web");
    let image = pipeline.step("build", build, constant(spec(&folder))).after(&preflight).add();
    let repository: crate::vocabulary::Repository = "team/web".parse().unwrap();
    let push = PushImage::new(Arc::clone(&world.registry), repository.clone());
    let pushed = pipeline.add("push", push, image);
    let scan = ScanGate::new(Arc::clone(&world.scanner), SeverityPolicy::new(Severity::High));
    let admitted = pipeline.add("scan", scan, pushed.clone());

    let checks = vec![DataCheck::RowCount { table: "orders".to_owned(), allowed: AllowedChange::None }];
    let measure = MeasureData::new(Arc::clone(&world.migrator), checks.clone());
    let measured = pipeline.step("measure", measure, constant(())).after(&admitted).add();
    let backup = BackupDatabase::new(Arc::clone(&world.migrator), BackupLevel::Checked);
    let backup = pipeline.step("backup", backup, constant(())).after(&measured).add();
    let migrated = pipeline.add("migrate", Migrate::new(Arc::clone(&world.migrator)), backup);
    let verify = VerifyData::new(Arc::clone(&world.migrator), checks);
    let verified = pipeline.add("verify", verify, (measured, migrated));

    let workload = Workload::new("dev".parse().unwrap(), [folder.join("web.yaml")]);
    let rollout = Rollout::new(Arc::clone(&world.cluster), workload).strategy(canary(world));
    let images = vec![(constant("team/web".to_owned()), admitted)];
    let rolled = pipeline.step("rollout", rollout, images).after(&verified).add();
    let site = PublishSite::new(Arc::clone(&world.cdn), SiteSource::new(folder.join("site")));
    let published = pipeline.step("site", site, constant(())).after(&rolled).add();
    let variant = format!("v{version}");
    let flag = SetFlag::new(Arc::clone(&world.flags), "beta", FlagState::new(true, variant));
    let switched = pipeline.step("flag", flag, constant(())).after(&published).add();
    let tag = TagImage::new(Arc::clone(&world.registry), repository, "live".parse().unwrap());
    let tagged = pipeline.step("tag", tag, pushed).after(&switched).add();
    let content = Release::new(ReleaseSequence(version), format!("commit {version}"));
    let record = RecordRelease::new(Arc::clone(&world.store));
    pipeline.step("record", record, constant(content)).after(&tagged).add();
    pipeline
}

fn fakes() -> Fakes {
    let mut fakes = Fakes::new();
    let flags = FakeFlags::new().with("beta", &["v0", "v1", "v2"], FlagState::new(true, "v0"));
    fakes.flags = Arc::new(flags);
    fakes
}

/// Release 1 is live; release 2 comes. The pipeline has every kind of step; its sources are written into `folder`.
///
/// # Panics
///
/// If they cannot be written.
pub fn reference(folder: &Path) -> Simulation {
    write_sources(folder);
    let (old, new) = (folder.to_owned(), folder.to_owned());
    Simulation::new("reference", move |world| release(world, &new, 2))
        .before(move |world| release(world, &old, 1))
        .fakes(fakes)
        .command("cargo test -p ecolaura-deploy-core --features test-util --test matrix -- seeds")
}
