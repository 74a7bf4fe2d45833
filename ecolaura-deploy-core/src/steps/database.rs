//! Backup, migration, and the proof that the data survived.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    Context, Result,
    backend::{Backup, BackupLevel, DataCheck, Measurements, MigrationReport, Migrator},
    plan::{Action, Change, World},
    step::{Applied, EffectClass, Leaf, NoUndo, Planned, Step, StepPlan, UndoData, Undoer},
    vocabulary::MigrationVersion,
};

/// The backup that stands behind a migration; none where nothing is pending.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Safeguard(pub Option<Backup>);

impl Leaf for Safeguard {}

/// Takes a backup before a migration, proven to a level. Nothing pending, nothing taken. Backups are kept when a run
/// is undone: restoring one loses what was written after it, so only a person asks for that.
#[derive(Debug, Clone)]
pub struct BackupDatabase {
    migrator: Arc<dyn Migrator>,
    level: BackupLevel,
}

impl BackupDatabase {
    /// Backs up through `migrator`, proven to `level`.
    pub fn new(migrator: Arc<dyn Migrator>, level: BackupLevel) -> Self {
        Self { migrator, level }
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
        let state = self.migrator.plan(cx).await?;
        let object = format!("{} backup", self.migrator.name());
        if state.pending.is_empty() {
            let change = Change::new(World::Database, object, Action::NoOp, "no migration pending");
            return Ok(StepPlan::unchanged(vec![change], Safeguard(None)));
        }
        let change = Change::new(World::Database, object, Action::Create, format!("before {}", state.target()));
        Ok(StepPlan::changing(vec![change]))
    }

    async fn apply(&self, cx: &Context, _input: ()) -> Result<Applied<Safeguard, NoUndo>> {
        let key = cx.effect_key().replace(['/', ' '], "-");
        let backup = self.migrator.backup(cx, &key, self.level).await?;
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

/// The version that a database had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SchemaUndo {
    to: MigrationVersion,
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
        format!("revert the schema of {} to {}", self.0.name(), undo.to)
    }

    async fn undo(&self, cx: &Context, undo: SchemaUndo) -> Result<()> {
        self.0.revert(cx, undo.to).await.map(drop)
    }
}

/// Applies pending migrations. Its input is the [`Safeguard`], so a backup cannot be forgotten.
#[derive(Debug, Clone)]
pub struct Migrate {
    migrator: Arc<dyn Migrator>,
}

impl Migrate {
    /// Migrates through `migrator`.
    pub fn new(migrator: Arc<dyn Migrator>) -> Self {
        Self { migrator }
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
        for migration in state.pending.iter().filter(|migration| !migration.reversible) {
            plan = plan.warning(format!(
                "migration {} {} has no way down: a failure after it needs an operator",
                migration.version, migration.description
            ));
        }
        Ok(plan)
    }

    async fn prepare(&self, cx: &Context, _safeguard: &Safeguard) -> Result<Option<SchemaUndo>> {
        Ok(Some(SchemaUndo { to: self.migrator.plan(cx).await?.head() }))
    }

    async fn apply(&self, cx: &Context, _safeguard: Safeguard) -> Result<Applied<MigrationReport, SchemaUndo>> {
        let target = self.migrator.plan(cx).await?.target();
        let report = self.migrator.migrate(cx, target).await?;
        cx.status(format!("schema {} → {}", report.from, report.to));
        Ok(Applied::new(report))
    }

    fn undoer(&self) -> Option<Arc<dyn Undoer<SchemaUndo>>> {
        Some(Arc::new(RevertSchema(Arc::clone(&self.migrator))))
    }
}

/// Measures the data before it is migrated.
#[derive(Debug, Clone)]
pub struct MeasureData {
    migrator: Arc<dyn Migrator>,
    checks: Vec<DataCheck>,
}

impl MeasureData {
    /// Measures `checks` through `migrator`.
    pub fn new(migrator: Arc<dyn Migrator>, checks: Vec<DataCheck>) -> Self {
        Self { migrator, checks }
    }
}

#[async_trait]
impl Step for MeasureData {
    type Input = ();
    type Output = Measurements;
    type Undo = NoUndo;

    fn kind(&self) -> &'static str {
        "measure data"
    }

    fn effect_class(&self) -> EffectClass {
        EffectClass::Pure
    }

    async fn plan(&self, _cx: &Context, _input: Planned<()>) -> Result<StepPlan<Measurements>> {
        Ok(StepPlan::gate(None))
    }

    async fn apply(&self, cx: &Context, _input: ()) -> Result<Applied<Measurements, NoUndo>> {
        self.migrator.measure(cx, &self.checks).await.map(Applied::new)
    }
}
