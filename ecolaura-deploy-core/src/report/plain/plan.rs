//! The plan as a table of text.

use std::{collections::BTreeMap, fmt::Write as _};

use super::super::{
    Style,
    style::Paint,
    wording::{clean, columns, count, one_line, wrap},
};
use crate::plan::{Action, Change, PlanSummary, StepSummary, World};

const WIDEST_OBJECT: usize = 44;

/// How many lines of a change's details a run shows; the report of the run has all.
const BRIEF_DETAILS: usize = 6;

/// The plan as text: the changes grouped by step, in the order of the steps. What stays as it is is counted; a plan
/// that changes nothing is one line for each world. Ends with a line break.
pub fn render_plan(plan: &PlanSummary, style: &Style) -> String {
    render(plan, style, usize::MAX)
}

/// The same at the beginning of a run: of long details, such as SQL, only the first lines.
pub(in crate::report) fn render_plan_briefly(plan: &PlanSummary, style: &Style) -> String {
    render(plan, style, BRIEF_DETAILS)
}

fn render(plan: &PlanSummary, style: &Style, details: usize) -> String {
    let mut lines = vec![headline(plan, *style)];
    if plan.is_noop() {
        lines.extend(unchanged_worlds(plan));
    } else {
        let width = object_width(plan);
        lines.extend(plan.steps.iter().flat_map(|step| step_lines(step, width, details, *style)));
    }
    let warnings = plan.steps.iter().flat_map(|step| step.warnings.iter().map(move |warning| (step, warning)));
    for (step, warning) in warnings {
        lines.extend(warning_lines(&step.name, warning, *style));
    }
    lines.iter().fold(String::new(), |mut text, line| {
        let _ = writeln!(text, "{}", line.trim_end());
        text
    })
}

fn headline(plan: &PlanSummary, style: Style) -> String {
    let title = style.paint(Paint::Bold, &format!("{}: plan of {}", plan.environment, plan.pipeline));
    let digest = style.paint(Paint::Dim, &format!("(sha256:{})", plan.digest.short()));
    format!("{title}, {} {digest}", amount(plan))
}

/// `nothing to do`, `no changes, 2 steps to run`, or `7 changes: 4 to create, 2 to update, 1 to delete`.
pub(crate) fn amount(plan: &PlanSummary) -> String {
    let counts = plan.counts();
    if counts.is_empty() {
        return match plan.steps.iter().filter(|step| !step.skipped).count() {
            0 => "nothing to do".to_owned(),
            steps => format!("no changes, {} to run", count(steps, "step")),
        };
    }
    let each: Vec<_> = counts.iter().map(|(action, number)| format!("{number} to {}", verb(*action))).collect();
    format!("{}: {}", count(counts.values().sum(), "change"), each.join(", "))
}

fn verb(action: Action) -> &'static str {
    match action {
        Action::NoOp => "leave",
        Action::Create => "create",
        Action::Update => "update",
        Action::Replace => "replace",
        Action::Delete => "delete",
    }
}

fn unchanged_worlds(plan: &PlanSummary) -> Vec<String> {
    let mut worlds = BTreeMap::<World, usize>::new();
    for change in plan.steps.iter().flat_map(|step| &step.changes) {
        *worlds.entry(change.world).or_default() += 1;
    }
    worlds.into_iter().map(|(world, number)| format!("  = {:10}{number} unchanged", world.to_string())).collect()
}

fn object(change: &Change) -> String {
    format!("{} {}", change.world, one_line(&change.object))
}

fn object_width(plan: &PlanSummary) -> usize {
    let changes = plan.steps.iter().flat_map(|step| &step.changes).filter(|change| change.action != Action::NoOp);
    changes.map(|change| columns(&object(change))).max().unwrap_or_default().min(WIDEST_OBJECT)
}

fn step_lines(step: &StepSummary, width: usize, details: usize, style: Style) -> Vec<String> {
    let kind = match step.kind == step.name {
        true => String::new(),
        false => style.paint(Paint::Dim, &format!(" ({})", one_line(&step.kind))),
    };
    let mut lines = vec![format!("  {}{kind}", one_line(&step.name))];
    let (unchanged, changed): (Vec<_>, Vec<_>) = step.changes.iter().partition(|change| change.action == Action::NoOp);
    lines.extend(changed.into_iter().flat_map(|change| change_lines(change, width, details, style)));
    if !unchanged.is_empty() {
        lines.push(style.paint(Paint::Dim, &format!("    = {} unchanged", unchanged.len())));
    }
    lines
}

fn change_lines(change: &Change, width: usize, details: usize, style: Style) -> Vec<String> {
    let object = object(change);
    let indent = 6 + width.max(columns(&object)) + 2;
    let reason = wrap(&clean(&change.reason), style.width().saturating_sub(indent).max(20));
    let symbol = style.paint(paint(change.action), change.action.symbol());
    let mut lines = vec![format!("    {symbol} {object:width$}  {}", reason.first().map_or("", String::as_str))];
    let indent = indent.min(6 + width + 2);
    lines.extend(reason.iter().skip(1).map(|line| format!("{:indent$}{line}", "")));
    lines.extend(change.details.iter().take(details).map(|detail| format!("        {}", one_line(detail))));
    let more = change.details.len().saturating_sub(details);
    if more > 0 {
        lines.push(style.paint(Paint::Dim, &format!("        … {} more", count(more, "line"))));
    }
    lines
}

fn paint(action: Action) -> Paint {
    match action {
        Action::NoOp => Paint::Dim,
        Action::Create => Paint::Good,
        Action::Update => Paint::Warn,
        Action::Replace | Action::Delete => Paint::Bad,
    }
}

fn warning_lines(step: &str, warning: &str, style: Style) -> Vec<String> {
    let lead = format!("  ! {}: ", one_line(step));
    let lines = wrap(&clean(warning), style.width().saturating_sub(columns(&lead)).max(20));
    let lines = lines.into_iter().enumerate().map(|(place, line)| match place {
        0 => style.paint(Paint::Warn, &format!("{lead}{line}")),
        _ => style.paint(Paint::Warn, &format!("{:1$}{line}", "", columns(&lead))),
    });
    lines.collect()
}
