use std::sync::atomic::{AtomicU8, Ordering};

use async_trait::async_trait;
use bytes::Bytes;

use super::*;
use crate::{Error, ErrorKind, store::Created};

/// What goes wrong with creates whose key contains the text.
const FINE: u8 = 0;
const FAIL: u8 = 1;
const HANG: u8 = 2;
const LOSE_ANSWER: u8 = 3;
const OVERWRITE: u8 = 4;

#[derive(Debug)]
struct Broken {
    inner: ObjectRunStore,
    what: &'static str,
    how: AtomicU8,
}

impl Broken {
    fn new(what: &'static str, how: u8) -> Arc<Self> {
        Arc::new(Self { inner: ObjectRunStore::memory(), what, how: how.into() })
    }
}

#[async_trait]
impl RunStore for Broken {
    async fn create(&self, key: &str, body: Bytes) -> Result<Created> {
        let lost = || Error::new(ErrorKind::Unavailable, "store.create", "the line was cut");
        match self.how.load(Ordering::SeqCst) {
            _ if !key.contains(self.what) => self.inner.create(key, body).await,
            FAIL => Err(lost()),
            HANG => std::future::pending().await,
            // The first one; whoever asks again is told.
            LOSE_ANSWER => {
                let told = self.inner.get(key).await?.is_some();
                let created = self.inner.create(key, body).await?;
                if told { Ok(created) } else { Err(lost()) }
            }
            OVERWRITE => {
                self.inner.remove(key).await?;
                self.inner.create(key, body).await
            }
            _ => self.inner.create(key, body).await,
        }
    }

    async fn get(&self, key: &str) -> Result<Option<Bytes>> {
        self.inner.get(key).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>> {
        self.inner.list(prefix).await
    }

    async fn remove(&self, key: &str) -> Result<()> {
        self.inner.remove(key).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_cannot_show_that_it_lives_knows_before_anybody_takes_over() {
    for how in [FAIL, HANG] {
        let broken = Broken::new("/beat-", FINE);
        let store: Arc<dyn RunStore> = Arc::<Broken>::clone(&broken);
        let held = Deployer::new(&store, "held").acquire().await.unwrap();
        tokio::time::sleep(TERM * 3).await;
        held.check().await.unwrap();

        broken.how.store(how, Ordering::SeqCst);
        let next = Deployer::new(&store, "next").wait(Wait::Queue(TERM * 4));
        let next = tokio::spawn(async move { next.acquire().await });
        tokio::time::timeout(TERM * 2, held.lost().cancelled()).await.unwrap();
        assert!(!next.is_finished(), "{how}");
        let error = held.check().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Fenced);
        assert!(error.report().contains("no sign of life could be written for 60s"), "{}", error.report());
        broken.how.store(FINE, Ordering::SeqCst);
        assert_eq!(next.await.unwrap().unwrap().number(), held.number() + 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_was_paused_finds_itself_fenced() {
    let broken = Broken::new("/beat-", FINE);
    let store: Arc<dyn RunStore> = Arc::<Broken>::clone(&broken);
    let paused = Deployer::new(&store, "paused").acquire().await.unwrap();
    // Nothing of it reaches the store, and it has no time to notice.
    broken.how.store(HANG, Ordering::SeqCst);
    let seen = look(store.as_ref(), &dev()).await.unwrap();
    let next = Deployer::new(&store, "next");
    next.create_after(seen.as_ref()).await.unwrap().unwrap();
    assert!(!paused.lost().is_cancelled());
    let error = paused.check().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced);
    assert!(error.report().contains("host-of-next:42 has epoch"), "{}", error.report());
    assert!(paused.lost().is_cancelled());
    let error = paused.release(EnvironmentState::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Fenced);
    assert_eq!(store.list("environments/dev/state").await.unwrap(), [""; 0], "it writes no snapshot over the other's");
}

#[tokio::test(start_paused = true)]
async fn a_holder_sees_by_itself_that_it_was_taken_over() {
    let store = memory();
    let held = Deployer::new(&store, "held").acquire().await.unwrap();
    let seen = look(store.as_ref(), &dev()).await.unwrap();
    Deployer::new(&store, "next").create_after(seen.as_ref()).await.unwrap().unwrap();
    tokio::time::timeout(TERM / 2, held.lost().cancelled()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn beats_replace_each_other_and_end_with_the_epoch() {
    let store = memory();
    let held = Deployer::new(&store, "held").acquire().await.unwrap();
    let folder = format!("environments/dev/epochs/{:010}", held.number());
    tokio::time::sleep(TERM * 10 + TERM / 8).await;
    assert_eq!(store.names(&folder).await.unwrap(), ["beat-00000040", "held"]);
    release(held).await;
    tokio::time::sleep(TERM * 2).await;
    assert_eq!(store.names(&folder).await.unwrap(), ["held", "released"]);

    let dropped = Deployer::new(&store, "dropped").acquire().await.unwrap();
    let folder = format!("environments/dev/epochs/{:010}", dropped.number());
    drop(dropped);
    tokio::time::sleep(TERM * 2).await;
    assert_eq!(store.names(&folder).await.unwrap(), ["held"]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_does_not_lose_the_lock() {
    for what in ["/held", "/beat-", "/released", "/state/"] {
        let store: Arc<dyn RunStore> = Broken::new(what, LOSE_ANSWER);
        let held = Deployer::new(&store, "held").acquire().await.unwrap();
        tokio::time::sleep(TERM * 5).await;
        held.check().await.unwrap();
        assert!(!held.lost().is_cancelled(), "{what}");
        release(held).await;
        Deployer::new(&store, "next").pass().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_could_not_be_taken_is_not_held() {
    let broken = Broken::new("/held", FAIL);
    let store: Arc<dyn RunStore> = Arc::<Broken>::clone(&broken);
    let error = Deployer::new(&store, "first").acquire().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    broken.how.store(FINE, Ordering::SeqCst);
    Deployer::new(&store, "second").pass().await;
}

#[tokio::test]
async fn a_store_that_writes_over_what_exists_holds_no_lock() {
    let store: Arc<dyn RunStore> = Broken::new("probe/", OVERWRITE);
    let error = Deployer::new(&store, "first").acquire().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.report().contains("writes over what exists"), "{}", error.report());
    assert_eq!(store.list("environments").await.unwrap(), [""; 0]);
    assert_eq!(store.list("probe").await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn a_snapshot_that_cannot_be_written_keeps_nobody_out() {
    let store: Arc<dyn RunStore> = Broken::new("/state/", FAIL);
    let held = Deployer::new(&store, "first").acquire().await.unwrap();
    let number = held.number();
    let error = held.release(EnvironmentState::default()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    let next = Deployer::new(&store, "second").acquire().await.unwrap();
    assert_eq!(next.number(), number + 1);
    assert!(next.warnings().iter().all(|warning| !warning.contains("taken over")), "{:?}", next.warnings());
}
