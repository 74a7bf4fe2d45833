//! The plan, grouped by step.

use maud::{Markup, html};

use crate::{
    plan::{Action, Change, PlanSummary, StepSummary},
    report::plain::amount,
};

pub(super) fn table(plan: &PlanSummary) -> Markup {
    let (changing, still): (Vec<_>, Vec<_>) = plan.steps.iter().partition(|step| changes(step).next().is_some());
    html! {
        div.block {
            h3 { "Plan" span.aside { (amount(plan)) } }
            @if !changing.is_empty() {
                div.scroll { table.plan { @for step in changing { (group(step)) } } }
            }
            @if !still.is_empty() {
                p.mute { "No changes in: " (names(&still)) "." }
            }
            p.mute { "Digest " code { "sha256:" (plan.digest.short()) } }
        }
    }
}

fn names(steps: &[&StepSummary]) -> String {
    steps.iter().map(|step| step.name.as_str()).collect::<Vec<_>>().join(", ")
}

fn changes(step: &StepSummary) -> impl Iterator<Item = &Change> {
    step.changes.iter().filter(|change| change.action != Action::NoOp)
}

fn group(step: &StepSummary) -> Markup {
    let unchanged = step.changes.len() - changes(step).count();
    html! {
        tbody {
            tr.step { th colspan="4" scope="rowgroup" {
                (step.name) @if step.kind != step.name { span.aside { (step.kind) } }
            } }
            @for change in changes(step) { (row(change)) }
            @if unchanged > 0 { tr.mute { td.mark { "=" } td colspan="3" { (unchanged) " unchanged" } } }
        }
    }
}

fn row(change: &Change) -> Markup {
    html! {
        tr {
            td class={ "mark " (class(change.action)) } title=(word(change.action)) { (change.action.symbol()) }
            td.mute { (change.world) }
            td { code { (change.object) } }
            td.wide {
                (change.reason)
                @for detail in &change.details { code.detail { (detail) } }
            }
        }
    }
}

fn class(action: Action) -> &'static str {
    match action {
        Action::NoOp => "mute",
        Action::Create => "good",
        Action::Update => "warn",
        Action::Replace | Action::Delete => "bad",
    }
}

fn word(action: Action) -> &'static str {
    match action {
        Action::NoOp => "stays",
        Action::Create => "create",
        Action::Update => "update",
        Action::Replace => "replace",
        Action::Delete => "delete",
    }
}
