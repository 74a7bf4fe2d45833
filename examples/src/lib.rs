//! What the examples share: a runner whose progress is shown, and where they put their files.

use std::{path::PathBuf, process::ExitCode, sync::Arc};

use ecolaura_deploy_core::{
    Context, Result,
    pipeline::Pipeline,
    report::terminal::TerminalReporter,
    run::{Finished, RunResult, Runner},
    store::RunStore,
};

/// A folder for the files of the example `name`, below the build folder.
pub fn scratch(name: &str) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    target.join("examples-data").join(name)
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
