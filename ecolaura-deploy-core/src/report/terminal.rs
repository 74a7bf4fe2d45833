//! A terminal: one steady line for each running step, and what has ended above it.

use std::{
    collections::HashMap,
    fmt,
    io::Write,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use console::Term;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::{
    RunReport, StepReport, Style,
    fold::Runs,
    narrate::Voice,
    plain::PlainReporter,
    wording::{duration, one_line, progress},
};
use crate::{
    event::{Event, EventKind, EventSink, StepOutcome},
    plan::PlanSummary,
};

const TICK: Duration = Duration::from_millis(100);
const BAR_CELLS: u64 = 16;

/// Shows runs on a terminal, one after the other or at the same time; writes plain lines where there is no terminal.
///
/// Each running step has one line with its time, its progress and what it says last. Steps that ended, failed
/// attempts, warnings and evidence stand above it for good.
pub struct TerminalReporter(Inner);

enum Inner {
    Plain(PlainReporter<Box<dyn Write + Send>>),
    Live(Mutex<Live>),
}

/// What is on the screen.
struct Live {
    voice: Voice,
    term: Option<Term>,
    out: Box<dyn Write + Send>,
    lines: MultiProgress,
    running: HashMap<(String, String), ProgressBar>,
    runs: Runs,
}

impl TerminalReporter {
    /// On the standard output. `no_color` is the value of `NO_COLOR`, if it is set.
    pub fn stdout(no_color: Option<&str>) -> Self {
        Self::on(&Term::stdout(), no_color)
    }

    /// On the standard error. `no_color` is the value of `NO_COLOR`, if it is set.
    pub fn stderr(no_color: Option<&str>) -> Self {
        Self::on(&Term::stderr(), no_color)
    }

    /// Shows warnings, failures and the summary only.
    pub fn quiet(self, quiet: bool) -> Self {
        Self(match self.0 {
            Inner::Plain(plain) => Inner::Plain(plain.quiet(quiet)),
            Inner::Live(live) => {
                let mut live = live.into_inner().unwrap_or_else(PoisonError::into_inner);
                live.voice.quiet = quiet;
                Inner::Live(Mutex::new(live))
            }
        })
    }

    fn on(term: &Term, no_color: Option<&str>) -> Self {
        let can_move = term.is_term() && std::env::var_os("TERM").is_none_or(|name| name != "dumb");
        let style = Style::detect(term.is_term(), no_color);
        let out = Box::new(term.clone());
        if !can_move {
            return Self(Inner::Plain(PlainReporter::new(out, style)));
        }
        let target = ProgressDrawTarget::term(term.clone(), 12);
        let live = Live { term: Some(term.clone()), ..Live::new(target, out, style) };
        Self(Inner::Live(Mutex::new(live)))
    }
}

impl EventSink for TerminalReporter {
    fn emit(&self, event: &Event) {
        match &self.0 {
            Inner::Plain(plain) => plain.emit(event),
            Inner::Live(live) => live.lock().unwrap_or_else(PoisonError::into_inner).show(event),
        }
    }
}

impl fmt::Debug for TerminalReporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let live = matches!(self.0, Inner::Live(_));
        f.debug_struct("TerminalReporter").field("live", &live).finish_non_exhaustive()
    }
}

impl Live {
    fn new(target: ProgressDrawTarget, out: Box<dyn Write + Send>, style: Style) -> Self {
        Self {
            voice: Voice { style, symbols: true, quiet: false },
            term: None,
            out,
            lines: MultiProgress::with_draw_target(target),
            running: HashMap::new(),
            runs: Runs::default(),
        }
    }

    fn show(&mut self, event: &Event) {
        if let Some((_, columns)) = self.term.as_ref().and_then(Term::size_checked) {
            self.voice.style = self.voice.style.with_width(usize::from(columns));
        }
        let run = self.runs.apply(event);
        let lines = if passing(&event.kind, run) { Vec::new() } else { self.voice.lines(event, run) };
        if !self.voice.quiet {
            let step = event.step.as_deref().and_then(|name| run.step(name));
            if let Some(step) = step {
                update(&mut self.running, &self.lines, event, step);
            }
        }
        if matches!(event.kind, EventKind::RunFinished { .. }) {
            self.end(&event.run);
        }
        self.print(&lines);
    }

