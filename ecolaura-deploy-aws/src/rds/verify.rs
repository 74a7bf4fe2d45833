//! Looking at a restored database before anybody uses it.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use ecolaura_deploy_core::{
    Admitted, Context, Error, ErrorKind, Result,
    step::{Applied, EffectClass, NoUndo, Planned, Step, StepPlan},
};

use super::{
    calls::Calls,
    database::{Database, RdsDatabase},
    restored::Restored,
    wait::{State, waiting},
};
use crate::{Scope, access::Grant};

const OPERATION: &str = "rds.verify";

/// Whether a restored database is good: it can be logged in to, its tables are there, its rows add up.
#[async_trait]
pub trait DatabaseCheck: fmt::Debug + Send + Sync + 'static {
    /// Looks at the database at `restored.endpoint`, and answers with what it found, in lines. Changes nothing. An error
    /// is a refusal.
    async fn check(&self, cx: &Context, restored: &Restored) -> Result<Vec<String>>;
}

const _: fn(&dyn DatabaseCheck) = |_| {};

/// Lets a restored database pass if it is available, is of the engine and version of the one that it is to replace, has
/// the same groups, and a check of yours reaches it. All that is wrong is said at once.
#[derive(Debug, Clone)]
pub struct VerifyDatabase {
    database: RdsDatabase,
    check: Arc<dyn DatabaseCheck>,
}

impl VerifyDatabase {
    /// Of what was restored beside `database`, by `check`.
    pub fn new(database: &RdsDatabase, check: Arc<dyn DatabaseCheck>) -> Self {
        Self { database: database.clone(), check }
    }

    /// What looking takes.
    pub fn grant(&self, scope: &Scope) -> Grant {
        let old = &self.database.database;
        let action = match old {
            Database::Instance(_) => "rds:DescribeDBInstances",
            Database::Cluster(_) => "rds:DescribeDBClusters",
        };
        Grant::new([action], [old.arn(scope), old.any_beside("new").arn(scope)])
    }

    async fn problems(&self, cx: &Context, restored: &Restored) -> Result<Vec<String>> {
        let calls = Calls::of(&self.database, (cx, OPERATION)).await?;
        // What was restored took long enough to wait for an answer.
        let look =
            async |database| waiting(&calls, &self.database).reached(true).look(|| calls.existing(database)).await;
        let (new, old) = (look(&restored.new.database).await?, look(&restored.old.database).await?);
        let mut problems = Vec::new();
        let mut expect = |what: &str, found: &str, expected: &str| {
            if found != expected {
                problems.push(format!("{what} is `{found}`, expected `{expected}`"));
            }
        };
        if new.state() != State::Ready {
            expect("status", new.status(), "available");
        }
        expect("identity", &new.identity().resource, &restored.new.identity.resource);
        expect("engine", &new.engine(), &old.engine());
        for ((what, found), (_, expected)) in new.settings().iter().zip(old.settings()) {
            expect(what, found, &expected);
        }
        Ok(problems)
    }
}

#[async_trait]
impl Step for VerifyDatabase {
    type Input = Restored;
    type Output = Admitted<Restored>;
    type Undo = NoUndo;

    fn kind(&self) -> &'static str {
        "verify restored database"
    }

    fn effect_class(&self) -> EffectClass {
        EffectClass::Pure
    }

    async fn plan(&self, _cx: &Context, restored: Planned<Restored>) -> Result<StepPlan<Admitted<Restored>>> {
        Ok(StepPlan::gate(restored.known().map(|restored| Admitted::by_gate(self.kind(), restored.clone()))))
    }

    async fn apply(&self, cx: &Context, restored: Restored) -> Result<Applied<Admitted<Restored>, NoUndo>> {
        let mut problems = self.problems(cx, &restored).await?;
        let mut lines = vec![format!("{} at {}", restored.new.database, restored.endpoint)];
        match self.check.check(cx, &restored).await {
            Ok(found) => lines.extend(found),
            Err(error) if matches!(error.kind(), ErrorKind::Cancelled | ErrorKind::Timeout) => return Err(error),
            Err(error) => problems.push(error.report()),
        }
        if problems.is_empty() {
            cx.evidence("restored database", lines);
            return Ok(Applied::new(Admitted::by_gate(self.kind(), restored)));
        }
        cx.evidence("restored database", problems.clone());
        let message = format!("{} is not as it should be: {}", restored.new.database, problems.join("; "));
        Err(Error::new(ErrorKind::GateRefused, OPERATION, message)
            .advice("nothing was switched; the old database serves as before"))
    }
}
