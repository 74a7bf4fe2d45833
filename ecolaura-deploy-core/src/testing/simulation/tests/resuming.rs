use super::*;
use crate::{
    event::EventKind,
    testing::inject::{CallFault, CrashPoint},
};

#[test]
fn a_dead_process_is_followed_by_another() {
    for nth in 1..=small().profile().keys.len() {
        for point in CrashPoint::ALL {
            let mishap = Mishap::crash(nth, point);
            let observed = small().play(1, std::slice::from_ref(&mishap));
            assert!(matches!(observed.processes[0].1, Ended::Killed), "{mishap}: {:?}", observed.processes);
            assert_eq!(observed.verdict(), Verdict::Survived, "{mishap}: {:?}", observed.processes);
        }
    }
}

fn is_taken_over(observed: &Observed, why: &str) -> bool {
    let told = |kind: &EventKind| matches!(kind, EventKind::Warning { message } if message.contains(why));
    observed.events.iter().any(|(_, event)| told(&event.kind))
}

#[test]
fn who_loses_the_store_stops_and_another_goes_on() {
    let slow = Mishap::Call { call: "flags.set".to_owned(), nth: 1, fault: CallFault::Slow(Duration::from_mins(5)) };
    for fault in [CallFault::Refused, CallFault::Hang] {
        for beside in [true, false] {
            let lost = Mishap::StoreLost { nth: 30, fault, beside };
            let observed = small().play(1, &[slow.clone(), lost]);
            assert_eq!(observed.verdict(), Verdict::Survived, "{fault:?}: {:?}", observed.processes);
            assert!(is_taken_over(&observed, "no sign of life"), "{fault:?}: {:?}", observed.events);
        }
    }
}

#[test]
fn the_next_process_of_a_machine_sees_what_became_of_the_one_before() {
    for aftermath in Aftermath::ALL {
        let mishaps = [Mishap::OneMachine { aftermath }, Mishap::Kill { nth: 31, done: true }];
        let observed = small().play(1, &mishaps);
        assert_eq!(observed.verdict(), Verdict::Survived, "{aftermath:?}: {:?}", observed.processes);
        assert_eq!(is_taken_over(&observed, "which is gone"), aftermath.proves(), "{aftermath:?}");
    }
}

#[test]
fn the_same_seed_writes_the_same_journal() {
    let mishaps = [
        Mishap::Call { call: "flags.set".to_owned(), nth: 1, fault: CallFault::LostAnswer },
        Mishap::Kill { nth: 31, done: true },
    ];
    let journal = || small().play(7, &mishaps).journal();
    assert_eq!(invariants::same_journal(&journal(), &journal()), [""; 0]);
    assert_ne!(journal(), small().play(8, &mishaps).journal());
}

#[test]
fn random_mishaps_break_no_promise() {
    small().seeds(0..60).run().assert();
}
