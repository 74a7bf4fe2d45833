//! Steps without their types, as the executor sees them.

use std::{collections::BTreeMap, sync::Arc};

use async_trait::async_trait;

use super::handle::{AnyValue, Known, Outputs, Source};
use crate::{
    Context, Effect, Error, ErrorKind, Result,
    context::to_json,
    plan::Change,
    step::{Applied, EffectClass, ErasedUndoer, Inputs, Need, Probed, Step, StepPlan, UndoRecord, erase_undoer},
    vocabulary::{Digest, Fingerprint},
};

/// A step's output, typed for the steps behind it and rendered for the record.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    pub(crate) value: AnyValue,
    pub(crate) json: serde_json::Value,
}

#[derive(Debug)]
pub(crate) struct ErasedPlan {
    pub(crate) changes: Vec<Change>,
    pub(crate) preconditions: BTreeMap<String, String>,
    pub(crate) fingerprint: Option<Fingerprint>,
    pub(crate) warnings: Vec<String>,
    pub(crate) output: Option<Output>,
    pub(crate) need: Need,
}

/// The plan from real inputs, and what undoes it.
#[derive(Debug)]
pub(crate) struct Refined {
    pub(crate) plan: ErasedPlan,
    pub(crate) inputs: Digest,
}

/// An effect that is complete, whatever came of the step afterwards.
#[derive(Debug)]
pub(crate) struct Success {
    pub(crate) outcome: Result<Output>,
    pub(crate) undo: Option<UndoRecord>,
}

#[async_trait]
pub(crate) trait ErasedStep: Send + Sync {
    fn kind(&self) -> &'static str;
    fn effect_class(&self) -> EffectClass;
    fn undoer(&self) -> Option<Arc<dyn ErasedUndoer>>;
    async fn plan(&self, cx: &Context, known: &Outputs, names: &(dyn Fn(usize) -> String + Sync))
    -> Result<ErasedPlan>;
    async fn refine(&self, cx: &Context, outputs: &Outputs) -> Result<Refined>;
    async fn prepare(&self, cx: &Context, outputs: &Outputs) -> Result<Option<UndoRecord>>;
    async fn apply(&self, cx: &Context, outputs: &Outputs) -> Result<Success>;
    async fn probe(&self, cx: &Context, outputs: &Outputs) -> Result<Probed<Output>>;
    fn asks_again(&self) -> bool;
    /// An output as it stands in a record.
    fn read(&self, json: &serde_json::Value) -> Result<Output>;
}

struct Erased<S, I> {
    step: S,
    input: I,
}

pub(super) fn erase<S: Step, I: Source<Value = S::Input>>(step: S, input: I) -> Box<dyn ErasedStep> {
    Box::new(Erased { step, input })
}

fn output_of<T: crate::step::Leaf>(value: T) -> Result<Output> {
    let json = to_json("run.record", &value)?;
    Ok(Output { value: Arc::new(value), json })
}

fn erase_plan<T: crate::step::Leaf>(plan: StepPlan<T>) -> Result<ErasedPlan> {
    let StepPlan { changes, preconditions, fingerprint, warnings, output, need } = plan;
    let output = output.map(output_of).transpose()?;
    if need == Need::Nothing && output.is_none() {
        return Err(Error::internal("plan.step", "a step with nothing to do must say its output"));
    }
    Ok(ErasedPlan { changes, preconditions, fingerprint, warnings, output, need })
}

impl<S: Step, I: Source<Value = S::Input>> Erased<S, I> {
    fn input(&self, outputs: &Outputs) -> Result<S::Input> {
        self.input
            .resolve(outputs)
            .ok_or_else(|| Error::internal("run.input", format!("an input of `{}` is not there", self.step.kind())))
    }

    fn record(&self, undo: Option<S::Undo>) -> Result<Option<UndoRecord>> {
        match (undo, self.step.undoer()) {
            (Some(undo), Some(undoer)) => UndoRecord::new(undoer.as_ref(), &undo).map(Some),
            (Some(_), None) => {
                Err(Error::internal("run.record", format!("`{}` has undo data and no undoer", self.step.kind())))
            }
            (None, _) => Ok(None),
        }
    }
}

#[async_trait]
impl<S: Step, I: Source<Value = S::Input>> ErasedStep for Erased<S, I> {
    fn kind(&self) -> &'static str {
        self.step.kind()
    }

    fn effect_class(&self) -> EffectClass {
        self.step.effect_class()
    }

    fn undoer(&self) -> Option<Arc<dyn ErasedUndoer>> {
        self.step.undoer().map(erase_undoer)
    }

    async fn plan(
        &self,
        cx: &Context,
        known: &Outputs,
        names: &(dyn Fn(usize) -> String + Sync),
    ) -> Result<ErasedPlan> {
        let planned = self.input.planned(&Known { outputs: known, names });
        erase_plan(self.step.plan(cx, planned).await?)
    }

    async fn refine(&self, cx: &Context, outputs: &Outputs) -> Result<Refined> {
        let input = self.input(outputs)?;
        let inputs = Digest::of(format!("{input:?}"));
        let plan = erase_plan(self.step.plan(cx, input.into_planned()).await?)?;
        Ok(Refined { plan, inputs })
    }

    async fn prepare(&self, cx: &Context, outputs: &Outputs) -> Result<Option<UndoRecord>> {
        let undo = self.step.prepare(cx, &self.input(outputs)?).await?;
        self.record(undo)
    }

    async fn apply(&self, cx: &Context, outputs: &Outputs) -> Result<Success> {
        let Applied { output, undo, failure } = self.step.apply(cx, self.input(outputs)?).await?;
        let complete = |error: Error| error.with_effect(Effect::Complete);
        let outcome = match failure {
            Some(error) => Err(error),
            None => output_of(output).map_err(complete),
        };
        Ok(Success { outcome, undo: self.record(undo).map_err(complete)? })
    }

    async fn probe(&self, cx: &Context, outputs: &Outputs) -> Result<Probed<Output>> {
        Ok(match self.step.probe(cx, self.input(outputs)?).await? {
            Probed::Done(output) => Probed::Done(output_of(output)?),
            Probed::NotDone => Probed::NotDone,
            Probed::Partial => Probed::Partial,
            Probed::Unknown => Probed::Unknown,
        })
    }

    fn asks_again(&self) -> bool {
        self.step.asks_again()
    }

    fn read(&self, json: &serde_json::Value) -> Result<Output> {
        let value: S::Output = serde_json::from_value(json.clone()).map_err(|error| {
            let message = format!("the recorded output of a `{}` cannot be read", self.step.kind());
            Error::new(ErrorKind::Corrupt, "run.resume", message)
                .with_source(error)
                .advice("use the program that wrote it")
        })?;
        Ok(Output { value: Arc::new(value), json: json.clone() })
    }
}
