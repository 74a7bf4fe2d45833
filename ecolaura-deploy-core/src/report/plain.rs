//! Plain lines, for CI and pipes: the same events give the same text.

mod examination;
mod plan;
mod summary;

use std::{
    fmt,
    io::{self, Write},
    sync::{Mutex, PoisonError},
};

pub(super) use self::plan::render_plan_briefly;
pub use self::{
    examination::{render_examination, render_fixed},
    plan::render_plan,
    summary::render_summary,
};
#[cfg(feature = "html")]
pub(super) use self::{plan::amount, summary::steps};
use super::{Style, fold::Runs, json::output_error, narrate::Voice};
use crate::{
    ErrorRecord,
    event::{Event, EventKind, EventSink},
};

/// Writes each event as plain lines: the plan, starts, status lines, ends, the output of what failed, a summary.
///
/// Each event is written whole and flushed. After a write fails nothing more is written; see
/// [`PlainReporter::error`].
pub struct PlainReporter<W> {
    voice: Voice,
    state: Mutex<State<W>>,
}

struct State<W> {
    runs: Runs,
    out: W,
    error: Option<ErrorRecord>,
}

impl<W: Write + Send + 'static> PlainReporter<W> {
    /// Writes to `out` in `style`.
    pub fn new(out: W, style: Style) -> Self {
        let voice = Voice { style, symbols: false, quiet: false };
        Self { voice, state: Mutex::new(State { runs: Runs::default(), out, error: None }) }
    }

    /// Writes warnings, failures and the summary only.
    pub fn quiet(mut self, quiet: bool) -> Self {
        self.voice.quiet = quiet;
        self
    }

    /// Why nothing more is written, if a write failed.
    pub fn error(&self) -> Option<ErrorRecord> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).error.clone()
    }

    /// What was written to, with what was written so far.
    pub fn into_inner(self) -> W {
        self.state.into_inner().unwrap_or_else(PoisonError::into_inner).out
    }
}

impl<W: Write> State<W> {
    fn write(&mut self, lines: &[String]) -> io::Result<()> {
        let mut text = lines.join("\n");
        text.push('\n');
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }
}

impl<W: Write + Send + 'static> EventSink for PlainReporter<W> {
    fn emit(&self, event: &Event) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.error.is_some() {
            return;
        }
        let lines = self.voice.lines(event, state.runs.apply(event));
        if matches!(event.kind, EventKind::RunFinished { .. }) {
            state.runs.forget(&event.run);
        }
        if lines.is_empty() {
            return;
        }
        if let Err(error) = state.write(&lines) {
            state.error = Some(ErrorRecord::from(&output_error("report.plain", error)));
        }
    }
}

impl<W> fmt::Debug for PlainReporter<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlainReporter").field("voice", &self.voice).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
