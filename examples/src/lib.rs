//! What the examples share: a runner whose progress is shown, where they put their files, what a program needs to run,
//! and a small HTTP client.

#[cfg(feature = "aws")]
pub mod aws;
mod http;
pub mod place;
pub mod runtime;
pub mod tiny;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use ecolaura_deploy_core::{
    Context, Result,
    pipeline::Pipeline,
    report::terminal::TerminalReporter,
    run::{Finished, RunResult, Runner},
    store::RunStore,
};

pub use self::http::Http;

/// The build folder of the running program: the `target` in which it lies, or the one of the current folder.
pub fn build_dir() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    let target = program.ancestors().find(|folder| folder.join("CACHEDIR.TAG").is_file());
    target.map_or_else(|| PathBuf::from("target"), Path::to_owned)
}

/// A folder for the files of the example `name`, below the build folder.
pub fn scratch(name: &str) -> PathBuf {
    build_dir().join("examples-data").join(name)
}

/// A runner over `store` that shows what happens on standard output.
pub fn runner(store: Arc<dyn RunStore>) -> Runner {
    let no_color = std::env::var("NO_COLOR").ok();
    Runner::new(store).events(Arc::new(TerminalReporter::stdout(no_color.as_deref())))
}

/// Plans and runs `pipeline` for the environment that `cx` names.
pub async fn plan_and_run(cx: &Context, runner: &Runner, pipeline: Pipeline) -> Result<Finished> {
    let plan = runner.plan(cx, pipeline).await?;
    runner.run(cx, plan).await
}

/// 0 done, 1 undone, 3 an operator is needed, 4 waiting.
pub fn exit_code(result: &RunResult) -> ExitCode {
    ExitCode::from(match result {
        RunResult::Succeeded => 0,
        RunResult::NeedsOperator { .. } => 3,
        RunResult::Suspended { .. } => 4,
        _ => 1,
    })
}
