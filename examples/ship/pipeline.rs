//! The graph: what is done in each environment, and in which order. The place to begin reading.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use ecolaura_deploy_core::{
    Admitted, Result,
    backend::{AppliedWorkload, BackupLevel, FlagState, Measurements, MigrationReport, Workload},
    cdn::SiteSource,
    pipeline::{Handle, Pipeline, Source, StepBuilder, constant},
    step::{NoUndo, Step},
    steps::{
        Approve, BackupDatabase, MeasureData, Migrate, PromoteRelease, PublishFolder, RecordRelease, RevertDatabase,
        Rollout, ScanGate, SetFlag, Strategy, TagImage, VerifyData, WindowGate, check as check_step,
    },
    testing::Faulty,
    vocabulary::{Digest, EnvironmentName, MigrationVersion, Name, PinnedImage, Release, Repository, Tag},
    window::MaintenanceWindow,
};

use super::{
    backends::{Platform, Target},
    checks,
    faults::Faults,
    flags::DefineFlags,
    overlay,
    release::{AssembleRelease, Files, image, site},
    site::{SiteConfig, rules},
};

/// The services, their flag, and the step that puts the backend before its callers.
pub const BACKEND: &str = "backend";
pub const NOTIFICATIONS: &str = "notifications";
pub const FLAG: &str = "plant-notes";
pub const ROLL_OUT: &str = "roll-out-backend";

/// The step that asks a person, and what it asks.
pub const APPROVE: &str = "approve";
pub const APPROVAL: &str = "release to production, after user acceptance tests on staging";

/// Everything that a pipeline of one environment is made from.
#[derive(Debug)]
pub struct Stage<'a> {
    pub(super) platform: &'a Platform,
    target: &'a Target,
    faults: &'a Faults,
    /// Where the site answers.
    site: String,
    /// Whether the new backend answers errors, for this run.
    misbehave: bool,
    pub(super) pipeline: Pipeline,
}

/// What enters an environment: a release, and where its manifests are.
#[derive(Debug)]
pub struct Incoming {
    pub release: Handle<Release>,
    pub manifests: PathBuf,
    /// Whether its images have to be tagged yet.
    pub tags: bool,
}

impl<'a> Stage<'a> {
    /// An empty pipeline for the environment of `target`.
    pub fn new(
        platform: &'a Platform,
        target: &'a Target,
        faults: &'a Faults,
        site: String,
        misbehave: bool,
    ) -> Result<Self> {
        let pipeline = Pipeline::new("ecolaura".parse()?, target.environment.clone());
        Ok(Self { platform, target, faults, site, misbehave, pipeline })
    }

    /// The pipeline.
    pub fn finish(self) -> Pipeline {
        self.pipeline
    }

    fn environment(&self) -> &EnvironmentName {
        &self.target.environment
    }

