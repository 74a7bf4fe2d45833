//! Attempts that follow each other, and what the earlier ones left.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use ecolaura_deploy_core::{
    Context, Effect, Error, ErrorKind, Result,
    pipeline::{Constant, Pipeline},
    run::RunResult,
    step::{Applied, EffectClass, Planned, Step, StepPlan, Undoer},
    testing::{Fault, Faulty},
};

use crate::world::{Act, Ledger, Was, pipeline, run};

const NOTHING: Vec<Constant<String>> = Vec::new();

/// Does what [`Act`] does; the first attempts end with these errors after the effect.
#[derive(Debug)]
struct Rough {
    act: Act,
    errors: Vec<(ErrorKind, Effect)>,
    /// Whether later attempts see that the effect is there.
    sees: bool,
    tries: AtomicU32,
}

impl Rough {
    fn new(ledger: &Ledger, class: EffectClass, errors: &[(ErrorKind, Effect)], sees: bool) -> Self {
        let act = Act::new("rough", ledger).class(class);
        Self { act, errors: errors.to_vec(), sees, tries: AtomicU32::new(0) }
    }
}

#[async_trait]
impl Step for Rough {
    type Input = Vec<String>;
    type Output = String;
    type Undo = Was;
    fn kind(&self) -> &'static str {
        "rough"
    }
    fn effect_class(&self) -> EffectClass {
        self.act.class
    }
    async fn plan(&self, cx: &Context, input: Vec<Planned<String>>) -> Result<StepPlan<String>> {
        let mut plan = self.act.plan(cx, input).await?;
        if !self.sees && self.tries.load(Ordering::SeqCst) > 0 {
            plan.need = ecolaura_deploy_core::step::Need::Run;
        }
        Ok(plan)
    }
    async fn prepare(&self, cx: &Context, input: &Vec<String>) -> Result<Option<Was>> {
        self.act.prepare(cx, input).await
    }
    async fn apply(&self, cx: &Context, input: Vec<String>) -> Result<Applied<String, Was>> {
        let n = self.tries.fetch_add(1, Ordering::SeqCst) as usize;
        match self.errors.get(n) {
            Some((kind, Effect::None)) => Err(Error::new(*kind, "rough", "nothing yet")),
            Some((kind, effect)) => {
                self.act.apply(cx, input).await?;
                Err(Error::new(*kind, "rough", "rough").with_effect(*effect))
            }
            None => self.act.apply(cx, input).await,
        }
    }
    fn undoer(&self) -> Option<Arc<dyn Undoer<Was>>> {
        self.act.undoer()
    }
}

fn then_fails(ledger: &Ledger, rough: Rough) -> Pipeline {
    let mut p = pipeline();
    let rough = p.add("rough", rough, NOTHING);
    p.add("next", Faulty::new(Act::new("next", ledger), Some(Fault::FailBefore)), vec![rough]);
    p
}

const UNAVAILABLE: (ErrorKind, Effect) = (ErrorKind::Unavailable, Effect::Unknown);

#[tokio::test(start_paused = true)]
async fn the_prior_state_is_read_before_the_first_effect_only() {
    let ledger = Ledger::default();
    let ran =
        run(&ledger, then_fails(&ledger, Rough::new(&ledger, EffectClass::Converging, &[UNAVAILABLE], false))).await;
    assert!(matches!(ran.result, RunResult::RolledBack { .. }), "{:?}", ran.result);
    assert!(ledger.done().is_empty(), "undone to what was before the first attempt: {:?}", ledger.log());
}

#[tokio::test(start_paused = true)]
async fn an_effect_whose_answer_was_lost_is_done_and_can_be_undone() {
    let ledger = Ledger::default();
    let ran =
        run(&ledger, then_fails(&ledger, Rough::new(&ledger, EffectClass::Converging, &[UNAVAILABLE], true))).await;
    assert!(ran.lines().contains("rough: done"), "{}", ran.lines());
    assert!(ledger.done().is_empty());
    assert_eq!(ledger.applied(), ["rough"], "not done twice");
}

#[tokio::test(start_paused = true)]
async fn what_an_attempt_left_is_undone_though_the_last_one_did_nothing() {
    let ledger = Ledger::default();
    let errors = [UNAVAILABLE, (ErrorKind::InvalidInput, Effect::None)];
    let mut p = pipeline();
    p.add("rough", Rough::new(&ledger, EffectClass::Keyed, &errors, false), NOTHING);
    let ran = run(&ledger, p).await;
    ran.check("left");
    assert!(ran.lines().contains("rough: failed, effect unknown: nothing yet"), "{}", ran.lines());
    assert!(ledger.done().is_empty());
}

#[tokio::test(start_paused = true)]
async fn only_what_is_safe_is_tried_again() {
    use EffectClass::{Converging, Keyed, Opaque, Probed, Pure, Transactional};
    for class in [Pure, Converging, Keyed, Transactional, Probed, Opaque] {
        for effect in [Effect::None, Effect::Partial, Effect::Complete, Effect::Unknown] {
            let ledger = Ledger::default();
            let mut p = pipeline();
            p.add("rough", Rough::new(&ledger, class, &[(ErrorKind::Unavailable, effect)], false), NOTHING);
            let ran = run(&ledger, p).await;
            let safe = effect == Effect::None || matches!(class, Pure | Converging | Keyed);
            assert_eq!(ran.result == RunResult::Succeeded, safe, "{class:?} {effect:?}: {:?}", ran.result);
            ran.check(&format!("{class:?} {effect:?}"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_hangs_is_tried_again_where_that_is_safe() {
    for (class, again) in [(EffectClass::Converging, true), (EffectClass::Probed, false)] {
        let ledger = Ledger::default();
        let mut p = pipeline();
        let step = Faulty::new(Act::new("hangs", &ledger).class(class), Some(Fault::Hang));
        p.step("hangs", step, NOTHING).attempt_timeout(Duration::from_secs(10)).add();
        let ran = run(&ledger, p).await;
        ran.check("hangs");
        assert_eq!(ran.lines().matches("next in").count(), if again { 2 } else { 0 }, "{}", ran.lines());
    }
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_effect_that_says_it_did_nothing_is_undone_all_the_same() {
    let ledger = Ledger::default();
    let mut p = pipeline();
    let slow = Act::new("slow", &ledger).pause(Duration::from_mins(9));
    p.step("slow", slow, NOTHING).deadline(Duration::from_mins(1)).add();
    let ran = run(&ledger, p).await;
    assert!(ran.lines().contains("slow: failed, effect unknown: the deadline has passed"), "{}", ran.lines());
    assert_eq!(ledger.undone(), ["slow"]);
}
