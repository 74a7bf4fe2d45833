//! Two deployers.

use rustix::process::Signal;

use super::{
    tally::{Tally, Verdict},
    world::World,
};

const FAMILY: &str = "two deployers";

pub fn all(world: &World, tally: &mut Tally) {
    tally.case(FAMILY, "the same release, at once", || refused(world, true));
    tally.case(FAMILY, "different releases, at once", || refused(world, false));
    tally.case(FAMILY, "the same release, one waits", || waits(world, true));
    tally.case(FAMILY, "different releases, one waits", || waits(world, false));
    tally.case(FAMILY, "one is paused past its term", || paused(world));
}

/// The effects of one run lie between those of others, and the fencing tokens grow.
fn never_interleaved(world: &World, before: usize) {
    let mut spans = Vec::new();
    for (run, records) in world.runs().into_iter().skip(before) {
        let at = |record: &serde_json::Value| record["at"].as_str().unwrap().to_owned();
        let epoch = |record: &&serde_json::Value| record["body"]["epoch"].as_u64();
        let epochs: Vec<u64> = records.iter().filter_map(|record| epoch(&record)).collect();
        assert!(epochs.is_sorted(), "{run}: {epochs:?}");
        spans.push((at(&records[0]), at(records.last().unwrap()), epochs[0], run));
    }
    spans.sort();
    for pair in spans.windows(2) {
        let ((_, end, epoch, run), (begin, _, next, other)) = (&pair[0], &pair[1]);
        assert!(end < begin && epoch < next, "{run} ended at {end} in {epoch}, {other} began at {begin} in {next}");
    }
}

fn refused(world: &World, same: bool) -> Verdict {
    world.to_old();
    let first = world.app();
    let second = if same { first.clone() } else { world.app() };
    let before = world.runs().len();
    let calls = [&first, &second].map(|app| world.start(&["--app", &app.folder]));
    let ended = calls.map(crate::user::Started::wait);
    let mut codes = [&ended[0], &ended[1]].map(|run| run.code);
    codes.sort_unstable();
    assert_eq!(codes, [Some(0), Some(5)], "{}\n{}", ended[0], ended[1]);
    let (winner, loser) = if ended[0].code == Some(0) { (&first, &ended[1]) } else { (&second, &ended[0]) };
    assert!(
        ["dev is held by run", " since ", "--wait SECONDS"].iter().all(|text| loser.output.contains(text)),
        "who, since when: {loser}"
    );
    never_interleaved(world, before);
    world.stands(&winner.version);
    world.is_done(winner);
    Verdict::Survived(1)
}

fn waits(world: &World, same: bool) -> Verdict {
    world.to_old();
    let first = world.app();
    let second = if same { first.clone() } else { world.app() };
    let before = world.runs().len();
    let calls = [&first, &second].map(|app| world.start(&["--app", &app.folder, "--wait", "300"]));
    let ended = calls.map(crate::user::Started::wait);
    ended.iter().for_each(|run| run.ends_with(0));
    assert!(ended.iter().any(|run| run.output.contains("waits for dev, which is held by run")), "{}", ended[0]);
    never_interleaved(world, before);
    // Whoever came last made the newer release.
    let live = world.user.newest_release("dev");
    let sequences = world.user.releases("dev");
    assert!(sequences.iter().all(|sequence| *sequence <= live["release"]["sequence"].as_u64().unwrap()));
    let version = world.user.version("dev");
    let last = if version == first.version { &first } else { &second };
    world.stands(&last.version);
    world.is_done(last);
    Verdict::Survived(1)
}

/// It is stopped in the middle of its roll-out, another one takes over, and then it wakes up.
fn paused(world: &World) -> Verdict {
    world.to_old();
    let (first, second) = (world.app(), world.app());
    let mut sleeper = world.start(&["--app", &first.folder, "--term", "2000"]);
    sleeper.wait_for("dev/roll-out-backend        20 %");
    sleeper.signal(Signal::STOP);
    let run = world.ship(&["--app", &second.folder, "--term", "2000", "--wait", "120"]);
    run.ends_with(0);
    let (records, release) = (world.runs(), world.user.newest_release("dev"));
    sleeper.signal(Signal::CONT);
    let run = sleeper.wait();
    run.ends_with(5);
    assert!(run.output.contains("another process works on the environment"), "{run}");
    assert_eq!(world.runs(), records, "it wrote nothing more");
    assert_eq!(world.user.newest_release("dev"), release);
    world.stands(&second.version);
    world.is_done(&second);
    Verdict::Survived(1)
}
