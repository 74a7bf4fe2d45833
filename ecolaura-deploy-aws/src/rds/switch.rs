//! Letting a restored database take the name of the one that it replaces: renames, one after the other, each of which
//! can be looked at.

mod moves;

use std::sync::Arc;

use async_trait::async_trait;
use ecolaura_deploy_core::{
    Admitted, Context, Effect, Error, ErrorKind, Result,
    plan::{Action, Change, World},
    step::{Applied, EffectClass, Planned, Probed, Step, StepPlan, UndoData, Undoer},
};
use serde::{Deserialize, Serialize};

use self::moves::{Move, Place, moves, place};
use super::{
    calls::Calls,
    database::{Database, Endpoint, RdsDatabase},
    loss::AcceptedLoss,
    restore::target,
    restored::Restored,
    wait::{State, stuck, waiting},
};
use crate::{Scope, access::Grant};

const OPERATION: &str = "rds.switch";

/// Puts a database aside under another name, and lets the restored one take its name: programs find it where the old one
/// was, a few minutes later. **What was written since the restored point is lost to them**; the old database keeps it.
///
/// Each rename is looked at before it is asked for, by what RDS gives a database for its life: a run that was killed
/// between any two goes on from there. Before the first, the [`AcceptedLoss`] has to cover what would be lost; a switch
/// that has begun goes on. Undone in reverse. A database that has served is never deleted by this crate; the
/// one that was put aside costs as before until somebody deletes it.
#[derive(Debug, Clone)]
pub struct SwitchDatabase {
    database: RdsDatabase,
    accepted: AcceptedLoss,
}

/// The renames of a switch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwitchUndo {
    moves: Vec<Move>,
}

impl UndoData for SwitchUndo {
    const KIND: &'static str = "RDS database switch";
}

impl SwitchDatabase {
    /// Of `database`, where losing what `accepted` says is agreed to.
    pub fn new(database: &RdsDatabase, accepted: AcceptedLoss) -> Self {
        Self { database: database.clone(), accepted }
    }

    /// What switching takes, undoing included. Of a cluster, for members whose names begin with its own.
    pub fn grants(&self, scope: &Scope) -> Vec<Grant> {
        let database = &self.database.database;
        let of = |database: &Database| {
            let (describe, modify) = match database {
                Database::Instance(_) => ("rds:DescribeDBInstances", "rds:ModifyDBInstance"),
                Database::Cluster(_) => ("rds:DescribeDBClusters", "rds:ModifyDBCluster"),
            };
            let (new, old) = (database.any_beside("new").arn(scope), database.any_beside("old").arn(scope));
            let tagged = Grant::new(["rds:AddTagsToResource"], [new.clone()]);
            [Grant::new([describe, modify], [database.arn(scope), new, old]), tagged]
        };
        let mut grants = of(database).to_vec();
        if let Database::Cluster(name) = database {
            let members = Database::Instance(format!("{name}-*")).arn(scope);
            grants.push(Grant::new(["rds:DescribeDBInstances", "rds:ModifyDBInstance"], [members]));
        }
        grants
    }

    fn walk<'a>(&'a self, calls: &'a Calls<'a>) -> Walk<'a> {
        Walk { calls, of: &self.database }
    }

    fn check(&self, restored: &Restored) -> Result<()> {
        let (found, expected) = (&restored.old.database, &self.database.database);
        if found == expected {
            return Ok(());
        }
        Err(Error::invalid(OPERATION, format!("what was restored is to replace {found}, not {expected}")))
    }
}

/// Goes through renames.
struct Walk<'a> {
    calls: &'a Calls<'a>,
    of: &'a RdsDatabase,
}

impl Walk<'_> {
    /// Where the database of `step` is.
    async fn look(&self, step: &Move) -> Result<Place> {
        let at_end = self.calls.find(&step.to).await?;
        let at_start = match &at_end {
            Some(seen) if seen.identity() == step.identity => None,
            _ => self.calls.find(&step.from).await?,
        };
        Ok(place(step, at_start, at_end))
    }

    /// Renames, if that is not done, and waits until it is.
    async fn go(&self, step: &Move) -> Result<()> {
        let mut wait = waiting(self.calls, self.of);
        loop {
            let status = match wait.look(|| self.look(step)).await? {
                Place::There { state: State::Ready, .. } => return Ok(()),
                Place::Taken { by } => return Err(taken(step, &by)),
                Place::Away { state: State::Stuck, status } => return Err(stuck(OPERATION, &step.from, &status)),
                Place::There { status, .. }
                | Place::Away { state: State::Passing, status }
                | Place::Behind { status } => status,
                Place::Away { state: State::Ready, .. } => match wait.heard(self.ask(step).await).await? {
                    Some(status) => status,
                    None => continue,
                },
                // Between two names a database may have none for a moment.
                Place::Nowhere => "nowhere".to_owned(),
            };
            wait.pause(&format!("{} on its way to {}", step.from, step.to.name()), &status).await?;
        }
    }

    async fn ask(&self, step: &Move) -> Result<String> {
        if step.serves {
            self.calls.serves(&step.from).await?;
        }
        let asked = self.calls.rename(&step.from, step.to.name(), step.protected).await?;
        Ok(asked.status("renaming"))
    }

    /// `error` behind the last rename.
    fn done(error: Error) -> Error {
        if error.effect() == Effect::None { error.with_effect(Effect::Complete) } else { error }
    }

    async fn all(&self, moves: &[Move]) -> Result<()> {
        for (done, step) in moves.iter().enumerate() {
            self.calls.cx.progress("renames", done as u64, Some(moves.len() as u64));
            self.go(step).await.map_err(|error| match (error.effect(), done) {
                (Effect::None, 1..) => error.with_effect(Effect::Partial),
                _ => self.calls.behind(error),
            })?;
        }
        Ok(())
    }
}

