//! When each step ran and was undone, as bars.

use std::time::Duration;

use maud::{Markup, html};

use super::ending;
use crate::report::{RunReport, Span, StepReport, wording::duration};

pub(super) fn figure(run: &RunReport) -> Markup {
    let spans = run.timeline();
    html! {
        @if !run.steps.is_empty() {
            div.block {
                h3 { "Timeline" }
                ol.timeline {
                    li.axis aria-hidden="true" {
                        span {} span.track { @for part in 0..=4_u32 { span { (duration(run.took * part / 4)) } } } span {}
                    }
                    @for step in &run.steps { (row(step, &spans, run.took)) }
                }
            }
        }
    }
}

fn row(step: &StepReport, spans: &[Span<'_>], whole: Duration) -> Markup {
    let (symbol, class, word) = ending(step.outcome.as_ref());
    html! {
        li {
            span.name { span class={ "mark " (class) } title=(word) { (symbol) } (step.name) }
            span.track {
                @for span in spans.iter().filter(|span| span.step == step.name) {
                    @let kind = if span.undo { "undo" } else { class };
                    span class={ "bar " (kind) } style=(place(span, whole)) title=(title(span)) {}
                }
                @for retry in &step.retries {
                    span.tick style=(format!("--from:{:.2}%", percent(retry.at, whole))) title="an attempt failed" {}
                }
            }
            span.took { (took(step, word)) }
        }
    }
}

fn took(step: &StepReport, word: &str) -> String {
    match (step.started, &step.outcome) {
        (Some(_), Some(_)) => duration(step.took),
        _ => word.to_owned(),
    }
}

fn title(span: &Span<'_>) -> String {
    let what = if span.undo { "undone" } else { "ran" };
    format!("{what} from {} for {}", duration(span.started), duration(span.took))
}

fn place(span: &Span<'_>, whole: Duration) -> String {
    format!("--from:{:.2}%;--for:{:.2}%", percent(span.started, whole), percent(span.took, whole))
}

fn percent(part: Duration, whole: Duration) -> f64 {
    if whole.is_zero() { 0.0 } else { (part.as_secs_f64() / whole.as_secs_f64() * 100.0).min(100.0) }
}
