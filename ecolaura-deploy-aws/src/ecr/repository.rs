//! A repository as it is declared.

mod calls;
mod difference;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;
use ecolaura_deploy_core::{
    Context, Result,
    plan::{Action, Change, World},
    step::{Applied, EffectClass, Planned, Step, StepPlan, UndoData, Undoer},
    vocabulary::Repository,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use self::difference::{Move, Mutability};
use self::{
    calls::Calls,
    difference::{Found, Wished},
};
use super::resource;
use crate::{Account, Scope, access::Grant};

/// Makes sure that a repository is there, and is as it is declared. What is not declared is left as it is: settings,
/// and tags that somebody else set.
///
/// Its output is the repository's address without a tag. What it changed is put back when the run is undone; a
/// repository that it made stays, since images may be in it.
#[derive(Debug, Clone)]
pub struct EcrRepository {
    account: Account,
    name: Repository,
    wished: Wished,
}

/// What was changed in a repository: how it was before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EcrUndo {
    repository: Repository,
    moves: Vec<Move>,
}

impl UndoData for EcrUndo {
    const KIND: &'static str = "ECR repository";
}

impl EcrRepository {
    /// The repository `name`, without a host, in the registry of `account`.
    pub fn new(account: &Account, name: Repository) -> Self {
        Self { account: account.clone(), name, wished: Wished::default() }
    }

    /// Whether tags can be moved.
    pub fn mutability(mut self, mutability: Mutability) -> Self {
        self.wished.mutability = Some(mutability);
        self
    }

    /// Whether images are scanned as they are pushed.
    pub fn scan_on_push(mut self, scan: bool) -> Self {
        self.wished.scan_on_push = Some(scan);
        self
    }

    /// Which images are taken away in time: a document as ECR's lifecycle policies are.
    pub fn lifecycle(mut self, policy: Value) -> Self {
        self.wished.lifecycle = Some(policy);
        self
    }

    /// With a tag of the repository itself, for owners and bills.
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.wished.labels.insert(key.into(), value.into());
        self
    }

    /// What making and changing it takes, undoing included.
    pub fn grant(&self, scope: &Scope) -> Grant {
        let wished = &self.wished;
        let declared: [(bool, &[&str]); 4] = [
            (wished.mutability.is_some(), &["ecr:PutImageTagMutability"]),
            (wished.scan_on_push.is_some(), &["ecr:PutImageScanningConfiguration"]),
            (
                wished.lifecycle.is_some(),
                &["ecr:DeleteLifecyclePolicy", "ecr:GetLifecyclePolicy", "ecr:PutLifecyclePolicy"],
            ),
            (!wished.labels.is_empty(), &["ecr:ListTagsForResource", "ecr:TagResource", "ecr:UntagResource"]),
        ];
        let declared = declared.into_iter().filter(|(is, _)| *is).flat_map(|(_, actions)| actions.iter().copied());
        let actions = ["ecr:CreateRepository", "ecr:DescribeRepositories"].into_iter().chain(declared);
        Grant::new(actions, [resource(scope, self.name.as_str())])
    }

    async fn calls<'a>(&'a self, cx: &'a Context) -> Result<Calls<'a>> {
        Calls::new(&self.account, cx, &self.name).await
    }

    fn object(&self) -> String {
        format!("ECR repository {}", self.name)
    }

    fn change(&self, found: Option<&Found>) -> Change {
        match found {
            None => self
                .wished
                .lines()
                .into_iter()
                .fold(Change::new(World::Registry, self.object(), Action::Create, "is not there"), Change::detail),
            Some(found) => {
                let moves = found.moves(&self.wished);
                if moves.is_empty() {
                    return Change::unchanged(World::Registry, self.object());
                }
                let reason = if moves.len() == 1 {
                    "1 setting differs".to_owned()
                } else {
                    format!("{} settings differ", moves.len())
                };
                let change = Change::new(World::Registry, self.object(), Action::Update, reason);
                moves.iter().map(|change| found.line(change)).fold(change, Change::detail)
            }
        }
    }
}

#[async_trait]
impl Step for EcrRepository {
    type Input = ();
    type Output = String;
    type Undo = EcrUndo;

    fn kind(&self) -> &'static str {
        "ensure ECR repository"
    }

    fn effect_class(&self) -> EffectClass {
        EffectClass::Converging
    }

    async fn plan(&self, cx: &Context, _input: Planned<()>) -> Result<StepPlan<String>> {
        let calls = self.calls(cx).await?;
        let found = calls.find(&self.wished).await?;
        let change = self.change(found.as_ref());
        if change.action == Action::NoOp {
            return Ok(StepPlan::unchanged(vec![change], calls.address()));
        }
        let mut plan = StepPlan::changing(vec![change]);
        plan.output = Some(calls.address());
        Ok(plan)
    }

    async fn prepare(&self, cx: &Context, _input: &()) -> Result<Option<EcrUndo>> {
        let found = self.calls(cx).await?.find(&self.wished).await?;
        let moves = found.map(|found| found.moves(&self.wished).iter().map(|change| found.inverse(change)).collect());
        Ok(moves.map(|moves| EcrUndo { repository: self.name.clone(), moves }))
    }

    async fn apply(&self, cx: &Context, _input: ()) -> Result<Applied<String, EcrUndo>> {
        let calls = self.calls(cx).await?;
        let found = match calls.find(&self.wished).await? {
            Some(found) => Some(found),
            // Somebody else may have made it a moment ago, or an attempt whose answer was lost.
            None if calls.create(&self.wished).await? => Some(Found::made(&self.wished)),
            None => calls.find(&self.wished).await?,
        };
        for change in found.unwrap_or_default().moves(&self.wished) {
            calls.make(&change).await?;
        }
        Ok(Applied::new(calls.address()))
    }

    fn undoer(&self) -> Option<Arc<dyn Undoer<EcrUndo>>> {
        Some(Arc::new(PutBack(self.account.clone())))
    }
}

#[derive(Debug)]
struct PutBack(Account);

#[async_trait]
impl Undoer<EcrUndo> for PutBack {
    fn target(&self) -> String {
        format!("ECR in {}", self.0.region())
    }

    fn describe(&self, undo: &EcrUndo) -> String {
        format!("put {} settings of ECR repository {} back", undo.moves.len(), undo.repository)
    }

    async fn undo(&self, cx: &Context, undo: EcrUndo) -> Result<()> {
        let calls = Calls::new(&self.0, cx, &undo.repository).await?;
        for change in undo.moves.iter().rev() {
            calls.make(change).await?;
        }
        Ok(())
    }
}

/// Texts by key.
type Labels = BTreeMap<String, String>;
