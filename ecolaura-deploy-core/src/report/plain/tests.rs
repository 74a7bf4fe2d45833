use super::*;
use crate::report::{RunReport, sample};

fn told(events: &[Event], style: Style, quiet: bool) -> String {
    let reporter = PlainReporter::new(Vec::new(), style).quiet(quiet);
    events.iter().for_each(|event| reporter.emit(event));
    String::from_utf8(reporter.into_inner()).unwrap()
}

/// What is told of each kind of end, in full and quietly.
macro_rules! golden {
    ($($name:ident),*) => {
        [$((
            stringify!($name),
            include_str!(concat!("golden/", stringify!($name), ".txt")),
            include_str!(concat!("golden/", stringify!($name), ".quiet.txt")),
        )),*]
    };
}

#[test]
fn every_kind_of_end_is_told_as_written_down() {
    let golden = golden![nothing_to_do, succeeded, except, rolled_back, cancelled, needs_operator, waiting];
    let samples = sample::all();
    assert_eq!(samples.len(), golden.len());
    for ((name, events), (of, full, quiet)) in samples.iter().zip(golden) {
        assert_eq!(*name, of);
        let (told_full, told_quiet) = (told(events, Style::plain(), false), told(events, Style::plain(), true));
        assert!(told_full == full, "golden/{name}.txt differs from:\n{told_full}");
        assert!(told_quiet == quiet, "golden/{name}.quiet.txt differs from:\n{told_quiet}");
    }
}

#[test]
fn colours_are_there_on_a_terminal_and_gone_with_no_color() {
    for (name, events) in sample::all() {
        let coloured = told(&events, Style::detect(true, None), false);
        assert!(coloured.contains("\u{1b}["), "{name}");
        let plain = told(&events, Style::detect(true, Some("1")), false);
        assert!(!plain.contains('\u{1b}'), "{name}");
        assert_eq!(plain, told(&events, Style::plain(), false), "{name}");
    }
}

#[test]
fn the_summary_fits_a_screen_whatever_happened() {
    for (name, events) in sample::all() {
        let mut run = RunReport::from_events(&events).unwrap();
        for width in [40, 80, 100, 200] {
            let style = Style::plain().with_width(width);
            assert!(render_summary(&run, &style).lines().count() <= 24, "{name} at {width}");
        }
        // The worst that can come: long causes, many things left, many warnings.
        let long = "cannot do this because of that; ".repeat(60);
        run.warnings = vec![long.clone(); 30];
        if let Some(crate::run::RunResult::NeedsOperator { cause, remaining, commands, .. }) = &mut run.result {
            cause.clone_from(&long);
            *remaining = vec![long.clone(); 40];
            *commands = vec!["restore\nand wait\n".repeat(9); 40];
        }
        let summary = render_summary(&run, &Style::plain().with_width(60));
        assert!(summary.lines().count() <= 24, "{name}: {}\n{summary}", summary.lines().count());
    }
}

#[test]
fn of_long_details_a_run_shows_the_beginning_and_a_plan_shows_all() {
    use crate::plan::{Action, Change, World};
    let (_, events) = sample::all().swap_remove(1);
    let Some(EventKind::Planned { mut plan }) = events.into_iter().next().map(|event| event.kind) else { panic!() };
    let sql = (1..=40).fold(Change::new(World::Database, "migration 8", Action::Update, "pending"), |change, line| {
        change.detail(format!("INSERT {line}"))
    });
    plan.steps[0].changes.push(sql);
    let (whole, brief) = (render_plan(&plan, &Style::plain()), render_plan_briefly(&plan, &Style::plain()));
    assert!(whole.contains("INSERT 40\n") && !whole.contains("lines more"), "{whole}");
    assert!(brief.contains("INSERT 6\n        … 34 lines more\n") && !brief.contains("INSERT 7\n"), "{brief}");
}
