use std::process::{Child, Command};

use super::*;
use crate::{
    ErrorKind,
    store::{NewRelease, StoredReleases},
    vocabulary::{Release, ReleaseSequence},
};

fn sleeper() -> Child {
    Command::new("sleep").arg("600").spawn().unwrap()
}

fn end(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// An epoch that was left by a process with this holder.
async fn left_by(store: &Arc<dyn RunStore>, holder: Holder) {
    let mut deployer = Deployer::new(store, "left");
    deployer.holder = holder;
    drop(deployer.acquire().await.unwrap());
}

#[tokio::test]
async fn a_killed_process_of_this_machine_is_taken_over_at_once() {
    let (store, child) = (memory(), sleeper());
    let holder = Holder::of_process(child.id());
    left_by(&store, holder.clone()).await;
    assert_eq!(holder.is_gone(), Gone::No);

    let error = Deployer::new(&store, "early").acquire().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.report().contains(&format!("held by run left of {holder} since 2026-11-24T10:00:00Z")), "{error}");

    end(child);
    assert_eq!(holder.is_gone(), Gone::Yes);
    let epoch = Deployer::new(&store, "next").acquire().await.unwrap();
    assert!(epoch.warnings()[0].contains(&format!("taken over from run left of {holder}")), "{:?}", epoch.warnings());
    assert!(epoch.warnings()[0].ends_with("which is gone"), "{:?}", epoch.warnings());
}

#[tokio::test]
async fn a_process_that_ended_and_was_not_asked_for_its_status_is_gone() {
    let mut child = sleeper();
    let holder = Holder::of_process(child.id());
    child.kill().unwrap();
    while holder.is_gone() == Gone::No {
        tokio::task::yield_now().await;
    }
    assert_eq!(holder.is_gone(), Gone::Yes);
    child.wait().unwrap();
}

#[tokio::test]
async fn a_process_with_a_used_id_is_not_the_holder() {
    let child = sleeper();
    let now = Holder::of_process(child.id());
    let (rest, start) = now.proof.rsplit_once('=').unwrap();
    let earlier = start.parse::<u64>().unwrap() - 1;
    let holder = Holder::new(now.host.clone(), now.pid, format!("{rest}={earlier}"));
    assert_eq!((now.is_gone(), holder.is_gone()), (Gone::No, Gone::Yes));
    end(child);
}

#[test]
fn nothing_is_known_of_other_boots_namespaces_and_machines() {
    let own = Holder::this_process();
    let with = |from: &str, to: &str| Holder::new(own.host.clone(), 0x3fff_fff0, own.proof.replacen(from, to, 1));
    assert_eq!(with("x", "x").is_gone(), Gone::Yes, "no such process");
    for holder in [
        with("boot=", "boot=0"),
        with("pidns=", "pidns=1"),
        with("start=", "began="),
        Holder::new(own.host.clone(), 0x3fff_fff0, ""),
        Holder::new("elsewhere", 0x3fff_fff0, own.proof.clone()),
        Holder::new(own.host.clone(), 0, own.proof.clone()),
    ] {
        assert_eq!(holder.is_gone(), Gone::CannotTell, "{holder:?}");
    }
}

#[tokio::test]
async fn what_this_process_holds_is_not_gone_and_what_it_dropped_is() {
    let store = memory();
    let held = Deployer::new(&store, "held").here().acquire().await.unwrap();
    let error = Deployer::new(&store, "other").here().acquire().await.unwrap_err();
    assert!(error.report().contains("as soon as it ends"), "{}", error.report());
    drop(held);
    let next = Deployer::new(&store, "next").here().acquire().await.unwrap();
    assert!(next.warnings()[0].contains("taken over from run held"), "{:?}", next.warnings());
}

