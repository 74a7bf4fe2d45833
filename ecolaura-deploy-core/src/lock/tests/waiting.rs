use std::sync::Mutex;

use super::*;
use crate::{ErrorKind, context::Emit, event::EventKind, vocabulary::ReleaseSequence};

/// Keeps what is said.
#[derive(Debug, Default)]
struct Ear(Mutex<Vec<String>>);

impl Emit for Ear {
    fn emit(&self, _step: Option<&str>, kind: EventKind) {
        if let EventKind::Status { message } = kind {
            self.0.lock().unwrap().push(message);
        }
    }
}

fn bringing(store: &Arc<dyn RunStore>, sequence: u64) -> Deployer {
    Deployer::new(store, &format!("of-r{sequence}")).landing(Landing::Forward(ReleaseSequence(sequence)))
}

#[tokio::test(start_paused = true)]
async fn who_queues_gets_the_lock_when_it_is_free() {
    let store = memory();
    let held = Deployer::new(&store, "held").acquire().await.unwrap();
    let number = held.number();
    let next = Deployer::new(&store, "next").wait(Wait::Queue(TERM * 10));
    let next = tokio::spawn(async move { next.acquire().await });
    tokio::time::sleep(TERM * 3).await;
    assert_eq!(store.list("environments/dev/waiting").await.unwrap().len(), 2, "a ticket and its newest beat");
    release(held).await;
    let next = next.await.unwrap().unwrap();
    assert_eq!(next.number(), number + 1);
    assert!(next.warnings().is_empty(), "{:?}", next.warnings());
    assert_eq!(store.list("environments/dev/waiting").await.unwrap(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn who_waits_says_so_once_a_minute_and_gives_up_in_time() {
    let store = memory();
    let _held = bringing(&store, 8).acquire().await.unwrap();
    let ear = Arc::new(Ear::default());
    let mut next = Deployer::new(&store, "next").wait(Wait::Queue(Duration::from_secs(150)));
    next.cx = next.cx.with_emit(Arc::<Ear>::clone(&ear));
    let began = tokio::time::Instant::now();
    let error = next.acquire().await.unwrap_err();
    assert_eq!(began.elapsed(), Duration::from_secs(150));
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let told = "dev is held by run of-r8 (release r8) of host-of-of-r8:42 since 2026-11-24T10:00:00Z; waited for 150s";
    assert!(error.report().starts_with(told), "{}", error.report());
    let said = ear.0.lock().unwrap().clone();
    assert_eq!(said.len(), 3, "{said:?}");
    assert!(said[2].contains("release r8") && said[2].contains("120s of 150s"), "{said:?}");
    assert_eq!(store.list("environments/dev/waiting").await.unwrap(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn who_is_cancelled_or_out_of_time_stops_waiting() {
    let store = memory();
    let _held = Deployer::new(&store, "held").acquire().await.unwrap();
    let mut next = Deployer::new(&store, "next").wait(Wait::Queue(TERM * 10));
    next.cx = next.cx.with_deadline_in(TERM);
    assert_eq!(next.acquire().await.unwrap_err().kind(), ErrorKind::Timeout);
    let mut next = Deployer::new(&store, "next").wait(Wait::Queue(TERM * 10));
    let token = tokio_util::sync::CancellationToken::new();
    next.cx = next.cx.with_cancellation(token.clone());
    let waits = tokio::spawn(async move { next.acquire().await });
    tokio::time::sleep(TERM).await;
    token.cancel();
    assert_eq!(waits.await.unwrap().unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(store.list("environments/dev/waiting").await.unwrap(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn the_newest_of_three_releases_comes_next() {
    let store = memory();
    let held = bringing(&store, 6).acquire().await.unwrap();
    let waits = [7, 9, 8].map(|sequence| {
        let deployer = bringing(&store, sequence).wait(Wait::Latest(TERM * 20));
        tokio::spawn(async move { deployer.acquire().await })
    });
    let [seven, nine, eight] = waits;
    for older in [seven, eight] {
        let error = older.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict);
        assert!(error.report().contains("was superseded by release r9, which waits too"), "{}", error.report());
        assert!(error.report().contains("host-of-of-r9:42"), "{}", error.report());
    }
    release(held).await;
    nine.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_ticket_that_nobody_renews_supersedes_nobody() {
    let store = memory();
    let held = bringing(&store, 6).acquire().await.unwrap();
    let gone = bringing(&store, 9).wait(Wait::Latest(TERM * 20));
    let gone = tokio::spawn(async move { gone.acquire().await });
    tokio::time::sleep(TERM).await;
    gone.abort();
    assert!(gone.await.unwrap_err().is_cancelled());
    assert_eq!(store.list("environments/dev/waiting").await.unwrap().len(), 2);
    let older = bringing(&store, 7).wait(Wait::Latest(TERM * 20));
    let older = tokio::spawn(async move { older.acquire().await });
    tokio::time::sleep(TERM * 3).await;
    release(held).await;
    older.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_lives_on_this_machine_supersedes_at_once_and_a_way_back_is_not_superseded() {
    let store = memory();
    let held = bringing(&store, 6).acquire().await.unwrap();
    let spawn = |deployer: Deployer| tokio::spawn(async move { deployer.acquire().await });
    let newer = spawn(bringing(&store, 9).here().wait(Wait::Queue(TERM * 9)));
    let back = Deployer::new(&store, "back").landing(Landing::Back(ReleaseSequence(5))).wait(Wait::Latest(TERM * 20));
    let back = spawn(back);
    tokio::time::sleep(TERM / 10).await;
    let began = tokio::time::Instant::now();
    let error = bringing(&store, 7).here().wait(Wait::Latest(TERM)).acquire().await.unwrap_err();
    assert!(error.report().contains("superseded by release r9"), "{}", error.report());
    assert!(began.elapsed() < TERM / 8, "{:?}", began.elapsed());
    assert_eq!(newer.await.unwrap().unwrap_err().kind(), ErrorKind::Conflict);
    release(held).await;
    back.await.unwrap().unwrap();
}
