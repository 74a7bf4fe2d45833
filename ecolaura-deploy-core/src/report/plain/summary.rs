//! The summary at the end: what happened, why, what to do, on one screen.

use std::fmt::Write as _;

use super::super::{
    Closing, RunReport, Style, Tone, Totals,
    narrate::{hanging, named},
    style::Paint,
    wording::{at_most, count, wrap},
};

const WHY_LINES: usize = 4;
const REMAINING: usize = 4;
const COMMANDS: usize = 5;
const NEXT_LINES: usize = 3;
const WARNINGS: usize = 2;

/// The summary of a run: at most 24 lines of at most the style's width, commands excepted, which stay whole. What is
/// left out is counted. Ends with a line break.
pub fn render_summary(run: &RunReport, style: &Style) -> String {
    let closing = run.closing();
    let title = format!("{}: {}", run.environment, closing.headline);
    let mut lines = vec![style.paint(paint(closing.tone), &title)];
    lines.extend(at_most(hanging("what", &closing.what, *style), 2));
    lines.extend(at_most(hanging("why", &closing.why.join("\n"), *style), WHY_LINES));
    lines.extend(listed("left", &closing.remaining, REMAINING, *style));
    lines.extend(at_most(hanging("do", &closing.next.join("\n"), *style), NEXT_LINES));
    lines.extend(commands(&closing, *style));
    lines.extend(warnings(run, *style));
    lines.extend(hanging("steps", &steps(&run.totals()), *style));
    lines.iter().fold(String::new(), |mut text, line| {
        let _ = writeln!(text, "{}", line.trim_end());
        text
    })
}

fn paint(tone: Tone) -> Paint {
    match tone {
        Tone::Good => Paint::Good,
        Tone::Waiting | Tone::Partial => Paint::Warn,
        Tone::Failed | Tone::Operator => Paint::Bad,
    }
}

/// Each item on a line of its own, at most `most` lines.
fn listed(name: &str, items: &[String], most: usize, style: Style) -> Vec<String> {
    let (shown, left_out) = fitting(items, most);
    let mut texts: Vec<_> = shown.iter().flat_map(|item| at_most(wrap(item, style.width() - 12), 1)).collect();
    if left_out > 0 {
        texts.push(format!("… and {left_out} more"));
    }
    let names = std::iter::once(name).chain(std::iter::repeat(""));
    texts.iter().zip(names).map(|(text, name)| named(name, text, style)).collect()
}

fn commands(closing: &Closing, style: Style) -> Vec<String> {
    let (shown, left_out) = fitting(&closing.commands, COMMANDS);
    let lines = shown.iter().flat_map(|command| command.lines());
    let mut lines: Vec<_> = lines.map(|line| format!("{:10}{}", "", style.paint(Paint::Bold, line))).collect();
    lines.truncate(COMMANDS);
    if left_out > 0 {
        lines.push(format!("{:10}… and {} in the report", "", count(left_out, "more command")));
    }
    lines
}

/// What fits on `most` lines, with one for the rest if there is one.
fn fitting<T>(items: &[T], most: usize) -> (&[T], usize) {
    let shown = if items.len() > most { most - 1 } else { items.len() };
    (&items[..shown], items.len() - shown)
}

fn warnings(run: &RunReport, style: Style) -> Vec<String> {
    let of_steps = run.steps.iter().flat_map(|step| &step.warnings);
    let all: Vec<_> = run.warnings.iter().chain(of_steps).cloned().collect();
    listed("warned", &all, WARNINGS, style)
}

/// `12 done, 3 unchanged, 1 failed, 2 skipped; 11 undone; 1 retry`.
pub(crate) fn steps(totals: &Totals) -> String {
    let list = |items: &[(usize, &str)]| {
        let shown = items.iter().filter(|(number, _)| *number > 0);
        shown.map(|(number, word)| format!("{number} {word}")).collect::<Vec<_>>().join(", ")
    };
    let ends = list(&[
        (totals.done, "done"),
        (totals.kept, "done before"),
        (totals.unchanged, "unchanged"),
        (totals.failed, "failed"),
        (totals.waiting, "waiting"),
        (totals.skipped, "skipped"),
        (totals.unfinished, "without an end"),
    ]);
    let undone = list(&[(totals.undone, "undone"), (totals.not_undone, "not undone")]);
    let retries = match totals.retries {
        0 => String::new(),
        1 => "1 retry".to_owned(),
        n => format!("{n} retries"),
    };
    let parts = [ends, undone, retries];
    let shown: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    if shown.is_empty() { "none".to_owned() } else { shown.join("; ") }
}
