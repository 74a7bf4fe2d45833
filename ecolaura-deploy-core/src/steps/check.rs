//! A check by closure: it judges what others did, and has nothing to judge when nothing changes.

use std::{fmt, marker::PhantomData};

use async_trait::async_trait;

use crate::{
    Context, Result,
    step::{Applied, EffectClass, Inputs, Leaf, NoUndo, Step, StepPlan},
};

/// A step that checks. Made by [`check`].
pub struct Check<F, I, O> {
    kind: &'static str,
    check: F,
    types: PhantomData<fn(I) -> O>,
}

/// A step that awaits `check` with its inputs. An error is a refusal. It changes nothing, and does not run while
/// nothing else of the plan changes anything.
pub fn check<I, O, F, Fut>(kind: &'static str, check: F) -> Check<F, I, O>
where
    I: Inputs,
    O: Leaf,
    F: Fn(Context, I) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<O>> + Send,
{
    Check { kind, check, types: PhantomData }
}

impl<F, I, O> fmt::Debug for Check<F, I, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Check").field("kind", &self.kind).finish_non_exhaustive()
    }
}

#[async_trait]
impl<I, O, F, Fut> Step for Check<F, I, O>
where
    I: Inputs,
    O: Leaf,
    F: Fn(Context, I) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<O>> + Send + 'static,
{
    type Input = I;
    type Output = O;
    type Undo = NoUndo;

    fn kind(&self) -> &'static str {
        self.kind
    }

    fn effect_class(&self) -> EffectClass {
        EffectClass::Pure
    }

    async fn plan(&self, _cx: &Context, _input: I::Planned) -> Result<StepPlan<O>> {
        Ok(StepPlan::gate(None))
    }

    async fn apply(&self, cx: &Context, input: I) -> Result<Applied<O, NoUndo>> {
        (self.check)(cx.clone(), input).await.map(Applied::new)
    }
}
