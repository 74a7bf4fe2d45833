//! What is asked of `AppConfig`, and what its answers lead to. moto has no deployments: a small `AppConfig` that keeps to
//! what is documented stands here in its place.

mod fake;

use std::{sync::Arc, time::Duration};

use ecolaura_deploy_core::{
    Effect, ErrorKind,
    backend::{FeatureFlags, FlagChange, FlagState},
    pipeline::{Pipeline, constant},
    run::{RunResult, Runner},
    steps::{Command, SetFlag, call},
    store::ObjectRunStore,
    testing::conformance::small::flags,
};

use self::fake::{FakeAppConfig, Kind};
use super::AppConfigFlags;
use crate::{access::Policy, fake::cx, granted};

fn flags_of(fake: &FakeAppConfig) -> AppConfigFlags {
    AppConfigFlags::new("appconfig".parse().unwrap(), &fake.serve().account(1), "app", "prod", "flags")
}

fn switch(from: &str, to: &str) -> FlagChange {
    FlagChange::new("new-checkout", FlagState::new(true, from), FlagState::new(true, to))
}

#[tokio::test(start_paused = true)]
async fn flags_are_switched_as_every_backend_has_to() {
    for kind in [Kind::AppConfig, Kind::Flagd] {
        flags::suite(|| async { Arc::new(flags_of(&FakeAppConfig::new(kind))) as Arc<dyn FeatureFlags> }).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_switch_is_a_new_version_and_the_way_back_is_the_version_before() {
    let fake = FakeAppConfig::new(Kind::AppConfig);
    let flags: Arc<dyn FeatureFlags> = Arc::new(flags_of(&fake));
    let mut pipeline = Pipeline::new("shop".parse().unwrap(), "dev".parse().unwrap());
    let step = SetFlag::new(Arc::clone(&flags), "new-checkout", FlagState::new(true, "on"));
    let switched = pipeline.add("switch", step, constant(()));
    pipeline.step("fail", Command::new("false"), constant(())).after(&switched).add();
    let runner = Runner::new(Arc::new(ObjectRunStore::memory()));
    let plan = runner.plan(&cx(), pipeline).await.unwrap();
    let result = runner.run(&cx(), plan).await.unwrap().result;
    assert!(matches!(result, RunResult::RolledBack { .. }), "{result:?}");
    assert_eq!(fake.deployed(), ["1", "2", "1"]);
    assert_eq!(flags.get(&cx(), "new-checkout").await.unwrap(), FlagState::new(true, "off"));
}

#[tokio::test(start_paused = true)]
async fn a_deployment_of_somebody_else_is_a_conflict_and_one_of_ours_is_waited_for() {
    let fake = FakeAppConfig::new(Kind::AppConfig);
    fake.deploys("flags", "their hotfix");
    let error = flags_of(&fake).set(&cx(), &switch("off", "on")).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Conflict, Effect::None), "{error:?}");
    assert!(error.report().contains("deployment 2 of version 1 goes on"), "{error:?}");

    let fake = FakeAppConfig::new(Kind::AppConfig);
    fake.deploys("flags", "ecolaura-deploy 0123 new-checkout: off");
    flags_of(&fake).set(&cx(), &switch("off", "on")).await.unwrap();
    assert_eq!(fake.deployed(), ["1", "1", "2"]);

    // Of another profile: AppConfig itself refuses, as only one goes on in an environment.
    let fake = FakeAppConfig::new(Kind::AppConfig);
    fake.deploys("limits", "their hotfix");
    let error = flags_of(&fake).set(&cx(), &switch("off", "on")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
    assert!(error.report().contains("another deployment goes on"), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn what_appconfig_takes_back_is_said_with_its_reason_and_has_no_effect() {
    let fake = FakeAppConfig::new(Kind::AppConfig);
    fake.take_back(Some("alarm `errors` rang"));
    let error = flags_of(&fake).set(&cx(), &switch("off", "on")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RolloutFailed);
    assert!(error.report().contains("alarm `errors` rang"), "{error:?}");
    let state = flags_of(&fake).get(&cx(), "new-checkout").await.unwrap();
    assert_eq!(state, FlagState::new(true, "off"));
}

#[tokio::test(start_paused = true)]
async fn a_version_that_was_made_and_not_deployed_says_nothing_and_is_not_deployed_with_ours() {
    let fake = FakeAppConfig::new(Kind::AppConfig);
    fake.make_version("new-checkout", "on");
    let flags = flags_of(&fake);
    assert_eq!(flags.get(&cx(), "new-checkout").await.unwrap(), FlagState::new(true, "off"));
    flags.set(&cx(), &switch("off", "on")).await.unwrap();
    assert_eq!(fake.deployed(), ["1", "3"]);
}

/// One step switches, is taken back, and switches again after `between`.
async fn switch_twice(fake: &FakeAppConfig, between: fn(&FakeAppConfig)) {
    let mut pipeline = Pipeline::new("shop".parse().unwrap(), "dev".parse().unwrap());
    let tried = fake.clone();
    let twice = call("switch twice", move |cx, (): ()| {
        let fake = tried.clone();
        async move {
            fake.take_back(Some("alarm `errors` rang"));
            flags_of(&fake).set(&cx, &switch("off", "on")).await.unwrap_err();
            fake.take_back(None);
            between(&fake);
            flags_of(&fake).set(&cx, &switch("off", "on")).await
        }
    });
    pipeline.add("switch", twice, constant(()));
    let runner = Runner::new(Arc::new(ObjectRunStore::memory()));
    let plan = runner.plan(&cx(), pipeline).await.unwrap();
    assert!(matches!(runner.run(&cx(), plan).await.unwrap().result, RunResult::Succeeded));
}

#[tokio::test(start_paused = true)]
async fn a_version_of_an_earlier_attempt_is_not_deployed_over_what_others_changed_since() {
    let fake = FakeAppConfig::new(Kind::AppConfig);
    fake.make_version("limits", "high");
    switch_twice(&fake, |fake| fake.has_deployed("2")).await;
    assert_eq!(fake.deployed(), ["1", "3", "2", "4"]);
    assert_eq!((fake.serves(4, "limits"), fake.serves(4, "new-checkout")), ("high".into(), "on".into()));

    // Nothing else was changed: the version of the first attempt is as good as another.
    let fake = FakeAppConfig::new(Kind::AppConfig);
    switch_twice(&fake, |_| ()).await;
    assert_eq!((fake.deployed(), fake.versions()), (vec!["1".to_owned(), "2".to_owned(), "2".to_owned()], 2));
}

#[tokio::test(start_paused = true)]
async fn a_deployment_that_takes_too_long_may_still_come() {
    let fake = FakeAppConfig::new(Kind::AppConfig);
    fake.slow_down();
    let flags = flags_of(&fake).patience(Duration::from_mins(1));
    let error = flags.set(&cx(), &switch("off", "on")).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Timeout, Effect::Unknown), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn what_an_attempt_did_whose_answer_was_lost_is_not_taken_for_somebody_elses() {
    for lost in ["hostedconfigurationversions", "deployments"] {
        let fake = FakeAppConfig::new(Kind::AppConfig);
        fake.lose(lost);
        let account = fake.serve().account(2);
        let flags = AppConfigFlags::new("appconfig".parse().unwrap(), &account, "app", "prod", "flags");
        flags.set(&cx(), &switch("off", "on")).await.unwrap();
        assert_eq!((fake.deployed(), fake.versions()), (vec!["1".to_owned(), "2".to_owned()], 2), "{lost}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_deployment_that_nobody_may_look_at_may_still_come() {
    let fake = FakeAppConfig::new(Kind::AppConfig);
    fake.hide();
    let error = flags_of(&fake).set(&cx(), &switch("off", "on")).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::PermissionDenied, Effect::Unknown), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn deployments_and_versions_on_later_pages_are_seen() {
    let fake = FakeAppConfig::new(Kind::AppConfig);
    fake.in_pages();
    flags_of(&fake).set(&cx(), &switch("off", "on")).await.unwrap();
    flags_of(&fake).set(&cx(), &switch("on", "off")).await.unwrap();
    assert_eq!(fake.deployed(), ["1", "2", "1"]);
    fake.make_version("new-checkout", "on");
    let disabled = FlagChange::new("new-checkout", FlagState::new(true, "off"), FlagState::new(false, "off"));
    flags_of(&fake).set(&cx(), &disabled).await.unwrap();
    assert_eq!(fake.deployed(), ["1", "2", "1", "4"]);
}

#[tokio::test(start_paused = true)]
async fn every_call_is_granted_and_no_grant_is_unused() {
    let calls = granted::record();
    let fake = FakeAppConfig::new(Kind::AppConfig);
    let flags = flags_of(&fake);
    flags.set(&cx(), &switch("off", "on")).await.unwrap();
    flags.get(&cx(), "new-checkout").await.unwrap();
    let scope = fake.serve().account(1).scope(&cx()).await.unwrap();
    granted::exactly(&calls, flags.grants(&scope));
}

#[tokio::test]
async fn each_action_is_granted_on_every_kind_of_resource_that_iam_asks_for() {
    let fake = FakeAppConfig::new(Kind::AppConfig);
    let scope = fake.serve().account(1).scope(&cx()).await.unwrap();
    let policy = Policy::of(flags_of(&fake).grants(&scope));
    let (application, environment) = ("application/app", "application/app/environment/prod");
    let (profile, version) = ("application/app/configurationprofile/flags", "/hostedconfigurationversion/7");
    let (deployment, version) = (format!("{environment}/deployment/7"), format!("{profile}{version}"));
    let strategy = "deploymentstrategy/AppConfig.AllAtOnce";
    // By the Service Authorization Reference.
    let required: [(&str, &[&str]); 6] = [
        ("CreateHostedConfigurationVersion", &[application, profile]),
        ("GetDeployment", &[application, environment, &deployment]),
        ("GetHostedConfigurationVersion", &[application, profile, &version]),
        ("ListDeployments", &[application, environment]),
        ("ListHostedConfigurationVersions", &[application, profile]),
        ("StartDeployment", &[application, environment, profile, strategy]),
    ];
    for (action, resources) in required {
        for resource in resources {
            let arn = scope.arn("appconfig", resource);
            assert!(policy.allows(&format!("appconfig:{action}"), &arn), "{action} on {arn}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_deployment_is_waited_for_until_it_has_baked_unless_that_is_accepted() {
    let fake = FakeAppConfig::new(Kind::AppConfig);
    flags_of(&fake).set(&cx(), &switch("off", "on")).await.unwrap();
    assert_eq!((fake.last(), fake.looked()), (("AppConfig.AllAtOnce".to_owned(), "COMPLETE"), 4));

    let fake = FakeAppConfig::new(Kind::AppConfig);
    let flags = flags_of(&fake).accept_baking().strategy("AppConfig.Linear50PercentEvery30Seconds");
    flags.set(&cx(), &switch("off", "on")).await.unwrap();
    let (strategy, state) = fake.last();
    assert_eq!(strategy, "AppConfig.Linear50PercentEvery30Seconds");
    assert!(state != "DEPLOYING" && fake.looked() == 3, "{state} after {} looks", fake.looked());
    assert_eq!(flags.get(&cx(), "new-checkout").await.unwrap(), FlagState::new(true, "on"));
}

#[tokio::test(start_paused = true)]
async fn a_look_that_is_throttled_ends_no_wait_and_is_told_when_the_patience_ends() {
    let fake = FakeAppConfig::new(Kind::AppConfig);
    fake.throttle(10);
    flags_of(&fake).set(&cx(), &switch("off", "on")).await.unwrap();
    assert_eq!(fake.last().1, "COMPLETE");

    let fake = FakeAppConfig::new(Kind::AppConfig);
    fake.throttle(u32::MAX);
    let error = flags_of(&fake).set(&cx(), &switch("off", "on")).await.unwrap_err();
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Timeout, Effect::Unknown), "{error:?}");
    for told in ["there was no answer in 1800 s", "slow down", "AppConfig goes on with it"] {
        assert!(error.report().contains(told), "{told}: {}", error.report());
    }
}

#[test]
fn a_description_has_only_what_a_header_takes() {
    assert_eq!(super::calls::header("flag `blüte\n`: on"), "flag `bl?te?`: on");
}
