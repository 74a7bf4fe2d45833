//! Whether a pipeline is the one that an open run was begun with, and if not, what differs. Pure.

use std::collections::BTreeMap;

use crate::{
    Error, ErrorKind, Result,
    pipeline::Pipeline,
    plan::{PlanSummary, StepSummary},
};

use super::history::History;

/// Refuses to go on with a run by another pipeline. Fails with [`ErrorKind::Conflict`] naming every difference.
pub(super) fn check(run: &str, history: &History, pipeline: &Pipeline) -> Result<()> {
    let mut differences = Vec::new();
    let plan = &history.plan;
    if plan.pipeline != pipeline.name {
        differences.push(format!("it is of pipeline `{}`, this is `{}`", plan.pipeline, pipeline.name));
    }
    if plan.environment != pipeline.environment {
        differences.push(format!("it is for {}, this is for {}", plan.environment, pipeline.environment));
    }
    if history.landing != pipeline.landing {
        differences.push(format!("it {}, this {}", history.landing, pipeline.landing));
    }
    if differences.is_empty() {
        differences = graph(plan, pipeline);
    }
    refuse(run, &differences)
}

/// Refuses if what the pipeline reads is not what the run was planned with: a release of old images and new manifests
/// would be neither.
pub(super) fn check_inputs(run: &str, differences: &[String]) -> Result<()> {
    refuse(run, differences)
}

fn refuse(run: &str, differences: &[String]) -> Result<()> {
    if differences.is_empty() {
        return Ok(());
    }
    let message = format!("run `{run}` cannot go on with this: {}", differences.join("; "));
    Err(Error::new(ErrorKind::Conflict, "run.resume", message)
        .advice("go on with what it was begun with, or take it back, which any pipeline with its backends can"))
}

/// How the graph differs from the one that was planned.
fn graph(plan: &PlanSummary, pipeline: &Pipeline) -> Vec<String> {
    let was: BTreeMap<&str, &StepSummary> = plan.steps.iter().map(|step| (step.name.as_str(), step)).collect();
    let mut differences = Vec::new();
    for node in &pipeline.nodes {
        let Some(step) = was.get(node.name.as_str()) else {
            differences.push(format!("step `{}` is new", node.name));
            continue;
        };
        if step.kind != node.step.kind() {
            differences.push(format!("step `{}` was a `{}`, is a `{}`", node.name, step.kind, node.step.kind()));
        }
        if step.group != node.group {
            differences.push(format!("step `{}` was in group `{}`, is in `{}`", node.name, step.group, node.group));
        }
        let needs: Vec<&str> = node.needs.iter().map(|need| pipeline.nodes[*need].name.as_str()).collect();
        if step.needs != needs {
            let (was, is) = (step.needs.join(", "), needs.join(", "));
            differences.push(format!("step `{}` needed [{was}], needs [{is}]", node.name));
        }
    }
    let gone = plan.steps.iter().filter(|step| !pipeline.nodes.iter().any(|node| node.name == step.name));
    differences.extend(gone.map(|step| format!("step `{}` is gone", step.name)));
    if differences.is_empty() && plan.steps.iter().map(|step| &step.name).ne(pipeline.nodes.iter().map(|n| &n.name)) {
        differences.push("the steps were added in another order".to_owned());
    }
    differences
}
