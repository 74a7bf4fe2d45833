use std::{
    io,
    sync::{Arc, Mutex},
};

use indicatif::TermLike;

use super::*;
use crate::report::sample;

/// A screen that remembers all that was ever written to it.
#[derive(Debug, Clone, Default)]
struct Screen {
    printed: Arc<Mutex<String>>,
    drawn: Arc<Mutex<String>>,
}

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.printed.lock().unwrap().push_str(std::str::from_utf8(bytes).unwrap());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl TermLike for Screen {
    fn width(&self) -> u16 {
        100
    }
    fn move_cursor_up(&self, _: usize) -> io::Result<()> {
        Ok(())
    }
    fn move_cursor_down(&self, _: usize) -> io::Result<()> {
        Ok(())
    }
    fn move_cursor_right(&self, _: usize) -> io::Result<()> {
        Ok(())
    }
    fn move_cursor_left(&self, _: usize) -> io::Result<()> {
        Ok(())
    }
    fn write_line(&self, line: &str) -> io::Result<()> {
        self.write_str(line)
    }
    fn write_str(&self, text: &str) -> io::Result<()> {
        self.drawn.lock().unwrap().push_str(text);
        Ok(())
    }
    fn clear_line(&self) -> io::Result<()> {
        Ok(())
    }
    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

fn shown(events: &[Event], quiet: bool) -> (String, String) {
    let screen = Screen::default();
    let target = ProgressDrawTarget::term_like_with_hz(Box::new(screen.clone()), 255);
    let mut live = Live::new(target, Box::new(screen.clone()), Style::plain());
    live.voice.quiet = quiet;
    events.iter().for_each(|event| live.show(event));
    assert!(live.running.is_empty(), "lines were left behind");
    (screen.printed.lock().unwrap().clone(), screen.drawn.lock().unwrap().clone())
}

#[test]
fn what_ended_stays_and_what_runs_is_drawn() {
    let (printed, drawn) = shown(&sample::rolled_back(), false);
    for line in [
        "✓ staging/push backend      done in 3.5 s, at attempt 2",
        "✗ staging/roll out backend  failed after 11.0 s: roll-out failed",
        "– staging/switch flag       skipped: `roll out backend` failed",
        "↶ staging/migrate           undone in 800 ms",
        "  staging/push backend      attempt 1 failed, again in 2.0 s: connection refused (registry.push;",
        "staging: rolled back after 28.7 s",
    ] {
        assert!(printed.lines().any(|printed| printed == line), "{line}\n\n{printed}");
    }
    assert!(!printed.contains("started"), "{printed}");
    assert!(drawn.contains("staging/build backend"), "{drawn}");
}

#[test]
fn a_running_line_shows_progress_and_the_last_status() {
    let events = sample::succeeded();
    let last = events.iter().rposition(|event| matches!(event.kind, EventKind::Progress { .. })).unwrap();
    let report = RunReport::from_events(&events[..last]).unwrap();
    let text = activity(&events[last].kind, report.step("build backend").unwrap());
    assert_eq!(text.as_deref(), Some("━━━━━━━━╌╌╌╌╌╌╌╌ 20.0 of 40.0 MiB  compressing 3 layers"));
    assert_eq!((bar(0, 0).chars().next(), bar(9, 3).chars().last()), (Some('╌'), Some('━')));
}

#[test]
fn several_runs_follow_each_other() {
    let events = [sample::nothing_to_do(), sample::rolled_back(), sample::needs_operator()].concat();
    let (printed, _) = shown(&events, false);
    let ends = ["dev: nothing to do", "staging: rolled back", "production: an operator is needed"];
    let places: Vec<_> = ends.iter().map(|end| printed.find(end).unwrap()).collect();
    assert!(places.is_sorted());
    assert!(!printed.contains("✓ dev") && !printed.contains("– dev"), "{printed}");
}

#[test]
fn quiet_leaves_problems_and_the_end() {
    let (printed, drawn) = shown(&sample::rolled_back(), true);
    assert!(printed.starts_with("✗ staging/roll out backend"), "{printed}");
    assert!(!printed.contains("✓") && printed.contains("rolled back after"), "{printed}");
    assert_eq!(drawn.trim(), "");
}
