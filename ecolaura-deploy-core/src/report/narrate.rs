//! The lines that an event is worth, for whoever reads along.

use super::{
    RunReport, StepReport, Style,
    plain::{render_plan_briefly, render_summary},
    style::Paint,
    wording::{clean, clean_error, columns, count, duration, effect, one_line, wrap},
};
use crate::{
    ErrorRecord,
    event::{Event, EventKind, StepOutcome},
};

const EVIDENCE_LINES: usize = 12;
const OUTPUT_LINES: usize = 20;
const WIDEST_LABEL: usize = 40;

/// How to narrate.
#[derive(Debug, Clone, Copy)]
pub(super) struct Voice {
    /// How text is set.
    pub(super) style: Style,
    /// Whether `✓`, `✗` and `–` stand before the ends of steps.
    pub(super) symbols: bool,
    /// Whether to leave out what is neither a problem nor the end.
    pub(super) quiet: bool,
}

impl Voice {
    /// The lines for `event`, after it was folded into `run`.
    pub(super) fn lines(self, event: &Event, run: &RunReport) -> Vec<String> {
        if self.quiet && !matters(&event.kind) {
            return Vec::new();
        }
        let said = Said { voice: self, run, label: label(event, run) };
        match (&event.kind, event.step.as_deref().and_then(|name| run.step(name))) {
            (EventKind::Planned { plan }, _) => {
                let mut lines = split(&render_plan_briefly(plan, &self.style));
                lines.push(String::new());
                lines
            }
            (EventKind::RunStarted, _) => vec![said.line(' ', &format!("run {} started", one_line(&event.run)))],
            (EventKind::RunResumed { kept, undo, .. }, _) => vec![said.resumed(&event.run, *kept, undo.as_deref())],
            (EventKind::RunFinished { .. }, _) => {
                let mut lines = vec![String::new()];
                lines.extend(split(&render_summary(run, &self.style)));
                lines
            }
            (EventKind::CancelRequested { cause }, _) => {
                vec![said.painted(' ', Paint::Warn, &format!("asked to stop: {}", one_line(cause)))]
            }
            (EventKind::Warning { message }, _) => said.block(' ', Paint::Warn, "warning: ", message),
            (kind, Some(step)) => said.of_step(kind, step),
            (_, None) => Vec::new(),
        }
    }
}

fn matters(kind: &EventKind) -> bool {
    matches!(
        kind,
        EventKind::Warning { .. }
            | EventKind::CancelRequested { .. }
            | EventKind::RunFinished { .. }
            | EventKind::StepFinished { outcome: StepOutcome::Failed { .. }, .. }
            | EventKind::UndoFinished { error: Some(_), .. }
    )
}

fn split(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

/// `dev/build backend`, filled up so that what follows stands in one column.
fn label(event: &Event, run: &RunReport) -> String {
    let environment = &run.environment;
    let whole = |name: &str| format!("{environment}/{}", one_line(name));
    let widest = run.steps.iter().map(|step| columns(&whole(&step.name))).max().unwrap_or_default();
    let width = widest.min(WIDEST_LABEL);
    match &event.step {
        Some(step) => format!("{:width$}", whole(step)),
        None => format!("{:width$}", environment.as_str()),
    }
}

/// What is said of one event.
struct Said<'a> {
    voice: Voice,
    run: &'a RunReport,
    label: String,
}

