//! A canary that answers errors: it gets a fifth of the requests, its metrics say no, and it is taken back.
//!
//! `cargo run --example canary`, on a cluster `cargo run --features k8s --example canary -- --help`

use std::{process::ExitCode, sync::Arc, time::Duration};

use ecolaura_deploy_core::{
    Context, Result,
    analysis::{Analysis, MetricCheck},
    backend::Measure,
    local::metrics::ServiceMetrics,
    pipeline::{Pipeline, constant},
    run::{RunResult, Runner},
    steps::{MetricAnalyst, Rollout, Strategy},
};
use ecolaura_deploy_examples::{Http, place, plan_and_run, runner, tiny::Sandbox};

const ABOUT: &str = "\
Rolls out a canary that answers errors: it gets a fifth of the requests, its metrics say no, and it is taken back.";

fn main() -> ExitCode {
    place::main("canary", ABOUT, deploy)
}

async fn release(cx: &Context, runner: &Runner, sandbox: &Sandbox, answer: &str) -> Result<RunResult> {
    let metrics = Arc::new(ServiceMetrics::new("metrics".parse()?, Arc::clone(&sandbox.cluster)));
    let errors = MetricCheck::new("error rate", Measure::ErrorRate).fail_above(0.01);
    let analyst = MetricAnalyst::new(metrics, Analysis::new(vec![errors], Duration::from_secs(1), 2));
    let strategy = Strategy::Canary { steps: vec![20, 50], replicas: 1, analyst: Arc::new(analyst) };
    let rollout = Rollout::new(Arc::clone(&sandbox.cluster), sandbox.workload(&["backend"])?).strategy(strategy);

    let mut pipeline = Pipeline::new("backend".parse()?, "dev".parse()?);
    let image = sandbox.admitted(cx, "backend", answer).await?;
    pipeline.add("roll out", rollout, vec![(constant("tiny/backend".to_owned()), constant(image))]);
    Ok(plan_and_run(cx, runner, pipeline).await?.result)
}

async fn deploy(cx: &Context, sandbox: &Sandbox) -> Result<ExitCode> {
    let runner = runner(Arc::clone(&sandbox.store));
    assert_eq!(release(cx, &runner, sandbox, "good").await?, RunResult::Succeeded);

    let address =
        sandbox.cluster.status(cx, &sandbox.namespace).await?.addresses.into_values().next().unwrap_or_default();
    if !sandbox.sees(&address, "good").await? {
        place::say("the canary needs callers and the metrics of its pods: it is left out");
        return Ok(ExitCode::SUCCESS);
    }
    let http = Http::new(Duration::from_secs(5));
    let asked = address.clone();
    let callers = tokio::spawn(async move {
        loop {
            _ = http.get(&asked).await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let result = release(cx, &runner, sandbox, "broken").await?;
    callers.abort();
    assert!(matches!(result, RunResult::RolledBack { .. }), "{result:?}");
    sandbox.sees(&address, "good").await?;
    Ok(ExitCode::SUCCESS)
}
