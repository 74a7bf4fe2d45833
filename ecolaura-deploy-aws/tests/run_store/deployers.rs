//! Whole runs with their records in a bucket: killed at each write, and several deployers at once.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use ecolaura_deploy_aws::S3RunStore;
use ecolaura_deploy_core::{
    ErrorKind, Result,
    backend::{FeatureFlags, FlagState},
    lock::{LockPolicy, Wait},
    pipeline::{Pipeline, constant},
    run::{Finished, RunResult, Runner},
    steps::{self, SetFlag},
    store::RunStore,
    testing::{
        fake::small::FakeFlags,
        inject::{Injected, Injector, Process, Reached},
    },
};

use super::{
    servers::{account, bucket, cx, endpoints},
    store,
};

const FLAGS: [&str; 2] = ["beta", "dark-mode"];

fn off() -> FlagState {
    FlagState::new(true, "off")
}

fn flags() -> Arc<FakeFlags> {
    Arc::new(FLAGS.into_iter().fold(FakeFlags::new(), |flags, flag| flags.with(flag, &["off", "on"], off())))
}

fn empty() -> Pipeline {
    Pipeline::new("shop".parse().unwrap(), "test".parse().unwrap())
}

/// Switches one flag after the other.
fn switching(flags: &Arc<dyn FeatureFlags>) -> Pipeline {
    let mut pipeline = empty();
    let set = |flag: &str| SetFlag::new(Arc::clone(flags), flag, FlagState::new(true, "on"));
    let first = pipeline.add("first", set(FLAGS[0]), constant(()));
    pipeline.step("second", set(FLAGS[1]), constant(())).after(&first).add();
    pipeline
}

/// A deployer until it is killed.
async fn deploy(
    store: &S3RunStore,
    flags: &Arc<FakeFlags>,
    injector: &Injector,
    process: &Process,
) -> Option<Finished> {
    let injector = injector.of(process);
    let flags: Arc<dyn FeatureFlags> = Arc::new(Injected::new(Arc::clone(flags), &injector));
    let store: Arc<dyn RunStore> = Arc::new(Injected::new(Arc::new(store.clone()), &injector));
    let runner = Runner::new(store).lock(LockPolicy::default().wait(Wait::Queue(Duration::from_mins(2))));
    let run = async {
        if let Some(finished) = runner.recover(&cx(), switching(&flags)).await? {
            return Ok(finished);
        }
        let plan = runner.plan(&cx(), switching(&flags)).await?;
        runner.run(&cx(), plan).await
    };
    tokio::select! {
        biased;
        () = process.died() => None,
        finished = run => Some(finished.unwrap()),
    }
}

/// How often each flag was set.
fn set(injector: &Injector) -> BTreeMap<String, usize> {
    let mut set = BTreeMap::new();
    for entry in injector.ledger() {
        if entry.call == "flags.set" && entry.reached == Reached::Done {
            *set.entry(entry.subject).or_default() += 1;
        }
    }
    set
}

#[tokio::test]
async fn a_run_that_is_killed_at_any_write_is_gone_on_with_by_the_next_deployer() {
    for endpoint in endpoints() {
        let account = account(&endpoint).await;
        let injector = Injector::new();
        deploy(&store(&account).await, &flags(), &injector, &Process::new(1)).await.unwrap();
        let ledger = injector.ledger();
        let writes: Vec<u32> =
            (1..).zip(&ledger).filter(|(_, entry)| entry.call == "store.create").map(|(nth, _)| nth).collect();
        assert!(writes.len() > 8, "{ledger:?}");
        for (nth, done) in writes.into_iter().flat_map(|nth| [(nth, false), (nth, true)]) {
            let case = format!("{endpoint}: killed at call {nth}, done: {done}");
            let (store, flags, injector) = (store(&account).await, flags(), Injector::new());
            let process = Process::new(1);
            let kill = {
                let process = process.clone();
                move || process.kill()
            };
            if done {
                injector.when_done(nth, kill);
            } else {
                injector.when(nth, kill);
            }
            assert!(deploy(&store, &flags, &injector, &process).await.is_none(), "{case}: it lives");
            let next = deploy(&store, &flags, &injector, &Process::new(2)).await.unwrap();
            let again = deploy(&store, &flags, &injector, &Process::new(3)).await.unwrap();
            assert_eq!((&next.result, &again.result), (&RunResult::Succeeded, &RunResult::Succeeded), "{case}");
            assert_eq!(set(&injector), FLAGS.map(|flag| (flag.to_owned(), 1)).into(), "{case}: not once each");
        }
    }
}

/// Where only one may be at a time.
#[derive(Debug, Default)]
struct Ground {
    inside: AtomicUsize,
    crowded: AtomicBool,
    epochs: Mutex<Vec<u64>>,
}

impl Ground {
    async fn work(&self, epoch: u64) {
        if self.inside.fetch_add(1, Ordering::SeqCst) > 0 {
            self.crowded.store(true, Ordering::SeqCst);
        }
        self.epochs.lock().unwrap().push(epoch);
        tokio::time::sleep(Duration::from_millis(100)).await;
        self.inside.fetch_sub(1, Ordering::SeqCst);
    }
}

fn working(ground: &Arc<Ground>) -> Pipeline {
    let ground = Arc::clone(ground);
    let mut pipeline = empty();
    let work = steps::call("work", move |cx, ()| {
        let ground = Arc::clone(&ground);
        async move {
            ground.work(cx.epoch()).await;
            Ok(())
        }
    });
    pipeline.add("work", work, constant(()));
    pipeline
}

/// A deployer on a connection of its own. Whoever planned before another one was done plans again.
async fn competitor(endpoint: String, bucket: String, ground: Arc<Ground>) -> Result<RunResult> {
    let store = S3RunStore::open(&cx(), &account(&endpoint).await, bucket, "runs").await?;
    let lock = LockPolicy::default().wait(Wait::Queue(Duration::from_mins(2)));
    let runner = Runner::new(Arc::new(store)).lock(lock);
    loop {
        let plan = runner.plan(&cx(), working(&ground)).await?;
        match runner.run(&cx(), plan).await {
            Err(error) if error.kind() == ErrorKind::StalePlan => {}
            finished => return Ok(finished?.result),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_deployers_one_works_at_a_time_and_all_get_their_turn() {
    for endpoint in endpoints() {
        let (bucket, ground) = (bucket(&account(&endpoint).await).await, Arc::<Ground>::default());
        let deployers: Vec<_> =
            (0..4).map(|_| tokio::spawn(competitor(endpoint.clone(), bucket.clone(), Arc::clone(&ground)))).collect();
        for deployer in deployers {
            assert_eq!(deployer.await.unwrap().unwrap(), RunResult::Succeeded, "{endpoint}");
        }
        let epochs = ground.epochs.lock().unwrap().clone();
        assert!(!ground.crowded.load(Ordering::SeqCst), "{endpoint}: two worked at once: {epochs:?}");
        assert!(epochs.len() == 4 && epochs.is_sorted_by(|one, next| one < next), "{endpoint}: {epochs:?}");
    }
}
