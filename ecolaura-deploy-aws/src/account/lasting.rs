//! Steps that begin only with credentials that last.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use ecolaura_deploy_core::{
    Context, Result,
    step::{Applied, EffectClass, Inputs, Probed, Step, StepPlan, Undoer},
};

use super::Account;

/// A step that begins with credentials which last for all of it: [`Account::lasting`] before its effect. For those that
/// cannot stop in the middle: a migration, a switch, what hands credentials on in an address or a token.
pub struct Lasting<S> {
    account: Account,
    step: S,
    planned: Duration,
}

impl<S> Lasting<S> {
    /// `step`, which takes `planned` at the longest.
    pub fn new(account: &Account, step: S, planned: Duration) -> Self {
        Self { account: account.clone(), step, planned }
    }
}

impl<S: fmt::Debug> fmt::Debug for Lasting<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lasting").field("step", &self.step).field("planned", &self.planned).finish_non_exhaustive()
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<S: Step> Step for Lasting<S> {
    type Input = S::Input;
    type Output = S::Output;
    type Undo = S::Undo;

    fn kind(&self) -> &'static str {
        self.step.kind()
    }

    fn effect_class(&self) -> EffectClass {
        self.step.effect_class()
    }

    async fn plan(&self, cx: &Context, input: <S::Input as Inputs>::Planned) -> Result<StepPlan<S::Output>> {
        self.step.plan(cx, input).await
    }

    async fn prepare(&self, cx: &Context, input: &S::Input) -> Result<Option<S::Undo>> {
        self.step.prepare(cx, input).await
    }

    async fn apply(&self, cx: &Context, input: S::Input) -> Result<Applied<S::Output, S::Undo>> {
        self.account.lasting(cx, self.planned).await?;
        self.step.apply(cx, input).await
    }

    async fn probe(&self, cx: &Context, input: S::Input) -> Result<Probed<S::Output>> {
        self.step.probe(cx, input).await
    }

    fn asks_again(&self) -> bool {
        self.step.asks_again()
    }

    fn undoer(&self) -> Option<Arc<dyn Undoer<S::Undo>>> {
        self.step.undoer()
    }
}