    fn end(&mut self, run: &str) {
        let lines = &self.lines;
        self.running.retain(|(of, _), bar| {
            if of == run {
                clear(lines, bar);
            }
            of != run
        });
        self.runs.forget(run);
    }

    /// Prints above the running steps. A terminal that is gone is no reason to stop a run.
    fn print(&mut self, lines: &[String]) {
        if lines.is_empty() {
            return;
        }
        let text = lines.join("\n") + "\n";
        let out = &mut self.out;
        self.lines.suspend(|| {
            let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        });
    }
}

/// Whether the running lines show `kind` well enough.
fn passing(kind: &EventKind, run: &RunReport) -> bool {
    match kind {
        EventKind::StepStarted
        | EventKind::Status { .. }
        | EventKind::UndoStarted
        | EventKind::RunStarted
        | EventKind::StepFinished { outcome: StepOutcome::Kept, .. } => true,
        EventKind::StepFinished { outcome: StepOutcome::Unchanged, .. } => {
            run.plan.as_ref().is_some_and(PlanSummary::is_noop)
        }
        _ => false,
    }
}

fn update(
    running: &mut HashMap<(String, String), ProgressBar>,
    lines: &MultiProgress,
    event: &Event,
    step: &StepReport,
) {
    let key = (event.run.clone(), step.name.clone());
    match &event.kind {
        EventKind::StepStarted | EventKind::UndoStarted => {
            let bar = lines.add(ProgressBar::new_spinner().with_style(running_style()));
            bar.set_prefix(prefix(event, step));
            if matches!(event.kind, EventKind::UndoStarted) {
                bar.set_message("undoing");
            }
            bar.enable_steady_tick(TICK);
            running.insert(key, bar);
        }
        EventKind::StepFinished { .. } | EventKind::UndoFinished { .. } => {
            if let Some(bar) = running.remove(&key) {
                clear(lines, &bar);
            }
        }
        kind => {
            if let (Some(bar), Some(text)) = (running.get(&key), activity(kind, step)) {
                bar.set_prefix(prefix(event, step));
                bar.set_message(text);
            }
        }
    }
}

fn clear(lines: &MultiProgress, bar: &ProgressBar) {
    bar.finish_and_clear();
    lines.remove(bar);
}

fn prefix(event: &Event, step: &StepReport) -> String {
    let attempt = match step.attempts() {
        0 | 1 => String::new(),
        n => format!(" (attempt {n})"),
    };
    format!("{}/{}{attempt}", event.environment, one_line(&step.name))
}

/// What a running line says after `kind`, if that changes it.
fn activity(kind: &EventKind, step: &StepReport) -> Option<String> {
    if let EventKind::RetryScheduled { delay, .. } = kind {
        return Some(format!("waits {} before it tries again", duration(*delay)));
    }
    if !matches!(kind, EventKind::Progress { .. } | EventKind::Status { .. }) {
        return None;
    }
    let amount = step.progress.as_ref().map(|at| match at.total {
        Some(total) => format!("{} {}", bar(at.done, total), progress(at)),
        None => progress(at),
    });
    let status = step.statuses.last(1).next().cloned();
    Some(amount.into_iter().chain(status).collect::<Vec<_>>().join("  "))
}

fn bar(done: u64, total: u64) -> String {
    let full = u128::from(done.min(total)) * u128::from(BAR_CELLS) / u128::from(total.max(1));
    (0..u128::from(BAR_CELLS)).map(|cell| if cell < full { '━' } else { '╌' }).collect()
}

fn running_style() -> ProgressStyle {
    let style = ProgressStyle::with_template("{spinner} {prefix}  {took}  {wide_msg}");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_spinner());
    style.with_key("took", |state: &ProgressState, out: &mut dyn fmt::Write| {
        // Tenths would flicker; whole seconds are steady.
        let _ = write!(out, "{:>3} s", state.elapsed().as_secs());
    })
}

#[cfg(test)]
mod tests;