impl Said<'_> {
    fn line(&self, symbol: char, text: &str) -> String {
        let symbol = if self.voice.symbols { format!("{symbol} ") } else { String::new() };
        format!("{symbol}{}  {text}", self.label)
    }

    fn painted(&self, symbol: char, paint: Paint, text: &str) -> String {
        self.voice.style.paint(paint, &self.line(symbol, text))
    }

    /// A text that may need several lines; the later ones stand under the first.
    fn block(&self, symbol: char, paint: Paint, lead: &str, text: &str) -> Vec<String> {
        let indent = columns(&self.line(symbol, lead));
        let width = self.voice.style.width().saturating_sub(indent).max(40);
        let mut lines = wrap(&clean(text), width).into_iter();
        let first = lines.next().unwrap_or_default();
        let first = self.painted(symbol, paint, format!("{lead}{first}").trim_end());
        std::iter::once(first).chain(lines.map(|line| format!("{:indent$}{line}", ""))).collect()
    }

    fn of_step(&self, kind: &EventKind, step: &StepReport) -> Vec<String> {
        match kind {
            EventKind::StepStarted if self.planned_to_do_nothing(step) => Vec::new(),
            EventKind::StepStarted => vec![self.line(' ', "started")],
            EventKind::Status { message } => vec![self.line(' ', &one_line(message))],
            EventKind::Evidence { title, lines } => self.evidence(title, lines),
            EventKind::RetryScheduled { attempt, delay, error } => {
                let lead = format!("attempt {attempt} failed, again in {}: ", duration(*delay));
                self.block(' ', Paint::Warn, &lead, &error.message)
            }
            EventKind::StepFinished { .. } => self.finished(step),
            EventKind::UndoStarted => vec![self.line(' ', "undo started")],
            EventKind::UndoFinished { error: None, took } => {
                vec![self.line('↶', &format!("undone in {}", duration(*took)))]
            }
            EventKind::UndoFinished { error: Some(error), took } => {
                let text = format!("could not be undone, after {}", duration(*took));
                let mut lines = vec![self.painted('✗', Paint::Bad, &text)];
                lines.extend(self.cause(&clean_error(error)));
                lines
            }
            _ => Vec::new(),
        }
    }

    fn planned_to_do_nothing(&self, step: &StepReport) -> bool {
        let plan = self.run.plan.iter().flat_map(|plan| &plan.steps);
        plan.into_iter().any(|summary| summary.name == step.name && summary.skipped)
    }

    fn resumed(&self, run: &str, kept: usize, undo: Option<&str>) -> String {
        let run = one_line(run);
        match undo {
            None => self.line(' ', &format!("run {run} goes on, {} done before", count(kept, "step"))),
            Some(cause) => self.painted(' ', Paint::Warn, &format!("run {run} is undone: {}", one_line(cause))),
        }
    }

    fn evidence(&self, title: &str, lines: &[String]) -> Vec<String> {
        let mut said = vec![self.line(' ', &one_line(title))];
        said.extend(lines.iter().take(EVIDENCE_LINES).map(|line| bar(&clean(line))));
        if lines.len() > EVIDENCE_LINES {
            said.push(bar(&format!("… and {}", count(lines.len() - EVIDENCE_LINES, "more line"))));
        }
        said
    }

    fn finished(&self, step: &StepReport) -> Vec<String> {
        match &step.outcome {
            Some(StepOutcome::Done) => {
                let attempts = match step.attempts() {
                    0 | 1 => String::new(),
                    n => format!(", at attempt {n}"),
                };
                vec![self.painted('✓', Paint::Good, &format!("done in {}{attempts}", duration(step.took)))]
            }
            Some(StepOutcome::Unchanged) => vec![self.painted('–', Paint::Dim, "unchanged")],
            Some(StepOutcome::Kept) => vec![self.painted('–', Paint::Dim, "done before")],
            Some(StepOutcome::Skipped { because }) => {
                vec![self.painted('–', Paint::Dim, &format!("skipped: {because}"))]
            }
            Some(StepOutcome::Failed { error }) if step.waits() => {
                let mut lines = vec![self.painted('…', Paint::Warn, "waits")];
                lines.extend(self.item("for", &error.message));
                lines.extend(error.advice.iter().flat_map(|advice| self.item("do", advice)));
                lines
            }
            Some(StepOutcome::Failed { error }) => {
                let text = format!("failed after {}: {}", duration(step.took), error.kind);
                let mut lines = vec![self.painted('✗', Paint::Bad, &text)];
                lines.extend(self.cause(error));
                lines.extend(output(step));
                lines
            }
            None => Vec::new(),
        }
    }

    fn cause(&self, error: &ErrorRecord) -> Vec<String> {
        let mut lines = self.item("why", &error.message);
        lines.extend(self.item("effect", effect(error.effect)));
        lines.extend(error.advice.iter().flat_map(|advice| self.item("do", advice)));
        lines
    }

    fn item(&self, name: &str, text: &str) -> Vec<String> {
        hanging(name, text, self.voice.style)
    }
}

/// `  name    text`, wrapped under itself.
pub(super) fn hanging(name: &str, text: &str, style: Style) -> Vec<String> {
    let names = std::iter::once(name).chain(std::iter::repeat(""));
    wrap(text, style.width() - 12).iter().zip(names).map(|(line, name)| named(name, line, style)).collect()
}

/// `  name    line`.
pub(super) fn named(name: &str, line: &str, style: Style) -> String {
    match name {
        "" => format!("{:10}{line}", ""),
        _ => format!("  {}  {line}", style.paint(Paint::Dim, &format!("{name:6}"))),
    }
}

fn output(step: &StepReport) -> Vec<String> {
    let shown = step.output.last(OUTPUT_LINES);
    let lines: Vec<_> = shown.map(|line| bar(&line.line)).collect();
    let title = match step.output.seen() {
        0 => return Vec::new(),
        seen if seen > lines.len() as u64 => format!("  output, the last {} of {seen} lines", lines.len()),
        _ => "  output".to_owned(),
    };
    std::iter::once(title).chain(lines).collect()
}

fn bar(line: &str) -> String {
    format!("  | {line}").trim_end().to_owned()
}
