//! From a pipeline to a plan: every step in order, all problems at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    panic::AssertUnwindSafe,
    sync::Arc,
};

use futures_util::FutureExt;

use super::{Change, PlanSummary, StepSummary};
use crate::{
    Context, Error, ErrorKind, Result,
    pipeline::{ErasedPlan, Node, Outputs, Pipeline},
    run::panic_text,
    step::Need,
    vocabulary::{Digest, Digester, Fingerprint},
};

/// A pipeline and what running it would do.
#[derive(Debug)]
pub struct Plan {
    pub(crate) pipeline: Arc<Pipeline>,
    pub(crate) summary: PlanSummary,
    pub(crate) steps: Vec<ErasedPlan>,
}

impl Plan {
    /// What is shown, stored and digested.
    pub fn summary(&self) -> &PlanSummary {
        &self.summary
    }

    /// The digest over changes, fingerprints and preconditions. Approvals are bound to it.
    pub fn digest(&self) -> Digest {
        self.summary.digest
    }
}

impl Plan {
    /// The plan of a run that goes on, as it was recorded, with `known` outputs of the steps that it passes over.
    pub(crate) fn recorded(
        pipeline: Arc<Pipeline>,
        summary: PlanSummary,
        known: &BTreeMap<String, serde_json::Value>,
    ) -> Result<Self> {
        let step = |node: &Node| {
            let output = known.get(&node.name).map(|json| node.step.read(json)).transpose()?;
            Ok(ErasedPlan {
                changes: Vec::new(),
                preconditions: BTreeMap::new(),
                fingerprint: None,
                warnings: Vec::new(),
                output,
                need: Need::Run,
            })
        };
        let steps = pipeline.nodes.iter().map(step).collect::<Result<_>>()?;
        Ok(Self { pipeline, summary, steps })
    }

    /// The plan of a run that is undone by another pipeline than its own.
    pub(crate) fn of_another(pipeline: Arc<Pipeline>, summary: PlanSummary) -> Self {
        Self { pipeline, summary, steps: Vec::new() }
    }

    /// The outputs of the steps that it passes over, for the record.
    pub(crate) fn known(&self) -> BTreeMap<String, serde_json::Value> {
        let skipped = self.summary.steps.iter().zip(&self.steps).filter(|(step, _)| step.skipped);
        skipped.filter_map(|(step, plan)| Some((step.name.clone(), plan.output.as_ref()?.json.clone()))).collect()
    }
}

/// Everything that is wrong with a pipeline, by step.
#[derive(Debug)]
pub struct PlanProblems(Vec<(Option<String>, Error)>);

impl PlanProblems {
    /// Fails if `pipeline` was put together wrongly.
    pub(crate) fn of(pipeline: &Pipeline) -> Result<()> {
        let problems = problems_of(pipeline);
        if problems.is_empty() { Ok(()) } else { Err(Self(problems).into()) }
    }

    /// The problems, each with its step if it is one step's.
    pub fn iter(&self) -> impl Iterator<Item = (Option<&str>, &Error)> {
        self.0.iter().map(|(step, error)| (step.as_deref(), error))
    }
}

