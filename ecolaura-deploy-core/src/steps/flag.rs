//! Switching a feature on, as the last reversible move of a release.

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use crate::{
    Context, Result,
    backend::{FeatureFlags, FlagChange, FlagState},
    plan::{Action, Change, World},
    step::{Applied, EffectClass, Planned, Step, StepPlan, UndoData, Undoer},
};

/// What a flag was, and what it became.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FlagUndo {
    flag: String,
    was: FlagState,
    became: FlagState,
}

impl UndoData for FlagUndo {
    const KIND: &'static str = "feature flag";
}

#[derive(Debug)]
struct SwitchBack(Arc<dyn FeatureFlags>);

#[async_trait]
impl Undoer<FlagUndo> for SwitchBack {
    fn target(&self) -> String {
        self.0.name().to_string()
    }

    fn describe(&self, undo: &FlagUndo) -> String {
        format!("switch flag {} back to {}", undo.flag, undo.was)
    }

    async fn undo(&self, cx: &Context, undo: FlagUndo) -> Result<()> {
        self.0.set(cx, &FlagChange::new(undo.flag, undo.became, undo.was)).await
    }
}

/// Switches one flag.
#[derive(Debug, Clone)]
pub struct SetFlag {
    flags: Arc<dyn FeatureFlags>,
    flag: String,
    to: FlagState,
}

impl SetFlag {
    /// Switches `flag` to `to`.
    pub fn new(flags: Arc<dyn FeatureFlags>, flag: impl Into<String>, to: FlagState) -> Self {
        Self { flags, flag: flag.into(), to }
    }
}

#[async_trait]
impl Step for SetFlag {
    type Input = ();
    type Output = ();
    type Undo = FlagUndo;

    fn kind(&self) -> &'static str {
        "switch flag"
    }

    fn effect_class(&self) -> EffectClass {
        EffectClass::Converging
    }

    async fn plan(&self, cx: &Context, _input: Planned<()>) -> Result<StepPlan<()>> {
        let now = self.flags.get(cx, &self.flag).await?;
        let change = |action, reason| vec![Change::new(World::Flag, &self.flag, action, reason)];
        let plan = if now == self.to {
            StepPlan::unchanged(change(Action::NoOp, format!("is {now}")), ())
        } else {
            StepPlan::changing(change(Action::Update, format!("{now} → {}", self.to)))
        };
        Ok(plan.precondition(format!("flag {}", self.flag), now))
    }

    async fn prepare(&self, cx: &Context, _input: &()) -> Result<Option<FlagUndo>> {
        let was = self.flags.get(cx, &self.flag).await?;
        Ok(Some(FlagUndo { flag: self.flag.clone(), was, became: self.to.clone() }))
    }

    async fn apply(&self, cx: &Context, _input: ()) -> Result<Applied<(), FlagUndo>> {
        let from = self.flags.get(cx, &self.flag).await?;
        self.flags.set(cx, &FlagChange::new(&self.flag, from, self.to.clone())).await?;
        Ok(Applied::new(()))
    }

    fn undoer(&self) -> Option<Arc<dyn Undoer<FlagUndo>>> {
        Some(Arc::new(SwitchBack(Arc::clone(&self.flags))))
    }
}
