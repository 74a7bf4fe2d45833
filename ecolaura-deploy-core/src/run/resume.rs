//! Where each step of a run that another process left goes on: what is written down decides, and where that is not
//! enough the real system is asked.

use std::sync::Arc;

use super::{
    history::{History, Next, next},
    unit::{Begin, Shared},
};
use crate::{
    Context, Effect, ErrorRecord, Result,
    pipeline::{Node, Output, Outputs, Pipeline},
    step::{EffectClass, Need, UndoRecord},
};

/// Where a step begins.
#[derive(Debug)]
pub(super) enum Start {
    /// Nothing of it happened.
    Fresh,
    /// It is done, and stays.
    Kept { output: Output, undo: Option<UndoRecord>, at: u64 },
    /// It was begun.
    From(Begin),
    /// It failed for good.
    Failed { error: ErrorRecord, undo: Option<UndoRecord>, at: u64 },
    /// It was done and undone again, with its group.
    Gone { because: String },
}

impl Start {
    pub(super) fn is_kept(&self) -> bool {
        matches!(self, Self::Kept { .. })
    }

    /// Done again, over what is there; `undo` goes back to before all of it.
    fn again(undo: Option<UndoRecord>, at: u64) -> Self {
        let left = undo.is_some().then_some(Effect::Unknown);
        Self::From(Begin { attempts: 0, left, undo, ask: false, at })
    }
}

impl Shared {
    /// Decides for every step, in the order in which they need each other. What is recorded as done and can be looked
    /// at is looked at: a process whose store failed may have undone it without being able to say so. Where it is not
    /// in place, it is done again, and so is what was done because of it.
    pub(super) async fn starts(&self, history: &History) -> Result<Vec<Start>> {
        let mut starts: Vec<Start> = Vec::with_capacity(self.plan.pipeline.nodes.len());
        let mut moved: Vec<bool> = Vec::with_capacity(starts.capacity());
        for (index, node) in self.plan.pipeline.nodes.iter().enumerate() {
            let above = node.needs.iter().any(|need| moved[*need]);
            let (start, again) = self.start_of(index, node, history, above).await?;
            if let Start::Kept { output, .. } = &start {
                self.outputs.set(index, Arc::clone(&output.value));
            }
            starts.push(start);
            moved.push(again);
        }
        Ok(starts)
    }

    /// Where it begins, and whether what needs it has to be done again too.
    async fn start_of(&self, index: usize, node: &Node, history: &History, above: bool) -> Result<(Start, bool)> {
        if self.plan.summary.steps[index].skipped {
            // What is behind it is looked at with what it gives.
            if let Some(output) = &self.plan.steps[index].output {
                self.outputs.set(index, Arc::clone(&output.value));
            }
            return Ok((Start::Fresh, false));
        }
        Ok(match next(history.past(&node.name), node.step.effect_class()) {
            Next::Failed { mut error, at, .. } if history.is_undone(&node.name) => {
                error.effect = Effect::None;
                (Start::Failed { error, undo: None, at }, false)
            }
            _ if history.is_undone(&node.name) => (Start::Gone { because: "its group was undone".to_owned() }, false),
            Next::Run { attempt: 1, left: None, .. } => (Start::Fresh, false),
            Next::Run { attempt, left, undo, at } => {
                (Start::From(Begin { attempts: attempt - 1, left, undo, ask: false, at }), false)
            }
            Next::Probe { attempt, undo, at } => {
                let left = Some(Effect::Unknown);
                (Start::From(Begin { attempts: attempt - 1, left, undo, ask: true, at }), false)
            }
            Next::Failed { error, undo, at } => (Start::Failed { error, undo, at }, false),
            Next::Keep { undo, at, .. } if above => (Start::again(undo, at), true),
            Next::Keep { output, undo, at } if node.step.asks_again() => {
                // What is behind it and stays reads what it gave.
                self.outputs.set(index, node.step.read(&output)?.value);
                (Start::again(undo, at), false)
            }
            Next::Keep { undo, at, .. } if undo.is_some() && !self.is_in_place(node).await => {
                (Start::again(undo, at), true)
            }
            Next::Keep { output, undo, at } => (Start::Kept { output: node.step.read(&output)?, undo, at }, false),
        })
    }

    /// Whether what a step did is still there, as far as planning it again can tell.
    async fn is_in_place(&self, node: &Node) -> bool {
        if !matches!(
            node.step.effect_class(),
            EffectClass::Converging | EffectClass::Keyed | EffectClass::Transactional
        ) {
            return true;
        }
        let cx = self.cx.for_attempt(&node.name, 1, self.cx.cancellation().clone());
        node.step.refine(&cx, &self.outputs).await.is_ok_and(|refined| refined.plan.need != Need::Run)
    }
}

/// The steps that are done with inputs which are others by now. Steps that cannot be planned at the moment say so when
/// their turn comes.
pub(super) async fn changed_inputs(cx: &Context, pipeline: &Pipeline, history: &History) -> Result<Vec<String>> {
    let outputs = Outputs::new(pipeline.nodes.len());
    let mut changed = Vec::new();
    for (index, (node, step)) in pipeline.nodes.iter().zip(&history.plan.steps).enumerate() {
        if let Some(was) = history.fingerprint(step) {
            let cx = cx.for_attempt(&node.name, 1, cx.cancellation().clone());
            let now = node.step.refine(&cx, &outputs).await.ok().and_then(|refined| refined.plan.fingerprint);
            if now.is_some_and(|now| now.digest() != was) {
                changed.push(format!("what step `{}` was done with is not the same any more", node.name));
            }
        }
        if let Some(output) = history.output(step) {
            outputs.set(index, node.step.read(output)?.value);
        }
    }
    Ok(changed)
}
