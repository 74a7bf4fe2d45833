//! The proof that the data survived a migration.

use std::sync::Arc;

use async_trait::async_trait;

use crate::{
    Context, Error, ErrorKind, Result, Verdict,
    analysis::data,
    backend::{DataCheck, Measurements, MigrationReport, Migrator},
    step::{Applied, EffectClass, NoUndo, Planned, Step, StepPlan},
};

/// Under what the schema's version stands among the measurements.
const SCHEMA: &str = "schema version";

/// Measures the data before it is migrated, for [`VerifyData`]. Nothing pending, nothing measured. A database whose own
/// check of its files finds something is not migrated. Order the migration behind it with
/// [`after`](crate::pipeline::StepBuilder::after).
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

    async fn plan(&self, cx: &Context, _input: Planned<()>) -> Result<StepPlan<Measurements>> {
        check_names(&self.checks)?;
        let idle = self.migrator.plan(cx).await?.pending.is_empty();
        Ok(if idle { StepPlan::unchanged(Vec::new(), Measurements::default()) } else { StepPlan::gate(None) })
    }

    async fn apply(&self, cx: &Context, _input: ()) -> Result<Applied<Measurements, NoUndo>> {
        let head = self.migrator.plan(cx).await?.head();
        let mut measured = self.migrator.measure(cx, &self.checks).await?;
        let damage = measured.0.get(&DataCheck::Structure.name()).copied().flatten().unwrap_or_default();
        if self.checks.contains(&DataCheck::Structure) && damage != 0 {
            let message = format!("the database's own check of {} finds {damage} problems", self.migrator.name());
            return Err(Error::new(ErrorKind::Corrupt, "database.measure", message)
                .advice("mend the database, or restore a backup, before it is migrated"));
        }
        measured.0.insert(SCHEMA.to_owned(), Some(head.0));
        Ok(Applied::new(measured))
    }
}

/// Fails if two different queries share a name.
fn check_names(checks: &[DataCheck]) -> Result<()> {
    let clash = checks.iter().enumerate().find(|(index, check)| {
        let query = matches!(check, DataCheck::Query { .. });
        query && checks[..*index].iter().any(|other| other.name() == check.name() && other != *check)
    });
    match clash {
        None => Ok(()),
        Some((_, check)) => Err(Error::invalid("database.measure", format!("two checks are named `{}`", check.name()))
            .advice("give each query a name of its own")),
    }
}

/// Measures the data again after it was migrated and refuses a difference that was not allowed; the run then goes back.
/// Its inputs are the measurements from before and what the migration did. Nothing migrated, nothing judged.
#[derive(Debug, Clone)]
pub struct VerifyData {
    migrator: Arc<dyn Migrator>,
    checks: Vec<DataCheck>,
}

impl VerifyData {
    /// Judges `checks` through `migrator`; the same checks as [`MeasureData`] had.
    pub fn new(migrator: Arc<dyn Migrator>, checks: Vec<DataCheck>) -> Self {
        Self { migrator, checks }
    }

    fn refuse(&self, message: String) -> Error {
        Error::new(ErrorKind::GateRefused, "database.verify", message).with("database", self.migrator.name())
    }
}

#[async_trait]
impl Step for VerifyData {
    type Input = (Measurements, MigrationReport);
    type Output = Measurements;
    type Undo = NoUndo;

    fn kind(&self) -> &'static str {
        "verify data"
    }

    fn effect_class(&self) -> EffectClass {
        EffectClass::Pure
    }

    async fn plan(
        &self,
        _cx: &Context,
        (_, report): (Planned<Measurements>, Planned<MigrationReport>),
    ) -> Result<StepPlan<Measurements>> {
        check_names(&self.checks)?;
        let idle = report.known().is_some_and(|report| report.done.is_empty());
        Ok(if idle { StepPlan::unchanged(Vec::new(), Measurements::default()) } else { StepPlan::gate(None) })
    }

    async fn apply(
        &self,
        cx: &Context,
        (before, report): (Measurements, MigrationReport),
    ) -> Result<Applied<Measurements, NoUndo>> {
        if before.0.get(SCHEMA) != Some(&Some(report.from.0)) {
            let message = format!("the data was not measured at schema {}, where the migration began", report.from);
            return Err(self.refuse(message).advice("order the migration `.after` the step that measures"));
        }
        let after = self.migrator.measure(cx, &self.checks).await?;
        let (verdict, lines) = data::judge(&self.checks, &before, &after);
        cx.evidence(format!("data of {}: {verdict:?}", self.migrator.name()), lines.clone());
        if verdict == Verdict::Pass {
            return Ok(Applied::new(after));
        }
        let bad: Vec<String> = lines.into_iter().filter(|line| !line.starts_with("Pass")).collect();
        Err(self
            .refuse(format!("the data is not what it was: {}", bad.join("; ")))
            .advice("mend the migration, or allow the change where the check is declared"))
    }
}
