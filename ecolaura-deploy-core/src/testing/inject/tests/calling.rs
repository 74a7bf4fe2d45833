use std::{sync::Arc, time::Duration};

use crate::{
    Context, Effect, ErrorKind, Result, Retry,
    backend::{FeatureFlags, FlagChange, FlagState, Registry},
    testing::{
        conformance,
        fake::{cdn_publisher::FakeCdn, registry::FakeRegistry, small::FakeFlags},
        inject::{CALLS, CallFault, Injected, Injector, Process, Reached, applicable},
    },
};

fn cx() -> Context {
    Context::new("dev".parse().unwrap())
}

fn state(variant: &str) -> FlagState {
    FlagState::new(true, variant)
}

fn flags() -> Arc<FakeFlags> {
    Arc::new(FakeFlags::new().with("beta", &["off", "on"], state("off")))
}

async fn switch(flags: &impl FeatureFlags, cx: &Context) -> Result<()> {
    flags.set(cx, &FlagChange::new("beta", state("off"), state("on"))).await
}

/// What each class of faults does to a call that writes: the error, what it says of the effect, and the truth.
#[tokio::test(start_paused = true)]
async fn each_class_says_of_the_effect_what_its_caller_can_know() {
    use CallFault::*;
    let expected = [
        (Refused, ErrorKind::Unavailable, Effect::None, false, true),
        (TimeoutBefore, ErrorKind::Timeout, Effect::None, false, true),
        (LostAnswer, ErrorKind::Timeout, Effect::Unknown, true, true),
        (Reset, ErrorKind::Unavailable, Effect::Unknown, false, true),
        (SlowDown, ErrorKind::RateLimited, Effect::None, false, true),
        (ServerError, ErrorKind::Unavailable, Effect::None, false, true),
        (Outage(3), ErrorKind::Unavailable, Effect::None, false, true),
        (Unauthenticated, ErrorKind::Unauthenticated, Effect::None, false, false),
        (Conflict, ErrorKind::Conflict, Effect::None, false, false),
        (Rejected, ErrorKind::InvalidInput, Effect::None, false, false),
        (Malformed, ErrorKind::Corrupt, Effect::Unknown, true, false),
        (Hang, ErrorKind::Timeout, Effect::Unknown, false, false),
    ];
    assert!(expected.iter().zip(CallFault::CLASSES).all(|((fault, ..), class)| fault.is_like(class)));
    for (fault, kind, effect, happened, again) in expected {
        let (inner, injector) = (flags(), Injector::new());
        injector.at("flags.set", 1, fault);
        let wrapped = Injected::new(Arc::clone(&inner), &injector);
        let error = switch(&wrapped, &cx().with_deadline_in(Duration::from_secs(5))).await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (kind, effect), "{fault:?}");
        assert_eq!(matches!(error.retry(), Retry::After(_)), again, "{fault:?}");
        let on = inner.get(&cx(), "beta").await.unwrap() == state("on");
        assert_eq!(on, happened, "{fault:?}");
        let entry = injector.ledger().remove(0);
        assert_eq!((entry.fault, entry.reached == Reached::Done), (Some(fault), happened), "{fault:?}");
    }
}

#[tokio::test]
async fn an_outage_lasts_for_its_calls_and_other_faults_for_one() {
    for (fault, expected) in
        [(CallFault::Outage(2), [true, false, false, true]), (CallFault::Reset, [true, false, true, true])]
    {
        let injector = Injector::new();
        injector.at("flags.get", 2, fault);
        let wrapped = Injected::new(flags(), &injector);
        for (nth, works) in expected.into_iter().enumerate() {
            assert_eq!(wrapped.get(&cx(), "beta").await.is_ok(), works, "{fault:?}, call {}", nth + 1);
        }
    }
}

#[tokio::test]
async fn calls_are_counted_by_name_and_overall() {
    let injector = Injector::new();
    injector.at_overall(3, CallFault::Refused);
    let wrapped = Injected::new(flags(), &injector);
    let registry: Injected<dyn Registry> =
        Injected::new(Arc::new(FakeRegistry::new("fake".parse().unwrap())), &injector);
    let (repository, tag) = ("team/app".parse().unwrap(), "v1".parse().unwrap());
    assert!(wrapped.get(&cx(), "beta").await.is_ok());
    assert!(registry.resolve(&cx(), &repository, &tag).await.is_ok());
    assert!(registry.resolve(&cx(), &repository, &tag).await.is_err());
    injector.heal();
    assert!(switch(&wrapped, &cx().with_epoch(4)).await.is_ok());
    assert_eq!((injector.count("registry.resolve"), injector.count("flags.get")), (2, 1));
    let ledger = injector.ledger();
    assert_eq!((ledger[1].subject.as_str(), ledger[2].nth), ("team/app:v1", 2));
    assert_eq!((ledger[3].caller.epoch, ledger[3].is_effect(), ledger[0].is_effect()), (4, true, false));
}

