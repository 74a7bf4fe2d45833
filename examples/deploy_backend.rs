//! Rolls out one service, and a second release of it in its place.
//!
//! `cargo run --example deploy_backend`

use std::{process::ExitCode, sync::Arc};

use ecolaura_deploy_core::{
    Context, Result,
    pipeline::{Pipeline, constant},
    steps::Rollout,
    store::ObjectRunStore,
};
use ecolaura_deploy_examples::{Http, exit_code, plan_and_run, runner, tiny};

fn main() -> Result<ExitCode> {
    match tiny::serve_if_asked() {
        Some(code) => Ok(code),
        None => deploy(),
    }
}

#[tokio::main]
async fn deploy() -> Result<ExitCode> {
    let (cx, sandbox) = (Context::new("dev".parse()?), tiny::Sandbox::new("deploy_backend")?);
    let runner = runner(Arc::new(ObjectRunStore::memory()));
    let mut code = ExitCode::SUCCESS;
    for release in ["release 1", "release 2"] {
        let image = sandbox.admitted(&cx, "backend", release).await?;
        let rollout = Rollout::new(Arc::clone(&sandbox.cluster), sandbox.workload(&["backend"])?);

        let mut pipeline = Pipeline::new("backend".parse()?, "dev".parse()?);
        let images = vec![(constant("tiny/backend".to_owned()), constant(image))];
        let live = pipeline.add("roll out", rollout, images);

        let finished = plan_and_run(&cx, &runner, pipeline).await?;
        code = exit_code(&finished.result);
        for address in finished.output(&live).into_iter().flat_map(|live| live.addresses.into_values()) {
            assert_eq!(Http::new(std::time::Duration::from_secs(5)).text(&address).await?.trim(), release);
        }
    }
    Ok(code)
}
