//! Event streams as the executor would send them, for the tests of all presentations.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    Effect, Error, ErrorKind, ErrorRecord,
    event::{Event, EventKind, StepOutcome, Stream},
    plan::{Action, Change, PlanSummary, StepSummary, World},
    run::RunResult,
    vocabulary::Digest,
};

/// A stream in the making.
pub(super) struct Script {
    environment: &'static str,
    clock: Duration,
    events: Vec<Event>,
}

impl Script {
    pub(super) fn new(environment: &'static str) -> Self {
        Self { environment, clock: Duration::ZERO, events: Vec::new() }
    }

    pub(super) fn wait(&mut self, millis: u64) -> &mut Self {
        self.clock += Duration::from_millis(millis);
        self
    }

    pub(super) fn say(&mut self, step: impl Into<Option<&'static str>>, kind: EventKind) -> &mut Self {
        let began: jiff::Timestamp = "2026-11-24T14:00:00Z".parse().unwrap();
        self.events.push(Event {
            schema: Event::SCHEMA,
            run: format!("r7-{}", self.environment),
            environment: self.environment.parse().unwrap(),
            pipeline: "ecolaura".parse().unwrap(),
            seq: self.events.len() as u64,
            at: began + self.clock,
            elapsed: self.clock,
            step: step.into().map(str::to_owned),
            kind,
        });
        self
    }

    pub(super) fn start(&mut self, step: &'static str) -> &mut Self {
        self.say(step, EventKind::StepStarted)
    }

    pub(super) fn status(&mut self, step: &'static str, message: &str) -> &mut Self {
        self.say(step, EventKind::Status { message: message.into() })
    }

    pub(super) fn finish(&mut self, step: &'static str, outcome: StepOutcome, millis: u64) -> &mut Self {
        self.say(step, EventKind::StepFinished { outcome, took: Duration::from_millis(millis) })
    }

    /// Starts `step`, and ends it after `millis`.
    pub(super) fn does(&mut self, step: &'static str, millis: u64) -> &mut Self {
        self.start(step).wait(millis).finish(step, StepOutcome::Done, millis)
    }

    pub(super) fn undoes(&mut self, step: &'static str, millis: u64, error: Option<ErrorRecord>) -> &mut Self {
        self.say(step, EventKind::UndoStarted)
            .wait(millis)
            .say(step, EventKind::UndoFinished { error, took: Duration::from_millis(millis) })
    }

    pub(super) fn end(&mut self, result: RunResult) -> Vec<Event> {
        let took = self.clock;
        self.say(None, EventKind::RunFinished { result, took });
        std::mem::take(&mut self.events)
    }
}

pub(super) fn step(name: &str, kind: &str, changes: Vec<Change>) -> StepSummary {
    StepSummary {
        name: name.into(),
        kind: kind.into(),
        group: "release".parse().unwrap(),
        needs: Vec::new(),
        changes,
        preconditions: BTreeMap::new(),
        fingerprint: None,
        warnings: Vec::new(),
        skipped: false,
    }
}

pub(super) fn plan(environment: &str, steps: Vec<StepSummary>) -> EventKind {
    let (pipeline, environment) = ("ecolaura".parse().unwrap(), environment.parse().unwrap());
    EventKind::Planned { plan: PlanSummary { pipeline, environment, steps, digest: Digest::of("plan") } }
}

fn whole_plan(environment: &str) -> EventKind {
    let change = Change::new;
    let mut migrate = step(
        "migrate",
        "migrate database",
        vec![
            change(World::Database, "table ledger", Action::Update, "column `co2_kg` is added by 0007_co2.up.sql")
                .detail("0007_co2.up.sql: ALTER TABLE ledger ADD COLUMN co2_kg REAL"),
            change(World::Database, "index ledger_by_day", Action::Replace, "0008_index.up.sql"),
        ],
    );
    migrate.warnings.push("0008_index.up.sql drops an index; undoing it restores the backup".into());
    plan(
        environment,
        vec![
            step("test", "run command", vec![]),
            step(
                "build backend",
                "build image",
                vec![change(World::Image, "ecolaura/backend", Action::Create, "`src/ledger.rs` differs")],
            ),
            step(
                "push backend",
                "push image",
                vec![
                    change(
                        World::Registry,
                        "ecolaura/backend:1.4.0",
                        Action::Create,
                        "digest known after `build backend`",
                    ),
                    Change::unchanged(World::Registry, "ecolaura/notifications:1.3.2"),
                ],
            ),
            step("scan backend", "scan gate", vec![]),
            migrate,
            step(
                "roll out backend",
                "roll out",
                vec![
                    change(
                        World::Cluster,
                        "deployment backend",
                        Action::Update,
                        "image → digest known after `build backend`",
                    ),
                    change(
                        World::Cluster,
                        "configmap backend-cache",
                        Action::Delete,
                        "no manifest declares it any more",
                    ),
                    Change::unchanged(World::Cluster, "service backend"),
                    Change::unchanged(World::Cluster, "deployment notifications"),
                ],
            ),
            step(
                "publish site",
                "publish site",
                vec![
                    change(World::Cdn, "assets/*", Action::Create, "14 files are new"),
                    change(World::Cdn, "index.html", Action::Update, "content differs"),
                ],
            ),
            step("switch flag", "switch flag", vec![change(World::Flag, "co2-chart", Action::Update, "off → on")]),
        ],
    )
}

