//! A node of a pipeline: what it plans, what it does, and the data that undoes it.

mod inputs;
mod undo;

use std::{collections::BTreeMap, fmt};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

pub(crate) use self::undo::{ErasedUndoer, erase_undoer};
pub use self::{
    inputs::{Inputs, Leaf, Planned},
    undo::{NoUndo, UndoData, UndoKey, UndoRecord, Undoer},
};
use crate::{Context, Effect, Error, Result, plan::Change, vocabulary::Fingerprint};

/// What a resumed run may do about an effect that was begun and has no outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EffectClass {
    /// No effect: do it again.
    Pure,
    /// Doing it again leads to the same state.
    Converging,
    /// Doing it again with the same [`Context::effect_key`] has no further effect.
    Keyed,
    /// A marker commits together with the effect: look at it.
    Transactional,
    /// [`Step::probe`] tells.
    Probed,
    /// Nobody can tell: an operator decides.
    Opaque,
}

/// Whether a step runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Need {
    /// It has something to do.
    Run,
    /// It has nothing to do; its output is known.
    Nothing,
    /// It judges the others, and has nothing to judge while none of them changes anything.
    WhenOthersChange,
}

/// What a step would do with inputs that may not all be known.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct StepPlan<T> {
    /// The objects it changes. At run time it may change less than this, never more.
    pub changes: Vec<Change>,
    /// What was read and must still be so when the run begins, by name.
    pub preconditions: BTreeMap<String, String>,
    /// What identifies the inputs; an output is remembered under it.
    pub fingerprint: Option<Fingerprint>,
    /// What should be read before saying yes.
    pub warnings: Vec<String>,
    /// The output, if it is known without running. `None` stands for "after this step".
    pub output: Option<T>,
    /// Whether it runs.
    pub need: Need,
}

impl<T> StepPlan<T> {
    fn new(changes: Vec<Change>, output: Option<T>, need: Need) -> Self {
        Self { changes, preconditions: BTreeMap::new(), fingerprint: None, warnings: Vec::new(), output, need }
    }

    /// Makes these changes; the output is known afterwards.
    pub fn changing(changes: Vec<Change>) -> Self {
        Self::new(changes, None, Need::Run)
    }

    /// Changes nothing: `objects` are as they should be.
    pub fn unchanged(objects: Vec<Change>, output: T) -> Self {
        Self::new(objects, Some(output), Need::Nothing)
    }

    /// Judges the other steps' work. A known output lets the steps behind it plan exactly; it counts only once the
    /// gate was passed.
    pub fn gate(output: Option<T>) -> Self {
        Self::new(Vec::new(), output, Need::WhenOthersChange)
    }

    /// With the fingerprint of the inputs.
    pub fn fingerprint(mut self, fingerprint: Fingerprint) -> Self {
        self.fingerprint = Some(fingerprint);
        self
    }

    /// With something that was read.
    pub fn precondition(mut self, name: impl Into<String>, found: impl fmt::Display) -> Self {
        self.preconditions.insert(name.into(), found.to_string());
        self
    }

    /// With a warning.
    pub fn warning(mut self, warning: impl Into<String>) -> Self {
        self.warnings.push(warning.into());
        self
    }
}

/// What a step did.
#[derive(Debug)]
#[non_exhaustive]
pub struct Applied<T, U> {
    /// Its output.
    pub output: T,
    /// What undoes it, if that is more than [`Step::prepare`] knew.
    pub undo: Option<U>,
    /// What failed after the effect was complete.
    pub failure: Option<Error>,
}

impl<T, U> Applied<T, U> {
    /// Did it; what [`Step::prepare`] said undoes it.
    pub fn new(output: T) -> Self {
        Self { output, undo: None, failure: None }
    }

    /// With more to undo than was known before.
    pub fn undo(mut self, undo: U) -> Self {
        self.undo = Some(undo);
        self
    }

    /// The effect is complete and the step fails nevertheless: it is undone with all that is known to undo it, which
    /// an error returned by [`Step::apply`] could not carry.
    pub fn failed(mut self, error: Error) -> Self {
        self.failure = Some(error.with_effect(Effect::Complete));
        self
    }
}

/// Whether an effect without an outcome happened.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Probed<T> {
    /// It did, and this is the output.
    Done(T),
    /// It did not.
    NotDone,
    /// Some of it did; doing it again completes it.
    Partial,
    /// It cannot be told.
    Unknown,
}

/// A node of a pipeline.
///
/// ```
/// use async_trait::async_trait;
/// use ecolaura_deploy_core::{Context, Result, step::*};
///
/// #[derive(Debug)]
/// struct Greet;
///
/// #[async_trait]
/// impl Step for Greet {
///     type Input = String;
///     type Output = String;
///     type Undo = NoUndo;
///     fn kind(&self) -> &'static str { "greet" }
///     fn effect_class(&self) -> EffectClass { EffectClass::Pure }
///     async fn plan(&self, _cx: &Context, _name: Planned<String>) -> Result<StepPlan<String>> {
///         Ok(StepPlan::changing(Vec::new()))
///     }
///     async fn apply(&self, _cx: &Context, name: String) -> Result<Applied<String, NoUndo>> {
///         Ok(Applied::new(format!("hello {name}")))
///     }
/// }
/// ```
#[async_trait]
pub trait Step: fmt::Debug + Send + Sync + 'static {
    /// What it reads from other steps.
    type Input: Inputs;
    /// What it gives to others, and to the record.
    type Output: Leaf;
    /// The data that undoes it; [`NoUndo`] where there is nothing to undo.
    type Undo: UndoData;

    /// What it does, in two or three words: `push image`.
    fn kind(&self) -> &'static str;

    /// What a resumed run may do about a begun effect.
    fn effect_class(&self) -> EffectClass;

    /// What it would do. Changes nothing. Called when planning, again when the run begins, and once more with real
    /// inputs right before [`Step::apply`].
    async fn plan(&self, cx: &Context, input: <Self::Input as Inputs>::Planned) -> Result<StepPlan<Self::Output>>;

    /// Reads the state that undoing goes back to. Changes nothing. The answer is durable before `apply` begins, and is
    /// kept for further attempts once one may have had an effect.
    async fn prepare(&self, _cx: &Context, _input: &Self::Input) -> Result<Option<Self::Undo>> {
        Ok(None)
    }

    /// Does it. An error says what is known of the effect; unless that is [`Effect::None`], what `prepare` answered is
    /// undone. After a cancel or a timeout it is undone in any case.
    async fn apply(&self, cx: &Context, input: Self::Input) -> Result<Applied<Self::Output, Self::Undo>>;

    /// Whether an `apply` whose outcome is not known happened. Reads only. [`Context::prior`] tells what was prepared.
    async fn probe(&self, _cx: &Context, _input: Self::Input) -> Result<Probed<Self::Output>> {
        Ok(Probed::Unknown)
    }

    /// Whether a process that goes on with a run does this again although it was done: a window may have closed since.
    /// What is behind it and was done stays done.
    fn asks_again(&self) -> bool {
        false
    }

    /// The backend that executes this step's undo data. Steps without one leave nothing to undo.
    fn undoer(&self) -> Option<std::sync::Arc<dyn Undoer<Self::Undo>>> {
        None
    }
}
