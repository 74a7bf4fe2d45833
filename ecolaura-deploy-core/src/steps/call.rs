//! Steps by closure: one that acts, and one that checks.

use std::{fmt, marker::PhantomData};

use async_trait::async_trait;

use crate::{
    Context, Result,
    step::{Applied, EffectClass, Inputs, Leaf, NoUndo, Step, StepPlan},
};

/// A step that calls a closure. Made by [`call`] and [`check`].
pub struct Call<F, I, O> {
    kind: &'static str,
    class: EffectClass,
    judges: bool,
    call: F,
    types: PhantomData<fn(I) -> O>,
}

/// A step that awaits `call` with its inputs and leaves nothing to undo. Every run calls it; it counts as
/// [`EffectClass::Pure`] unless [`Call::effect_class`] says otherwise.
pub fn call<I, O, F, Fut>(kind: &'static str, call: F) -> Call<F, I, O>
where
    I: Inputs,
    O: Leaf,
    F: Fn(Context, I) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<O>> + Send,
{
    Call { kind, class: EffectClass::Pure, judges: false, call, types: PhantomData }
}

/// A step that awaits `check` with its inputs: it judges what others did, and an error is a refusal. It changes
/// nothing, and does not run while nothing else of the plan changes anything.
pub fn check<I, O, F, Fut>(kind: &'static str, check: F) -> Call<F, I, O>
where
    I: Inputs,
    O: Leaf,
    F: Fn(Context, I) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<O>> + Send,
{
    Call { judges: true, ..call(kind, check) }
}

impl<F, I, O> Call<F, I, O> {
    /// With another effect class.
    pub fn effect_class(mut self, class: EffectClass) -> Self {
        self.class = class;
        self
    }
}

impl<F, I, O> fmt::Debug for Call<F, I, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("kind", &self.kind).finish_non_exhaustive()
    }
}

#[async_trait]
impl<I, O, F, Fut> Step for Call<F, I, O>
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
        self.class
    }

    async fn plan(&self, _cx: &Context, _input: I::Planned) -> Result<StepPlan<O>> {
        Ok(if self.judges { StepPlan::gate(None) } else { StepPlan::changing(Vec::new()) })
    }

    async fn apply(&self, cx: &Context, input: I) -> Result<Applied<O, NoUndo>> {
        (self.call)(cx.clone(), input).await.map(Applied::new)
    }
}