impl fmt::Display for PlanProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (step, error)) in self.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            match step {
                Some(step) => write!(f, "{separator}`{step}`: {}", error.report())?,
                None => write!(f, "{separator}{}", error.report())?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for PlanProblems {}

impl From<PlanProblems> for Error {
    fn from(problems: PlanProblems) -> Self {
        let mut kinds = problems.0.iter().map(|(_, error)| error.kind());
        let kind = kinds.next().filter(|first| kinds.all(|kind| kind == *first)).unwrap_or(ErrorKind::InvalidInput);
        let count = problems.0.len();
        let message = if count == 1 { "1 problem".to_owned() } else { format!("{count} problems") };
        Error::new(kind, "plan", message).with_source(problems)
    }
}

/// Plans every step of `pipeline`. Changes nothing.
pub(crate) async fn build(cx: &Context, pipeline: Arc<Pipeline>) -> Result<Plan> {
    let (steps, problems) = plan_steps(cx, &pipeline).await;
    cx.check("plan")?;
    if !problems.is_empty() {
        return Err(PlanProblems(problems).into());
    }
    let summary = summarize(&pipeline, &steps);
    Ok(Plan { pipeline, summary, steps })
}

type Problems = Vec<(Option<String>, Error)>;

fn problems_of(pipeline: &Pipeline) -> Problems {
    pipeline.problems.iter().map(|error| (None, Error::invalid("pipeline.add", error.report()))).collect()
}

async fn plan_steps(cx: &Context, pipeline: &Pipeline) -> (Vec<ErasedPlan>, Problems) {
    let mut problems = problems_of(pipeline);
    let names = |index: usize| pipeline.nodes.get(index).map_or_else(String::new, |node| node.name.clone());
    let known = Outputs::new(pipeline.nodes.len());
    let mut steps = Vec::with_capacity(pipeline.nodes.len());
    for (index, node) in pipeline.nodes.iter().enumerate() {
        let cx = cx.for_attempt(&node.name, 1, cx.cancellation().clone());
        match plan_step(node, &cx, &known, &names).await {
            Ok(plan) => {
                if let Some(output) = &plan.output {
                    known.set(index, Arc::clone(&output.value));
                }
                steps.push(plan);
            }
            Err(error) => problems.push((Some(node.name.clone()), error)),
        }
    }
    (steps, problems)
}

/// A step that panics, hangs or ignores a cancel while planning has a problem; the others are planned all the same.
async fn plan_step(
    node: &Node,
    cx: &Context,
    known: &Outputs,
    names: &(dyn Fn(usize) -> String + Sync),
) -> Result<ErasedPlan> {
    let work = AssertUnwindSafe(node.step.plan(cx, known, names)).catch_unwind();
    cx.bounded("plan.step", work).await?.unwrap_or_else(|panic| {
        Err(Error::internal("plan.step", format!("planning panicked: {}", panic_text(&*panic))))
    })
}

fn summarize(pipeline: &Pipeline, plans: &[ErasedPlan]) -> PlanSummary {
    let idle = plans.iter().all(|plan| plan.need != Need::Run);
    let steps: Vec<StepSummary> = pipeline
        .nodes
        .iter()
        .zip(plans)
        .map(|(node, plan)| StepSummary {
            name: node.name.clone(),
            kind: node.step.kind().to_owned(),
            group: node.group.clone(),
            needs: node.needs.iter().map(|index| pipeline.nodes[*index].name.clone()).collect(),
            changes: plan.changes.clone(),
            preconditions: plan.preconditions.clone(),
            fingerprint: plan.fingerprint.as_ref().map(Fingerprint::digest),
            warnings: plan.warnings.clone(),
            skipped: plan.need == Need::Nothing || (idle && plan.need == Need::WhenOthersChange),
        })
        .collect();
    let digest = digest(pipeline, &steps);
    PlanSummary { pipeline: pipeline.name.clone(), environment: pipeline.environment.clone(), steps, digest }
}

/// Over everything but warnings. The maps are ordered, so the order of insertion does not matter; lists say how long
/// they are, so that no two plans read the same.
fn digest(pipeline: &Pipeline, steps: &[StepSummary]) -> Digest {
    let mut digester = Digester::new();
    digester.field(pipeline.name.as_str()).field(pipeline.environment.as_str());
    for step in steps {
        digester.field(&step.name).field(&step.kind).field(step.group.as_str()).field([u8::from(step.skipped)]);
        list(&mut digester, &step.needs);
        digester.field((step.changes.len() as u64).to_le_bytes());
        for change in &step.changes {
            digester.field(change.world.to_string()).field(&change.object).field(change.action.symbol());
            digester.field(&change.reason);
            list(&mut digester, &change.details);
        }
        digester.field((step.preconditions.len() as u64).to_le_bytes());
        for (name, found) in &step.preconditions {
            digester.field(name).field(found);
        }
        digester.field(step.fingerprint.map(|digest| digest.to_string()).unwrap_or_default());
    }
    digester.finish()
}

fn list(digester: &mut Digester, lines: &[String]) {
    digester.field((lines.len() as u64).to_le_bytes());
    lines.iter().for_each(|line| {
        digester.field(line);
    });
}

/// What moved between two plans of one pipeline, in lines. Never empty.
pub(crate) fn moved(old: &Plan, new: &Plan) -> Vec<String> {
    let steps = old.summary.steps.iter().zip(&new.summary.steps);
    let prints = old.steps.iter().zip(&new.steps).map(|(old, new)| (&old.fingerprint, &new.fingerprint));
    let mut lines: Vec<String> =
        steps.zip(prints).flat_map(|((old, new), (was, is))| moved_step(old, new, was.as_ref(), is.as_ref())).collect();
    if lines.is_empty() {
        lines.push("the plan's digest".to_owned());
    }
    lines
}

fn moved_step(
    old: &StepSummary,
    new: &StepSummary,
    was: Option<&Fingerprint>,
    is: Option<&Fingerprint>,
) -> Vec<String> {
    let step = &old.name;
    let mut lines = moved_preconditions(old, new);
    let none = Fingerprint::new();
    let parts = was.unwrap_or(&none).differences(is.unwrap_or(&none));
    lines.extend(parts.into_iter().map(|part| format!("`{step}`: its input {part} changed")));
    let gone = old.changes.iter().filter(|change| !new.changes.contains(change));
    let come = new.changes.iter().filter(|change| !old.changes.contains(change));
    lines.extend(gone.map(|change| format!("`{step}`: no longer {change}")));
    lines.extend(come.map(|change| format!("`{step}`: now {change}")));
    if lines.is_empty() && old.skipped != new.skipped {
        let now = if new.skipped { "no longer anything" } else { "something" };
        lines.push(format!("`{step}`: there is {now} to do"));
    }
    lines
}

fn moved_preconditions(old: &StepSummary, new: &StepSummary) -> Vec<String> {
    let names: BTreeSet<&String> = old.preconditions.keys().chain(new.preconditions.keys()).collect();
    let text = |value: Option<&String>| value.map_or("nothing", |value| value.as_str()).to_owned();
    names
        .into_iter()
        .map(|name| (name, old.preconditions.get(name), new.preconditions.get(name)))
        .filter(|(_, was, is)| was != is)
        .map(|(name, was, is)| format!("`{}`: {name} was {}, is {}", old.name, text(was), text(is)))
        .collect()
}

/// Refuses what is more than was announced.
pub(crate) fn check_refined(step: &str, announced: &[Change], refined: &[Change]) -> Result<()> {
    let more: Vec<String> = refined
        .iter()
        .filter(|change| !announced.iter().any(|announced| change.within(announced)))
        .filter(|change| change.action != super::Action::NoOp)
        .map(ToString::to_string)
        .collect();
    if more.is_empty() {
        return Ok(());
    }
    let announced: Vec<String> = announced.iter().map(ToString::to_string).collect();
    let message = format!(
        "step `{step}` would now do more than was planned: {}; planned was: {}",
        more.join(", "),
        if announced.is_empty() { "nothing".to_owned() } else { announced.join(", ") }
    );
    Err(Error::new(ErrorKind::StalePlan, "run.refine", message).advice("plan again and read the new plan"))
}
