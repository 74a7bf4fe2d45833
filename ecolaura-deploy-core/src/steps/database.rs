//! Backup and migration.

mod of_image;

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    Context, Error, ErrorKind, Result,
    backend::{Backup, BackupLevel, Migration, MigrationReport, Migrator},
    migration::script,
    plan::{Action, Change, World},
    step::{Applied, EffectClass, Leaf, NoUndo, Planned, Probed, Step, StepPlan, UndoData, Undoer},
    vocabulary::MigrationVersion,
};

pub use self::of_image::{BackupDatabaseOf, ImageSchemaUndo, MigrateOf};

/// The backup that stands behind a migration; none where nothing is pending.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Safeguard(pub Option<Backup>);

impl Leaf for Safeguard {}

/// Takes a backup before a migration, or before going back, proven to a level. Nothing to do, nothing taken. Backups
/// are kept when a run is undone: restoring one loses what was written after it, so only a person asks for that.
#[derive(Debug, Clone)]
pub struct BackupDatabase {
    migrator: Arc<dyn Migrator>,
    level: BackupLevel,
    reverting: Option<MigrationVersion>,
}

impl BackupDatabase {
    /// Backs up through `migrator`, proven to `level`.
    pub fn new(migrator: Arc<dyn Migrator>, level: BackupLevel) -> Self {
        Self { migrator, level, reverting: None }
    }

    /// The same before [`RevertDatabase`](super::RevertDatabase) to `version`: taken if the database is above it.
    pub fn before_reverting_to(mut self, version: MigrationVersion) -> Self {
        self.reverting = Some(version);
        self
    }

    fn check_level(&self) -> Result<()> {
        let (name, proves) = (self.migrator.name(), self.migrator.proves());
        if self.level <= proves {
            return Ok(());
        }
        let message = format!("backups of {name} are proven to `{proves:?}` at most, not to `{:?}`", self.level);
        Err(Error::new(ErrorKind::Unsupported, "migrator.backup", message)
            .advice(format!("ask for `{proves:?}`, and prove more by steps of their own")))
    }
}

#[async_trait]
impl Step for BackupDatabase {
    type Input = ();
    type Output = Safeguard;
    type Undo = NoUndo;

    fn kind(&self) -> &'static str {
        "back up database"
    }

    fn effect_class(&self) -> EffectClass {
        EffectClass::Keyed
    }

    async fn plan(&self, cx: &Context, _input: Planned<()>) -> Result<StepPlan<Safeguard>> {
        self.check_level()?;
        let state = self.migrator.plan(cx).await?;
        let object = format!("{} backup", self.migrator.name());
        let (idle, reason, next) = match self.reverting {
            None => (state.pending.is_empty(), "no migration pending", state.target()),
            Some(version) => (state.head() <= version, "nothing to revert", version),
        };
        if idle {
            let change = Change::new(World::Database, object, Action::NoOp, reason);
            return Ok(StepPlan::unchanged(vec![change], Safeguard(None)));
        }
        let change = Change::new(World::Database, object, Action::Create, format!("before {next}"));
        Ok(StepPlan::changing(vec![change]))
    }

    async fn apply(&self, cx: &Context, _input: ()) -> Result<Applied<Safeguard, NoUndo>> {
        let backup = self.migrator.backup(cx, &cx.effect_key(), self.level).await?;
        cx.evidence(
            "backup",
            vec![format!(
                "{} ({} bytes, schema {}, proven: {:?})",
                backup.location, backup.size, backup.head, backup.level
            )],
        );
        Ok(Applied::new(Safeguard(Some(backup))))
    }
}

/// The version that a database had, and the backup of it for a person who cannot go back otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaUndo {
    to: MigrationVersion,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    backup: Option<String>,
}

impl UndoData for SchemaUndo {
    const KIND: &'static str = "database schema";
}

#[derive(Debug)]
struct RevertSchema(Arc<dyn Migrator>);

#[async_trait]
impl Undoer<SchemaUndo> for RevertSchema {
    fn target(&self) -> String {
        self.0.name().to_string()
    }

    fn describe(&self, undo: &SchemaUndo) -> String {
        let text = format!("revert the schema of {} to {}", self.0.name(), undo.to);
        match &undo.backup {
            Some(backup) => format!("{text}; restoring `{backup}` instead loses what was written after it"),
            None => text,
        }
    }

    async fn undo(&self, cx: &Context, undo: SchemaUndo) -> Result<()> {
        self.0.revert(cx, undo.to).await.map(drop)
    }
}