    /// A step that fails if that was asked for.
    pub fn step<S: Step, I: Source<Value = S::Input>>(
        &mut self,
        name: impl Into<String>,
        step: S,
        input: I,
    ) -> StepBuilder<'_, Faulty<S>, I> {
        let name = name.into();
        let step = self.faults.on(&self.target.environment, &name, step);
        self.pipeline.step(name, step, input)
    }

    pub fn add<S: Step, I: Source<Value = S::Input>>(
        &mut self,
        name: impl Into<String>,
        step: S,
        input: I,
    ) -> Handle<S::Output> {
        self.step(name, step, input).add()
    }

    // ---- The others: the release of the one before is taken over. ----

    /// Takes over `release` from the environment `from`: the same digests, nothing is built.
    pub fn take_over(&mut self, release: Release, from: EnvironmentName, files: Files) -> Incoming {
        self.pipeline.brings(release.sequence);
        let promote = PromoteRelease::new(Arc::clone(&self.platform.store), from);
        let release = self.add("promote", promote, constant(release));
        Incoming { release, manifests: files.manifests, tags: true }
    }

    /// Moves the environment's tags, labels for people, to the images of `release`.
    fn tag_images<T>(&mut self, release: &Handle<Release>, after: &Handle<T>) -> Result<()> {
        for service in [BACKEND, NOTIFICATIONS] {
            let tag = TagImage::new(Arc::clone(&self.platform.registry), repository(service)?, self.tag()?);
            self.step(format!("tag-{service}"), tag, image(release, service)).after(after).add();
        }
        Ok(())
    }

    // ---- Every environment: the release goes out. ----

    /// Brings `incoming` out: gates, data, services, site, flag, checks, record.
    pub fn deploy(&mut self, incoming: Incoming, strategy: Strategy) -> Result<()> {
        let Incoming { release, manifests, tags } = incoming;
        let backend = self.scan(BACKEND, &release);
        let notifications = self.scan(NOTIFICATIONS, &release);
        let admitted = self.gates(&release, (&backend, &notifications))?;
        if tags {
            self.tag_images(&release, &admitted)?;
        }
        let schema = self.migrate(&admitted);
        let defined =
            self.step("define-flags", DefineFlags(self.target.flags.clone()), constant(())).after(&admitted).add();

        let workload = self.workload(BACKEND, &manifests)?;
        let rollout = Rollout::new(Arc::clone(&self.platform.cluster), workload).strategy(strategy);
        let images = vec![(constant(format!("ecolaura/{BACKEND}")), backend)];
        let live = self.step(ROLL_OUT, rollout, images).after(&schema).after(&defined).add();
        self.notifications(&manifests, notifications, &schema)?;

        let site = self.publish(&release, &live)?;
        let flag = SetFlag::new(Arc::new(self.target.flags.clone()), FLAG, FlagState::new(true, "on"));
        let switched = self.step("switch-flag", flag, constant(())).after(&site).add();
        let checked = self.check_platform(&live).after(&switched).add();
        let record = RecordRelease::new(Arc::clone(&self.platform.store)).going_back();
        self.step("record", record, release).after(&checked).add();
        Ok(())
    }

    fn scan(&mut self, service: &'static str, release: &Handle<Release>) -> Handle<Admitted<PinnedImage>> {
        let gate = ScanGate::new(Arc::clone(&self.platform.scanner), self.platform.tolerated.clone());
        self.add(format!("scan-{service}"), gate, image(release, service))
    }

    /// The maintenance window, and in production the approval after user acceptance tests on staging.
    fn gates(
        &mut self,
        release: &Handle<Release>,
        (backend, notifications): (&Handle<Admitted<PinnedImage>>, &Handle<Admitted<PinnedImage>>),
    ) -> Result<Handle<Admitted<Release>>> {
        let window = WindowGate::new(window(self.environment())?);
        let open = self.step("window", window, release.clone()).after(backend).after(notifications).add();
        if self.environment().as_str() != "production" {
            return Ok(open);
        }
        let approve = Approve::new(Arc::clone(&self.target.approver), APPROVAL);
        Ok(self.step(APPROVE, approve, release.clone()).after(&open).add())
    }

    /// Backup, migration, and the proof that nothing was lost.
    fn migrate(&mut self, admitted: &Handle<Admitted<Release>>) -> Handle<Measurements> {
        let migrator = || Arc::clone(&self.target.migrator);
        let (backup, measure) =
            (BackupDatabase::new(migrator(), BackupLevel::Checked), MeasureData::new(migrator(), checks::data()));
        let (migrate, verify) = (Migrate::new(migrator()), VerifyData::new(migrator(), checks::data()));
        let backup = self.step("back-up", backup, constant(())).after(admitted).add();
        let before = self.step("measure", measure, constant(())).after(admitted).add();
        let migrated = self.step("migrate", migrate, backup).after(&before).add();
        self.add("verify-data", verify, (before, migrated))
    }

    /// The manifests of `service` with what this environment sets.
    fn workload(&self, service: &str, manifests: &Path) -> Result<Workload> {
        let of = |path: &str| self.platform.layout.of(self.environment(), path).to_string_lossy().into_owned();
        let config = |key: &str| format!("{service}-config/{key}");
        let mut manifest = manifests.join(format!("{service}.yaml"));
        if self.platform.host.contains() {
            manifest = overlay::contained(&manifest, &self.platform.layout.of(self.environment(), ""))?;
        }
        let workload = Workload::new(namespace(self.environment())?, [manifest])
            .named(service.parse()?)
            .config(config("database-path"), of("ecolaura.db"));
        if service != BACKEND {
            return Ok(workload);
        }
        let mut workload = workload.config(config("flags-path"), of("flags.json"));
        if let Some(token) = &self.target.token {
            workload = workload.secret("backend-secrets/api-token", token.clone());
        }
        Ok(if self.misbehave { workload.config(config("misbehave"), "errors") } else { workload })
    }

    /// A service of its own: it goes forward and back without the rest.
    fn notifications(
        &mut self,
        manifests: &Path,
        image: Handle<Admitted<PinnedImage>>,
        schema: &Handle<Measurements>,
    ) -> Result<()> {
        let group: Name = NOTIFICATIONS.parse()?;
        let rollout = Rollout::new(Arc::clone(&self.platform.cluster), self.workload(NOTIFICATIONS, manifests)?);
        let images = vec![(constant(format!("ecolaura/{NOTIFICATIONS}")), image)];
        let live = self.step("roll-out-notifications", rollout, images).group(group.clone()).after(schema).add();
        self.step("check-notifications", check_step("check notifications", checks::notifications), live)
            .group(group)
            .add();
        Ok(())
    }

    fn publish(&mut self, release: &Handle<Release>, live: &Handle<AppliedWorkload>) -> Result<Handle<Digest>> {
        let kept = self.platform.kept.clone();
        let folder = release.map(move |release| site(&release).map(|site| kept.path(&site)).unwrap_or_default());
        let config = SiteConfig::new(Arc::clone(&self.platform.cluster), namespace(self.environment())?);
        let config = self.add("configure-site", config, live.clone());
        let source = rules(SiteSource::new(""), self.platform)?;
        let publish = PublishFolder::new(Arc::clone(&self.target.cdn), source);
        Ok(self.add("publish-site", publish, (folder, config)))
    }

    fn check_platform(
        &mut self,
        live: &Handle<AppliedWorkload>,
    ) -> StepBuilder<'_, impl Step<Input = AppliedWorkload, Output = (), Undo = NoUndo>, Handle<AppliedWorkload>> {
        let (target, site) = (self.target.clone(), self.site.clone());
        let ask = move |cx, live| checks::platform(cx, target.clone(), live, site.clone());
        self.step("check", check_step("check platform", ask), live.clone())
    }

    // ---- The way back: an earlier release, as it was admitted then. ----

    /// Brings `release` back, and then the database to `schema`; `notes` are for whoever reads the plan.
    pub fn go_back(
        &mut self,
        release: Release,
        files: &Files,
        schema: Option<MigrationVersion>,
        notes: Vec<String>,
    ) -> Result<()> {
        self.pipeline.back_to(release.sequence);
        let release = self.add("previous", AssembleRelease::noting(notes), constant(release));
        let backend = self.bring_back(BACKEND, &release, files)?;
        let notifications = self.bring_back(NOTIFICATIONS, &release, files)?;
        let reverted = schema.map(|schema| self.revert(schema, (&backend, &notifications)));
        let site = self.publish(&release, &backend)?;
        let mut check = self.check_platform(&backend).after(&site);
        if let Some(reverted) = &reverted {
            check = check.after(reverted);
        }
        let checked = check.add();
        self.add("check-notifications", check_step("check notifications", checks::notifications), notifications);
        self.tag_images(&release, &checked)?;
        let record = RecordRelease::new(Arc::clone(&self.platform.store)).going_back();
        self.step("record", record, release).after(&checked).add();
        Ok(())
    }

    fn bring_back(
        &mut self,
        service: &'static str,
        release: &Handle<Release>,
        files: &Files,
    ) -> Result<Handle<AppliedWorkload>> {
        let image = image(release, service).map(|image| Admitted::by_gate("an earlier release", image));
        let rollout = Rollout::new(Arc::clone(&self.platform.cluster), self.workload(service, &files.manifests)?);
        Ok(self.add(format!("roll-out-{service}"), rollout, vec![(constant(format!("ecolaura/{service}")), image)]))
    }

    /// After the older code, which runs on the newer schema too.
    fn revert(
        &mut self,
        schema: MigrationVersion,
        (backend, notifications): (&Handle<AppliedWorkload>, &Handle<AppliedWorkload>),
    ) -> Handle<MigrationReport> {
        let migrator = Arc::clone(&self.target.migrator);
        let backup = BackupDatabase::new(Arc::clone(&migrator), BackupLevel::Checked).before_reverting_to(schema);
        let backup = self.step("back-up", backup, constant(())).after(backend).after(notifications).add();
        self.add("revert", RevertDatabase::new(migrator, schema), backup)
    }

    /// The environment's tag, a label for people.
    pub fn tag(&self) -> Result<Tag> {
        Ok(self.environment().as_str().parse()?)
    }
}

/// How the backend takes over: as a canary, or on staging as another colour that is looked at first.
pub fn strategy(platform: &Platform, environment: &EnvironmentName) -> Strategy {
    match environment.as_str() {
        "staging" => Strategy::BlueGreen {
            analyst: Some(Arc::new(checks::Preview::new(&platform.cluster, &platform.metrics))),
            warm: Duration::from_secs(1),
        },
        _ => Strategy::Canary { steps: vec![20, 50], replicas: 1, analyst: checks::canary(&platform.metrics) },
    }
}

/// When an environment may be changed. The sample's production is closed in no week; add `.weekly(…)` and `.freeze(…)`.
fn window(_environment: &EnvironmentName) -> Result<MaintenanceWindow> {
    MaintenanceWindow::new("UTC")
}

/// The namespace of an environment.
pub fn namespace(environment: &EnvironmentName) -> Result<Name> {
    Ok(environment.as_str().parse()?)
}

/// The repository of a service.
pub fn repository(service: &str) -> Result<Repository> {
    Ok(format!("ecolaura/{service}").parse()?)
}
