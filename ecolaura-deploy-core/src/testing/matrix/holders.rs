//! H: the lock, fencing, the clock.

use std::time::Duration;

use super::{Cell, Check, Path, case, checked, senseless};
use crate::{
    event::EventKind,
    testing::{
        inject::{CallFault, Entry, Lasting, StoreFault},
        simulation::{Aftermath, Mishap, Observed},
    },
};

pub(super) fn all(happy: &Path, slow: &Path, most: u32) -> Vec<Cell> {
    let mut cells = races(most);
    cells.extend(pauses(happy));
    cells.extend(clocks(happy));
    cells.extend(ambiguous(happy, "acquire", "/held"));
    cells.extend(ambiguous(happy, "release", "/released"));
    cells.extend(beats(slow));
    cells.extend(store_lost(happy, slow));
    cells.extend(one_machine(happy));
    let why = "nobody takes a lock by force: a holder is proven gone, or silent for its term";
    cells.push(senseless("H", "forced-takeover", why));
    cells
}

fn races(most: u32) -> Vec<Cell> {
    [2, 8, most].map(|processes| case("H", format!("race-of-{processes}"), vec![Mishap::Together { processes }])).into()
}

/// The process sleeps at each step, and another one takes over.
fn pauses(happy: &Path) -> Vec<Cell> {
    let mut cells = Vec::new();
    for step in &happy.profile.steps {
        let Some(nth) = happy.at_step(step) else {
            cells.push(senseless("H", format!("paused/{step}"), "it calls no backend while it runs"));
            continue;
        };
        for (name, calls) in [("until-the-other-has-ended", 100_000), ("until-the-other-works", 150)] {
            cells.push(case("H", format!("paused/{step}/{name}"), vec![Mishap::Takeover { nth, calls }]));
        }
    }
    cells
}

fn clocks(happy: &Path) -> Vec<Cell> {
    let middle = happy.profile.all_calls / 2;
    let mut cells = Vec::new();
    for seconds in [-3600, -600, 600, 3600] {
        let jump = Mishap::Clock { nth: middle, seconds };
        cells.push(case("H", format!("clock{seconds:+}/held"), vec![jump.clone()]));
        let waits = vec![jump, Mishap::Kill { nth: middle + 1, done: false }];
        cells.push(case("H", format!("clock{seconds:+}/waiting"), waits));
    }
    cells
}

/// Which of the creates is that of the object whose key ends so.
fn create_of(path: &Path, suffix: &str) -> Option<u32> {
    let creates = path.profile.ledger.iter().filter(|entry| entry.call == "store.create");
    (1..).zip(creates).find(|(_, entry)| entry.subject.ends_with(suffix)).map(|(nth, _)| nth)
}

/// An object of the lock whose write fails, or is answered late or never.
fn ambiguous(path: &Path, what: &str, suffix: &str) -> Vec<Cell> {
    let record = path.profile.keys.iter().position(|key| key.ends_with(suffix)).map(|place| place + 1);
    let (Some(record), Some(nth)) = (record, create_of(path, suffix)) else {
        return vec![senseless("H", what, "the run does not write it")];
    };
    let mut cells = Vec::new();
    for (name, kept) in [("stored", true), ("lost", false)] {
        let fault = StoreFault::FsyncFailed { kept };
        let mishap = Mishap::Store { nth: record, fault, lasting: Lasting::Once };
        cells.push(case("H", format!("ambiguous-{what}/{name}"), path.and(mishap)));
    }
    let late = CallFault::Slow(Duration::from_mins(5));
    for (name, fault) in [("answer-lost", CallFault::LostAnswer), ("late", late)] {
        let mishap = Mishap::Call { call: "store.create".to_owned(), nth, fault };
        cells.push(case("H", format!("{what}-{name}"), path.and(mishap)));
    }
    cells
}

