use std::{collections::BTreeMap, sync::Arc};

use super::*;
use crate::{
    Context, ErrorKind,
    backend::{ClusterStatus, FeatureFlags, FlagChange, FlagState, Pod, Track},
    pipeline::Landing,
    plan::PlanSummary,
    run::RunResult,
    step::EffectClass,
    store::{Record, RecordBody, RunStore},
    testing::{
        fake::{migrator::MigratorCall, small::FakeFlags},
        inject::{Caller, Damage, Disk, Entry, Injected, Injector, Process, Reached},
    },
    vocabulary::{Digest, MigrationVersion},
};

const NONE: [&str; 0] = [];

fn cx() -> Context {
    Context::new("dev".parse().unwrap())
}

fn finished() -> RecordBody {
    RecordBody::RunFinished { result: RunResult::Succeeded }
}

fn intent() -> RecordBody {
    RecordBody::Intent {
        step: "open".to_owned(),
        attempt: 1,
        effect: EffectClass::Converging,
        inputs: Digest::of("inputs"),
        fingerprint: None,
        undo: None,
    }
}

fn done() -> RecordBody {
    RecordBody::Done { step: "open".to_owned(), attempt: 1, output: serde_json::Value::Null, undo: None }
}

/// A store and flags behind one injector.
struct Bench {
    disk: Disk,
    injector: Injector,
    store: Arc<dyn RunStore>,
    flags: Injected<FakeFlags>,
}

impl Bench {
    fn new() -> Self {
        let (disk, injector) = (Disk::new(), Injector::new());
        let store = Arc::new(Injected::new(Arc::new(disk.store(&Process::new(1))), &injector));
        let flags = FakeFlags::new().with("beta", &["off", "on"], FlagState::new(true, "off"));
        Self { disk, flags: Injected::new(Arc::new(flags), &injector), injector, store }
    }

    /// Writes records, the first of them as number `seq`.
    async fn write(&self, seq: u64, bodies: impl IntoIterator<Item = RecordBody>) {
        for (seq, body) in (seq..).zip(bodies) {
            let at = jiff::Timestamp::UNIX_EPOCH;
            let record = Record { schema: 1, run: "r".to_owned(), seq, at, nonce: String::new(), prev: None, body };
            let (line, _) = record.seal().unwrap();
            self.store.create(&format!("environments/dev/runs/r/{seq:08}"), line.into()).await.unwrap();
        }
    }

    async fn switch(&self, cx: &Context, from: &str, to: &str) {
        let change = FlagChange::new("beta", FlagState::new(true, from), FlagState::new(true, to));
        self.flags.set(cx, &change).await.unwrap();
    }
}

#[tokio::test]
async fn acknowledged_records_must_stay_and_damaged_ones_too() {
    let bench = Bench::new();
    bench.write(0, [intent(), done(), finished()]).await;
    let keys = bench.disk.keys();
    assert_eq!((acknowledged(&bench.disk), damage_kept(&bench.disk)), (vec![], vec![]));
    bench.disk.damage(&keys[1], Damage::BitFlip);
    assert_eq!(acknowledged(&bench.disk), NONE, "it was damaged on purpose");
    bench.store.remove(&keys[1]).await.unwrap();
    assert_eq!(damage_kept(&bench.disk).len(), 1);
}

#[tokio::test]
async fn a_run_has_one_end() {
    for (bodies, twice, open) in [
        (vec![intent(), finished()], 0, 0),
        (vec![intent()], 0, 1),
        (vec![finished(), finished()], 1, 0),
        (vec![finished(), intent()], 1, 0),
    ] {
        let bench = Bench::new();
        bench.write(0, bodies.clone()).await;
        assert_eq!(one_ending(&bench.disk).len(), twice, "{bodies:?}");
        assert_eq!(nothing_open(&bench.disk).len(), open, "{bodies:?}");
    }
}

