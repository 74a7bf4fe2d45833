//! A canary that answers errors: it gets a fifth of the requests, its metrics say no, and it is taken back.
//!
//! `cargo run --example canary`

use std::{process::ExitCode, sync::Arc, time::Duration};

use ecolaura_deploy_core::{
    Context, Result,
    analysis::{Analysis, MetricCheck},
    backend::Measure,
    local::metrics::ServiceMetrics,
    pipeline::{Pipeline, constant},
    run::{RunResult, Runner},
    steps::{MetricAnalyst, Rollout, Strategy},
    store::ObjectRunStore,
};
use ecolaura_deploy_examples::{Http, plan_and_run, runner, tiny};

fn main() -> Result<ExitCode> {
    match tiny::serve_if_asked() {
        Some(code) => Ok(code),
        None => deploy(),
    }
}

async fn release(cx: &Context, runner: &Runner, sandbox: &tiny::Sandbox, answer: &str) -> Result<RunResult> {
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

#[tokio::main]
async fn deploy() -> Result<ExitCode> {
    let (cx, sandbox) = (Context::new("dev".parse()?), tiny::Sandbox::new("canary")?);
    let runner = runner(Arc::new(ObjectRunStore::memory()));
    assert_eq!(release(&cx, &runner, &sandbox, "good").await?, RunResult::Succeeded);

    let address =
        sandbox.cluster.status(&cx, &"dev".parse()?).await?.addresses.into_values().next().unwrap_or_default();
    let http = Http::new(Duration::from_secs(5));
    let asked = address.clone();
    let callers = tokio::spawn(async move {
        loop {
            _ = http.get(&asked).await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let result = release(&cx, &runner, &sandbox, "broken").await?;
    callers.abort();
    assert!(matches!(result, RunResult::RolledBack { .. }), "{result:?}");
    assert_eq!(Http::new(Duration::from_secs(5)).text(&address).await?.trim(), "good");
    Ok(ExitCode::SUCCESS)
}