fn begin(environment: &'static str) -> Script {
    let mut script = Script::new(environment);
    script.say(None, whole_plan(environment)).say(None, EventKind::RunStarted);
    script.start("test").wait(40);
    for line in 1..=300 {
        let line = format!("test ledger::case_{line} ... \u{1b}[32mok\u{1b}[0m");
        script.say("test", EventKind::Output { stream: Stream::Stdout, line });
    }
    script.wait(8_200).finish("test", StepOutcome::Done, 8_240);
    script.start("build backend").status("build backend", "compressing 3 layers");
    for done in [4_000_000, 21_000_000, 42_000_000] {
        script.wait(500).say("build backend", progress(done));
    }
    script.finish("build backend", StepOutcome::Done, 1_500);
    script.start("push backend").wait(900);
    let error = Error::new(ErrorKind::Unavailable, "registry.push", "connection refused")
        .with("registry", "registry.ecolaura.test:5000");
    let retry =
        EventKind::RetryScheduled { attempt: 1, delay: Duration::from_secs(2), error: ErrorRecord::from(&error) };
    script.say("push backend", retry).wait(2_600).finish("push backend", StepOutcome::Done, 3_500);
    script.start("scan backend").wait(300).say("scan backend", scanned()).finish(
        "scan backend",
        StepOutcome::Done,
        300,
    );
    script
}

fn progress(done: u64) -> EventKind {
    EventKind::Progress { unit: "bytes".into(), done, total: Some(42_000_000) }
}

fn scanned() -> EventKind {
    let lines = vec![
        "214 packages from Cargo.lock and apk, database of 2026-11-23".into(),
        "high 0, medium 1, low 3; the policy allows medium".into(),
        "medium  RUSTSEC-2026-0031  idna <1.0.9  fixed in 1.0.9".into(),
    ];
    EventKind::Evidence { title: "scan of ecolaura/backend".into(), lines }
}

fn canary() -> EventKind {
    let lines = vec![
        "errors       canary 0.1 %   stable 0.1 %   limit 1 %    pass".into(),
        "p99 latency  canary 84 ms   stable 81 ms   limit 200 ms pass".into(),
    ];
    EventKind::Evidence { title: "canary at 10 % for 60 s".into(), lines }
}

pub(super) fn succeeded() -> Vec<Event> {
    let mut script = begin("dev");
    script.does("migrate", 1_900).start("roll out backend").wait(2_000);
    script.status("roll out backend", "1 of 3 updated replicas are available").wait(21_000);
    script.say("roll out backend", canary()).wait(6_000);
    script.finish("roll out backend", StepOutcome::Done, 29_000);
    script.start("publish site").wait(100);
    script.say("publish site", EventKind::Warning { message: "favicon.ico has no content type rule".into() });
    script.wait(600).finish("publish site", StepOutcome::Done, 700);
    script.does("switch flag", 40).end(RunResult::Succeeded)
}

pub(super) fn nothing_to_do() -> Vec<Event> {
    let mut script = Script::new("dev");
    let mut steps = vec![
        step("build backend", "build image", vec![Change::unchanged(World::Image, "ecolaura/backend")]),
        step(
            "roll out backend",
            "roll out",
            vec![
                Change::unchanged(World::Cluster, "deployment backend"),
                Change::unchanged(World::Cluster, "service backend"),
            ],
        ),
    ];
    steps.iter_mut().for_each(|step| step.skipped = true);
    script.say(None, plan("dev", steps)).say(None, EventKind::RunStarted);
    for step in ["build backend", "roll out backend"] {
        script.wait(20).finish(step, StepOutcome::Unchanged, 0);
    }
    script.end(RunResult::Succeeded)
}

pub(super) fn rollout_error() -> ErrorRecord {
    let error =
        Error::new(ErrorKind::RolloutFailed, "cluster.rollout", "pod backend-7c9-2 crashed 3 times: exit status 101")
            .with("deployment", "backend")
            .with("container", "backend")
            .advice("read the pod's output below; the database URL <DATABASE_URL> is read from secret `backend-db`")
            .with_effect(Effect::Partial);
    ErrorRecord::from(&error)
}

