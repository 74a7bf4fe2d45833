//! Faults of steps whose types are not known here.

use std::{future::pending, sync::Arc};

use async_trait::async_trait;

use crate::{
    Context, Effect, Error, ErrorKind, Result,
    pipeline::{ErasedPlan, ErasedStep, Output, Outputs, Pipeline, Refined, Success},
    step::{EffectClass, ErasedUndoer, Probed, UndoRecord},
    testing::Fault,
};

struct Faulty {
    step: Box<dyn ErasedStep>,
    fault: Fault,
}

/// Lets the step of this name fail. Answers whether there is one.
pub(super) fn inject(pipeline: &mut Pipeline, name: &str, fault: Fault) -> bool {
    let Some(index) = pipeline.nodes.iter().position(|node| node.name == name) else { return false };
    let mut node = pipeline.nodes.remove(index);
    node.step = Box::new(Faulty { step: node.step, fault });
    pipeline.nodes.insert(index, node);
    true
}

fn injected(kind: ErrorKind, message: &str) -> Error {
    Error::new(kind, "fault.inject", message)
}

#[expect(clippy::panic, reason = "panicking is what was asked for")]
fn panics(place: &str) -> ! {
    panic!("{place}, as asked")
}

impl Faulty {
    fn plan_fault(&self) -> Result<()> {
        match self.fault {
            Fault::FailPlan => Err(injected(ErrorKind::Internal, "planning failed, as asked")),
            Fault::PanicPlan => panics("planning panicked"),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl ErasedStep for Faulty {
    fn kind(&self) -> &'static str {
        self.step.kind()
    }

    fn effect_class(&self) -> EffectClass {
        self.step.effect_class()
    }

    fn undoer(&self) -> Option<Arc<dyn ErasedUndoer>> {
        self.step.undoer()
    }

    async fn plan(
        &self,
        cx: &Context,
        known: &Outputs,
        names: &(dyn Fn(usize) -> String + Sync),
    ) -> Result<ErasedPlan> {
        self.plan_fault()?;
        self.step.plan(cx, known, names).await
    }

    async fn refine(&self, cx: &Context, outputs: &Outputs) -> Result<Refined> {
        self.plan_fault()?;
        self.step.refine(cx, outputs).await
    }

    async fn prepare(&self, cx: &Context, outputs: &Outputs) -> Result<Option<UndoRecord>> {
        match self.fault {
            Fault::FailPrepare => Err(injected(ErrorKind::Internal, "reading the state failed, as asked")),
            Fault::PanicPrepare => panics("reading the state panicked"),
            _ => self.step.prepare(cx, outputs).await,
        }
    }

    async fn probe(&self, cx: &Context, outputs: &Outputs) -> Result<Probed<Output>> {
        self.step.probe(cx, outputs).await
    }

    fn asks_again(&self) -> bool {
        self.step.asks_again()
    }

    fn read(&self, json: &serde_json::Value) -> Result<Output> {
        self.step.read(json)
    }

    async fn apply(&self, cx: &Context, outputs: &Outputs) -> Result<Success> {
        match self.fault {
            Fault::FailBefore => Err(injected(ErrorKind::Internal, "failed before it began, as asked")),
            Fault::FailAfter => {
                let success = self.step.apply(cx, outputs).await?;
                let error = injected(ErrorKind::Internal, "failed at its end, as asked");
                Ok(Success { outcome: Err(error.with_effect(Effect::Complete)), ..success })
            }
            Fault::LoseAnswer => {
                self.step.apply(cx, outputs).await?;
                Err(injected(ErrorKind::Timeout, "the answer was lost, as asked").with_effect(Effect::Unknown))
            }
            Fault::Flaky(times) if cx.attempt() <= times => {
                Err(injected(ErrorKind::Unavailable, "not there, as asked"))
            }
            Fault::Hang => pending().await,
            Fault::Slow(time) => {
                cx.sleep("fault.inject", time).await?;
                self.step.apply(cx, outputs).await
            }
            Fault::Panic => panics("the step panicked"),
            Fault::PanicAfter => {
                self.step.apply(cx, outputs).await?;
                panics("the step panicked at its end")
            }
            _ => self.step.apply(cx, outputs).await,
        }
    }
}
