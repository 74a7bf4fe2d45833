//! From a pipeline to a plan: every step in order, all problems at once.

use std::{collections::BTreeSet, fmt, sync::Arc};

use super::{Change, PlanSummary, StepSummary};
use crate::{
    Context, Error, ErrorKind, Result,
    pipeline::{ErasedPlan, Node, Pipeline},
    step::Need,
    vocabulary::{Digest, Digester},
};

use crate::pipeline::Outputs;

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

/// Everything that is wrong with a pipeline, by step.
#[derive(Debug)]
pub struct PlanProblems(Vec<(Option<String>, Error)>);

impl PlanProblems {
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
        let kind = match problems.0.as_slice() {
            [(_, only)] => only.kind(),
            _ => ErrorKind::InvalidInput,
        };
        let count = problems.0.len();
        let message = if count == 1 { "1 problem".to_owned() } else { format!("{count} problems") };
        Error::new(kind, "plan", message).with_source(problems)
    }
}

/// Plans every step of `pipeline`. Changes nothing.
pub(crate) async fn build(cx: &Context, pipeline: Arc<Pipeline>) -> Result<Plan> {
    let (steps, problems) = plan_steps(cx, &pipeline).await;
    if !problems.is_empty() {
        return Err(PlanProblems(problems).into());
    }
    let summary = summarize(&pipeline, &steps);
    Ok(Plan { pipeline, summary, steps })
}

type Problems = Vec<(Option<String>, Error)>;

async fn plan_steps(cx: &Context, pipeline: &Pipeline) -> (Vec<ErasedPlan>, Problems) {
    let mut problems: Problems =
        pipeline.problems.iter().map(|error| (None, Error::invalid("pipeline.add", error.report()))).collect();
    let names = |index: usize| pipeline.nodes.get(index).map_or_else(String::new, |node| node.name.clone());
    let known = Outputs::new(pipeline.nodes.len());
    let mut steps = Vec::with_capacity(pipeline.nodes.len());
    for (index, node) in pipeline.nodes.iter().enumerate() {
        let cx = cx.for_attempt(&node.name, 1, cx.cancellation().clone());
        match node.step.plan(&cx, &known, &names).await {
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
            fingerprint: plan.fingerprint.as_ref().map(crate::vocabulary::Fingerprint::digest),
            warnings: plan.warnings.clone(),
            skipped: plan.need == Need::Nothing || (idle && plan.need == Need::WhenOthersChange),
        })
        .collect();
    let digest = digest(pipeline, &steps);
    PlanSummary { pipeline: pipeline.name.clone(), environment: pipeline.environment.clone(), steps, digest }
}

/// Over everything but warnings. The maps are ordered, so the order of insertion does not matter.
fn digest(pipeline: &Pipeline, steps: &[StepSummary]) -> Digest {
    let mut digester = Digester::new();
    digester.field(pipeline.name.as_str()).field(pipeline.environment.as_str());
    for step in steps {
        digester.field(&step.name).field(&step.kind).field(step.group.as_str()).field([u8::from(step.skipped)]);
        digester.field(step.needs.join("\n"));
        for change in &step.changes {
            digester.field(change.to_string()).field(change.details.join("\n"));
        }
        for (name, found) in &step.preconditions {
            digester.field(name).field(found);
        }
        digester.field(step.fingerprint.map(|digest| digest.to_string()).unwrap_or_default());
    }
    digester.finish()
}

/// The digest over what makes the graph: another one cannot continue a run of this one.
pub(crate) fn graph_digest(nodes: &[Node]) -> Digest {
    let mut digester = Digester::new();
    for node in nodes {
        digester.field(&node.name).field(node.step.kind()).field(node.group.as_str());
        digester.field(format!("{:?}", node.needs));
    }
    digester.finish()
}

/// What moved between two plans of one pipeline, in lines.
pub(crate) fn moved(old: &PlanSummary, new: &PlanSummary) -> Vec<String> {
    let mut lines = Vec::new();
    for (old, new) in old.steps.iter().zip(&new.steps) {
        let names: BTreeSet<&String> = old.preconditions.keys().chain(new.preconditions.keys()).collect();
        for name in names {
            let (was, is) = (old.preconditions.get(name), new.preconditions.get(name));
            if was != is {
                let text = |value: Option<&String>| value.map_or("nothing", |value| value.as_str()).to_owned();
                lines.push(format!("`{}`: {name} was {}, is {}", old.name, text(was), text(is)));
            }
        }
        if old.fingerprint != new.fingerprint {
            lines.push(format!("`{}`: its inputs changed", old.name));
        }
        if old.changes != new.changes {
            let gone = old.changes.iter().filter(|change| !new.changes.contains(change));
            let come = new.changes.iter().filter(|change| !old.changes.contains(change));
            lines.extend(gone.map(|change| format!("`{}`: no longer {change}", old.name)));
            lines.extend(come.map(|change| format!("`{}`: now {change}", old.name)));
        }
    }
    lines
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
