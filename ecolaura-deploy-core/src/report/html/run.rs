//! The section of one run.

use maud::{Markup, html};

use super::{badge, ending, plan, timeline, tone_class};
use crate::{
    ErrorRecord,
    report::{
        Closing, OutputLine, RunReport, StepReport,
        plain::steps as step_counts,
        wording::{count, duration, effect},
    },
};

pub(super) fn section(place: usize, run: &RunReport) -> Markup {
    let closing = run.closing();
    html! {
        section.run id=(format!("run-{place}")) class=(tone_class(closing.tone)) {
            h2 { (run.environment) " " (badge(closing.tone)) }
            p.meta { "Run " code { (run.run) } " · " (duration(run.took)) " · " (step_counts(&run.totals())) }
            (ending_words(&closing))
            (failures(run))
            (timeline::figure(run))
            @if let Some(plan) = &run.plan { (plan::table(plan)) }
            (evidence(run))
            (warnings(run))
            (retries(run))
            (undos(run))
        }
    }
}

fn ending_words(closing: &Closing) -> Markup {
    html! {
        div class={ "closing " (tone_class(closing.tone)) } {
            p.what { (closing.what) }
            @if !closing.why.is_empty() {
                h3 { "Why" }
                @for why in &closing.why { p.cause { (why) } }
            }
            @if !closing.remaining.is_empty() {
                h3 { "What remains, in the order in which to undo it" }
                ol { @for item in &closing.remaining { li { (item) } } }
            }
            @if !closing.next.is_empty() || !closing.commands.is_empty() {
                h3 { "What to do" }
                @for next in &closing.next { p { (next) } }
                @if !closing.commands.is_empty() {
                    pre.commands { @for command in &closing.commands { (command) "\n" } }
                }
            }
        }
    }
}

fn failures(run: &RunReport) -> Markup {
    html! {
        @for step in run.steps.iter().filter(|step| !step.waits()) {
            @if let Some(error) = step.error() {
                div.block {
                    h3 { "Failed: " (step.name) span.aside { (error.kind) " after " (duration(step.took)) } }
                    p.cause { (error.message) }
                    p.mute { "Effect: " (effect(error.effect)) "." }
                    (log(step))
                }
            }
        }
    }
}

fn log(step: &StepReport) -> Markup {
    let output = &step.output;
    html! {
        @if output.seen() > 0 {
            details open[output.seen() <= 40] {
                summary { "Output" span.aside { (number(output.seen())) " lines" } }
                pre.log {
                    @for line in output.head() { (log_line(line)) }
                    @if output.dropped() > 0 {
                        span.gap { "… " (number(output.dropped())) " lines are left out …\n" }
                    }
                    @for line in output.tail() { (log_line(line)) }
                }
            }
            @if output.seen() > 40 {
                p.label { "The last lines" }
                pre.log { @for line in output.last(12) { (log_line(line)) } }
            }
        }
    }
}

fn log_line(line: &OutputLine) -> Markup {
    html! { (line.line) "\n" }
}

fn number(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

fn evidence(run: &RunReport) -> Markup {
    let all: Vec<_> = run.steps.iter().flat_map(|step| step.evidence.iter().map(move |found| (step, found))).collect();
    html! {
        @if !all.is_empty() {
            div.block {
                h3 { "Evidence" span.aside { (count(all.len(), "finding")) } }
                @for (step, found) in all {
                    @let (symbol, class, _) = ending(step.outcome.as_ref());
                    details open {
                        summary {
                            span class={ "mark " (class) } { (symbol) } (found.title)
                            span.aside { (step.name) }
                        }
                        pre.log { @for line in &found.lines { (line) "\n" } }
                    }
                }
            }
        }
    }
}

fn warnings(run: &RunReport) -> Markup {
    let planned = run.plan.iter().flat_map(|plan| &plan.steps);
    let planned = planned.flat_map(|step| step.warnings.iter().map(move |text| (Some(&step.name), text)));
    let of_steps = run.steps.iter().flat_map(|step| step.warnings.iter().map(move |text| (Some(&step.name), text)));
    let of_run = run.warnings.iter().map(|text| (None, text));
    let all: Vec<_> = of_run.chain(planned).chain(of_steps).collect();
    html! {
        @if !all.is_empty() {
            div.block {
                h3 { "Warnings" span.aside { (all.len()) } }
                ul.notes {
                    @for (step, text) in all {
                        li { (text) @if let Some(step) = step { span.aside { (step) } } }
                    }
                }
            }
        }
    }
}

fn retries(run: &RunReport) -> Markup {
    let all: Vec<_> = run.steps.iter().flat_map(|step| step.retries.iter().map(move |retry| (step, retry))).collect();
    html! {
        @if !all.is_empty() {
            div.block {
                h3 { "Retries" span.aside { (all.len()) } }
                div.scroll { table.retries {
                    thead { tr { th { "Step" } th.num { "Attempt" } th.num { "Failed at" } th.num { "Waited" } th { "Why" } } }
                    tbody { @for (step, retry) in all { tr {
                        td { (step.name) } td.num { (retry.attempt) } td.num { (duration(retry.at)) }
                        td.num { (duration(retry.delay)) } td.wide { (retry.error.message) }
                    } } }
                } }
            }
        }
    }
}

fn undos(run: &RunReport) -> Markup {
    let mut all: Vec<_> = run.steps.iter().filter_map(|step| Some((step, step.undo.as_ref()?))).collect();
    all.sort_by_key(|(_, undo)| undo.started);
    html! {
        @if !all.is_empty() {
            div.block {
                h3 { "Undone" span.aside { "in this order" } }
                ol.undo {
                    @for (step, undo) in all {
                        li {
                            @match (&undo.error, undo.took) {
                                (Some(error), took) => { (not_undone(step, error)) (took.map(duration).unwrap_or_default()) }
                                (None, Some(took)) => {
                                    span.mark.good { "✓" } (step.name) span.aside { (duration(took)) }
                                }
                                (None, None) => { span.mark.wait { "…" } (step.name) span.aside { "did not end" } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn not_undone(step: &StepReport, error: &ErrorRecord) -> Markup {
    html! {
        span.mark.bad { "✗" } (step.name) span.aside { "not undone; " (effect(error.effect)) }
        p.cause { (error.message) }
    }
}
