use std::time::Duration;

use bytes::Bytes;

use crate::{
    Effect, ErrorKind,
    store::{Created, RunStore},
    testing::inject::{CrashPoint, CrashStore, Damage, Disk, Lasting, Process, StoreFault},
};

fn body(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn fresh() -> (Disk, Process, CrashStore) {
    let (disk, process) = (Disk::new(), Process::new(1));
    let store = disk.store(&process);
    (disk, process, store)
}

#[tokio::test]
async fn it_behaves_as_every_run_store() {
    let (disk, _, store) = fresh();
    assert_eq!(store.create("a/b/1", body("one")).await.unwrap(), Created::Yes);
    assert_eq!(store.create("a/b/1", body("one")).await.unwrap(), Created::Yes, "the same body is our own");
    assert_eq!(store.create("a/b/1", body("two")).await.unwrap(), Created::Exists);
    assert_eq!(store.create("a/c/d/1", body("one")).await.unwrap(), Created::Yes);
    assert_eq!(store.get("a/b/1").await.unwrap(), Some(body("one")));
    assert_eq!(store.list("a").await.unwrap(), ["a/b/1", "a/c/d/1"]);
    assert_eq!(store.list_after("a", "a/b/1").await.unwrap(), ["a/c/d/1"]);
    assert_eq!(store.names("a").await.unwrap(), ["b", "c"]);
    assert_eq!(store.names("a/b").await.unwrap(), ["1"]);
    assert_eq!(store.names("z").await.unwrap(), [""; 0]);
    store.remove("a/b/1").await.unwrap();
    assert_eq!((store.get("a/b/1").await.unwrap(), disk.removed()), (None, vec!["a/b/1".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn a_crash_leaves_what_was_flushed_and_nothing_returns() {
    for (point, left) in CrashPoint::ALL.into_iter().zip([false, false, true]) {
        let (disk, process, store) = fresh();
        disk.crash_at(2, point);
        store.create("a/1", body("one")).await.unwrap();
        let never = tokio::time::timeout(Duration::from_hours(1), store.create("a/2", body("two"))).await;
        assert!(never.is_err() && process.is_dead(), "{point:?}");
        assert!(tokio::time::timeout(Duration::from_hours(1), store.get("a/1")).await.is_err(), "{point:?}");

        let next = disk.store(&Process::new(2));
        assert_eq!(next.get("a/1").await.unwrap(), Some(body("one")), "{point:?}");
        assert_eq!(next.get("a/2").await.unwrap().is_some(), left, "{point:?}");
        assert_eq!(disk.acknowledged().keys().collect::<Vec<_>>(), ["a/1"], "{point:?}: nobody was told of a/2");
        let expected = if left { Created::Exists } else { Created::Yes };
        assert_eq!(next.create("a/2", body("other")).await.unwrap(), expected, "{point:?}");
    }
}

#[tokio::test]
async fn a_failing_disk_says_what_is_known_and_heals() {
    let unknown = |kept| (StoreFault::FsyncFailed { kept }, ErrorKind::Unavailable, Effect::Unknown, kept);
    for (fault, kind, effect, readable) in [
        (StoreFault::NoSpace, ErrorKind::LimitExceeded, Effect::None, false),
        (StoreFault::ReadOnly, ErrorKind::PermissionDenied, Effect::None, false),
        (StoreFault::NoPermission, ErrorKind::PermissionDenied, Effect::None, false),
        unknown(true),
        unknown(false),
    ] {
        let (disk, _, store) = fresh();
        disk.fail_at(1, fault, Lasting::FromThen);
        for key in ["a/1", "a/2"] {
            let error = store.create(key, body("one")).await.unwrap_err();
            assert_eq!((error.kind(), error.effect()), (kind, effect), "{fault:?}");
            assert_eq!(store.get(key).await.unwrap().is_some(), readable, "{fault:?}");
        }
        disk.lose_power();
        assert_eq!(disk.keys(), [""; 0], "{fault:?}: nothing was flushed");
        disk.heal();
        assert_eq!(store.create("a/1", body("one")).await.unwrap(), Created::Yes, "{fault:?}");
    }
}

#[tokio::test]
async fn a_fault_that_comes_once_goes_again() {
    let (disk, _, store) = fresh();
    disk.fail_at(2, StoreFault::NoSpace, Lasting::Once);
    for (key, works) in [("a/1", true), ("a/2", false), ("a/2", true)] {
        assert_eq!(store.create(key, body("one")).await.is_ok(), works);
    }
    assert_eq!(disk.creates()[1].fault, Some(StoreFault::NoSpace));
}

#[tokio::test]
async fn objects_are_damaged_as_told() {
    let expected: [(Damage, &[(&str, &str)]); 5] = [
        (Damage::Empty, &[("a/08", ""), ("a/09", "next")]),
        (Damage::Truncated, &[("a/08", "ab"), ("a/09", "next")]),
        (Damage::BitFlip, &[("a/08", "abbd"), ("a/09", "next")]),
        (Damage::Missing, &[("a/09", "next")]),
        (Damage::Duplicate, &[("a/08", "abcd"), ("a/09", "abcd")]),
    ];
    for (damage, left) in expected {
        let (disk, _, store) = fresh();
        store.create("a/08", body("abcd")).await.unwrap();
        store.create("a/09", body("next")).await.unwrap();
        assert!(disk.damage("a/08", damage));
        let objects = disk.objects();
        let found: Vec<_> =
            objects.iter().map(|(key, body)| (key.as_str(), std::str::from_utf8(body).unwrap())).collect();
        assert_eq!(found, left, "{damage:?}");
        assert!(!disk.damage("a/07", damage) && disk.damaged().len() == 1);
    }
}