/// Applies pending migrations. Its input is the [`Safeguard`], so a backup cannot be forgotten. Undone by going down
/// again; a backup is never restored by a run.
#[derive(Debug, Clone)]
pub struct Migrate {
    migrator: Arc<dyn Migrator>,
}

impl Migrate {
    /// Migrates through `migrator`.
    pub fn new(migrator: Arc<dyn Migrator>) -> Self {
        Self { migrator }
    }

    /// What this attempt and those since `prior` did.
    async fn migrate(&self, cx: &Context, prior: Option<SchemaUndo>) -> Result<MigrationReport> {
        let target = self.migrator.plan(cx).await?.target();
        let mut report = self.migrator.migrate(cx, target).await?;
        if let Some(prior) = prior {
            report = whole(&prior, self.migrator.plan(cx).await?.applied, report.to);
        }
        cx.status(format!("schema {} → {}", report.from, report.to));
        Ok(report)
    }

    /// The ledger tells: what is not pending was done, and doing the rest completes it.
    async fn look(&self, cx: &Context, prior: Option<SchemaUndo>) -> Result<Probed<MigrationReport>> {
        let state = self.migrator.plan(cx).await?;
        let head = state.head();
        let prior = prior.unwrap_or(SchemaUndo { to: head, backup: None });
        Ok(match (state.pending.is_empty(), head == prior.to) {
            (true, _) => Probed::Done(whole(&prior, state.applied, head)),
            (false, true) => Probed::NotDone,
            (false, false) => Probed::Partial,
        })
    }
}

#[async_trait]
impl Step for Migrate {
    type Input = Safeguard;
    type Output = MigrationReport;
    type Undo = SchemaUndo;

    fn kind(&self) -> &'static str {
        "migrate database"
    }

    fn effect_class(&self) -> EffectClass {
        EffectClass::Transactional
    }

    async fn plan(&self, cx: &Context, _safeguard: Planned<Safeguard>) -> Result<StepPlan<MigrationReport>> {
        let state = self.migrator.plan(cx).await?;
        let (name, head) = (self.migrator.name(), state.head());
        let precondition = format!("schema of {name}");
        if state.pending.is_empty() {
            let change =
                Change::new(World::Database, format!("{name} schema"), Action::NoOp, format!("at version {head}"));
            let report = MigrationReport::new(head, head, Vec::new());
            return Ok(StepPlan::unchanged(vec![change], report).precondition(precondition, head));
        }
        let changes = state.pending.iter().map(|migration| {
            let object = format!("{name} migration {} {}", migration.version, migration.description);
            let change = Change::new(World::Database, object, Action::Update, "pending");
            migration.up.lines().filter(|line| !line.trim().is_empty()).fold(change, Change::detail)
        });
        let mut plan = StepPlan::changing(changes.collect()).precondition(precondition, head);
        for warning in state.pending.iter().flat_map(warnings) {
            plan = plan.warning(warning);
        }
        Ok(plan)
    }

    async fn prepare(&self, cx: &Context, safeguard: &Safeguard) -> Result<Option<SchemaUndo>> {
        let to = self.migrator.plan(cx).await?.head();
        Ok(Some(SchemaUndo { to, backup: safeguard.0.as_ref().map(|backup| backup.location.clone()) }))
    }

    async fn apply(&self, cx: &Context, _safeguard: Safeguard) -> Result<Applied<MigrationReport, SchemaUndo>> {
        self.migrate(cx, cx.prior::<SchemaUndo>()).await.map(Applied::new)
    }

    async fn probe(&self, cx: &Context, _safeguard: Safeguard) -> Result<Probed<MigrationReport>> {
        self.look(cx, cx.prior::<SchemaUndo>()).await
    }

    fn undoer(&self) -> Option<Arc<dyn Undoer<SchemaUndo>>> {
        Some(Arc::new(RevertSchema(Arc::clone(&self.migrator))))
    }
}

/// What all attempts together did since `prior`, by the ledger.
fn whole(prior: &SchemaUndo, applied: Vec<MigrationVersion>, head: MigrationVersion) -> MigrationReport {
    MigrationReport::new(prior.to, head, applied.into_iter().filter(|version| *version > prior.to).collect())
}

/// What should be read before `migration` is agreed to.
fn warnings(migration: &Migration) -> Vec<String> {
    let name = format!("migration {} {}", migration.version, migration.description);
    let destructive = script::destructive(&migration.up).into_iter();
    let mut warnings: Vec<String> = destructive
        .map(|(line, what)| format!("{name} {what} (line {line}): the running release may still use it"))
        .collect();
    if !migration.reversible {
        warnings.push(format!("{name} has no way down: a failure after it needs an operator"));
    }
    warnings
}
