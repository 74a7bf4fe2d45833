use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};

use super::*;
use crate::{
    pipeline::{Pipeline, constant},
    plan::{Action, Change, World},
    run::{RunResult, Runner},
    step::{Planned, UndoData},
    store::ObjectRunStore,
};

type Number = Arc<Mutex<u32>>;

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Before(u32);

impl UndoData for Before {
    const KIND: &'static str = "number";
}

/// Sets a number, and tells only afterwards what it was before.
#[derive(Debug)]
struct Set(Number);

#[async_trait]
impl Undoer<Before> for Set {
    fn target(&self) -> String {
        "memory".to_owned()
    }
    fn describe(&self, undo: &Before) -> String {
        format!("set it to {}", undo.0)
    }
    async fn undo(&self, _cx: &Context, undo: Before) -> Result<()> {
        *self.0.lock().unwrap() = undo.0;
        Ok(())
    }
}

#[async_trait]
impl Step for Set {
    type Input = u32;
    type Output = u32;
    type Undo = Before;
    fn kind(&self) -> &'static str {
        "set"
    }
    fn effect_class(&self) -> EffectClass {
        EffectClass::Converging
    }
    async fn plan(&self, _cx: &Context, input: Planned<u32>) -> Result<StepPlan<u32>> {
        let now = *self.0.lock().unwrap();
        Ok(match input {
            Planned::Known(n) if n == now => StepPlan::unchanged(vec![Change::unchanged(World::File, "number")], n),
            _ => StepPlan::changing(vec![Change::new(World::File, "number", Action::Update, "differs")]),
        })
    }
    async fn apply(&self, _cx: &Context, n: u32) -> Result<Applied<u32, Before>> {
        let before = std::mem::replace(&mut *self.0.lock().unwrap(), n);
        Ok(Applied::new(n).undo(Before(before)))
    }
    fn undoer(&self) -> Option<Arc<dyn Undoer<Before>>> {
        Some(Arc::new(Self(Arc::clone(&self.0))))
    }
}

async fn run(steps: &[(&str, &Number, Option<Fault>)], number: u32) -> RunResult {
    let mut pipeline = Pipeline::new("p".parse().unwrap(), "dev".parse().unwrap());
    for (name, world, fault) in steps {
        pipeline.add(*name, Faulty::new(Set(Arc::clone(world)), *fault), constant(number));
    }
    let cx = Context::new("dev".parse().unwrap());
    let runner = Runner::new(Arc::new(ObjectRunStore::memory()));
    let plan = runner.plan(&cx, pipeline).await.unwrap();
    runner.run(&cx, plan).await.unwrap().result
}

#[tokio::test]
async fn a_failure_at_the_end_is_undone_with_what_the_step_told_last() {
    let world = Number::default();
    let result = run(&[("set", &world, Some(Fault::FailAfter))], 7).await;
    assert!(matches!(result, RunResult::RolledBack { .. }), "{result:?}");
    assert_eq!(*world.lock().unwrap(), 0);
}

#[tokio::test]
async fn a_plan_with_nothing_to_do_has_nothing_that_fails() {
    let world = Arc::new(Mutex::new(7));
    assert_eq!(run(&[("set", &world, Some(Fault::FailAfter))], 7).await, RunResult::Succeeded);
}

#[tokio::test]
async fn a_step_with_nothing_to_do_fails_when_others_change_something() {
    let (same, other) = (Arc::new(Mutex::new(7)), Number::default());
    let result = run(&[("same", &same, Some(Fault::FailAfter)), ("other", &other, None)], 7).await;
    let RunResult::RolledBack { failed, .. } = result else { panic!("{result:?}") };
    assert_eq!(failed, "same");
    assert_eq!(*same.lock().unwrap(), 7);
}

#[tokio::test]
async fn without_a_fault_it_is_the_step() {
    let world = Number::default();
    assert_eq!(run(&[("set", &world, None)], 7).await, RunResult::Succeeded);
    assert_eq!(*world.lock().unwrap(), 7);
}
