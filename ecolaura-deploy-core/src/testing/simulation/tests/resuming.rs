use super::*;
use crate::testing::inject::{CallFault, CrashPoint};

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
