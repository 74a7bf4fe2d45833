//! Steps that fail on demand.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;

use crate::{
    Context, Effect, Error, ErrorKind, Result,
    step::{Applied, EffectClass, Inputs, Need, Probed, Step, StepPlan, Undoer},
};

/// What goes wrong in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Planning fails.
    FailPlan,
    /// Planning panics.
    PanicPlan,
    /// Reading the prior state fails.
    FailPrepare,
    /// Reading the prior state panics.
    PanicPrepare,
    /// It fails before it changes anything.
    FailBefore,
    /// It does all it does and then fails, with [`Effect::Complete`] and all that undoes it.
    FailAfter,
    /// It does all it does and the answer is lost: a timeout with [`Effect::Unknown`].
    LoseAnswer,
    /// The first so many attempts find the other side unavailable, before they change anything.
    Flaky(u32),
    /// It changes nothing and never ends, whatever is asked of it.
    Hang,
    /// It begins so much later. A cancel ends the pause.
    Slow(Duration),
    /// It panics before it changes anything.
    Panic,
    /// It does all it does and then panics.
    PanicAfter,
    /// It does all it does and then the process aborts: nobody is left to record the outcome.
    AbortAfter,
}

/// A step with a fault; without one, the step itself.
///
/// With a fault that concerns its run, the step is not passed over for having nothing to do, unless the whole plan has
/// nothing to do: then there is nothing that could fail. Where only others change something, it fails without an
/// effect of its own.
///
/// ```
/// use ecolaura_deploy_core::{pipeline::{Pipeline, constant}, steps, testing::{Fault, Faulty}};
/// let mut pipeline = Pipeline::new("ecolaura".parse()?, "dev".parse()?);
/// let step = steps::call("build", |_cx, ()| async { Ok("built".to_owned()) });
/// let fails = std::env::args().any(|argument| argument == "--fail");
/// pipeline.add("build", Faulty::new(step, fails.then_some(Fault::FailAfter)), constant(()));
/// # Ok::<_, ecolaura_deploy_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Faulty<S> {
    step: S,
    fault: Option<Fault>,
}

impl<S: Step> Faulty<S> {
    /// `step` with `fault`.
    pub fn new(step: S, fault: Option<Fault>) -> Self {
        Self { step, fault }
    }

    fn runs_always(&self) -> bool {
        !matches!(self.fault, None | Some(Fault::Slow(_)))
    }

    /// Its effect, unless it has none.
    async fn effect(&self, cx: &Context, input: S::Input) -> Result<(bool, Applied<S::Output, S::Undo>)> {
        let plan = self.step.plan(cx, input.clone().into_planned()).await?;
        match plan.output {
            Some(output) if plan.need == Need::Nothing => Ok((false, Applied::new(output))),
            _ => Ok((true, self.step.apply(cx, input).await?)),
        }
    }

    async fn fail_after(&self, cx: &Context, input: S::Input) -> Result<Applied<S::Output, S::Undo>> {
        let (changed, applied) = self.effect(cx, input).await?;
        let error = injected(ErrorKind::Internal, "failed at its end, as asked");
        if changed { Ok(applied.failed(error)) } else { Err(error) }
    }

    async fn lose_answer(&self, cx: &Context, input: S::Input) -> Result<Applied<S::Output, S::Undo>> {
        self.effect(cx, input).await?;
        Err(injected(ErrorKind::Timeout, "the answer was lost, as asked").with_effect(Effect::Unknown))
    }
}

fn injected(kind: ErrorKind, message: &str) -> Error {
    Error::new(kind, "fault.inject", message).advice("run again without the fault")
}

#[expect(clippy::panic, reason = "panicking is what was asked for")]
fn panics(place: &str) -> ! {
    panic!("{place}, as asked")
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl<S: Step> Step for Faulty<S> {
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
        match self.fault {
            Some(Fault::FailPlan) => return Err(injected(ErrorKind::Internal, "planning failed, as asked")),
            Some(Fault::PanicPlan) => panics("planning panicked"),
            _ => {}
        }
        let mut plan = self.step.plan(cx, input).await?;
        if plan.need == Need::Nothing && self.runs_always() {
            plan.need = Need::WhenOthersChange;
        }
        Ok(plan)
    }

    async fn prepare(&self, cx: &Context, input: &S::Input) -> Result<Option<S::Undo>> {
        match self.fault {
            Some(Fault::FailPrepare) => Err(injected(ErrorKind::Internal, "reading the state failed, as asked")),
            Some(Fault::PanicPrepare) => panics("reading the state panicked"),
            _ => self.step.prepare(cx, input).await,
        }
    }

    async fn apply(&self, cx: &Context, input: S::Input) -> Result<Applied<S::Output, S::Undo>> {
        match self.fault {
            Some(Fault::FailBefore) => Err(injected(ErrorKind::Internal, "failed before it began, as asked")),
            Some(Fault::FailAfter) => self.fail_after(cx, input).await,
            Some(Fault::LoseAnswer) => self.lose_answer(cx, input).await,
            Some(Fault::Flaky(times)) if cx.attempt() <= times => {
                Err(injected(ErrorKind::Unavailable, "not there, as asked"))
            }
            Some(Fault::Hang) => std::future::pending().await,
            Some(Fault::Slow(time)) => {
                cx.sleep("fault.inject", time).await?;
                self.step.apply(cx, input).await
            }
            Some(Fault::Panic) => panics("the step panicked"),
            Some(Fault::PanicAfter) => {
                self.effect(cx, input).await?;
                panics("the step panicked at its end")
            }
            Some(Fault::AbortAfter) => {
                self.effect(cx, input).await?;
                std::process::abort()
            }
            _ => self.effect(cx, input).await.map(|(_, applied)| applied),
        }
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

#[cfg(test)]
mod tests;
