//! Roll-outs that cannot succeed: told early, with cause and chain, while the former serves.

use std::net::TcpListener;

use super::{
    bench::{Bench, address, name, probe, service},
    load::get,
};
use crate::{
    ErrorKind,
    backend::{FailureCause, Placement, RolloutState},
    cluster::desired::{Check, DesiredService, EnvValue, EnvVar, Probe, SecretValue},
};

async fn fails(bench: &Bench, wanted: DesiredService) -> (FailureCause, Vec<String>) {
    let applied = bench.apply(wanted).await;
    match bench.wait(&applied).await {
        RolloutState::Failed { cause, chain } => (cause, chain),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_crash_loop_is_named_with_its_last_words() {
    let bench = Bench::new();
    let first = bench.roll(service("serve v1")).await;
    let (cause, chain) = fails(&bench, service("crash")).await;
    assert_eq!(cause, FailureCause::CrashLoop);
    assert_eq!(chain[0], "Deployment test/backend, revision 2");
    assert!(chain[1].contains("restarted"), "{chain:#?}");
    assert_eq!(chain[2], "container ended: exit code 1");
    assert_eq!(chain.last().unwrap(), "log: cannot go on: no database");
    assert_eq!(get(&address(&first), "/").await.unwrap().1, "v1");
}

#[tokio::test]
async fn programs_that_cannot_start_are_told_at_once() {
    let bench = Bench::new();
    let mut wanted = service("serve v1");
    wanted.template.command = Some(vec!["/no/such/program".into()]);
    let (cause, chain) = fails(&bench, wanted).await;
    assert_eq!(cause, FailureCause::CannotStart);
    assert!(chain[2].contains("no program `/no/such/program` in the image"), "{chain:#?}");
}

#[tokio::test]
async fn a_readiness_probe_that_fails_is_named_when_time_is_up() {
    let bench = Bench::new();
    let mut wanted = service("silent");
    wanted.progress_deadline_seconds = 1;
    let (cause, chain) = fails(&bench, wanted).await;
    assert_eq!(cause, FailureCause::ReadinessProbe);
    assert!(chain[2].starts_with("container is not ready: GET http://127."), "{chain:#?}");
    assert_eq!(chain.last().unwrap(), "log: waiting for nothing");
}

#[tokio::test]
async fn a_liveness_probe_that_fails_restarts_and_is_named() {
    let bench = Bench::new();
    let mut wanted = service("serve v1");
    wanted.replicas = 1;
    wanted.template.readiness = None;
    wanted.template.termination_grace_seconds = 0;
    // A start takes less than two periods, also on a busy machine.
    wanted.template.liveness = Some(Probe { failure_threshold: 3, ..probe("/healthz") });
    let applied = bench.roll(wanted.clone()).await;
    assert_eq!(get(&address(&applied), "/sick").await.unwrap().1, "sick now");
    bench.until("the pod was restarted and serves", |pods| pods.iter().any(|pod| pod.restarts == 1 && pod.ready)).await;
    assert_eq!(get(&address(&applied), "/").await.unwrap().1, "v1");
    let Some(probe) = &mut wanted.template.liveness else { unreachable!() };
    probe.failure_threshold = 1;
    probe.check = Check::Exec { command: vec!["/server".into(), "crash".into()] };
    wanted.template.readiness = Some(super::bench::probe("/none-of-your-business"));
    wanted.template.args = service("silent").template.args;
    let (cause, chain) = fails(&bench, wanted).await;
    assert_eq!(cause, FailureCause::LivenessProbe, "{chain:#?}");
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let bench = Bench::new();
    // A wildcard listener, as careless programs have, takes the port of every address.
    let wildcard = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = wildcard.local_addr().unwrap().port();
    let mut wanted = service("serve v1");
    wanted.endpoints[0].ports[0].port = port;
    let error = bench.try_apply(vec![wanted.clone()], Placement::Replace).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.report().contains(&format!("port {port} of Service backend")), "{}", error.report());
    assert!(bench.status().await.pods.is_empty());
    wanted.endpoints[0].ports[0].port = 8080;
    wanted.template.ports[0].number = port;
    let (cause, chain) = fails(&bench, wanted.clone()).await;
    assert_eq!(cause, FailureCause::PortTaken);
    assert!(chain[2].contains(&format!("port {port} is taken")), "{chain:#?}");
    drop(wildcard);
    wanted.template.ports[0].number = 8080;
    bench.roll(wanted).await;
}

#[tokio::test]
async fn the_deadline_of_the_caller_is_an_answer() {
    let bench = Bench::new();
    let applied = bench.apply(service("silent")).await;
    let state: RolloutState = bench
        .call(crate::local::cluster::agent::protocol::Request::Wait {
            namespace: applied.namespace.clone(),
            revisions: applied.revisions.clone(),
            track: applied.track,
            remaining: Some(std::time::Duration::from_millis(300)),
        })
        .await
        .unwrap();
    assert!(matches!(state, RolloutState::Failed { cause: FailureCause::DeadlineExceeded, .. }), "{state:?}");
}

#[tokio::test]
async fn no_secret_of_a_pod_is_shown() {
    let bench = Bench::new();
    let secret = "correct-horse-battery";
    let mut wanted = service("crash");
    let value = SecretValue::new(secret.into(), "Secret backend, key password".into(), b"salt");
    wanted.template.env = vec![EnvVar { name: "PASSWORD".into(), value: EnvValue::Secret(value) }];
    wanted.template.command = Some(vec!["/server".into(), "serve".into()]);
    wanted.template.args = Some(vec!["$(PASSWORD)".into()]);
    let applied = bench.roll(wanted).await;
    // The server prints its version, which is the secret.
    assert_eq!(get(&address(&applied), "/").await.unwrap().1, secret);
    let logs: Vec<String> = bench
        .call(crate::local::cluster::agent::protocol::Request::Logs {
            namespace: bench.namespace.clone(),
            service: name("backend"),
            lines: 10,
        })
        .await
        .unwrap();
    assert_eq!(logs.len(), 2);
    assert!(logs.iter().all(|line| line.contains("[redacted] listens on")), "{logs:?}");
    assert!(!format!("{:?}", bench.status().await).contains(secret));
}
