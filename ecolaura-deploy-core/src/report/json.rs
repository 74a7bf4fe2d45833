//! Events as JSON lines: the recorded stream, from which everything else can be made again.

use std::{
    fmt,
    io::{self, Write},
    sync::{Mutex, PoisonError},
};

use crate::{
    Error, ErrorKind, ErrorRecord,
    event::{Event, EventSink},
};

/// Writes each event as one line of JSON and flushes it.
///
/// A failed write never stops the run: nothing more is written, so that the file ends after a whole line or within
/// one, never with a gap, and [`JsonLines::error`] tells.
pub struct JsonLines<W>(Mutex<State<W>>);

struct State<W> {
    out: W,
    error: Option<ErrorRecord>,
}

impl<W: Write + Send + 'static> JsonLines<W> {
    /// Writes to `out`, one write call an event.
    pub fn new(out: W) -> Self {
        Self(Mutex::new(State { out, error: None }))
    }

    /// Why nothing more is written, if a write failed.
    pub fn error(&self) -> Option<ErrorRecord> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).error.clone()
    }

    /// What was written to, with what was written so far.
    pub fn into_inner(self) -> W {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner).out
    }
}

impl<W: Write> State<W> {
    fn write(&mut self, event: &Event) -> io::Result<()> {
        let mut line = serde_json::to_vec(event)?;
        line.push(b'\n');
        self.out.write_all(&line)?;
        self.out.flush()
    }
}

impl<W: Write + Send + 'static> EventSink for JsonLines<W> {
    fn emit(&self, event: &Event) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.error.is_some() {
            return;
        }
        if let Err(error) = state.write(event) {
            state.error = Some(ErrorRecord::from(&output_error("report.json", error).with("event", event.seq)));
        }
    }
}

impl<W> fmt::Debug for JsonLines<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JsonLines").finish_non_exhaustive()
    }
}

/// Why events could not be written where the caller wanted them.
pub(super) fn output_error(operation: &'static str, source: io::Error) -> Error {
    let (kind, advice) = match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => (ErrorKind::LimitExceeded, "free some space"),
        io::ErrorKind::BrokenPipe => (ErrorKind::Unavailable, "keep the reading end open until the run has ended"),
        io::ErrorKind::PermissionDenied => (ErrorKind::PermissionDenied, "check the owner and mode of the file"),
        _ => (ErrorKind::Internal, "check where the events are written to"),
    };
    Error::new(kind, operation, format!("events are no longer written: {source}")).with_source(source).advice(advice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::sample;

    #[test]
    fn each_event_is_a_line_that_reads_back() {
        let sink = JsonLines::new(Vec::new());
        let events = sample::rolled_back();
        events.iter().for_each(|event| sink.emit(event));
        let text = String::from_utf8(sink.into_inner()).unwrap();
        let read: Vec<Event> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(text.ends_with('\n'));
        assert_eq!(read, events);
    }

    /// Takes so many bytes, then is full.
    struct Small(Vec<u8>, usize);

    impl Write for Small {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let room = (self.1 - self.0.len()).min(bytes.len());
            if room == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.0.extend_from_slice(&bytes[..room]);
            Ok(room)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_stops_the_writing_and_is_remembered() {
        let sink = JsonLines::new(Small(Vec::new(), 3_000));
        let events = sample::rolled_back();
        sink.emit(&events[0]);
        assert_eq!(sink.error(), None);
        events.iter().skip(1).for_each(|event| sink.emit(event));
        let error = sink.error().unwrap();
        assert_eq!(error.kind, ErrorKind::LimitExceeded);
        assert_eq!(error.advice.as_deref(), Some("free some space"));
        assert_eq!(sink.into_inner().0.len(), 3_000);
    }
}
