//! Security groups against moto, which `.ci/with-servers` starts and `ECOLAURA_TEST_AWS` names.

#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

#[path = "../aws/calls.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod calls;
#[path = "../aws/support.rs"]
#[expect(dead_code, reason = "other tests use the rest")]
mod support;

use std::{sync::Arc, time::Duration};

use aws_sdk_ec2::{
    Client,
    types::{IpPermission, IpRange, Ipv6Range},
};
use ecolaura_deploy_aws::{
    Account,
    access::{Grant, Policy},
    security_groups::*,
};
use ecolaura_deploy_core::{
    Context, ErrorKind,
    backend::Inspect as _,
    clock::{Clock as _, FixedClock, SystemClock},
    pipeline::constant,
    run::RunResult,
    step::{Planned, Step as _},
    steps::Command,
    testing::servers::unique,
};

use self::{
    calls::Calls,
    support::{account, cx, run},
};

async fn group(account: &Account) -> String {
    let (client, name) = (Client::new(account.sdk_config()), unique("db"));
    let made = client.create_security_group().group_name(name).description("of a test").send().await.unwrap();
    made.group_id().unwrap().to_owned()
}

async fn ingress(account: &Account, group: &str) -> Vec<String> {
    let client = Client::new(account.sdk_config());
    let filter = aws_sdk_ec2::types::Filter::builder().name("group-id").values(group).build();
    let rules = client.describe_security_group_rules().filters(filter).send().await.unwrap();
    let into = rules.security_group_rules().iter().filter(|rule| rule.is_egress() == Some(false));
    into.map(|rule| format!("{} {}", rule.cidr_ipv4().unwrap_or("?"), rule.description().unwrap_or_default())).collect()
}

fn office() -> Peer {
    Peer::Addresses("192.0.2.0/28".parse().unwrap())
}

fn opening(account: &Account, group: &str) -> OpenIngress {
    OpenIngress::new(account, Ingress::new(group, office(), Ports::tcp(5432), Duration::from_mins(30)))
}

async fn open_to_the_world(account: &Account, group: &str) {
    let permission = IpPermission::builder().ip_protocol("tcp").from_port(22).to_port(22);
    let permission = permission.ip_ranges(IpRange::builder().cidr_ip("0.0.0.0/0").build());
    let permission = permission.ipv6_ranges(Ipv6Range::builder().cidr_ipv6("::/0").build());
    let request = Client::new(account.sdk_config()).authorize_security_group_ingress().group_id(group);
    request.ip_permissions(permission.build()).send().await.unwrap();
}

#[tokio::test]
async fn a_group_that_is_open_to_the_world_stops_the_run_and_every_rule_is_named() {
    let Some(account) = account().await else { return };
    let group = group(&account).await;
    let gate = |ids: &[&str]| SecurityGroupGate::<bool>::new(&account, Groups::ids(ids.to_vec()), GroupPolicy::new());
    gate(&[&group]).apply(&cx(), true).await.unwrap();
    open_to_the_world(&account, &group).await;
    let plan = gate(&[&group]).plan(&cx(), Planned::Known(true)).await.unwrap();
    assert_eq!(plan.warnings.len(), 2, "{:?}", plan.warnings);
    let error = gate(&[&group]).apply(&cx(), true).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::GateRefused);
    for peer in ["0.0.0.0/0 in to tcp/22", "::/0 in to tcp/22"] {
        assert!(error.report().contains(peer), "{error:?}");
    }
    let error = gate(&[]).apply(&cx(), true).await.unwrap_err();
    assert!(error.report().contains("there is no security group"), "{error:?}");
    let error = gate(&["sg-00000000000000000"]).apply(&cx(), true).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error:?}");
}

#[tokio::test]
async fn what_was_opened_for_a_step_is_closed_behind_it() {
    let Some(account) = account().await else { return };
    let group = group(&account).await;
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let result = run(|pipeline| {
        let opened = pipeline.add("open", opening(&account, &group), constant(()));
        let (account_, group_, seen) = (account.clone(), group.clone(), Arc::clone(&seen));
        let looked = pipeline
            .step(
                "migrate",
                ecolaura_deploy_core::steps::call("look", move |_cx, (): ()| {
                    let (account, group, seen) = (account_.clone(), group_.clone(), Arc::clone(&seen));
                    async move {
                        let open = ingress(&account, &group).await;
                        seen.lock().unwrap().extend(open);
                        Ok(())
                    }
                }),
                constant(()),
            )
            .after(&opened)
            .add();
        pipeline.step("close", CloseIngress::new(&account), opened).after(&looked).add();
    })
    .await;
    assert!(matches!(result, RunResult::Succeeded), "{result:?}");
    let seen = seen.lock().unwrap().clone();
    assert_eq!(seen.len(), 1);
    assert!(seen[0].starts_with("192.0.2.0/28 ecolaura-deploy: run 20"), "{seen:?}");
    assert!(ingress(&account, &group).await.is_empty());
}

