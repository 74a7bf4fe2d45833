use super::*;
use crate::step::UndoKey;

fn undo(step: &str) -> UndoRecord {
    UndoRecord {
        key: UndoKey { kind: "k".to_owned(), target: "t".to_owned() },
        version: 1,
        data: step.into(),
        description: String::new(),
    }
}

fn plan() -> PlanSummary {
    let step = |name: &str, group: &str| {
        serde_json::json!({
            "name": name, "kind": "act", "group": group, "needs": [], "changes": [], "preconditions": {},
            "fingerprint": null, "warnings": [], "skipped": false,
        })
    };
    serde_json::from_value(serde_json::json!({
        "pipeline": "p", "environment": "dev", "digest": Digest::of("plan"),
        "steps": [step("a", "release"), step("b", "release"), step("m", "mail")],
    }))
    .unwrap()
}

fn started() -> RecordBody {
    RecordBody::RunStarted {
        pipeline: "p".parse().unwrap(),
        environment: "dev".parse().unwrap(),
        plan: plan(),
        known: BTreeMap::new(),
        landing: Landing::Unnumbered,
        library: "0".to_owned(),
        epoch: 1,
    }
}

fn intent(step: &str, effect: EffectClass) -> RecordBody {
    RecordBody::Intent {
        step: step.to_owned(),
        attempt: 1,
        effect,
        inputs: Digest::of(step),
        fingerprint: None,
        undo: Some(undo(step)),
    }
}

fn done(step: &str) -> RecordBody {
    RecordBody::Done { step: step.to_owned(), attempt: 1, output: step.into(), undo: None }
}

fn failed(step: &str, effect: Effect, again: bool) -> RecordBody {
    let error = Error::new(ErrorKind::Unavailable, "t", "gone").with_effect(effect);
    let undo = (effect != Effect::None).then(|| undo(step));
    RecordBody::Failed { step: step.to_owned(), attempt: 1, error: ErrorRecord::from(&error), undo, again }
}

fn undone(step: &str) -> RecordBody {
    RecordBody::UndoDone { step: step.to_owned(), error: None }
}

fn history(bodies: impl IntoIterator<Item = RecordBody>) -> History {
    let records: Vec<Record> = std::iter::once(started())
        .chain(bodies)
        .zip(0..)
        .map(|(body, seq)| Record {
            schema: 1,
            run: "r".to_owned(),
            seq,
            at: Timestamp::UNIX_EPOCH,
            nonce: String::new(),
            prev: None,
            body,
        })
        .collect();
    History::of(&records).unwrap().unwrap()
}

fn decide(history: &History, step: &str, class: EffectClass) -> Next {
    next(history.past(step), class)
}

#[test]
fn an_effect_without_an_outcome_is_treated_by_its_class() {
    use EffectClass::{Converging, Keyed, Opaque, Probed, Pure, Transactional};
    for class in [Pure, Converging, Keyed, Transactional, Probed, Opaque] {
        let found = decide(&history([intent("a", class)]), "a", class);
        let undo = Some(undo("a"));
        let expected = match class {
            Pure => Next::Run { attempt: 2, left: None, undo: None, at: 1 },
            Converging | Keyed => Next::Run { attempt: 2, left: Some(Effect::Unknown), undo, at: 1 },
            Transactional | Probed => Next::Probe { attempt: 2, undo, at: 1 },
            Opaque => match found.clone() {
                Next::Failed { error, undo: found, at: 1 } if found == undo && error.effect == Effect::Unknown => {
                    Next::Failed { error, undo, at: 1 }
                }
                other => panic!("{other:?}"),
            },
        };
        assert_eq!(found, expected, "{class:?}");
    }
}

#[test]
fn an_outcome_stands_with_what_its_intent_knew_of_undoing_it() {
    let history = history([intent("a", EffectClass::Opaque), done("a")]);
    let kept = Next::Keep { output: "a".into(), undo: Some(undo("a")), at: 2 };
    assert_eq!(decide(&history, "a", EffectClass::Opaque), kept);
    assert_eq!(decide(&history, "b", EffectClass::Opaque), FRESH);
    assert_eq!(history.going_back("release"), None);
}

#[test]
fn what_failed_is_tried_again_only_if_that_was_to_be() {
    let again = history([intent("a", EffectClass::Keyed), failed("a", Effect::Partial, true)]);
    let run = Next::Run { attempt: 2, left: Some(Effect::Partial), undo: Some(undo("a")), at: 2 };
    assert_eq!(decide(&again, "a", EffectClass::Keyed), run);
    assert_eq!(again.going_back("release"), None);

    let over = history([intent("a", EffectClass::Keyed), failed("a", Effect::Partial, false)]);
    assert!(matches!(decide(&over, "a", EffectClass::Keyed), Next::Failed { .. }));
    assert!(over.going_back("release").unwrap().starts_with("`a` failed"));
}

#[test]
fn a_run_that_was_going_back_goes_on_going_back() {
    let begun = || [intent("a", EffectClass::Keyed), done("a"), intent("b", EffectClass::Keyed), done("b")];
    let cancelled = RecordBody::CancelRequested { cause: "enough".to_owned() };
    assert_eq!(history(begun().into_iter().chain([cancelled])).going_back("release").unwrap(), "enough");
    let planned = RecordBody::UndoPlanned { cause: "why".to_owned(), steps: vec!["b".to_owned(), "a".to_owned()] };
    let history = history(begun().into_iter().chain([planned, undone("b")]));
    assert_eq!(history.going_back("release").unwrap(), "why");
    let left: Vec<String> = history.effects().into_iter().map(|remaining| remaining.step).collect();
    assert_eq!(left, ["a"], "what is undone is not undone again");
}

#[test]
fn a_group_of_its_own_does_not_take_the_release_with_it() {
    let planned = RecordBody::UndoPlanned { cause: "why".to_owned(), steps: vec!["m".to_owned()] };
    let history = history([intent("m", EffectClass::Keyed), failed("m", Effect::Partial, false), planned, undone("m")]);
    assert_eq!(history.going_back("release"), None);
    assert!(history.is_undone("m") && history.effects().is_empty());
}

#[test]
fn a_suspended_run_is_open_and_others_are_over() {
    let finish = |result| RecordBody::RunFinished { result };
    let suspended = || finish(RunResult::Suspended { reason: "waits".to_owned() });
    assert!(!history([]).is_over());
    assert!(!history([suspended()]).is_over());
    assert!(history([finish(RunResult::Succeeded)]).is_over());
    let by = || serde_json::from_value(serde_json::json!({"host": "h", "pid": 1, "proof": ""})).unwrap();
    let back = history([suspended(), RecordBody::Resumed { epoch: 9, by: by(), undo: true }]);
    assert!(!back.is_over());
    assert!(back.going_back("release").unwrap().contains("h:1"));
}

#[test]
fn a_run_begins_with_its_plan_or_never_began() {
    assert!(History::of(&[]).unwrap().is_none());
    let first = Record {
        schema: 1,
        run: "r".to_owned(),
        seq: 0,
        at: Timestamp::UNIX_EPOCH,
        nonce: String::new(),
        prev: None,
        body: done("a"),
    };
    assert_eq!(History::of(&[first]).unwrap_err().kind(), ErrorKind::Corrupt);
}
