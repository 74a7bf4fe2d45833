use async_trait::async_trait;
use bytes::Bytes;
use tokio::{sync::Semaphore, task::yield_now};

use super::{super::first::since_2026, *};
use crate::{ErrorKind, store::Created};

/// One deployer's way to a store that others use too. It stops before each call for which it was not let.
#[derive(Debug)]
struct Stepwise {
    inner: Arc<dyn RunStore>,
    let_go: Semaphore,
}

impl Stepwise {
    fn new(inner: &Arc<dyn RunStore>) -> Arc<Self> {
        Arc::new(Self { inner: Arc::clone(inner), let_go: Semaphore::new(0) })
    }

    /// Lets it make `calls` more, and waits for these.
    async fn go(&self, calls: usize) {
        self.let_go.add_permits(calls);
        for _ in 0..10 * calls.min(40) + 20 {
            yield_now().await;
        }
    }

    async fn step(&self) {
        self.let_go.acquire().await.unwrap().forget();
    }
}

#[async_trait]
impl RunStore for Stepwise {
    async fn create(&self, key: &str, body: Bytes) -> Result<Created> {
        self.step().await;
        self.inner.create(key, body).await
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        self.step().await;
        self.inner.get(key).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>> {
        self.step().await;
        self.inner.list(prefix).await
    }

    async fn remove(&self, key: &str) -> Result<()> {
        self.step().await;
        self.inner.remove(key).await
    }
}

const MANY: usize = 1_000;

fn by_way_of(store: &Arc<Stepwise>, run: &str, clock: &str) -> Deployer {
    let store: Arc<dyn RunStore> = Arc::<Stepwise>::clone(store);
    let deployer = Deployer::new(&store, run);
    deployer.clock.set(at(clock));
    deployer
}

/// Two that begin an environment: one stops before its call `one`, the other before its call `two`, and they end in that
/// order. Whether either had to stop.
async fn both_begin(one: usize, two: usize, later: &str) -> bool {
    let store = memory();
    let (first, second) = (Stepwise::new(&store), Stepwise::new(&store));
    let a = by_way_of(&first, "a", "2026-11-24T10:00:00Z");
    let b = by_way_of(&second, "b", later);
    let a = tokio::spawn(async move { a.acquire().await });
    first.go(one).await;
    let b = tokio::spawn(async move { b.acquire().await });
    second.go(two).await;
    let stopped = !a.is_finished() || !b.is_finished();
    first.go(MANY).await;
    let a = a.await.unwrap();
    second.go(MANY).await;
    let ended = [a, b.await.unwrap()];
    let won: Vec<&Epoch> = ended.iter().flatten().collect();
    let numbers: Vec<u64> = won.iter().map(|epoch| epoch.number()).collect();
    assert_eq!(numbers.len(), 1, "a stopped before call {one}, b before {two}: {numbers:?}");
    won[0].check().await.unwrap();
    stopped
}

#[tokio::test]
async fn of_two_that_begin_an_environment_one_has_it_whatever_their_clocks_say() {
    for later in ["2026-11-24T10:00:01Z", "2026-11-24T09:59:59Z"] {
        let mut one = 0;
        while both_begin(one, MANY, later).await {
            let mut two = 0;
            while both_begin(one, two, later).await && two < 40 {
                two += 1;
            }
            one += 1;
        }
        assert!(one > 5, "{one} calls");
    }
}

#[tokio::test]
async fn whoever_saw_nothing_long_ago_does_not_begin_again() {
    let store = memory();
    Deployer::new(&store, "first").pass().await;
    assert_eq!(store.get("environments/dev/epochs/first").await.unwrap(), None, "it is removed with the first epoch");
    for key in store.list("environments/dev/state").await.unwrap() {
        store.remove(&key).await.unwrap();
    }
    let late = Deployer::new(&store, "late");
    late.clock.set(at("2026-11-24T11:00:00Z"));
    assert!(late.create_after(None).await.unwrap().is_none());
}

#[tokio::test]
async fn what_was_agreed_on_by_one_that_died_still_holds() {
    let (store, died) = (memory(), memory());
    drop(Deployer::new(&died, "died").acquire().await.unwrap());
    let key = "environments/dev/epochs/first";
    let agreed = died.get(key).await.unwrap().unwrap();
    store.create(key, agreed).await.unwrap();
    let next = Deployer::new(&store, "next");
    next.clock.set(at("2026-11-24T11:00:00Z"));
    assert_eq!(next.pass().await, since_2026(at("2026-11-24T10:00:00Z")));

    let damaged = memory();
    damaged.create(key, "{".into()).await.unwrap();
    let error = Deployer::new(&damaged, "next").acquire().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.report().contains(&format!("remove `{key}` and try again")), "{}", error.report());
}

#[test]
fn the_first_epoch_counts_the_seconds_of_the_age() {
    assert_eq!(since_2026(at("2026-01-01T00:00:10Z")), 10);
    assert_eq!(since_2026(at("2026-01-01T00:00:00Z")), 1);
    assert_eq!(since_2026(at("1970-01-01T00:00:00Z")), 1);
}

#[tokio::test]
async fn a_store_that_was_lost_goes_on_above_what_resources_have_seen() {
    let (store, again) = (memory(), memory());
    let mut seen = 0;
    for run in 0..20 {
        seen = Deployer::new(&store, &run.to_string()).pass().await;
    }
    let later = Deployer::new(&again, "later");
    later.clock.set(at("2026-11-24T10:01:00Z"));
    assert!(later.pass().await > seen);
}
