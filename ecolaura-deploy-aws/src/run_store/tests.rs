//! The store over a wire that fails: what happens when S3 is slow, throttles, breaks down after it has stored, or says
//! that somebody else is in the way.

mod over;
mod refusing;
mod simulated;
mod wavering;

use std::{sync::Arc, time::Duration};

use ecolaura_deploy_core::{
    Context, ErrorKind,
    store::{Created, ObjectRunStore, RunStore},
    testing::conformance::run_store::suite,
};

use self::over::{Manners, PAGE, S3Over};
use super::S3RunStore;
use crate::{
    Account,
    publish::fake::{BUCKET, FakeS3, Fate},
};

/// The same pause each time: what a simulation does depends on its seed alone.
const PAUSES: (Duration, Duration) = (Duration::from_millis(200), Duration::from_millis(200));
const PREFIX: &str = "team/runs";

fn cx() -> Context {
    Context::new("test".parse().unwrap())
}

fn account(attempts: u32) -> Account {
    let account = FakeS3::new().account();
    Account::new(account.sdk_config().clone(), account.region().to_owned(), true, attempts)
}

fn store(s3: &S3Over) -> S3RunStore {
    let place = (BUCKET.to_owned(), PREFIX.to_owned());
    S3RunStore::over(&cx(), &account(3), place, s3.connector(), PAUSES).unwrap()
}

fn memory() -> Arc<dyn RunStore> {
    Arc::new(ObjectRunStore::memory())
}

#[tokio::test]
async fn it_conforms() {
    suite(async || Arc::new(store(&S3Over::new(memory())))).await;
}

#[tokio::test]
async fn what_is_asked_is_what_is_needed() {
    let s3 = S3Over::new(memory());
    let store = store(&s3);
    for n in 0..=2 * PAGE {
        store.create(&format!("runs/1/{n:08}"), format!("record {n}").into()).await.unwrap();
    }
    s3.clear_log();
    assert_eq!(store.list("runs/1").await.unwrap().len(), 2 * PAGE + 1);
    assert_eq!(s3.log().len(), 3, "one for each page: {:?}", s3.log());
    s3.clear_log();
    assert_eq!(store.list_after("runs/1", "runs/1/00000098").await.unwrap().len(), 2);
    assert_eq!(store.names("runs").await.unwrap(), ["1"]);
    assert_eq!(s3.log().len(), 2, "no page is read for nothing: {:?}", s3.log());
    s3.clear_log();
    store.create("runs/2/1", "record".into()).await.unwrap();
    store.get("runs/2/1").await.unwrap();
    store.remove("runs/2/1").await.unwrap();
    let object = "team/runs/runs/2/1";
    assert_eq!(s3.log(), [format!("PUT {object}"), format!("GET {object}"), format!("DELETE {object}")]);
}