/// Signs of life that fail, come late, or never.
fn beats(slow: &Path) -> Vec<Cell> {
    let beats = slow.profile.keys.iter().filter(|key| key.contains("/beat-")).count();
    let mut cells = Vec::new();
    for beat in [1, beats / 2, beats] {
        let (what, suffix) = (format!("beat-{beat}"), format!("/beat-{beat:08}"));
        cells.extend(ambiguous(slow, &what, &suffix));
        let Some(nth) = create_of(slow, &suffix) else { continue };
        let faults = [
            ("refused", CallFault::Refused),
            ("refused-for-a-while", CallFault::Outage(8)),
            ("a-little-late", CallFault::Slow(Duration::from_secs(20))),
            ("never-answered", CallFault::Hang),
        ];
        for (name, fault) in faults {
            let mishap = Mishap::Call { call: "store.create".to_owned(), nth, fault };
            cells.push(case("H", format!("{what}-{name}"), slow.and(mishap)));
        }
    }
    cells
}

/// The holder loses the store, and nobody else does.
fn store_lost(happy: &Path, slow: &Path) -> Vec<Cell> {
    let creates =
        |suffix: &'static str| move |entry: &Entry| entry.call == "store.create" && entry.subject.ends_with(suffix);
    let mut places = vec![
        ("held".to_owned(), happy, happy.at(creates("/held"))),
        ("beat".to_owned(), slow, slow.at(creates("/beat-00000001"))),
        ("release".to_owned(), happy, happy.at(creates("/released"))),
        ("slow-effect".to_owned(), slow, slow.at(|entry| entry.call == "cluster.apply")),
    ];
    places.extend(happy.profile.steps.iter().map(|step| (step.clone(), happy, happy.at_step(step))));
    let mut cells = Vec::new();
    for (place, path, nth) in places {
        let Some(nth) = nth else {
            cells.push(senseless("H", format!("store-lost/{place}"), "it calls no backend while it runs"));
            continue;
        };
        for (how, fault) in [("refuses", CallFault::Refused), ("is-silent", CallFault::Hang)] {
            for (others, beside) in [("another-waits", true), ("another-comes-later", false)] {
                let mishap = Mishap::StoreLost { nth, fault, beside };
                let name = format!("store-lost/{place}/{how}/{others}");
                cells.push(case("H", name, path.and(mishap)));
            }
        }
    }
    cells
}

/// The holder dies at each step, on the machine of the next one.
fn one_machine(happy: &Path) -> Vec<Cell> {
    let mut cells = Vec::new();
    for step in &happy.profile.steps {
        let Some(nth) = happy.at_step(step) else { continue };
        for aftermath in Aftermath::ALL {
            let mishaps = vec![Mishap::OneMachine { aftermath }, Mishap::Kill { nth, done: false }];
            let check: Check = if aftermath.proves() { at_once } else { after_its_term };
            cells.push(checked("H", format!("one-machine/{}/{step}", aftermath.name()), mishaps, Some(check)));
        }
        let asleep = vec![Mishap::OneMachine { aftermath: Aftermath::Ended }, Mishap::Takeover { nth, calls: 100_000 }];
        cells.push(checked("H", format!("one-machine/asleep/{step}"), asleep, Some(after_its_term)));
    }
    cells
}

/// How often a lock was taken over from a holder that was proven gone, and from a silent one.
fn takeovers(observed: &Observed) -> (usize, usize) {
    let told = |what: &str| {
        let is = |kind: &EventKind| matches!(kind, EventKind::Warning { message } if message.contains("was taken over") && message.contains(what));
        observed.events.iter().filter(|(_, event)| is(&event.kind)).count()
    };
    (told("which is gone"), told("no sign of life"))
}

fn at_once(observed: &Observed) -> Vec<String> {
    match takeovers(observed) {
        (1.., 0) => Vec::new(),
        (gone, silent) => {
            vec![format!("the next one waited for a dead process: {gone} at once, {silent} after a term")]
        }
    }
}

fn after_its_term(observed: &Observed) -> Vec<String> {
    match takeovers(observed) {
        (0, 1..) => Vec::new(),
        (gone, silent) => {
            vec![format!("a process counted as gone without a proof: {gone} at once, {silent} after a term")]
        }
    }
}
