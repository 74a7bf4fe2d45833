//! Rolls out three services, each in a group of its own: the one that fails its check does not take the others back.
//!
//! `cargo run --example deploy_microservices`, on a cluster `cargo run --features k8s --example deploy_microservices -- --help`

use std::{process::ExitCode, sync::Arc};

use ecolaura_deploy_core::{
    Context, Error, ErrorKind, Result,
    backend::AppliedWorkload,
    pipeline::{Pipeline, constant},
    run::RunResult,
    steps::{Rollout, check},
};
use ecolaura_deploy_examples::{place, plan_and_run, runner, tiny::Sandbox};

const ABOUT: &str = "\
Rolls out three services, each in a group of its own: the one that fails its check does not take the others back.";

fn main() -> ExitCode {
    place::main("deploy_microservices", ABOUT, deploy)
}

async fn deploy(cx: &Context, sandbox: &Sandbox) -> Result<ExitCode> {
    let mut pipeline = Pipeline::new("microservices".parse()?, "dev".parse()?);
    for service in ["orders", "users", "mail"] {
        let image = sandbox.admitted(cx, service, "hello").await?;
        let rollout = Rollout::new(Arc::clone(&sandbox.cluster), sandbox.workload(&[service])?);
        let images = vec![(constant(format!("tiny/{service}")), constant(image))];
        let live = pipeline.step(format!("roll out {service}"), rollout, images).group(service.parse()?).add();
        let judge = move |_cx, _live: AppliedWorkload| async move {
            match service {
                "mail" => Err(Error::new(ErrorKind::GateRefused, "example.check", "nobody likes the mail service")),
                _ => Ok(()),
            }
        };
        pipeline.step(format!("check {service}"), check("check", judge), live).group(service.parse()?).add();
    }

    let finished = plan_and_run(cx, &runner(Arc::clone(&sandbox.store)), pipeline).await?;
    assert_eq!(finished.result, RunResult::SucceededExcept { groups: vec!["mail".parse()?] });
    let status = sandbox.cluster.status(cx, &sandbox.namespace).await?;
    assert!(status.pods.iter().all(|pod| pod.service.as_str() != "mail"), "it was undone alone");
    assert_eq!(status.pods.len(), 4);
    for address in status.addresses.values() {
        sandbox.sees(address, "hello").await?;
    }
    Ok(ExitCode::SUCCESS)
}