#[tokio::test]
async fn a_run_that_began_after_its_lock_was_taken_over_is_not_open() {
    let started = RecordBody::RunStarted {
        pipeline: "shop".parse().unwrap(),
        environment: "dev".parse().unwrap(),
        plan: PlanSummary {
            pipeline: "shop".parse().unwrap(),
            environment: "dev".parse().unwrap(),
            steps: Vec::new(),
            digest: Digest::of("plan"),
        },
        known: BTreeMap::new(),
        landing: Landing::Unnumbered,
        library: "0".to_owned(),
        epoch: 1,
    };
    for (late, then, open) in [(true, None, 0), (false, None, 1), (true, Some(intent()), 1)] {
        let bench = Bench::new();
        let held = async |epoch| {
            bench.store.create(&format!("environments/dev/epochs/{epoch:010}/held"), "x".into()).await.unwrap();
        };
        held(1).await;
        if late {
            held(2).await;
        }
        bench.write(0, [started.clone()].into_iter().chain(then)).await;
        held(3).await;
        assert_eq!(nothing_open(&bench.disk).len(), open, "late: {late}");
    }
}

#[tokio::test]
async fn the_newest_epoch_must_be_released() {
    let bench = Bench::new();
    for (key, held) in [("1/held", 1), ("2/held", 1), ("2/beat-1", 1), ("2/released", 0), ("3/held", 1)] {
        bench.store.create(&format!("environments/dev/epochs/000000000{key}"), "x".into()).await.unwrap();
        assert_eq!(released(&bench.disk).len(), held, "{key}");
    }
}

#[tokio::test]
async fn an_intent_counts_that_was_lost_and_followed_by_another_record_under_its_key() {
    let step = cx().with_run("r", 1).for_attempt("open", 1, tokio_util::sync::CancellationToken::new());
    let bench = Bench::new();
    bench.write(0, [intent()]).await;
    bench.switch(&step, "off", "on").await;
    for key in bench.disk.keys() {
        assert!(bench.disk.damage(&key, Damage::Missing));
    }
    bench.write(0, [finished()]).await;
    assert_eq!(intents_first(&bench.injector.ledger(), &bench.disk), NONE);
}

#[tokio::test]
async fn an_effect_stands_between_its_intent_and_its_outcome() {
    let step = cx().with_run("r", 1).for_attempt("open", 1, tokio_util::sync::CancellationToken::new());
    for (place, broken) in [(0, 1), (1, 0), (2, 1)] {
        let bench = Bench::new();
        for (seq, body) in [Some(intent()), Some(done()), None].into_iter().enumerate() {
            if seq == place {
                bench.switch(&step, "off", "on").await;
            }
            bench.write(seq as u64, body).await;
        }
        let found = intents_first(&bench.injector.ledger(), &bench.disk);
        assert_eq!(found.len(), broken, "{place}: {found:?}");
    }
}

fn call(call: &'static str, epoch: u64) -> Entry {
    Entry {
        call,
        writes: true,
        nth: 1,
        subject: String::new(),
        caller: Caller { run: "r".to_owned(), step: "open".to_owned(), epoch, ..Caller::default() },
        fault: None,
        reached: Reached::Done,
    }
}

#[tokio::test]
async fn what_only_adds_may_come_after_an_outcome_of_a_newer_epoch() {
    for (name, newer, broken) in [("image.build", 2, 0), ("image.build", 1, 1), ("flags.set", 2, 1)] {
        let bench = Bench::new();
        bench.write(0, [intent()]).await;
        let intended = bench.injector.ledger().len();
        bench.write(1, [done()]).await;
        let mut ledger = bench.injector.ledger();
        ledger.insert(intended, call("image.build", newer));
        ledger.push(call(name, 1));
        assert_eq!(intents_first(&ledger, &bench.disk).len(), broken, "{name} beside epoch {newer}");
    }
}