#[tokio::test]
async fn what_a_failed_run_opened_is_closed() {
    let Some(account) = account().await else { return };
    let group = group(&account).await;
    let result = run(|pipeline| {
        let opened = pipeline.add("open", opening(&account, &group), constant(()));
        pipeline.step("fail", Command::new("false"), constant(())).after(&opened).add();
    })
    .await;
    assert!(matches!(result, RunResult::RolledBack { .. }), "{result:?}");
    assert!(ingress(&account, &group).await.is_empty());
}

#[tokio::test]
async fn what_somebody_else_opened_stays() {
    let Some(account) = account().await else { return };
    let group = group(&account).await;
    let permission = IpPermission::builder().ip_protocol("tcp").from_port(5432).to_port(5432);
    let permission = permission.ip_ranges(IpRange::builder().cidr_ip("192.0.2.0/28").description("the office").build());
    let request = Client::new(account.sdk_config()).authorize_security_group_ingress().group_id(&group);
    request.ip_permissions(permission.build()).send().await.unwrap();
    let result = run(|pipeline| {
        let opened = pipeline.add("open", opening(&account, &group), constant(()));
        pipeline.add("close", CloseIngress::new(&account), opened);
    })
    .await;
    assert!(matches!(result, RunResult::Succeeded), "{result:?}");
    assert_eq!(ingress(&account, &group).await.len(), 1);
}

#[tokio::test]
async fn what_another_run_has_open_is_neither_taken_over_nor_closed() {
    let Some(account) = account().await else { return };
    let group = group(&account).await;
    opening(&account, &group).apply(&cx(), ()).await.unwrap();
    let error = opening(&account, &group).apply(&cx(), ()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}");
    assert_eq!(ingress(&account, &group).await.len(), 1);
}

#[tokio::test]
async fn what_a_crash_left_open_is_found_once_its_time_is_over_and_closed() {
    let Some(account) = account().await else { return };
    let group = group(&account).await;
    let environment = unique("dev");
    let at = |minutes: i64| {
        let now = SystemClock.now() + jiff::SignedDuration::from_mins(minutes);
        Context::new(environment.parse().unwrap()).with_clock(Arc::new(FixedClock::new(now)))
    };
    let opened = opening(&account, &group).apply(&at(0), ()).await.unwrap().output;
    let doctor = IngressLeftovers::new("ec2".parse().unwrap(), &account);
    assert!(doctor.leftovers(&at(29)).await.unwrap().is_empty(), "it may be in use");
    let found = doctor.leftovers(&at(31)).await.unwrap();
    assert_eq!(found.iter().map(|leftover| Some(leftover.object.clone())).collect::<Vec<_>>(), [opened.rule]);
    let elsewhere = Context::new(unique("prod").parse().unwrap());
    assert!(doctor.leftovers(&elsewhere).await.unwrap().is_empty());
    for _ in 0..2 {
        doctor.clean(&at(31), &found[0]).await.unwrap();
    }
    assert!(ingress(&account, &group).await.is_empty());
}

#[tokio::test]
async fn every_call_is_granted_and_no_grant_is_unused() {
    let Some(account) = account().await else { return };
    let group = group(&account).await;
    let scope = account.scope(&cx()).await.unwrap();
    let calls = Calls::record();
    let gate = SecurityGroupGate::<bool>::new(&account, Groups::ids([&group]), GroupPolicy::new());
    gate.apply(&cx(), true).await.unwrap();
    let result = run(|pipeline| {
        let opened = pipeline.add("open", opening(&account, &group), constant(()));
        pipeline.add("close", CloseIngress::new(&account), opened);
    })
    .await;
    assert!(matches!(result, RunResult::Succeeded), "{result:?}");
    let grants: Vec<Grant> =
        [opening(&account, &group).grants(&scope), vec![SecurityGroupGate::<bool>::looking()]].concat();
    let policy = Policy::of(grants);
    let calls = calls.all();
    let refused: Vec<_> = calls.iter().filter(|(action, resource)| !policy.allows(action, resource)).collect();
    assert!(refused.is_empty(), "called and not granted: {refused:?}");
    assert!(policy.unused(&calls).is_empty(), "granted and not called: {:?}", policy.unused(&calls));
}
