use futures_util::future::join_all;

use super::*;
use crate::ErrorKind;

/// Every round has one winner, whoever the others are, and its number is the next one.
async fn rounds(store: Arc<dyn RunStore>, contenders: usize, rounds: usize) {
    let mut last = Deployer::new(&store, "first").pass().await;
    for round in 0..rounds {
        let tasks = (0..contenders).map(|n| {
            let deployer = Deployer::new(&store, &format!("{round}-{n}"));
            tokio::spawn(async move { deployer.acquire().await })
        });
        let mut winners = Vec::new();
        for ended in join_all(tasks).await {
            match ended.unwrap() {
                Ok(epoch) => winners.push(epoch),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{}", error.report()),
            }
        }
        assert_eq!(winners.len(), 1, "round {round} of {contenders}");
        let winner = winners.remove(0);
        assert_eq!(winner.number(), last + 1);
        winner.check().await.unwrap();
        last = winner.number();
        release(winner).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_many_wins_each_round() {
    for (contenders, count) in [(2, 40), (8, 20), (64, 5)] {
        rounds(memory(), contenders, count).await;
        let dir = tempfile::tempdir().unwrap();
        rounds(Arc::new(ObjectRunStore::local(dir.path()).unwrap()), contenders, count).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_of_many_takes_over_what_was_dropped() {
    for round in 0..20 {
        let store = memory();
        let dropped = Deployer::new(&store, "dropped").here().acquire().await.unwrap();
        let number = dropped.number();
        drop(dropped);
        let tasks = (0..8).map(|n| {
            let deployer = Deployer::new(&store, &n.to_string()).here();
            tokio::spawn(async move { deployer.acquire().await })
        });
        let ended = join_all(tasks).await;
        let winners: Vec<Epoch> = ended.into_iter().filter_map(|ended| ended.unwrap().ok()).collect();
        assert_eq!(winners.len(), 1, "round {round}");
        assert_eq!(winners[0].number(), number + 1);
        assert!(winners[0].warnings()[0].contains("taken over from run dropped"), "{:?}", winners[0].warnings());
    }
}

#[tokio::test]
async fn no_number_comes_twice_and_little_is_kept() {
    let store = memory();
    let mut numbers = Vec::new();
    for run in 0..30 {
        numbers.push(Deployer::new(&store, &run.to_string()).pass().await);
    }
    let first = numbers[0];
    assert_eq!(numbers, (first..first + 30).collect::<Vec<_>>());
    let kept = store.names("environments/dev/epochs").await.unwrap();
    let newest: Vec<String> = (first + 22..first + 30).map(|number| format!("{number:010}")).collect();
    assert_eq!(kept, newest);
    assert_eq!(store.names("environments/dev/state").await.unwrap(), newest);
    assert_eq!(store.names("probe").await.unwrap(), [""; 0], "the probe is removed");

    // Whoever loses the epochs but not the snapshots goes on above them.
    for key in store.list("environments/dev/epochs").await.unwrap() {
        store.remove(&key).await.unwrap();
    }
    assert_eq!(Deployer::new(&store, "next").pass().await, first + 30);
}

#[tokio::test]
async fn whoever_creates_a_number_that_was_pruned_does_not_win() {
    let store = memory();
    let first = Deployer::new(&store, "first").pass().await;
    let seen = look(store.as_ref(), &dev()).await.unwrap();
    for run in 0..10 {
        Deployer::new(&store, &run.to_string()).pass().await;
    }
    for key in store.list("environments/dev/state").await.unwrap() {
        store.remove(&key).await.unwrap();
    }
    let late = Deployer::new(&store, "late");
    assert!(late.create_after(seen.as_ref()).await.unwrap().is_none());
    assert_eq!(store.get(&format!("environments/dev/epochs/{:010}/held", first + 1)).await.unwrap(), None);
}