#[tokio::test(start_paused = true)]
async fn another_machine_is_waited_for_as_long_as_its_term() {
    let store = memory();
    left_by(&store, Holder::new("far", 7, "boot=a pidns=1 start=1")).await;
    let error = Deployer::new(&store, "at once").acquire().await.unwrap_err();
    assert!(error.report().contains("far:7") && error.report().contains("after 75s"), "{}", error.report());

    let began = tokio::time::Instant::now();
    let epoch = Deployer::new(&store, "next").wait(Wait::Queue(TERM * 2)).acquire().await.unwrap();
    assert!(began.elapsed() >= TERM * 5 / 4 && began.elapsed() < TERM * 3 / 2, "{:?}", began.elapsed());
    assert!(epoch.warnings()[0].contains("no sign of life for 75s"), "{:?}", epoch.warnings());
}

#[tokio::test(start_paused = true)]
async fn a_holder_that_beats_is_never_taken_over() {
    let store = memory();
    let held = Deployer::new(&store, "held").acquire().await.unwrap();
    let error = Deployer::new(&store, "next").wait(Wait::Queue(TERM * 20)).acquire().await.unwrap_err();
    assert!(error.report().contains("waited for 1200s"), "{}", error.report());
    held.check().await.unwrap();
    assert!(!held.lost().is_cancelled());
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_jumps_changes_nothing_but_is_told() {
    for to in ["2026-11-24T09:00:00Z", "2026-11-24T11:00:00Z"] {
        let store = memory();
        let holder = Deployer::new(&store, "held");
        let held = holder.acquire().await.unwrap();
        let next = Deployer::new(&store, "next").wait(Wait::Queue(TERM * 3));
        holder.clock.set(at(to));
        next.clock.set(at(to));
        assert_eq!(next.acquire().await.unwrap_err().kind(), ErrorKind::Conflict, "{to}");
        let number = held.number();
        release(held).await;
        let epoch = next.acquire().await.unwrap();
        assert_eq!(epoch.number(), number + 1);
        let told = epoch.warnings().iter().any(|warning| warning.contains("the wall clock went back"));
        assert_eq!(told, to < "2026-11-24T10", "{to}");
    }
}

#[tokio::test]
async fn an_older_release_does_not_land_and_leaves_the_environment_free() {
    let (store, environment) = (memory(), dev());
    let releases = StoredReleases::new(store.as_ref(), &environment);
    let live = Release::new(ReleaseSequence(8), "commit");
    releases.append(None, NewRelease { release: &live, by: "r0/record".to_owned(), epoch: 0 }).await.unwrap();
    let bring = |landing| Deployer::new(&store, "r1").landing(landing);

    let error = bring(Landing::Forward(ReleaseSequence(7))).acquire().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.report().contains("release r7 is older than r8"), "{}", error.report());
    assert!(look(store.as_ref(), &environment).await.unwrap().unwrap().released);

    bring(Landing::Back(ReleaseSequence(7))).pass().await;
    bring(Landing::Forward(ReleaseSequence(8))).pass().await;
}

#[tokio::test(start_paused = true)]
async fn a_damaged_lock_is_told_and_taken_over_after_a_term() {
    for damage in ["flipped", "missing"] {
        let store = memory();
        left_by(&store, Holder::new("far", 7, "")).await;
        let number = look(store.as_ref(), &dev()).await.unwrap().unwrap().epoch;
        let key = format!("environments/dev/epochs/{number:010}/held");
        let mut line = store.get(&key).await.unwrap().unwrap().to_vec();
        store.remove(&key).await.unwrap();
        store.create(&format!("environments/dev/epochs/{number:010}/beat-00000001"), "x".into()).await.unwrap();
        if damage == "flipped" {
            line[40] ^= 1;
            store.create(&key, line.into()).await.unwrap();
        }
        let seen = look(store.as_ref(), &dev()).await.unwrap().unwrap();
        assert!(seen.damage.as_ref().is_some_and(|damage| damage.contains(&key)), "{damage}: {seen:?}");
        let error = Deployer::new(&store, "at once").acquire().await.unwrap_err();
        assert!(error.report().contains("an unknown run"), "{damage}: {}", error.report());
        let epoch = Deployer::new(&store, "next").wait(Wait::Queue(TERM * 2)).acquire().await.unwrap();
        assert_eq!(epoch.number(), number + 1);
        assert!(epoch.warnings().iter().any(|warning| warning.contains(&key)), "{damage}: {:?}", epoch.warnings());
    }
}
