//! Taking a database's schema back, as a declared part of a roll-back.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::Safeguard;
use crate::{
    Context, Result,
    backend::{MigrationReport, Migrator},
    plan::{Action, Change, World},
    step::{Applied, EffectClass, Planned, Probed, Step, StepPlan, UndoData, Undoer},
    vocabulary::MigrationVersion,
};

/// The version that a database had before it was taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RevertUndo {
    to: MigrationVersion,
}

impl UndoData for RevertUndo {
    const KIND: &'static str = "reverted database schema";
}

#[derive(Debug)]
struct MigrateAgain(Arc<dyn Migrator>);

#[async_trait]
impl Undoer<RevertUndo> for MigrateAgain {
    fn target(&self) -> String {
        self.0.name().to_string()
    }

    fn describe(&self, undo: &RevertUndo) -> String {
        format!("migrate {} to {} again", self.0.name(), undo.to)
    }

    async fn undo(&self, cx: &Context, undo: RevertUndo) -> Result<()> {
        self.0.migrate(cx, undo.to).await.map(drop)
    }
}

/// Takes a database back to a version, by the SQL that was kept when it went up. A database that is there or below
/// stays as it is. Its input is the [`Safeguard`], so a backup cannot be forgotten.
///
/// What only the reverted migrations gave room to is lost: the plan says so for each. Undoing it migrates again, and
/// does not bring that data back.
#[derive(Debug, Clone)]
pub struct RevertDatabase {
    migrator: Arc<dyn Migrator>,
    to: MigrationVersion,
}

impl RevertDatabase {
    /// Takes the database of `migrator` back to `to`.
    pub fn new(migrator: Arc<dyn Migrator>, to: MigrationVersion) -> Self {
        Self { migrator, to }
    }
}

#[async_trait]
impl Step for RevertDatabase {
    type Input = Safeguard;
    type Output = MigrationReport;
    type Undo = RevertUndo;

    fn kind(&self) -> &'static str {
        "revert database"
    }

    fn effect_class(&self) -> EffectClass {
        EffectClass::Transactional
    }

    async fn plan(&self, cx: &Context, _safeguard: Planned<Safeguard>) -> Result<StepPlan<MigrationReport>> {
        let state = self.migrator.plan(cx).await?;
        let (name, head) = (self.migrator.name(), state.head());
        let above: Vec<MigrationVersion> = state.applied.into_iter().filter(|version| *version > self.to).collect();
        let precondition = format!("schema of {name}");
        if above.is_empty() {
            let change =
                Change::new(World::Database, format!("{name} schema"), Action::NoOp, format!("at version {head}"));
            let report = MigrationReport::new(head, head, Vec::new());
            return Ok(StepPlan::unchanged(vec![change], report).precondition(precondition, head));
        }
        let change = |version: &MigrationVersion| {
            let reason = format!("above {}; what only it gave room to is lost", self.to);
            Change::new(World::Database, format!("{name} migration {version}"), Action::Delete, reason)
        };
        Ok(StepPlan::changing(above.iter().rev().map(change).collect()).precondition(precondition, head))
    }

    async fn prepare(&self, cx: &Context, _safeguard: &Safeguard) -> Result<Option<RevertUndo>> {
        Ok(Some(RevertUndo { to: self.migrator.plan(cx).await?.head() }))
    }

    async fn apply(&self, cx: &Context, _safeguard: Safeguard) -> Result<Applied<MigrationReport, RevertUndo>> {
        let report = self.migrator.revert(cx, self.to).await?;
        cx.status(format!("schema {} → {}", report.from, report.to));
        Ok(Applied::new(report))
    }

    /// The ledger tells: what is above the target is still to be reverted.
    async fn probe(&self, cx: &Context, _safeguard: Safeguard) -> Result<Probed<MigrationReport>> {
        let head = self.migrator.plan(cx).await?.head();
        let from = cx.prior::<RevertUndo>().map_or(head, |prior| prior.to);
        Ok(match (head <= self.to, head == from) {
            (true, _) => Probed::Done(MigrationReport::new(from, head, Vec::new())),
            (false, true) => Probed::NotDone,
            (false, false) => Probed::Partial,
        })
    }

    fn undoer(&self) -> Option<Arc<dyn Undoer<RevertUndo>>> {
        Some(Arc::new(MigrateAgain(Arc::clone(&self.migrator))))
    }
}
