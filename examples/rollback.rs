//! Back to the release before: a pipeline of its own, with a plan of its own, declared as what it is.
//!
//! `cargo run --example rollback`

use std::{process::ExitCode, sync::Arc, time::Duration};

use ecolaura_deploy_core::{
    Admitted, Context, Result,
    pipeline::{Pipeline, constant},
    run::{RunResult, Runner},
    steps::{RecordRelease, Rollout},
    store::{ObjectRunStore, RunStore, StoredReleases},
    vocabulary::{Release, ReleaseSequence},
};
use ecolaura_deploy_examples::{Http, plan_and_run, runner, tiny};

fn main() -> Result<ExitCode> {
    match tiny::serve_if_asked() {
        Some(code) => Ok(code),
        None => deploy(),
    }
}

/// Brings `release` out and records it.
async fn bring(
    cx: &Context,
    (runner, store): (&Runner, &Arc<dyn RunStore>),
    sandbox: &tiny::Sandbox,
    release: Release,
) -> Result<RunResult> {
    let mut pipeline = Pipeline::new("backend".parse()?, "dev".parse()?);
    let admitted = |image| constant(Admitted::by_gate("an example", image));
    let images = release.images.values().cloned().map(|image| (constant("tiny/backend".to_owned()), admitted(image)));
    let rollout = Rollout::new(Arc::clone(&sandbox.cluster), sandbox.workload(&["backend"])?);
    let live = pipeline.add("roll out", rollout, images.collect::<Vec<_>>());
    // Refused unless it is newer than what is live, or was live before.
    let record = RecordRelease::new(Arc::clone(store)).going_back();
    pipeline.step("record", record, constant(release)).after(&live).add();
    Ok(plan_and_run(cx, runner, pipeline).await?.result)
}

#[tokio::main]
async fn deploy() -> Result<ExitCode> {
    let (cx, sandbox) = (Context::new("dev".parse()?), tiny::Sandbox::new("rollback")?);
    let store: Arc<dyn RunStore> = Arc::new(ObjectRunStore::memory());
    let runner = runner(Arc::clone(&store));
    for number in [1, 2] {
        let mut release = Release::new(ReleaseSequence(number), format!("commit {number}"));
        let image = sandbox.image(&cx, "backend", &format!("release {number}")).await?;
        release.images.insert("backend".parse()?, image);
        assert_eq!(bring(&cx, (&runner, &store), &sandbox, release).await?, RunResult::Succeeded);
    }

    let previous = StoredReleases::new(store.as_ref(), cx.environment()).previous().await?;
    let Some(previous) = previous else { return Ok(ExitCode::FAILURE) };
    assert_eq!(bring(&cx, (&runner, &store), &sandbox, previous).await?, RunResult::Succeeded);

    for address in sandbox.cluster.status(&cx, &"dev".parse()?).await?.addresses.into_values() {
        assert_eq!(Http::new(Duration::from_secs(5)).text(&address).await?.trim(), "release 1");
    }
    Ok(ExitCode::SUCCESS)
}