#[test]
fn an_older_epoch_comes_too_late() {
    let mut ledger = Vec::new();
    for (name, epoch, broken) in
        [("flags.set", 3, 0), ("flags.set", 0, 0), ("flags.set", 4, 0), ("cdn.prune", 3, 0), ("flags.set", 3, 1)]
    {
        ledger.push(call(name, epoch));
        assert_eq!(fenced(&ledger).len(), broken, "{name} of epoch {epoch}");
    }
    ledger.last_mut().unwrap().reached = Reached::Failed(ErrorKind::Fenced);
    assert_eq!(fenced(&ledger), NONE, "it was refused");
    ledger.extend([call("cdn.upload", 4), call("cdn.upload", 3)]);
    assert_eq!(fenced(&ledger), NONE, "it only adds");
}

#[test]
fn migrations_go_up_and_down_in_turn() {
    use MigratorCall::{Applied, Reverted};
    let version = MigrationVersion(2);
    let check = |calls: &[MigratorCall]| applied_once(calls, &[]).len();
    assert_eq!(check(&[Applied(version), Reverted(version), Applied(version)]), 0);
    assert_eq!(check(&[Applied(version), Applied(version)]), 1);
    assert_eq!(check(&[Reverted(version)]), 1);
}

#[test]
fn pods_and_states_are_compared_by_name() {
    let service = ("dev".parse().unwrap(), "web".parse().unwrap());
    let ready = |pods| Ready::from([(service.clone(), pods)]);
    assert_eq!(available(&ready(2), &ready(2)), NONE);
    assert_eq!(available(&ready(2), &ready(1)), ["I6: 1 pods of dev/web are ready, 2 are needed"]);
    assert_eq!(available(&ready(2), &Ready::new()).len(), 1);
    let of = |value: &str| BTreeMap::from([("site".to_owned(), value.to_owned())]);
    assert_eq!(state("the old release", &of("a"), &of("a")), NONE);
    assert_eq!(state("the old release", &of("a"), &of("b")), ["I7: site is b, in the old release it is a"]);
    assert_eq!(state("the old release", &of("a"), &BTreeMap::new()).len(), 1);
}

#[test]
fn secrets_candidates_and_other_journals_are_seen() {
    let sink = |text: &str| vec![("an event", text.to_owned())];
    assert_eq!(no_secrets(&["hunter2"], sink("nothing")), NONE);
    assert_eq!(no_secrets(&["hunter\"2"], sink(r#"{"error":"{\"token\":\"hunter\\\"2\"}"}"#)).len(), 1);
    for hidden in ["aHVudGVyMi9odW50ZXIy", "IGh1bnRlcjIvaHVudGVyMg", "ICBodW50ZXIyL2h1bnRlcjI", "hunter2%2fhunter2"] {
        assert_eq!(no_secrets(&["hunter2/hunter2"], sink(hidden)).len(), 1, "{hidden}");
    }
    assert_eq!(no_secrets(&["hunter2"], sink("password hunter2")), ["I9: 1 secrets stand in an event"]);
    assert_eq!((same_journal("a\nb", "a\nb").len(), same_journal("a\nb", "a\nc").len()), (0, 1));
    assert_eq!((same_journal("a", "a\nb").len(), same_journal("a\nb", "a").len()), (1, 1));

    let pod = |track| Pod {
        name: "web-2-0".to_owned(),
        service: "web".parse().unwrap(),
        revision: 2,
        track,
        ready: true,
        restarts: 0,
        phase: "Running".to_owned(),
        address: None,
        pid: None,
    };
    let snapshot = |pods| {
        let snapshot =
            crate::backend::ClusterSnapshot::new("dev".parse().unwrap(), BTreeMap::new(), serde_json::Value::Null);
        ClusterStatus::new(snapshot, pods, BTreeMap::new(), Vec::new())
    };
    assert_eq!(no_candidates(&snapshot(vec![pod(Track::Stable)])), NONE);
    assert_eq!(no_candidates(&snapshot(vec![pod(Track::Candidate)])).len(), 1);
}
