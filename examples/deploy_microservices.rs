//! Rolls out three services, each in a group of its own: the one that cannot start does not take the others back.
//!
//! `cargo run --example deploy_microservices`

use std::{process::ExitCode, sync::Arc};

use ecolaura_deploy_core::{
    Context, Error, ErrorKind, Result,
    backend::AppliedWorkload,
    pipeline::{Pipeline, constant},
    run::RunResult,
    steps::{Rollout, check},
    store::ObjectRunStore,
};
use ecolaura_deploy_examples::{plan_and_run, runner, tiny};

fn main() -> Result<ExitCode> {
    match tiny::serve_if_asked() {
        Some(code) => Ok(code),
        None => deploy(),
    }
}

#[tokio::main]
async fn deploy() -> Result<ExitCode> {
    let (cx, sandbox) = (Context::new("dev".parse()?), tiny::Sandbox::new("deploy_microservices")?);
    let mut pipeline = Pipeline::new("microservices".parse()?, "dev".parse()?);
    for service in ["orders", "users", "mail"] {
        let image = sandbox.admitted(&cx, service, "hello").await?;
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

    let finished = plan_and_run(&cx, &runner(Arc::new(ObjectRunStore::memory())), pipeline).await?;
    assert_eq!(finished.result, RunResult::SucceededExcept { groups: vec!["mail".parse()?] });
    let status = sandbox.cluster.status(&cx, &"dev".parse()?).await?;
    assert!(status.pods.iter().all(|pod| pod.service.as_str() != "mail"), "it was undone alone");
    assert_eq!(status.pods.len(), 4);
    Ok(ExitCode::SUCCESS)
}