#[tokio::test(start_paused = true)]
async fn a_cancel_ends_a_hanging_call_and_a_pause() {
    for fault in [CallFault::Hang, CallFault::Slow(Duration::from_hours(1))] {
        let (injector, cx) = (Injector::new(), cx());
        injector.at("flags.set", 1, fault);
        let wrapped = Injected::new(flags(), &injector);
        cx.cancellation().cancel();
        assert_eq!(switch(&wrapped, &cx).await.unwrap_err().kind(), ErrorKind::Cancelled);
        assert_eq!(injector.ledger()[0].reached, Reached::Nothing);
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_process_makes_no_effect_and_a_paused_one_makes_it_later() {
    let (injector, process, inner) = (Injector::seeded(1), Process::new(7), flags());
    let wrapped = Injected::new(Arc::clone(&inner), &injector.of(&process));
    process.pause();
    let call = tokio::spawn(async move { switch(&wrapped, &cx()).await });
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(inner.get(&cx(), "beta").await.unwrap(), state("off"));
    process.resume();
    call.await.unwrap().unwrap();
    assert_eq!(injector.ledger()[0].caller.process, 7);

    process.kill();
    process.resume();
    let wrapped = Injected::new(inner, &injector.of(&process));
    let never = tokio::time::timeout(Duration::from_hours(1), wrapped.get(&cx(), "beta")).await;
    assert!(never.is_err() && process.is_dead());
}

/// The order in which 5 callers make 4 calls each.
async fn order(seed: u64) -> Vec<String> {
    let injector = Injector::seeded(seed);
    let callers = (0..5).map(|caller| {
        let wrapped = Injected::new(flags(), &injector);
        tokio::spawn(async move {
            for call in 0..4 {
                // Work on another thread takes a time that no seed knows.
                tokio::task::spawn_blocking(std::thread::yield_now).await.unwrap();
                let _ = wrapped.get(&cx(), &format!("{caller}-{call}")).await;
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    injector.ledger().into_iter().map(|entry| entry.subject).collect()
}

#[tokio::test(start_paused = true)]
async fn the_seed_alone_decides_who_comes_first() {
    let first = order(1).await;
    for _ in 0..5 {
        assert_eq!(order(1).await, first);
    }
    assert_ne!(order(2).await, first);
}

#[test]
fn every_senseless_pair_has_its_reason() {
    let pairs = || CALLS.iter().flat_map(|call| CallFault::CLASSES.map(|fault| (call.name, fault)));
    assert_eq!(pairs().count(), 43 * 12);
    let senseless = pairs().filter(|(call, fault)| applicable(call, *fault).is_err());
    assert_eq!(senseless.count(), 73);
    assert_eq!(applicable("registry.pull", CallFault::Reset), Err("there is no such call"));
}

#[tokio::test]
async fn what_is_wrapped_behaves_as_before() {
    let injector = Injector::new();
    conformance::small::flags::suite(|| async {
        let flags = FakeFlags::new().with("new-checkout", &["on", "off"], state("off"));
        Arc::new(Injected::new(Arc::new(flags), &injector)) as Arc<dyn FeatureFlags>
    })
    .await;
    conformance::registry::suite(|| async {
        let registry: Arc<dyn Registry> = Arc::new(FakeRegistry::new("fake".parse().unwrap()));
        conformance::registry::Fixture::new(Arc::new(Injected::new(registry, &injector)), ())
    })
    .await;
    conformance::cdn_publisher::suite(|| async {
        let site = Arc::new(FakeCdn::new("fake".parse().unwrap()));
        conformance::cdn_publisher::Fixture::new(Arc::new(Injected::new(site, &injector)), ())
    })
    .await;
    assert!(injector.count("cdn.upload") > 0 && injector.count("registry.push") > 0);
}