fn taken(step: &Move, by: &str) -> Error {
    let message = format!("{} cannot be renamed: `{}` is taken by another database", step.from, step.to.name());
    Error::new(ErrorKind::Conflict, OPERATION, message)
        .with("taken by", by)
        .with("expected", &step.identity.resource)
        .advice("see who made it, rename it, and run again: what is done already is not done twice")
}

#[async_trait]
impl Step for SwitchDatabase {
    type Input = Admitted<Restored>;
    type Output = Endpoint;
    type Undo = SwitchUndo;

    fn kind(&self) -> &'static str {
        "switch database"
    }

    fn effect_class(&self) -> EffectClass {
        EffectClass::Probed
    }

    async fn plan(&self, cx: &Context, restored: Planned<Admitted<Restored>>) -> Result<StepPlan<Endpoint>> {
        let database = &self.database.database;
        let point = restored.known().map(|restored| restored.subject().point);
        let change = Change::new(World::Database, database.to_string(), Action::Replace, "by the restored one");
        let plan = StepPlan::changing(vec![change.detail("the old one is put aside under another name")]);
        Ok(plan.warning(format!("{database}: {}", self.accepted.line(point, cx.clock().now()))))
    }

    async fn prepare(&self, _cx: &Context, restored: &Admitted<Restored>) -> Result<Option<SwitchUndo>> {
        Ok(Some(SwitchUndo { moves: moves(restored.subject()) }))
    }

    async fn apply(&self, cx: &Context, restored: Admitted<Restored>) -> Result<Applied<Endpoint, SwitchUndo>> {
        let restored = restored.into_subject();
        self.check(&restored)?;
        let calls = Calls::of(&self.database, (cx, OPERATION)).await?;
        let (walk, moves) = (self.walk(&calls), moves(&restored));
        // Once it has begun, going on is the shorter way.
        let begun = match moves.first() {
            Some(first) => {
                let mut wait = waiting(&calls, &self.database).reached(true);
                wait.look(|| walk.look(first)).await?.has_begun()
            }
            None => false,
        };
        if !begun {
            self.accepted.covers(restored.point, cx.clock().now())?;
        }
        walk.all(&moves).await?;
        let seen = waiting(&calls, &self.database).look(|| calls.existing(&self.database.database)).await;
        let endpoint = seen.and_then(|seen| seen.endpoint(OPERATION)).map_err(Walk::done)?;
        cx.evidence(
            "switched",
            vec![
                format!("{} is the restored one, at {endpoint}", self.database.database),
                format!("{} is the old one, and stays until somebody deletes it", restored.aside),
            ],
        );
        Ok(Applied::new(endpoint))
    }

    async fn probe(&self, cx: &Context, restored: Admitted<Restored>) -> Result<Probed<Endpoint>> {
        let calls = Calls::of(&self.database, (cx, OPERATION)).await?;
        let (walk, moves) = (self.walk(&calls), moves(restored.subject()));
        let mut places = Vec::with_capacity(moves.len());
        for step in &moves {
            places.push(walk.look(step).await?);
        }
        if places.iter().all(|place| matches!(place, Place::There { state: State::Ready, .. })) {
            let endpoint = calls.existing(&self.database.database).await?.endpoint(OPERATION)?;
            return Ok(Probed::Done(endpoint));
        }
        Ok(if places.iter().any(Place::has_begun) { Probed::Partial } else { Probed::NotDone })
    }

    fn undoer(&self) -> Option<Arc<dyn Undoer<SwitchUndo>>> {
        Some(Arc::new(SwitchBack(self.database.clone())))
    }
}

#[derive(Debug)]
struct SwitchBack(RdsDatabase);

#[async_trait]
impl Undoer<SwitchUndo> for SwitchBack {
    fn target(&self) -> String {
        target(&self.0.account)
    }

    fn describe(&self, undo: &SwitchUndo) -> String {
        let name = undo.moves.first().map_or("the database", |first| first.from.name());
        format!("give `{name}` back to the old database; what was written since the switch stays in the restored one")
    }

    async fn undo(&self, cx: &Context, undo: SwitchUndo) -> Result<()> {
        let calls = Calls::of(&self.0, (cx, OPERATION)).await?;
        let back: Vec<_> = undo.moves.iter().rev().map(Move::inverse).collect();
        Walk { calls: &calls, of: &self.0 }.all(&back).await
    }
}
