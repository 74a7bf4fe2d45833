//! What every [`RunStore`] does.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, future::join_all, stream};

use super::small::{expect_kind, expect_ok};
use crate::{
    ErrorKind,
    store::{Created, RunStore, probe},
};

/// More than a page of a listing has anywhere.
const MANY: usize = 1_050;

/// Runs every case. `make` gives a fresh store each time, empty.
pub async fn suite<S: RunStore>(make: impl AsyncFn() -> Arc<S>) {
    creates_once(make().await.as_ref()).await;
    tells_its_own_object_from_anothers(make().await.as_ref()).await;
    lets_one_of_many_create(make().await.as_ref()).await;
    lists_what_is_below_a_prefix(make().await.as_ref()).await;
    lists_more_than_a_page(make().await.as_ref()).await;
    removes_again_and_again(make().await.as_ref()).await;
    refuses_what_is_no_key(make().await.as_ref()).await;
    can_hold_a_lock(make().await.as_ref()).await;
}

fn body(text: impl Into<String>) -> Bytes {
    Bytes::from(text.into())
}

async fn filled(case: &str, store: &dyn RunStore, keys: &[&str]) {
    for key in keys {
        assert_eq!(expect_ok(case, store.create(key, body(*key)).await), Created::Yes, "{case}: {key}");
    }
}

async fn creates_once(store: &dyn RunStore) {
    let case = "run store: creates once";
    assert_eq!(expect_ok(case, store.get("a/b/1").await), None, "{case}");
    filled(case, store, &["a/b/1"]).await;
    assert_eq!(expect_ok(case, store.get("a/b/1").await), Some(body("a/b/1")), "{case}");
    for (key, content) in [("a/b/2", String::new()), ("a/b/3", "ü\n\0<&>".repeat(20_000))] {
        assert_eq!(expect_ok(case, store.create(key, body(&content)).await), Created::Yes, "{case}");
        let found = expect_ok(case, store.get(key).await);
        assert!(found == Some(body(content)), "{case}: {key} is not what was written");
    }
}

async fn tells_its_own_object_from_anothers(store: &dyn RunStore) {
    let case = "run store: tells its own object from another's";
    filled(case, store, &["a/1"]).await;
    assert_eq!(expect_ok(case, store.create("a/1", body("a/1")).await), Created::Yes, "{case}: the same body");
    for other in ["two", "a/", ""] {
        assert_eq!(expect_ok(case, store.create("a/1", body(other)).await), Created::Exists, "{case}: `{other}`");
    }
    assert_eq!(expect_ok(case, store.get("a/1").await), Some(body("a/1")), "{case}: it was written over");
}

async fn lets_one_of_many_create(store: &dyn RunStore) {
    let case = "run store: lets one of many create";
    for round in 0..3 {
        let key = &format!("epochs/{round}");
        let contenders = (0..8).map(|n| async move { expect_ok(case, store.create(key, body(n.to_string())).await) });
        let created = join_all(contenders).await;
        let winners: Vec<usize> = (0..8).filter(|n| created[*n] == Created::Yes).collect();
        assert_eq!(winners.len(), 1, "{case}: {created:?}");
        let found = expect_ok(case, store.get(key).await);
        assert_eq!(found, Some(body(winners[0].to_string())), "{case}: another one won than it was told");
    }
}

async fn lists_what_is_below_a_prefix(store: &dyn RunStore) {
    let case = "run store: lists what is below a prefix";
    filled(case, store, &["a/c/d/1", "a/b/2", "a/b/1", "a/b-c/1", "ab/1", "a/B_1.json"]).await;
    let list = async |prefix| expect_ok(case, store.list(prefix).await);
    assert_eq!(list("a").await, ["a/B_1.json", "a/b-c/1", "a/b/1", "a/b/2", "a/c/d/1"], "{case}");
    assert_eq!(list("a/b").await, ["a/b/1", "a/b/2"], "{case}");
    assert!(list("a/b/1").await.is_empty() && list("z").await.is_empty(), "{case}: an object is no folder");
    let after = async |prefix, after| expect_ok(case, store.list_after(prefix, after).await);
    assert_eq!(after("a", "a/b/1").await, ["a/b/2", "a/c/d/1"], "{case}");
    assert_eq!(after("a/b", "a/b/11").await, ["a/b/2"], "{case}: it need not be there");
    assert!(after("a/b", "a/b/2").await.is_empty(), "{case}");
    let names = async |prefix| expect_ok(case, store.names(prefix).await);
    assert_eq!(names("a").await, ["B_1.json", "b", "b-c", "c"], "{case}");
    assert_eq!(names("a/b").await, ["1", "2"], "{case}");
    assert!(names("z").await.is_empty(), "{case}");
}

async fn lists_more_than_a_page(store: &dyn RunStore) {
    let case = "run store: lists more than a page";
    let keys: Vec<String> = (0..MANY).map(|n| format!("runs/{:04}/{n:08}", n % 2)).collect();
    let creates = stream::iter(&keys).map(|key| store.create(key, body(key)));
    expect_ok(case, creates.buffer_unordered(16).try_collect::<Vec<_>>().await);
    let mut sorted = keys;
    sorted.sort_unstable();
    assert!(expect_ok(case, store.list("runs").await) == sorted, "{case}: not all, or not in order");
    let after = expect_ok(case, store.list_after("runs", &sorted[9]).await);
    assert!(after == sorted[10..], "{case}: not all that comes after a key");
    assert_eq!(expect_ok(case, store.names("runs").await), ["0000", "0001"], "{case}");
    assert_eq!(expect_ok(case, store.names("runs/0001").await).len(), MANY / 2, "{case}");
}

async fn removes_again_and_again(store: &dyn RunStore) {
    let case = "run store: removes again and again";
    filled(case, store, &["a/1", "a/2"]).await;
    for _ in 0..2 {
        expect_ok(case, store.remove("a/1").await);
        assert_eq!(expect_ok(case, store.get("a/1").await), None, "{case}");
        assert_eq!(expect_ok(case, store.list("a").await), ["a/2"], "{case}");
    }
    assert_eq!(expect_ok(case, store.create("a/1", body("another")).await), Created::Yes, "{case}: the key is free");
}

async fn refuses_what_is_no_key(store: &dyn RunStore) {
    let case = "run store: refuses what is no key";
    for key in ["../outside", "a/../../b", "/a", "a//1", "", "a/.", "a\\1", "a\n", "ä"] {
        let below = &format!("{key}/1");
        expect_kind(case, store.create(below, body("x")).await, ErrorKind::InvalidInput);
        expect_kind(case, store.get(below).await, ErrorKind::InvalidInput);
        expect_kind(case, store.remove(below).await, ErrorKind::InvalidInput);
        expect_kind(case, store.list(key).await, ErrorKind::InvalidInput);
        expect_kind(case, store.list_after(key, "").await, ErrorKind::InvalidInput);
        expect_kind(case, store.names(key).await, ErrorKind::InvalidInput);
    }
}

async fn can_hold_a_lock(store: &dyn RunStore) {
    let case = "run store: can hold a lock";
    expect_ok(case, probe(store, "1").await);
    expect_ok(case, probe(store, "1").await);
    assert!(expect_ok(case, store.names("probe").await).is_empty(), "{case}: something is left");
}