fn failed_rollout(environment: &'static str) -> Script {
    let mut script = begin(environment);
    script.does("migrate", 1_900).start("roll out backend").wait(2_000);
    script.status("roll out backend", "1 of 3 updated replicas are available").wait(9_000);
    for line in 1..=318 {
        let line = match line {
            317 => "thread 'main' panicked at src/main.rs:41: <config> DATABASE_URL is not set & needed".to_owned(),
            318 => "note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace".to_owned(),
            _ => format!("{{\"level\":\"info\",\"msg\":\"tick\",\"n\":{line}}}"),
        };
        script.say("roll out backend", EventKind::Output { stream: Stream::Stderr, line });
    }
    script.finish("roll out backend", StepOutcome::Failed { error: rollout_error() }, 11_000);
    for step in ["publish site", "switch flag"] {
        script.finish(step, StepOutcome::Skipped { because: "`roll out backend` failed".into() }, 0);
    }
    script
}

pub(super) fn rolled_back() -> Vec<Event> {
    let mut script = failed_rollout("staging");
    script.undoes("roll out backend", 1_400, None).undoes("migrate", 800, None).undoes("push backend", 90, None);
    script.end(RunResult::RolledBack { failed: "roll out backend".into(), cause: rollout_error().message })
}

pub(super) fn needs_operator() -> Vec<Event> {
    let mut script = failed_rollout("production");
    let error = Error::new(ErrorKind::Conflict, "database.restore", "database is locked by process 4711")
        .with("file", "/var/lib/ecolaura/ledger.db")
        .with_effect(Effect::None);
    script.undoes("roll out backend", 1_400, None).undoes("migrate", 30_000, Some(ErrorRecord::from(&error)));
    script.end(RunResult::NeedsOperator {
        failed: "roll out backend".into(),
        cause: rollout_error().message,
        remaining: vec!["migrate: database ledger is at 0008, was at 0006".into(), "push backend: tag 1.4.0".into()],
        commands: vec![
            "kill 4711".into(),
            "cp /var/lib/ecolaura/backups/r7-production.db /var/lib/ecolaura/ledger.db".into(),
            "ship --env production --rollback".into(),
        ],
    })
}

/// Waits for an approval; a group of its own failed meanwhile.
pub(super) fn waiting() -> Vec<Event> {
    let mut script = begin("production");
    let error = Error::new(ErrorKind::Waiting, "approve", "`release 1.4.0 to production` waits for an approval")
        .advice("write the digest of the plan into approvals/production");
    script.start("migrate").wait(30).finish("migrate", StepOutcome::Failed { error: ErrorRecord::from(&error) }, 30);
    for step in ["roll out backend", "publish site", "switch flag"] {
        script.finish(step, StepOutcome::Skipped { because: "`migrate` waits".into() }, 0);
    }
    script.end(RunResult::Suspended { reason: error.report() })
}

/// One group failed and was undone; the release is out.
pub(super) fn except() -> Vec<Event> {
    let mut script = begin("staging");
    script.does("migrate", 1_900).does("roll out backend", 29_000).start("publish site").wait(400);
    let error = Error::new(ErrorKind::PermissionDenied, "cdn.upload", "`/srv/site/releases`: permission denied")
        .advice("check the owner and mode of the path");
    script.finish("publish site", StepOutcome::Failed { error: ErrorRecord::from(&error) }, 400);
    script.does("switch flag", 40).end(RunResult::SucceededExcept { groups: vec!["release".parse().unwrap()] })
}

/// Asked to stop while it rolled out.
pub(super) fn cancelled() -> Vec<Event> {
    let mut script = begin("dev");
    script.does("migrate", 1_900).start("roll out backend").wait(2_000);
    script.say(None, EventKind::CancelRequested { cause: "the run was cancelled".into() });
    let error = Error::new(ErrorKind::Cancelled, "rollout.wait", "the run was cancelled").with_effect(Effect::Partial);
    script.finish("roll out backend", StepOutcome::Failed { error: ErrorRecord::from(&error) }, 2_000);
    for step in ["publish site", "switch flag"] {
        script.finish(step, StepOutcome::Skipped { because: "the run was cancelled".into() }, 0);
    }
    script.undoes("roll out backend", 1_400, None).undoes("migrate", 800, None);
    script.end(RunResult::RolledBack { failed: "a cancel".into(), cause: "the run was cancelled".into() })
}

/// Every kind of end, by name.
pub(super) fn all() -> Vec<(&'static str, Vec<Event>)> {
    vec![
        ("nothing_to_do", nothing_to_do()),
        ("succeeded", succeeded()),
        ("except", except()),
        ("rolled_back", rolled_back()),
        ("cancelled", cancelled()),
        ("needs_operator", needs_operator()),
        ("waiting", waiting()),
    ]
}
