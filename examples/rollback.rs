//! Back to the release before: a pipeline of its own, with a plan of its own, declared as what it is.
//!
//! `cargo run --example rollback`, on a cluster `cargo run --features k8s --example rollback -- --help`

use std::{process::ExitCode, sync::Arc};

use ecolaura_deploy_core::{
    Admitted, Context, Result,
    pipeline::{Pipeline, constant},
    run::{RunResult, Runner},
    steps::{RecordRelease, Rollout},
    store::StoredReleases,
    vocabulary::{Release, ReleaseSequence},
};
use ecolaura_deploy_examples::{place, plan_and_run, runner, tiny::Sandbox};

const ABOUT: &str = "\
Rolls out two releases and goes back to the first: by a pipeline of its own, with a plan of its own.";

fn main() -> ExitCode {
    place::main("rollback", ABOUT, deploy)
}

/// Brings `release` out and records it.
async fn bring(cx: &Context, runner: &Runner, sandbox: &Sandbox, release: Release) -> Result<RunResult> {
    let mut pipeline = Pipeline::new("backend".parse()?, "dev".parse()?);
    let admitted = |image| constant(Admitted::by_gate("an example", image));
    let images = release.images.values().cloned().map(|image| (constant("tiny/backend".to_owned()), admitted(image)));
    let rollout = Rollout::new(Arc::clone(&sandbox.cluster), sandbox.workload(&["backend"])?);
    let live = pipeline.add("roll out", rollout, images.collect::<Vec<_>>());
    // Refused unless it is newer than what is live, or was live before.
    let record = RecordRelease::new(Arc::clone(&sandbox.store)).going_back();
    pipeline.step("record", record, constant(release)).after(&live).add();
    Ok(plan_and_run(cx, runner, pipeline).await?.result)
}

async fn deploy(cx: &Context, sandbox: &Sandbox) -> Result<ExitCode> {
    let runner = runner(Arc::clone(&sandbox.store));
    for number in [1, 2] {
        let mut release = Release::new(ReleaseSequence(number), format!("commit {number}"));
        let image = sandbox.image(cx, "backend", &format!("release {number}")).await?;
        release.images.insert("backend".parse()?, image);
        assert_eq!(bring(cx, &runner, sandbox, release).await?, RunResult::Succeeded);
    }

    let previous = StoredReleases::new(sandbox.store.as_ref(), cx.environment()).previous().await?;
    let Some(previous) = previous else { return Ok(ExitCode::FAILURE) };
    assert_eq!(bring(cx, &runner, sandbox, previous).await?, RunResult::Succeeded);

    for address in sandbox.cluster.status(cx, &sandbox.namespace).await?.addresses.into_values() {
        sandbox.sees(&address, "release 1").await?;
    }
    Ok(ExitCode::SUCCESS)
}
