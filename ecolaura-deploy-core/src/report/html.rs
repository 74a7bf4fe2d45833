//! The report as one HTML file: no script, nothing loaded from elsewhere, light and dark, desktop and phone.

mod plan;
mod run;
mod timeline;

use std::time::Duration;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{RunReport, Tone, Totals, wording::duration};
use crate::{ErrorKind, event::StepOutcome};

const CSS: &str = include_str!("html/page.css");

/// Nothing may be loaded, from anywhere; the style is inline.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'";

/// A page over `runs`, one section each, in their order. One run is `std::slice::from_ref(&run)`.
pub fn render(runs: &[RunReport]) -> String {
    let title = title(runs);
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                title { (title) }
                style { (PreEscaped(CSS)) }
            }
            body {
                (header(runs, &title))
                main { @for (place, run) in runs.iter().enumerate() { (run::section(place, run)) } }
                footer { p { "Made from " (events(runs)) " events by ecolaura-deploy." } }
            }
        }
    };
    page.into_string()
}

fn title(runs: &[RunReport]) -> String {
    let Some(first) = runs.first() else { return "No run".to_owned() };
    let mut environments: Vec<_> = runs.iter().map(|run| run.environment.as_str()).collect();
    environments.dedup();
    format!("{} to {}", first.pipeline, environments.join(", "))
}

fn events(runs: &[RunReport]) -> u64 {
    runs.iter().map(|run| run.events).sum()
}

fn header(runs: &[RunReport], title: &str) -> Markup {
    let worst = runs.iter().map(|run| run.closing().tone).max().unwrap_or(Tone::Waiting);
    let took = runs.iter().map(|run| run.took).sum::<Duration>();
    html! {
        header class=(tone_class(worst)) {
            p.eyebrow { "Release report" }
            h1 { (title) }
            p.meta {
                (badge(worst)) " "
                @if let Some(first) = runs.first() { time datetime=(first.began) { (when(first)) } }
                " · " span { (duration(took)) }
            }
            (totals(runs))
            @if runs.len() > 1 {
                nav aria-label="Environments" {
                    @for (place, run) in runs.iter().enumerate() {
                        a class=(tone_class(run.closing().tone)) href=(format!("#run-{place}")) {
                            span.dot {} b { (run.environment) } span { (run.closing().headline) }
                        }
                    }
                }
            }
        }
    }
}

fn when(run: &RunReport) -> String {
    run.began.strftime("%-d %B %Y, %H:%M UTC").to_string()
}

fn totals(runs: &[RunReport]) -> Markup {
    let sum = |of: fn(&Totals) -> usize| runs.iter().map(|run| of(&run.totals())).sum::<usize>();
    let tiles = [
        (sum(|totals| totals.done), "steps done", true, ""),
        (sum(|totals| totals.unchanged), "unchanged", false, ""),
        (sum(|totals| totals.failed), "failed", true, "bad"),
        (sum(|totals| totals.waiting), "waiting", false, "warn"),
        (sum(|totals| totals.skipped), "skipped", false, ""),
        (sum(|totals| totals.undone), "undone", false, ""),
        (sum(|totals| totals.not_undone), "not undone", false, "bad"),
        (sum(|totals| totals.changes.values().sum()), "changes planned", true, ""),
        (sum(|totals| totals.retries), "retries", false, ""),
        (sum(|totals| totals.warnings), "warnings", false, "warn"),
    ];
    html! {
        dl.totals {
            @for (number, name, always, class) in tiles {
                @if always || number > 0 {
                    div { dt { (name) } dd class=(if number > 0 { class } else { "" }) { (number) } }
                }
            }
        }
    }
}

fn tone_class(tone: Tone) -> &'static str {
    match tone {
        Tone::Good => "good",
        Tone::Waiting => "wait",
        Tone::Partial => "warn",
        Tone::Failed | Tone::Operator => "bad",
    }
}

fn badge(tone: Tone) -> Markup {
    let text = match tone {
        Tone::Good => "Succeeded",
        Tone::Waiting => "Not finished",
        Tone::Partial => "Succeeded in part",
        Tone::Failed => "Rolled back",
        Tone::Operator => "Needs an operator",
    };
    html! { span class={ "badge " (tone_class(tone)) } { (text) } }
}

/// A symbol, a class and a word for how a step ended.
fn ending(outcome: Option<&StepOutcome>) -> (&'static str, &'static str, &'static str) {
    match outcome {
        Some(StepOutcome::Done) => ("✓", "good", "done"),
        Some(StepOutcome::Unchanged) => ("=", "mute", "unchanged"),
        Some(StepOutcome::Kept) => ("✓", "mute", "done before"),
        Some(StepOutcome::Failed { error }) if error.kind == ErrorKind::Waiting => ("…", "wait", "waiting"),
        Some(StepOutcome::Failed { .. }) => ("✗", "bad", "failed"),
        Some(StepOutcome::Skipped { .. }) => ("–", "mute", "skipped"),
        None => ("…", "wait", "no end"),
    }
}

#[cfg(test)]
mod tests;
