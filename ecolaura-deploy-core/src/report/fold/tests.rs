use std::time::Duration;

use super::*;
use crate::{
    report::{Tone, sample},
    run::RunResult,
};

#[test]
fn a_report_is_complete_and_counts() {
    let report = RunReport::from_events(&sample::rolled_back()).unwrap();
    let totals = report.totals();
    assert_eq!((totals.done, totals.failed, totals.skipped, totals.unfinished), (5, 1, 2, 0));
    assert_eq!((totals.undone, totals.not_undone, totals.retries), (3, 0, 1));
    let plan = report.plan.as_ref().unwrap();
    let planned: Vec<_> = plan.steps.iter().map(|step| &step.name).collect();
    assert_eq!(report.steps.iter().map(|step| &step.name).collect::<Vec<_>>(), planned);
    assert!(matches!(report.result, Some(RunResult::RolledBack { .. })));
}

#[test]
fn every_start_has_one_finish_in_the_timeline() {
    for events in [sample::succeeded(), sample::rolled_back(), sample::needs_operator()] {
        let report = RunReport::from_events(&events).unwrap();
        let starts = events.iter().filter(|event| matches!(event.kind, EventKind::StepStarted)).count();
        let timeline = report.timeline();
        assert_eq!(timeline.iter().filter(|span| !span.undo).count(), starts);
        assert!(timeline.iter().all(|span| span.started + span.took <= report.took));
        assert!(timeline.is_sorted_by_key(|span| span.started));
    }
}

#[test]
fn a_step_keeps_what_it_said() {
    let report = RunReport::from_events(&sample::rolled_back()).unwrap();
    let pushed = report.step("staging/push backend").unwrap();
    assert_eq!((pushed.attempts(), pushed.retries[0].delay), (2, Duration::from_secs(2)));
    let tested = report.step("test").unwrap();
    assert_eq!((tested.output.seen(), tested.output.dropped()), (300, 100));
    assert_eq!(tested.output.last(1).next().unwrap().line, "test ledger::case_300 ... ok");
    assert_eq!(report.step("scan backend").unwrap().evidence[0].lines.len(), 3);
    assert!(report.step("roll out backend").unwrap().error().is_some());
    assert_eq!(report.step("switch flag").unwrap().attempts(), 0);
}

#[test]
fn a_broken_stream_still_reports() {
    let events = sample::succeeded();
    let started = events.iter().rposition(|event| matches!(event.kind, EventKind::StepStarted)).unwrap();
    let report = RunReport::from_events(&events[..=started]).unwrap();
    assert_eq!((report.totals().unfinished, report.closing().tone), (1, Tone::Waiting));
    assert_eq!(report.closing().what, "The events end in `switch flag`; the run goes on, or its process was stopped.");
    // A stream that was joined late knows no plan, and shows the steps that appeared.
    let report = RunReport::from_events(&events[started..]).unwrap();
    assert_eq!((report.plan.is_none(), report.steps.len()), (true, 1));
}

#[test]
fn runs_are_kept_apart() {
    let builder = ReportBuilder::new();
    let (dev, staging) = (sample::succeeded(), sample::rolled_back());
    for pair in 0..dev.len().max(staging.len()) {
        dev.get(pair).into_iter().chain(staging.get(pair)).for_each(|event| builder.emit(event));
    }
    let reports = builder.reports();
    assert_eq!(reports, [RunReport::from_events(&dev).unwrap(), RunReport::from_events(&staging).unwrap()]);
    let json = serde_json::to_string(&reports).unwrap();
    assert_eq!(serde_json::from_str::<Vec<RunReport>>(&json).unwrap(), reports);
}
