//! Rolls out one service, and a second release of it in its place.
//!
//! `cargo run --example deploy_backend`, on a cluster `cargo run --features k8s --example deploy_backend -- --help`

use std::{process::ExitCode, sync::Arc};

use ecolaura_deploy_core::{
    Context, Result,
    pipeline::{Pipeline, constant},
    steps::Rollout,
};
use ecolaura_deploy_examples::{exit_code, place, plan_and_run, runner, tiny::Sandbox};

fn main() -> ExitCode {
    place::main("deploy_backend", "Rolls out one service, and a second release of it in its place.", deploy)
}

async fn deploy(cx: &Context, sandbox: &Sandbox) -> Result<ExitCode> {
    let runner = runner(Arc::clone(&sandbox.store));
    let releases = ["release 1", "release 2"];
    let mut code = ExitCode::SUCCESS;
    for release in &releases[sandbox.done(cx, "backend", &releases).await?..] {
        let image = sandbox.admitted(cx, "backend", release).await?;
        let rollout = Rollout::new(Arc::clone(&sandbox.cluster), sandbox.workload(&["backend"])?);

        let mut pipeline = Pipeline::new("backend".parse()?, "dev".parse()?);
        let images = vec![(constant("tiny/backend".to_owned()), constant(image))];
        let live = pipeline.add("roll out", rollout, images);

        let finished = plan_and_run(cx, &runner, pipeline).await?;
        code = exit_code(&finished.result);
        for address in finished.output(&live).into_iter().flat_map(|live| live.addresses.into_values()) {
            sandbox.sees(&address, release).await?;
        }
    }
    Ok(code)
}
